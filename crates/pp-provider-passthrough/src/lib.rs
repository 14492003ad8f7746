//! The null case among providers: every page comes zeroed from the global allocator and goes back to it.
//!
//! Nothing is kept, neither here nor by the pool on top: units are handed out as
//! [`Recycling::Never`](pp_core::Recycling::Never), so each put ends in the allocator. The same driver on this and on a real
//! provider shows what a pool is for. Kernel counterpart: a page_pool without memory provider whose pages all go to the
//! page allocator (`alloc_pages_node`, `put_page`; Linux 7.3, `net/core/page_pool.c`).
//!
//! # Cost
//!
//! Each unit is one `alloc_zeroed` and one `dealloc` with the alignment of its size, plus its share of two lock
//! acquisitions a bulk of 64. Zeroing is no extra of ours: a `Host` page derefs to bytes, and bytes have to be
//! initialised. What fresh memory costs is exactly what a recycling pool saves.
//!
//! # Examples
//!
//! ```
//! use pp_core::PagePool;
//! use pp_provider_passthrough::PassThrough;
//!
//! let mut pool = PagePool::builder(PassThrough::new()).build()?; // 4 KiB
//! assert_eq!((pool.alloc()?.len(), pool.provider().name), (4096, "passthrough"));
//!
//! let jumbo = PassThrough::with_sizes(16 << 10, 2)?; // 16 KiB, up to 64 KiB in one piece
//! assert_eq!(PagePool::builder(&jumbo).order(2).build()?.page_bytes(), 64 << 10);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! `std` (on): the default lock is a mutex that sleeps; without it it spins. `loom` and `shuttle` do nothing without the
//! cfg of the same name.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![deny(unsafe_code, unsafe_op_in_unsafe_fn)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod lock;
mod provider;
mod table;

use core::fmt;
use core::ops::Deref;

use pp_core::Home;
use pp_core::lock::RawLock;

pub use lock::DefaultLock;
pub use provider::PassThroughProvider;

/// Pages from the global allocator: a cheap handle, several pools may draw on one.
///
/// `L` guards the table of descriptors, for the length of a few pushes and pops.
///
/// # Examples
///
/// ```
/// use pp_core::PagePool;
/// use pp_core::lock::SpinLock;
/// use pp_provider_passthrough::{PassThrough, SizeError};
///
/// let pages = PassThrough::new();
/// let mut pool = PagePool::builder(&pages).build()?;
/// let page = pool.alloc()?;
/// assert!(pages.units_out() >= 1);
/// drop((page, pool)); // nothing is kept
/// assert_eq!((pages.units_out(), pages.stray_releases()), (0, 0));
///
/// let error = PassThrough::with_sizes(1000, 0).unwrap_err();
/// assert_eq!(error, SizeError { unit_bytes: 1000, max_order: 0 });
/// let _own_lock = PassThrough::<SpinLock>::with_lock(4096, 0)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PassThrough<L: RawLock = DefaultLock>(Home<PassThroughProvider<L>>);

/// Units of the asked size are not possible. See [`PassThrough`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeError {
    /// Bytes in a unit of order 0.
    pub unit_bytes: usize,
    /// The largest order.
    pub max_order: u8,
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SizeError { unit_bytes, max_order } = self;
        write!(
            f,
            "units of {unit_bytes} bytes up to order {max_order} are not possible; \
             use a power of two from 64, and at most 2147483648 bytes in the largest unit"
        )
    }
}

impl core::error::Error for SizeError {}

/// The largest unit, in bytes: a descriptor's length is 32 bits wide.
const MAX_BYTES: usize = 1 << 31;

impl PassThrough {
    /// Units of 4 KiB, up to order 10.
    pub fn new() -> Self {
        PassThrough(Home::new(PassThroughProvider::new(4096, 10)))
    }

    /// Units of `unit_bytes`, a power of two from 64, and of 2^`max_order` of that at most.
    ///
    /// # Errors
    ///
    /// [`SizeError`] if `unit_bytes` is no such power, or the largest unit would be over 2 GiB.
    pub fn with_sizes(unit_bytes: usize, max_order: u8) -> Result<Self, SizeError> {
        Self::with_lock(unit_bytes, max_order)
    }
}

impl<L: RawLock> PassThrough<L> {
    /// The same with another lock.
    ///
    /// # Errors
    ///
    /// As for [`with_sizes`](PassThrough::with_sizes).
    pub fn with_lock(unit_bytes: usize, max_order: u8) -> Result<Self, SizeError> {
        let possible = unit_bytes.is_power_of_two() && (64..=MAX_BYTES).contains(&unit_bytes);
        if !possible || u32::from(max_order) > (MAX_BYTES / unit_bytes).ilog2() {
            return Err(SizeError { unit_bytes, max_order });
        }
        Ok(PassThrough(Home::new(PassThroughProvider::new(unit_bytes, max_order))))
    }

    /// Base units that are out now, in all orders together.
    pub fn units_out(&self) -> usize {
        self.0.units_out()
    }

    /// Releases of units that were another provider's or not out: 0, unless somebody has made units up. Such a release
    /// changes nothing else.
    pub fn stray_releases(&self) -> usize {
        self.0.strays()
    }
}

impl Default for PassThrough {
    fn default() -> Self {
        PassThrough::new()
    }
}

impl<L: RawLock> Clone for PassThrough<L> {
    fn clone(&self) -> Self {
        PassThrough(self.0.clone())
    }
}

/// The provider itself: `alloc_bulk`, `geometry`, `describe`.
impl<L: RawLock> Deref for PassThrough<L> {
    type Target = PassThroughProvider<L>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<L: RawLock> From<PassThrough<L>> for Home<PassThroughProvider<L>> {
    fn from(pages: PassThrough<L>) -> Self {
        pages.0
    }
}

impl<L: RawLock> From<&PassThrough<L>> for Home<PassThroughProvider<L>> {
    fn from(pages: &PassThrough<L>) -> Self {
        pages.0.clone()
    }
}
