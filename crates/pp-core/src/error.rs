//! What can go wrong, in words that say what to do.

use crate::dma::DmaError;
use crate::provider::ProvideError;

/// Why [`PoolBuilder::build`](crate::PoolBuilder::build) made no pool. Nothing is left behind.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// use pp_core::BuildError;
/// let error = PagePool::builder(Home::new(Heap::new(4096, 8))).cache(0).build().unwrap_err();
/// assert_eq!(error, BuildError::Cache { capacity: 0 });
/// assert_eq!(error.to_string(), "a cache of 0 pages is not possible; use 1 to 4096");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// The provider has no units of that order (kernel: EINVAL for `order > MAX_PAGE_ORDER`).
    Order {
        /// What was asked for.
        order: u8,
        /// The largest the provider has.
        max: u8,
    },
    /// The cache must hold from 1 to 4096 pages.
    Cache {
        /// What was asked for.
        capacity: usize,
    },
    /// A refill must be from 1 page to the cache's capacity.
    Refill {
        /// What was asked for.
        refill: usize,
        /// The cache's capacity.
        capacity: usize,
    },
    /// Syncing for a device needs a device: `dma_sync` without `dma` (kernel: EINVAL).
    SyncWithoutDma,
    /// A sync of no bytes (kernel: EINVAL for a `max_len` of 0).
    SyncOfNothing,
    /// The range to sync does not lie within a page.
    SyncRange {
        /// First byte.
        offset: usize,
        /// How many.
        max_len: usize,
        /// Bytes in a page.
        page_bytes: usize,
    },
    /// A limit of 0 units: no page could ever be handed out.
    Limit,
    /// The watermark is not below the limit, so it could never warn.
    Watermark {
        /// What was asked for, in units.
        watermark: usize,
        /// The limit, in units.
        limit: usize,
    },
    /// From 1 to 64 Returners with room for 1 to 16384 pages each.
    Returners {
        /// How many were asked for.
        count: usize,
        /// Pages each should have room for.
        capacity: usize,
    },
    /// Up to 64 bags for batches, with room for 1 to 16384 pages each.
    BatchBags {
        /// How many were asked for.
        count: usize,
        /// Pages each should have room for.
        capacity: usize,
    },
    /// There is no memory for the pool's own tables.
    OutOfMemory,
    /// Pool numbers, which are never used twice, have run out.
    TooManyPools,
}

impl core::fmt::Display for BuildError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            BuildError::Order { order, max } => {
                write!(f, "the provider has no units of order {order}; ask for order {max} or less")
            }
            BuildError::Cache { capacity } => {
                write!(f, "a cache of {capacity} pages is not possible; use 1 to {}", crate::builder::MAX_CACHE)
            }
            BuildError::Refill { refill, capacity } => {
                write!(f, "a refill of {refill} pages does not fit a cache of {capacity}; use 1 to {capacity}")
            }
            BuildError::SyncWithoutDma => {
                f.write_str("syncing was asked for without a device; add `dma` or drop `dma_sync`")
            }
            BuildError::SyncOfNothing => {
                f.write_str("a sync of 0 bytes was asked for; give the length the device may write")
            }
            BuildError::SyncRange { offset, max_len, page_bytes } => {
                write!(
                    f,
                    "{max_len} bytes at {offset} are not within a page of {page_bytes}; shorten the range to sync"
                )
            }
            BuildError::Limit => f.write_str("a limit of 0 pages allows none; give at least 1"),
            BuildError::Watermark { watermark, limit } => {
                write!(f, "a watermark of {watermark} pages is never reached under a limit of {limit}; set it lower")
            }
            BuildError::Returners { count, capacity } => write!(
                f,
                "{count} returners for {capacity} pages each are not possible; use 1 to {} of 1 to {} pages",
                crate::builder::MAX_RETURNERS,
                crate::builder::MAX_RING
            ),
            BuildError::BatchBags { count, capacity } => write!(
                f,
                "{count} bags for batches, for {capacity} pages each, are not possible; use at most {} of 1 to {} pages",
                crate::builder::MAX_BATCH_BAGS,
                crate::builder::MAX_RING
            ),
            BuildError::OutOfMemory => f.write_str("no memory for the pool's tables; use a smaller pool size or cache"),
            BuildError::TooManyPools => f.write_str("no pool number is left in this process; reuse pools"),
        }
    }
}

impl core::error::Error for BuildError {}

/// Why there is no page now.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// use pp_core::AllocError;
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).limit(1).build()?;
/// let page = pool.alloc()?;
/// assert_eq!(pool.alloc().unwrap_err(), AllocError::LimitReached);
/// drop(page); // comes back through the ring
/// assert!(pool.alloc().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AllocError {
    /// Neither cache nor ring nor provider has one. Pages in use will come back; try again then.
    OutOfMemory,
    /// The pool has as many units out of its provider as its limit allows. Pages in use will come back.
    LimitReached,
    /// The memory behind the provider is gone.
    DeviceLost,
    /// The provider had pages, but the device could map none of them.
    Dma(DmaError),
}

impl From<ProvideError> for AllocError {
    fn from(error: ProvideError) -> Self {
        match error {
            ProvideError::OutOfMemory => AllocError::OutOfMemory,
            ProvideError::DeviceLost => AllocError::DeviceLost,
        }
    }
}

impl core::fmt::Display for AllocError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            AllocError::OutOfMemory => ProvideError::OutOfMemory.fmt(f),
            AllocError::LimitReached => {
                f.write_str("the pool holds as many pages as its limit allows; return pages or raise the limit")
            }
            AllocError::DeviceLost => ProvideError::DeviceLost.fmt(f),
            AllocError::Dma(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for AllocError {}

/// What could not be taken, and why: an error that gives the buffer back. See [`Fragmented`](crate::Fragmented) and
/// [`PagePart`](crate::PagePart).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenBack<T, E> {
    /// As it was.
    pub buffer: T,
    /// Why.
    pub reason: E,
}

impl<T, E: core::fmt::Display> core::fmt::Display for GivenBack<T, E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.reason.fmt(f)
    }
}

impl<T: core::fmt::Debug, E: core::error::Error> core::error::Error for GivenBack<T, E> {}
