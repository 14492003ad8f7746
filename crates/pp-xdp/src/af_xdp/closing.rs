//! How a queue ends.
//!
//! In two steps. *Closing*: its rings are unmapped and its descriptor is closed. *Quiet*: nobody has the queue any more and it could be
//! bound again. Until then a forked child, a mapping of a ring or packets under way may have the kernel write to chunks, so what the
//! kernel held at the close stays held, and holds its pools as pages do.

#![allow(unsafe_code, reason = "pages that were given to the kernel become pages again")]

use alloc::boxed::Box;
use core::time::Duration;
use std::thread;
use std::time::Instant;

use pp_core::sync::{Mutant, mutant};
use pp_core::{Descriptor, Host, Page};

use super::places::Tag;
use super::umem::Umem;

/// Says when a queue that was given up is quiet.
pub(crate) trait Probe: Send {
    /// Whether it is, now. Once it was it stays so.
    fn is_quiet(&mut self) -> bool;
}

/// A queue that was closed and may not be quiet yet.
///
/// Waiting is a choice: dropped, it goes on in the background, and pages come back by themselves. Who wants to open the queue
/// again need not wait here either, since that does.
///
/// That a queue is quiet is found out by binding it once more. A child that is forked between the close and that moment has the second socket as
/// well, and keeps the queue in use until it ends. What is waited for in a parent does nothing in its children.
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
    /// Who closed it. A child of a fork has the same probe and must not use it: what it binds, its parent finds in use.
    process: u32,
}

/// How long to leave a queue alone before it is looked at again, at most: a child may live for long.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

impl Held {
    fn is_quiet(&mut self) -> bool {
        if self.process != std::process::id() {
            return false;
        }
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
    /// Of a queue that `probe` looks at.
    pub(crate) fn new(umem: &Umem, tag: Tag, probe: Box<dyn Probe>) -> Self {
        Closing { held: Some(Held { umem: umem.clone(), tag, probe, process: std::process::id() }) }
    }

    /// Nothing to wait for.
    pub(crate) fn nothing() -> Self {
        Closing { held: None }
    }

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
        let Some(mut held) = self.held.take().filter(|held| held.process == std::process::id()) else { return };
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
