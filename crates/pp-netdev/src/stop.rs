//! How a run is told to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends a run when set: the source is not asked again, what is in the rings still goes out, then everything stops.
///
/// Setting it is one store, so a signal handler may do it. A run also sets it itself when it has to end early;
/// use a fresh one for each run.
#[derive(Clone, Debug, Default)]
pub struct StopFlag {
    /// | state | meaning |
    /// |---|---|
    /// | false | go on |
    /// | true | take nothing more in; never goes back |
    set: Arc<AtomicBool>,
}

impl StopFlag {
    /// A flag that is not set.
    pub fn new() -> Self {
        StopFlag::default()
    }

    /// Uses a flag that something else sets, a signal handler for instance.
    pub fn from_shared(set: Arc<AtomicBool>) -> Self {
        StopFlag { set }
    }

    /// Says stop.
    pub fn set(&self) {
        // Relaxed: nothing is handed over with it; whoever sees it late takes in a few frames more.
        self.set.store(true, Ordering::Relaxed);
    }

    /// Whether somebody said stop.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::Relaxed)
    }
}
