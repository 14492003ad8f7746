//! What the two sides of a queue have in common: the pages that they give to the kernel and take back, and its attention.

#![allow(unsafe_code, reason = "pages that were given to the kernel become pages again")]

use alloc::boxed::Box;

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
    /// `None` once it is being closed.
    driver: Option<Box<dyn Driver>>,
}

impl Binding {
    pub(crate) fn new(umem: Umem, tag: Tag, driver: Box<dyn Driver>) -> Self {
        Binding { umem, tag, driver: Some(driver) }
    }

    /// The same with another driver: the queue was bound meanwhile.
    #[cfg(not(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle"))))]
    pub(crate) fn set_driver(&mut self, driver: Box<dyn Driver>) {
        self.driver = Some(driver);
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
        self.driver.as_ref().map_or(Err(WakeError::Gone), |driver| driver.wake_tx())
    }

    pub(crate) fn wake_rx(&self) -> Result<(), WakeError> {
        self.driver.as_ref().map_or(Err(WakeError::Gone), |driver| driver.wake_rx())
    }

    /// Gives the queue up. Both sides are gone, and with them the rings.
    pub(crate) fn close(mut self) -> Closing {
        self.start_closing()
    }

    fn start_closing(&mut self) -> Closing {
        // Taken by the first of a close and the drop after it.
        self.driver.take().map_or_else(Closing::nothing, |driver| Closing::new(&self.umem, self.tag, driver.close()))
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
