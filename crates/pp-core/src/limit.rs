//! How much memory a pool may hold, and a word before it holds that much.
//!
//! The kernel counts what is out and never got the limit; this is that limit (document "page_pool", 2016: protection
//! against out-of-memory by knowing what is outstanding per device).

use alloc::boxed::Box;

use crate::sync::Counter;

/// Which way a pool crossed its watermark. See [`Pressure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// It has more units out of its provider than the watermark now: hold back, drop what matters least.
    Rising,
    /// It is at or under the watermark again.
    Falling,
}

/// What a watermark callback is told.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use pp_core::{Crossing, Pressure};
///
/// static TIGHT: AtomicBool = AtomicBool::new(false);
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8)))
///     .cache(1)
///     .limit(4)
///     .watermark(2, |now: &Pressure| {
///         assert_eq!((now.watermark, now.limit), (2, Some(4)));
///         TIGHT.store(now.crossing == Crossing::Rising, Ordering::Relaxed);
///     })
///     .build()?;
/// let pages = [pool.alloc()?, pool.alloc()?, pool.alloc()?];
/// assert!(TIGHT.load(Ordering::Relaxed)); // three are out, and two would have been well
/// # drop(pages);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pressure {
    /// Which way.
    pub crossing: Crossing,
    /// Units obtained from the provider and not home again, detached and shared ones included.
    pub outstanding: usize,
    /// The watermark that was crossed, in units.
    pub watermark: usize,
    /// The limit, in units; `None` without one.
    pub limit: Option<usize>,
}

pub(crate) type WatermarkHook = Box<dyn Fn(&Pressure) + Send + Sync>;

/// No limit, no watermark.
pub(crate) const UNLIMITED: usize = usize::MAX;

/// Read by the consumer where it asks the provider, written by whoever holds a handle. Plain numbers: a limit that is
/// seen one refill late is no error.
pub(crate) struct Limits {
    pub(crate) limit: Counter,
    pub(crate) watermark: Counter,
}

impl Limits {
    pub(crate) fn limit(&self) -> Option<usize> {
        match self.limit.get() {
            UNLIMITED => None,
            limit => Some(limit),
        }
    }
}
