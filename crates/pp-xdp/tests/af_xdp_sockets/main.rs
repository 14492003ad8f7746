//! AF_XDP sockets on pairs of veths: each combination of settings, and what goes wrong.
//!
//! | part | shows |
//! |---|---|
//! | [`matrix`], [`rows`] | the combinations |
//! | [`moving`] | that packets move; waiting for them |
//! | [`programs`] | whose packets come in |
//! | [`refusals`] | what cannot be opened, in which words |
//! | [`trouble`] | interfaces that go, consumers that sleep, pages that are elsewhere |
//! | [`endings`] | how queues end, and when pages come home |
#![cfg(all(feature = "af-xdp", target_os = "linux"))]
#![cfg(not(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle"))))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[path = "../common/net/mod.rs"]
mod net;

use core::num::NonZero;
use std::sync::LazyLock;

mod child;
mod endings;
mod heap;
mod matrix;
mod memory;
mod moving;
mod programs;
mod refusals;
mod rows;
mod scene;
mod tap;
mod trouble;
mod wire;

/// The processors that there are for the tests; looked at before any thread is kept to one of them.
static PROCESSORS: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, NonZero::get));

/// Has this thread run on one processor, then on another: in native mode, veths receive on the queue of the processor that
/// sends.
fn on_processor(turn: u32) {
    let processors = (*PROCESSORS).min(2);
    // SAFETY: all zeroes is an empty set, and the number is one that it has.
    let set = unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        libc::CPU_SET(turn as usize % processors, &mut set);
        set
    };
    // SAFETY: reads the set.
    let _stays_where_it_is = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
}
