//! The contracts of [`MemoryProvider`](crate::MemoryProvider) and [`Dma`](crate::Dma) as tests that their authors run.
//!
//! In a test of yours, with feature `conformance`:
//!
//! ```
//! # use pp_core::{Home, Identity as MyDevice, doc::Heap};
//! # struct MyProvider;
//! # impl MyProvider { fn new() -> Home<Heap> { Home::new(Heap::new(4096, 64)) } }
//! let passed = pp_core::conformance::provider(|| MyProvider::new())?;
//! println!("held, but for {:?}", passed.not_shown);
//! let passed = pp_core::conformance::dma(|| MyDevice)?;
//! println!("held, but for {:?}", passed.not_shown);
//! # Ok::<(), pp_core::conformance::Broken>(())
//! ```
//!
//! The closure makes a fresh one for each part of the suite. Make it small: of each order the suite takes up to 1024 base
//! units or 64 MiB, whichever is less, and up to 4 units whatever their size; only of a provider that runs dry before that
//! it can show what happens then. What breaks is returned as a [`Broken`], which names the [`Obligation`]; what could not be
//! shown, because the one under test has nothing of the kind, is listed in [`Passed`].
//!
//! A suite cannot show everything. That memory is valid at all, and that a descriptor can still be read after its unit went
//! home, shows when it runs under Miri or the address sanitizer; what a race needs to show is luck: let a model checker
//! look at locks of your own.

mod bench;
mod device;
mod dma;
mod hand;
mod provider;
mod regions;
mod threads;
mod turnover;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

pub use dma::{dma, dma_with_device};
pub use provider::provider;

/// One promise of a contract, as [`provider`] and [`dma`] name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Obligation {
    /// Provider: a unit that is out is not handed out again, and no two overlap.
    Uniqueness,
    /// Provider: address, length, order and node of a unit stay while it is out.
    Stability,
    /// What comes back can be had again: a released unit, the place of a mapping that ended.
    Conservation,
    /// Giving back works on any thread, at the same time as everything else.
    AnyThread,
    /// Provider: each unit has the order asked for and the size that follows from it, and the geometry never changes.
    Order,
    /// Provider: a premapped address reaches its unit and nothing else.
    Premapped,
    /// Provider: no more units than there is room for; a bulk is as good as its units one by one.
    Bulk,
    /// Provider: the two home words hold anything when a unit comes back.
    HomeWords,
    /// Provider: the memory is what its [`Backing::Access`](crate::Backing::Access) promises.
    Memory,
    /// A step that fails leaves everything as it was.
    Failure,
    /// Provider: once the device is lost, requests say so, and units are still taken back.
    DeviceLost,
    /// Provider: the pieces that it shows its memory in stay what they are, and what lies in them is units of theirs.
    Regions,
    /// Provider: the figures it gives of itself are true while nobody is inside a call.
    Description,
    /// Device: from `map` on it reaches the whole unit under the address, and nothing else.
    Reach,
    /// Device: after `unmap` it reaches the unit no more.
    Unmap,
    /// Device: any range inside a mapped unit can be synced.
    Sync,
}

impl Obligation {
    fn text(self) -> &'static str {
        match self {
            Obligation::Uniqueness => "a unit that is out is not handed out again, and no two overlap",
            Obligation::Stability => "address, length, order and node of a unit stay while it is out",
            Obligation::Conservation => "what comes back can be had again",
            Obligation::AnyThread => "giving back works on any thread, at the same time as everything else",
            Obligation::Order => "a unit has the order and size asked for, and the geometry never changes",
            Obligation::Premapped => "a premapped address reaches its unit and nothing else",
            Obligation::Bulk => "no more units than there is room for, and a bulk is as good as its units one by one",
            Obligation::HomeWords => "the home words hold anything when a unit comes back",
            Obligation::Memory => "the memory is what the provider's `Backing::Access` promises",
            Obligation::Failure => "a step that fails leaves everything as it was",
            Obligation::DeviceLost => "a lost device is said to be lost, and units are still taken back",
            Obligation::Regions => {
                "the pieces of memory that are shown stay what they are, and hold units of theirs only"
            }
            Obligation::Description => "what the provider says of itself is true while nobody is inside a call",
            Obligation::Reach => "the device reaches the whole unit under the address, and nothing else",
            Obligation::Unmap => "after `unmap` the device reaches the unit no more",
            Obligation::Sync => "any range inside a mapped unit can be synced",
        }
    }

    /// This obligation, broken in the way that `what` tells.
    fn broken(self, what: impl Into<String>) -> Broken {
        Broken { obligation: self, what: what.into() }
    }

    /// `Ok` if `holds`, else this obligation, broken.
    fn check(self, holds: bool, what: impl FnOnce() -> String) -> Result<(), Broken> {
        if holds { Ok(()) } else { Err(self.broken(what())) }
    }
}

/// A promise that was not kept. Shown by `unwrap` as a sentence.
///
/// # Examples
///
/// A provider that has nothing to give breaks the first promise that needs a unit:
///
/// ```
/// use pp_core::conformance::{self, Obligation};
/// # use pp_core::*;
/// # struct Empty;
/// # // SAFETY: nothing is handed out.
/// # unsafe impl MemoryProvider for Empty {
/// #     fn alloc_bulk(&self, _: &Request, _: &mut UnitSink<'_>) -> Result<(), ProvideError> { Ok(()) }
/// #     fn release(&self, unit: Unit) { unit.consume() }
/// #     fn geometry(&self) -> Geometry { Geometry { unit_bytes: 4096, max_order: 0, nodes: 1 } }
/// #     fn describe(&self) -> Description { Description::new("empty", 0, 0) }
/// # }
/// # // SAFETY: nothing is handed out.
/// # unsafe impl Backing for Empty { type Access = Host; }
/// let broken = conformance::provider(|| Home::new(Empty)).unwrap_err();
/// assert_eq!((broken.obligation, &*broken.what), (Obligation::Order, "not one unit could be had"));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Broken {
    /// Which one.
    pub obligation: Obligation,
    /// What happened.
    pub what: String,
}

impl core::fmt::Display for Broken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?} is broken ({}): {}", self.obligation, self.obligation.text(), self.what)
    }
}

impl core::fmt::Debug for Broken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Broken {}

/// All that was tried held: what [`provider`] and [`dma`] return.
#[must_use = "`not_shown` says what could not be tried: assert it, or print it"]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Passed {
    /// Units of order 0 that the provider had at once, or mappings that the device had; 1024 and 256 at most.
    pub capacity: usize,
    /// What could not be tried, and why: a provider that never runs dry, a device that cannot be looked through.
    pub not_shown: Vec<(Obligation, &'static str)>,
}

/// How long one part of the suite may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs one part on a thread of its own: a panic, and a call that never returns, then have a name as well.
fn part<R: Send + 'static>(
    obligation: Obligation,
    run: impl FnOnce() -> Result<R, Broken> + Send + 'static,
) -> Result<R, Broken> {
    part_within(PATIENCE, obligation, run)
}

fn part_within<R: Send + 'static>(
    patience: Duration,
    obligation: Obligation,
    run: impl FnOnce() -> Result<R, Broken> + Send + 'static,
) -> Result<R, Broken> {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || drop(sender.send(run())));
    match receiver.recv_timeout(patience) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => Err(obligation.broken(format!("a call did not return within {patience:?}"))),
        Err(RecvTimeoutError::Disconnected) => {
            let payload = thread.join().err();
            let text = payload.as_ref().and_then(|payload| {
                payload
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| payload.downcast_ref::<&str>().map(|s| s.to_string()))
            });
            Err(obligation.broken(format!("a call panicked: {}", text.unwrap_or_default())))
        }
    }
}

/// Small numbers in an order that nobody planned for, and the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_never_returns_and_one_that_panics_have_names() {
        let patience = Duration::from_millis(20);
        let stuck: Result<(), _> = part_within(patience, Obligation::AnyThread, || {
            loop {
                thread::park();
            }
        });
        assert_eq!(stuck, Err(Obligation::AnyThread.broken("a call did not return within 20ms")));
        let panicked: Result<(), _> = part(Obligation::Sync, || panic!("byte {}", 7));
        assert_eq!(panicked, Err(Obligation::Sync.broken("a call panicked: byte 7")));
        assert_eq!(part(Obligation::Sync, || Ok(7)), Ok(7));
    }
}
