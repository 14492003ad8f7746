//! Two allocators on pool pages, as worked examples to copy from.
//!
//! | | for | out | back |
//! |---|---|---|---|
//! | [`Slab`] | many objects of one type | one thread, no lock, no atomic read-modify-write | any thread, one read-modify-write |
//! | [`Arena`] | all allocations of one subsystem, as a `GlobalAlloc` or an `Allocator` | any thread, under the arena's lock | any thread, one read-modify-write |
//!
//! Both stand on [`Slots`](slots::Slots), which cuts pages into slots of one size and repeats in small what the pool does in
//! large: one owner hands out, everybody gives back, and whoever brings the last slot of a page whose owner is gone sends the
//! page home. So an allocator that is dropped never waits, and what it handed out stays valid.
//!
//! What they get from the pool under them: a limit on what the subsystem may take ([`PoolBuilder::limit`](pp_core::PoolBuilder)),
//! memory of a chosen node or kind, statistics, and empty pages that other users of the same provider can have.
//!
//! `cargo run --release -p pp-allocators` measures them beside the system's allocator.

pub mod arena;
pub mod slab;
pub mod slots;

pub use arena::Arena;
pub use slab::{Slab, SlabBox};
pub use slots::NoSlot;
