//! How a run is told to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends a run when set: the source is not asked again, what is in the rings still goes out, then everything stops.
///
/// Setting it is one store, so a signal handler may do it. Clones are the same flag; a [`child`](StopFlag::child) is one
/// of its own that is also set when its parent is.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::AtomicBool;
/// use pp_netdev::StopFlag;
///
/// let by_signal = StopFlag::from_shared(Arc::new(AtomicBool::new(false)));
/// let run = by_signal.child();
/// run.set(); // this run and no other
/// assert!(run.is_set() && !by_signal.is_set() && !StopFlag::new().is_set());
/// ```
#[derive(Clone, Debug, Default)]
pub struct StopFlag {
    /// | state | meaning |
    /// |---|---|
    /// | false | go on |
    /// | true | take nothing more in; never goes back |
    set: Arc<AtomicBool>,
    /// The same of the flag this one was made from.
    parent: Option<Arc<AtomicBool>>,
}

impl StopFlag {
    /// A flag that is not set.
    pub fn new() -> Self {
        StopFlag::default()
    }

    /// Uses a flag that something else sets, a signal handler for instance.
    pub fn from_shared(set: Arc<AtomicBool>) -> Self {
        StopFlag { set, parent: None }
    }

    /// A flag that follows this one, and can be set without it: what a run ends itself by.
    ///
    /// It does not follow what this one follows.
    pub fn child(&self) -> Self {
        StopFlag { set: Arc::default(), parent: Some(Arc::clone(&self.set)) }
    }

    /// Says stop.
    pub fn set(&self) {
        // Relaxed: nothing is handed over with it; whoever sees it late takes in a few frames more.
        self.set.store(true, Ordering::Relaxed);
    }

    /// Whether somebody said stop.
    #[inline]
    pub fn is_set(&self) -> bool {
        // Relaxed: as in `set`.
        self.set.load(Ordering::Relaxed) || self.parent.as_ref().is_some_and(|parent| parent.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_follows_its_parent_but_not_the_other_way_round() {
        let parent = StopFlag::new();
        let (child, sibling) = (parent.child(), parent.child());
        child.set();
        assert!(child.is_set() && !parent.is_set() && !sibling.is_set());
        parent.clone().set();
        assert!(parent.is_set() && sibling.is_set());
    }

    #[test]
    fn a_shared_flag_is_looked_at_each_time() {
        let set = Arc::new(AtomicBool::new(false));
        let flag = StopFlag::from_shared(Arc::clone(&set));
        assert!(!flag.is_set());
        set.store(true, Ordering::Relaxed);
        assert!(flag.is_set());
    }
}
