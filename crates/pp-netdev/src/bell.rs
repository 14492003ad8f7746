//! Waking a thread that waits for a ring: an interrupt line in one direction, a doorbell register in the other.
//!
//! # Ordering
//!
//! A waiter announces that it sleeps and then looks once more; a ringer publishes and then looks for a sleeper. A
//! sequentially consistent fence between the two steps on both sides means that at least one sees the other, so no
//! wake-up is lost. The ringer's price while nobody sleeps is that fence and a load, so it rings once a burst, not
//! once a frame, where it knows its bursts.

use std::time::{Duration, Instant};

use crate::sync::{AtomicU8, Clock, MODEL, Ordering, Parker, broken, fence, unless};

/// Looks before the processor is given up. Few: on a machine with fewer cores than threads, the one that is waited
/// for most often waits for this core.
const SPINS: u32 = 16;

/// Times the processor is offered to others before the thread sleeps. Going to sleep and being woken costs two
/// system calls and a reschedule on either side, which a peer that is merely preempted is not worth.
const YIELDS: u32 = 64;

/// One thread's bell: that thread waits on it, any thread rings it.
///
/// Kernel counterpart: `napi_schedule` and its wake-up of a threaded NAPI (Linux 7.3, `net/core/dev.c`).
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use std::time::Duration;
/// use pp_netdev::Bell;
///
/// let (bell, done) = (Arc::new(Bell::new()), Arc::new(AtomicBool::new(false)));
/// let (other, published) = (bell.clone(), done.clone());
/// std::thread::spawn(move || {
///     published.store(true, Ordering::Release);
///     other.ring(); // after what it is rung for
/// });
/// bell.wait(|| done.load(Ordering::Acquire));
/// bell.nap(Duration::from_millis(1)); // at most
/// assert!(!bell.wait_within(|| false, Duration::from_millis(1)), "nobody made it so");
/// ```
#[derive(Debug)]
pub struct Bell {
    /// | state | meaning | set by |
    /// |---|---|---|
    /// | `AWAKE` | the waiter runs, or has been woken | the waiter, or the ringer that wakes it |
    /// | `ASLEEP` | the waiter sleeps or is about to | the waiter |
    state: AtomicU8,
    clock: Clock,
    /// The waiter; there before `state` is `ASLEEP` for the first time.
    waiter: Parker,
}

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;

impl Default for Bell {
    fn default() -> Self {
        Bell { state: AtomicU8::new(AWAKE), clock: Clock::new(), waiter: Parker::default() }
    }
}

impl Bell {
    /// A bell nobody waits on yet. The first thread that does owns it from then on.
    pub fn new() -> Self {
        Bell::default()
    }

    /// Wakes the waiter if it sleeps; what was published before is visible to it then.
    #[inline]
    pub fn ring(&self) {
        // Pairs with the fence in `sleep`: either this load sees the sleeper, or the sleeper's last look sees what was
        // published before this call.
        if !broken("a ring without a fence") {
            fence(Ordering::SeqCst);
        }
        self.clock.tick();
        if self.state.load(Ordering::Relaxed) == ASLEEP {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        self.clock.tick();
        // Acquire: pairs with the Release in `sleep`, for `waiter`. Of several ringers one gets to wake. Relaxed on
        // failure: the waiter is awake, or being woken, and looks again once it has announced its next sleep. Not a
        // swap, so that who comes too late writes nothing: loom would let it read its own `AWAKE` back in place of an
        // `ASLEEP` that came after, which the swap's atomicity in truth forbids.
        let acquire = unless("waking without Acquire", Ordering::Acquire);
        if self.state.compare_exchange(ASLEEP, AWAKE, acquire, Ordering::Relaxed).is_ok() {
            self.waiter.unpark();
        }
    }

    /// Returns when `ready` says so: looks a few times, then lets others run, then sleeps until rung.
    ///
    /// `ready` must become true only by what ringers publish before they ring.
    pub fn wait(&self, mut ready: impl FnMut() -> bool) {
        // Models explore the sleep.
        if MODEL || !Self::soon(&mut ready) {
            while !self.sleep(&mut ready, None) {}
        }
    }

    /// The same, but gives up after `longest`. Whether `ready` said so.
    pub fn wait_within(&self, mut ready: impl FnMut() -> bool, longest: Duration) -> bool {
        // So long that there is no such time is for ever.
        let Some(end) = Instant::now().checked_add(longest) else {
            self.wait(ready);
            return true;
        };
        if !MODEL && Self::soon(&mut ready) {
            return true;
        }
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if self.sleep(&mut ready, Some(left)) {
                return true;
            }
            if left.is_zero() {
                return false;
            }
        }
    }

    /// Looks a few times without sleeping. Returns whether `ready` said so.
    fn soon(ready: &mut impl FnMut() -> bool) -> bool {
        for _ in 0..SPINS {
            if ready() {
                return true;
            }
            std::hint::spin_loop();
        }
        for _ in 0..YIELDS {
            std::thread::yield_now();
            if ready() {
                return true;
            }
        }
        false
    }

    /// Sleeps until rung, at most `longest`: for what no bell is rung for.
    pub fn nap(&self, longest: Duration) {
        self.sleep(&mut || false, Some(longest));
    }

    /// One sleep. Returns whether `ready` said so before or after it.
    fn sleep(&self, ready: &mut impl FnMut() -> bool, longest: Option<Duration>) -> bool {
        self.waiter.register();
        // Release: pairs with the Acquire in `wake`.
        self.set(ASLEEP, unless("announcing a sleep without Release", Ordering::Release));
        // Pairs with the fence in `ring`.
        if !broken("a sleep without a fence") {
            fence(Ordering::SeqCst);
        }
        if !broken("a sleep without a last look") && ready() {
            // Relaxed: a ringer that still sees `ASLEEP` merely unparks a thread that runs.
            self.set(AWAKE, Ordering::Relaxed);
            return true;
        }
        self.waiter.park(longest);
        self.set(AWAKE, Ordering::Relaxed);
        ready()
    }

    #[inline]
    fn set(&self, state: u8, ordering: Ordering) {
        self.clock.tick();
        self.state.store(state, ordering);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Two threads hand a number back and forth; a lost wake-up would stop them for ever.
    #[test]
    fn no_wake_up_is_lost() {
        let rounds = if cfg!(miri) { 20 } else { 5_000 };
        let (bells, turn) = ([Bell::new(), Bell::new()], AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for me in 0..2 {
                let (bells, turn) = (&bells, &turn);
                scope.spawn(move || {
                    for round in 0..rounds {
                        // Straight to sleep: spinning first would hide the race.
                        while !bells[me].sleep(&mut || turn.load(Ordering::Acquire) == 2 * round + me, None) {}
                        turn.store(2 * round + me + 1, Ordering::Release);
                        bells[1 - me].ring();
                    }
                });
            }
        });
        assert_eq!(turn.into_inner(), 2 * rounds);
    }

    #[test]
    fn a_nap_ends_by_itself_and_so_does_a_wait_that_is_given_a_time() {
        Bell::new().nap(Duration::from_millis(1));
        let begun = Instant::now();
        assert!(!Bell::new().wait_within(|| false, Duration::from_millis(20)));
        assert!(begun.elapsed() >= Duration::from_millis(20));
        assert!(Bell::new().wait_within(|| true, Duration::ZERO));
        assert!(Bell::new().wait_within(|| true, Duration::MAX));
    }
}
