//! The body that loom and shuttle both run: one thread takes in bulk while others give back.

use std::sync::Arc;

use pp_core::MemoryProvider;
use pp_core::lock::RawLock;
use pp_provider_buddy::Buddy;

use super::{Heap, alloc, release_bulk, span};

/// How large a run is.
pub(crate) struct Size {
    /// Base units of the buddy.
    pub(crate) units: usize,
    /// Of those, how many are out before anybody starts, shared evenly among the releasers.
    pub(crate) out: usize,
    /// How many threads give back.
    pub(crate) releasers: usize,
    /// How many units the taker asks for at once.
    pub(crate) want: usize,
    /// How often it asks.
    pub(crate) rounds: usize,
}

/// A thread of whichever engine runs.
pub(crate) trait Spawn {
    type Handle<T: Send + 'static>;
    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T>;
    fn join<T: Send + 'static>(handle: Self::Handle<T>) -> T;
}

/// Runs once and returns how many units the taker got.
///
/// Every actor is spawned; this thread sets up, joins and checks. Panics if a unit went out twice or one is missing.
pub(crate) fn bulk_against_release<S: Spawn, L: RawLock>(size: &Size) -> usize {
    const UNIT: usize = 2048;
    let bytes = size.units * UNIT;
    // SAFETY: nobody else knows the memory.
    let builder =
        unsafe { Buddy::builder().unit_bytes(UNIT).exclusive_memory(Heap::new(bytes, bytes.next_power_of_two(), 0)) };
    let buddy = Arc::new(builder.lock::<L>().build().unwrap());
    let before = buddy.buddyinfo();

    let mut out = alloc(&**buddy, 0, size.out);
    assert_eq!(out.len(), size.out);
    let each = size.out / size.releasers;
    let releasers: Vec<_> = (0..size.releasers)
        .map(|n| {
            let mut mine = out.split_off(out.len() - each);
            let buddy = buddy.clone();
            S::spawn(move || match n % 2 {
                0 => mine.drain(..).for_each(|unit| buddy.release(unit)),
                _ => release_bulk(&**buddy, mine),
            })
        })
        .collect();
    let taker = {
        let (buddy, want, rounds) = (buddy.clone(), size.want, size.rounds);
        S::spawn(move || (0..rounds).flat_map(|_| alloc(&**buddy, 0, want)).collect::<Vec<_>>())
    };
    releasers.into_iter().for_each(|handle| S::join(handle));
    let taken = S::join(taker);

    let mut spans: Vec<_> = taken.iter().map(span).collect();
    spans.sort_unstable();
    assert!(spans.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "a unit went out twice");
    assert_eq!(buddy.free_units() + taken.len(), size.units, "a unit is missing");
    let got = taken.len();
    release_bulk(&**buddy, taken);
    assert_eq!((buddy.buddyinfo(), buddy.stray_releases()), (before, 0), "everything home is everything joined");
    got
}
