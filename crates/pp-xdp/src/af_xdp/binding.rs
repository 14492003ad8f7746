//! What the two sides of a queue have in common: the pages that they give to the kernel and take back, and its attention.

#![allow(unsafe_code, reason = "pages that were given to the kernel become pages again")]

use alloc::boxed::Box;
use std::sync::OnceLock;

use pp_core::{Host, Page};

use super::closing::{Closing, Probe};
use super::places::{Tag, Way};
use super::umem::Umem;

/// What a queue needs of the system beside its rings.
pub(crate) trait Driver: Send + Sync {
    /// Has the kernel look at the transmit ring.
    fn wake_tx(&self) -> Result<Woken, WakeError>;

    /// Has the kernel look at the fill ring.
    fn wake_rx(&self) -> Result<(), WakeError>;

    /// Gives the queue up: the rings are gone already.
    fn close(self: Box<Self>) -> Box<dyn Probe>;
}

/// What the kernel did about the transmit ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// What it could.
    Done,
    /// A part; it wants to be called again.
    #[cfg_attr(any(loom, shuttle), allow(dead_code, reason = "said by sockets, which models have not"))]
    More,
}

/// Why the kernel could not be had to look at a ring: from `flush` of [`XskTx`](super::XskTx) and `wake` of
/// [`XskRx`](super::XskRx).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WakeError {
    /// The interface is down; nothing is lost, and it may come up again.
    #[error("the interface is down; bring it up (ip link set IFACE up), or wait until somebody does")]
    Down,
    /// The interface is gone; what the kernel holds comes back when the queue is closed.
    #[error("the interface is gone; close the queue")]
    Gone,
    /// Something else.
    #[error("{call} failed: {}", std::io::Error::from_raw_os_error(*code))]
    Os {
        /// The system call.
        call: &'static str,
        /// `errno`.
        code: i32,
    },
}

/// A use of a queue, shared by its two sides.
pub(crate) struct Binding {
    umem: Umem,
    tag: Tag,
    /// Empty until the queue is bound, and once it is being closed.
    driver: OnceLock<Box<dyn Driver>>,
    state: State,
    /// Who opened it. A child of a fork has a copy of all this, and the same sockets.
    process: u32,
}

/// Whether a queue's end has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closing,
}

/// A queue that was never bound: the kernel has heard of none of its chunks.
struct NeverBound;

impl Probe for NeverBound {
    fn is_quiet(&mut self) -> bool {
        true
    }
}

impl Binding {
    /// A use of a queue that is not bound yet.
    pub(crate) fn new(umem: Umem, tag: Tag) -> Self {
        Binding { umem, tag, driver: OnceLock::new(), state: State::Open, process: std::process::id() }
    }

    /// The queue is bound: from here on its end is the driver's. To be called once.
    pub(crate) fn bound(&self, driver: Box<dyn Driver>) {
        let first = self.driver.set(driver).is_ok();
        debug_assert!(first, "a queue is bound twice");
    }

    pub(crate) fn umem(&self) -> &Umem {
        &self.umem
    }

    /// Gives a page to the kernel, after which it is no [`Page`].
    pub(crate) fn give(&self, index: u32, page: Page<Host>, way: Way) {
        self.umem.places().give(index, page.into_raw(), self.tag, way);
    }

    /// Takes chunk `index` back, if the kernel had it from here.
    pub(crate) fn take(&self, index: u32, way: Way) -> Option<Page<Host>> {
        // SAFETY: `give` noted it of a page that it turned into the pointer; the table gives it once. The kernel has said by a
        // descriptor that it is done with the chunk.
        self.umem.places().take(index, self.tag, way).map(|page| unsafe { Page::from_raw(page) })
    }

    pub(crate) fn wake_tx(&self) -> Result<Woken, WakeError> {
        self.driver.get().map_or(Err(WakeError::Gone), |driver| driver.wake_tx())
    }

    pub(crate) fn wake_rx(&self) -> Result<(), WakeError> {
        self.driver.get().map_or(Err(WakeError::Gone), |driver| driver.wake_rx())
    }

    /// Gives the queue up. Both sides are gone, and with them the rings.
    pub(crate) fn close(mut self) -> Closing {
        self.start_closing()
    }

    fn start_closing(&mut self) -> Closing {
        // A close is followed by a drop, which has nothing to do then.
        if core::mem::replace(&mut self.state, State::Closing) == State::Closing {
            return Closing::nothing();
        }
        let probe = self.driver.take().map_or_else(|| Box::new(NeverBound) as Box<dyn Probe>, Driver::close);
        if self.process != std::process::id() {
            return Closing::nothing(); // what is closed here is the child's part of it
        }
        Closing::new(&self.umem, self.tag, probe)
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        drop(self.start_closing());
    }
}

impl core::fmt::Debug for Binding {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Binding").field("umem", &self.umem).field("tag", &self.tag).finish_non_exhaustive()
    }
}
