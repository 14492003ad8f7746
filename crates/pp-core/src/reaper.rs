//! Freeing big things somewhere else.

use alloc::boxed::Box;
use alloc::sync::Arc;

/// Something that is over: dropping it frees it.
pub struct Remains(#[allow(dead_code, reason = "held to be dropped")] Box<dyn core::any::Any + Send>);

impl Remains {
    pub(crate) fn new(what: impl Send + 'static) -> Self {
        Remains(Box::new(what))
    }
}

impl core::fmt::Debug for Remains {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Remains")
    }
}

/// Takes the [`Remains`] of regions and pools, so that unmapping and freeing never runs on a packet thread.
///
/// The function it wraps may run on any thread and should only pass the remains on: to a channel, a work queue, a list.
///
/// # Examples
///
/// ```
/// use std::sync::mpsc;
/// let (to_reaper, remains) = mpsc::channel();
/// let reaper = pp_core::Reaper::new(move |dead| drop(to_reaper.send(dead)));
/// let thread = std::thread::spawn(move || remains.into_iter().for_each(drop));
/// // Home::with_reaper(provider, reaper.clone()) ...
/// # drop(reaper);
/// # thread.join().unwrap();
/// ```
#[derive(Clone)]
pub struct Reaper(Arc<dyn Fn(Remains) + Send + Sync>);

impl Reaper {
    /// A reaper that calls `f`.
    pub fn new(f: impl Fn(Remains) + Send + Sync + 'static) -> Self {
        Reaper(Arc::new(f))
    }

    pub(crate) fn reap(&self, remains: Remains) {
        (self.0)(remains);
    }
}

impl core::fmt::Debug for Reaper {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Reaper")
    }
}
