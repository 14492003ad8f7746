//! Freeing big things somewhere else.

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::room::room;

/// Something that is over: dropping it frees it. See [`Reaper`].
pub struct Remains(#[allow(dead_code, reason = "held to be dropped")] Box<dyn core::any::Any + Send>);

impl core::fmt::Debug for Remains {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Remains")
    }
}

/// Takes the [`Remains`] of regions and pools, so that unmapping and freeing never runs on a packet thread.
///
/// The function it wraps may run on any thread and should only pass the remains on: to a channel, a work queue, a list.
/// Passing on takes a small allocation; without memory for it, the freeing happens on the spot.
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

    /// Passes `what` on. Without memory for that it is dropped here.
    pub(crate) fn reap<T: Send + 'static>(&self, what: T) {
        if let Some(room) = room() {
            let what: Box<T> = Box::write(room, what);
            (self.0)(Remains(what));
        }
    }
}

impl core::fmt::Debug for Reaper {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Reaper")
    }
}
