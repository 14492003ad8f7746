//! How an interface is, for those who watch a run.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether an interface is up, as far as those who use it know. Nothing is lost while it is not, and it is tried again.
///
/// # Examples
///
/// ```
/// use pp_netdev::afxdp::PortState;
/// let state = PortState::new("eth0");
/// assert_eq!((state.interface(), state.is_down()), ("eth0", false));
/// ```
#[derive(Debug)]
pub struct PortState {
    interface: String,
    /// | state | meaning |
    /// |---|---|
    /// | false | it was up when it was used last |
    /// | true | the kernel refused, because it is down |
    down: AtomicBool,
}

impl PortState {
    /// Of an interface that is up.
    pub fn new(interface: &str) -> Self {
        PortState { interface: interface.to_owned(), down: AtomicBool::new(false) }
    }

    /// The interface.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Whether it is down.
    pub fn is_down(&self) -> bool {
        // Relaxed, as below: for people to read; nothing is handed over with it.
        self.down.load(Ordering::Relaxed)
    }

    pub(super) fn set_down(&self) {
        self.down.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_up(&self) {
        self.down.store(false, Ordering::Relaxed);
    }
}
