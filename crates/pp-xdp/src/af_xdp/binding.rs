//! What the two sides of a queue have in common, and how it ends.
//!
//! A queue closes in two steps. *Closing*: its rings are unmapped and its descriptor is closed. *Quiet*: nobody has the queue any more
//! and it could be bound again. Until then a forked child, a mapping of a ring or packets under way may have the kernel
//! write to chunks, so what the kernel held at the close stays held, and holds its pools as pages do.

#![allow(unsafe_code, reason = "pages that were given to the kernel become pages again")]

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::time::Duration;
use std::thread;
use std::time::Instant;

use pp_core::sync::{Mutant, mutant};
use pp_core::{Descriptor, Host, Page};

use super::places::{Tag, Way};
use super::rx::XskRx;
use super::tx::XskTx;
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

/// Says when a queue that was given up is quiet.
pub(crate) trait Probe: Send {
    /// Whether it is, now. Once it was it stays so.
    fn is_quiet(&mut self) -> bool;
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

/// Why the kernel could not be had to look at a ring: from `flush` of [`XskTx`] and `wake` of [`XskRx`].
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
        Closing { held: self.start_closing() }
    }

    fn start_closing(&mut self) -> Option<Held> {
        let probe = self.driver.take()?.close();
        Some(Held { umem: self.umem.clone(), tag: self.tag, probe })
    }
}

/// Gives a queue up whose sides these are: first the rings go, then the queue.
pub(crate) fn close_sides(rx: XskRx, tx: XskTx) -> Closing {
    let (binding, other) = (rx.into_binding(), tx.into_binding());
    drop(other);
    // If somebody has put a side of another queue here, that one's other side closes it.
    Arc::into_inner(binding).map_or(Closing { held: None }, Binding::close)
}

impl Drop for Binding {
    fn drop(&mut self) {
        drop(Closing { held: self.start_closing() });
    }
}

impl core::fmt::Debug for Binding {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Binding").field("umem", &self.umem).field("tag", &self.tag).finish_non_exhaustive()
    }
}

/// A queue that was closed and may not be quiet yet.
///
/// Waiting is a choice: dropped, it goes on in the background, and pages come back by themselves. Who wants to open the queue
/// again need not wait here either, since that does.
///
/// # Examples
///
/// ```
/// # use core::time::Duration;
/// # use pp_core::{Home, PagePool, doc::Heap};
/// use pp_xdp::af_xdp::{Umem, model};
/// let home = Home::new(Heap::new(4096, 64));
/// let umem = Umem::new(home.clone())?;
/// let mut pool = PagePool::builder(home).build()?;
/// let (mut queue, kernel) = model::queue(&umem, 16)?; // a queue with the test as its kernel
/// queue.rx.refill(&mut pool)?;
/// let closing = queue.close();
/// let mut closing = closing.wait(Duration::ZERO).expect_err("somebody still has the queue"); // a forked child, say
/// assert_eq!(umem.kernel_held(&pool.handle()), 16);
/// kernel.quiet();
/// assert!(closing.is_quiet());
/// assert_eq!((umem.kernel_held(&pool.handle()), pool.stats().in_use()), (0, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "what is not waited for goes on in the background"]
pub struct Closing {
    /// `None` once it is quiet.
    held: Option<Held>,
}

/// What the kernel had of a queue when that was closed.
struct Held {
    umem: Umem,
    tag: Tag,
    probe: Box<dyn Probe>,
}

/// How long to leave a queue alone before it is looked at again, at most: a child may live for long.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

impl Held {
    fn is_quiet(&mut self) -> bool {
        if !self.probe.is_quiet() && !mutant(Mutant::Named("pages come back before it is quiet")) {
            return false;
        }
        self.umem.places().take_all(self.tag).for_each(|page| self.release(page));
        true
    }

    fn release(&self, page: core::ptr::NonNull<Descriptor>) {
        // SAFETY: `Binding::give` noted it of a page that it turned into the pointer; the table gives it once. The queue is quiet, so
        // the kernel is done with the chunk.
        drop(unsafe { Page::<Host>::from_raw(page) });
    }

    fn wait_until(&mut self, end: Option<Instant>) -> bool {
        let mut pause = Duration::from_micros(500);
        while !self.is_quiet() {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            thread::sleep(pause.min(left.unwrap_or(pause)));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        true
    }
}

impl Closing {
    /// Whether the queue is quiet now. If so, what the kernel held of it has come back.
    pub fn is_quiet(&mut self) -> bool {
        if self.held.as_mut().is_some_and(|held| !held.is_quiet()) {
            return false;
        }
        self.held = None;
        true
    }

    /// Waits until it is; most are after some tens of milliseconds.
    ///
    /// # Errors
    ///
    /// Itself, if it is not after `limit`.
    pub fn wait(mut self, limit: Duration) -> Result<(), Self> {
        let end = Instant::now().checked_add(limit);
        if self.held.as_mut().is_some_and(|held| !held.wait_until(end)) {
            return Err(self);
        }
        self.held = None;
        Ok(())
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if self.is_quiet() {
            return;
        }
        let Some(mut held) = self.held.take() else { return };
        // Where there is no thread, what the kernel held stays held: lost to its pools, and nobody's to write.
        let waiting = thread::Builder::new().name("xsk-closing".into());
        drop(waiting.spawn(move || held.wait_until(None)));
    }
}

impl core::fmt::Debug for Closing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let tag = self.held.as_ref().map(|held| held.tag);
        f.debug_struct("Closing").field("held", &tag).finish_non_exhaustive()
    }
}
