//! How many packets the lanes of a run take in together, where that is limited.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::counters::Live;

/// How many packets may come in. A lane reserves some before it looks for them, so that never too many are taken in; the limit is
/// reached when they have come in, not when they are reserved.
#[derive(Debug)]
pub(super) struct Limit {
    most: u64,
    /// | state | meaning |
    /// |---|---|
    /// | n | n more may be reserved |
    free: AtomicU64,
}

/// What one lane may take in. What it has reserved and did not use goes back with it.
#[derive(Debug)]
pub(super) struct Reserve<'a> {
    /// `None`: any number.
    limit: Option<&'a Limit>,
    held: usize,
}

// === impl Limit ===

impl Limit {
    pub(super) fn new(most: u64) -> Self {
        Limit { most, free: AtomicU64::new(most) }
    }

    /// Whether all that may come in have, by what the lanes counted.
    pub(super) fn is_reached(&self, lives: &[Arc<Live>]) -> bool {
        lives.iter().map(|live| live.rx.frames.get() as u64).sum::<u64>() >= self.most
    }

    /// Reserves up to so many, and says how many.
    fn take(&self, wanted: usize) -> usize {
        let mut taken = 0;
        // Relaxed, here and in `give_back`: a number of packets; nothing else is handed over with it.
        let _ = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
            taken = free.min(wanted as u64);
            (taken > 0).then(|| free - taken)
        });
        taken as usize
    }

    fn give_back(&self, unused: usize) {
        self.free.fetch_add(unused as u64, Ordering::Relaxed);
    }
}

// === impl Reserve ===

impl<'a> Reserve<'a> {
    /// Nothing yet of a limit, if there is one.
    pub(super) fn of(limit: Option<&'a Limit>) -> Self {
        Reserve { limit, held: 0 }
    }

    /// Has `wanted` reserved, or as many as there are, and says how many. What is left of the last time counts.
    pub(super) fn have(&mut self, wanted: usize) -> usize {
        let Some(limit) = self.limit else { return wanted };
        if self.held < wanted {
            self.held += limit.take(wanted - self.held);
        }
        self.held.min(wanted)
    }

    /// So many came in.
    pub(super) fn used(&mut self, frames: usize) {
        self.held = self.held.saturating_sub(frames);
    }

    /// Whether nothing may come in: others have reserved the rest.
    pub(super) fn is_empty(&self) -> bool {
        self.limit.is_some() && self.held == 0
    }

    /// Leaves what it has to others.
    pub(super) fn give_back(&mut self) {
        if let Some(limit) = self.limit.filter(|_| self.held > 0) {
            limit.give_back(self.held);
            self.held = 0;
        }
    }
}

impl Drop for Reserve<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_is_reserved_has_not_come_in() {
        let lives = [Arc::<Live>::default(), Arc::default()];
        let limit = Limit::new(60);
        let (mut one, mut other) = (Reserve::of(Some(&limit)), Reserve::of(Some(&limit)));
        assert_eq!((one.have(64), one.have(64), other.have(64)), (60, 60, 0));
        assert!(other.is_empty() && !limit.is_reached(&lives), "none has come in");
        one.used(20);
        lives[0].rx.frames.add(20);
        one.give_back();
        assert_eq!((one.is_empty(), other.have(30), one.have(64)), (true, 30, 10));
        other.used(30);
        lives[1].rx.frames.add(30);
        drop(other);
        assert!(!limit.is_reached(&lives));
        one.used(10);
        lives[0].rx.frames.add(10);
        assert!(limit.is_reached(&lives) && one.have(1) == 0);
    }

    #[test]
    fn without_a_limit_any_number_may_come_in() {
        let mut any = Reserve::of(None);
        assert_eq!((any.have(64), any.is_empty()), (64, false));
        any.used(64);
        any.give_back();
        assert_eq!((any.have(64), any.is_empty()), (64, false));
    }

    /// Each lane finds a packet now and then, gives back and takes, and ends when the limit is reached.
    #[test]
    fn lanes_together_take_in_as_many_as_they_may() {
        let most = if cfg!(miri) { 200 } else { 100_000 };
        let lives: Vec<_> = (0..4).map(|_| Arc::<Live>::default()).collect();
        let limit = &Limit::new(most);
        thread::scope(|scope| {
            for (at, live) in lives.iter().enumerate() {
                let lives = &lives;
                scope.spawn(move || {
                    let mut reserve = Reserve::of(Some(limit));
                    for round in at.. {
                        let found = reserve.have(64).min(round % (7 + at));
                        reserve.used(found);
                        live.rx.frames.add(found);
                        if found == 0 {
                            reserve.give_back();
                            if limit.is_reached(lives) {
                                break;
                            }
                            thread::yield_now();
                        }
                    }
                });
            }
        });
        assert_eq!(lives.iter().map(|live| live.rx.frames.get() as u64).sum::<u64>(), most);
    }
}
