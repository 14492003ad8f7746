//! Whether the processors are ours alone.
//!
//! On a shared machine somebody else's program may run on the other half of a core, for a second or for a tenth of one. Whatever we
//! measure then takes up to twice as long, each contender in its own way, so that ratios change as well. The operating system does not
//! see it. A loop that keeps all of a core's adders busy does: it takes 1.3 to 1.6 times as long. So it runs on each processor before and after
//! each round, and rounds in which it was slow are [measured again](mod@crate::measure). What decides is that loop, never the outcome of the round.

use core::hint::black_box;
use core::time::Duration;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

/// Times around the loop: some 15 microseconds.
const TURNS: u32 = 10_000;

/// Looks at processors.
pub(crate) struct Watch {
    others: Vec<Other>,
}

/// A processor that is not the caller's, and the thread that looks at it.
struct Other {
    /// Dropped first, which ends the thread.
    ask: Option<Sender<()>>,
    answers: Receiver<Duration>,
    thread: Option<JoinHandle<()>>,
}

/// How long the loop took on each processor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Look(pub(crate) Vec<Duration>);

impl Watch {
    /// On the caller's processor, and on `others`, where `pin` keeps a thread.
    pub(crate) fn new(others: &[usize], pin: fn(usize) -> bool) -> Self {
        Watch { others: others.iter().map(|cpu| Other::new(*cpu, pin)).collect() }
    }

    /// Looks at one after the other, the caller's processor first.
    pub(crate) fn look(&self) -> Look {
        let own = loop_twice();
        let others = self.others.iter().map(|other| {
            let asked = other.ask.as_ref().is_some_and(|ask| ask.send(()).is_ok());
            if asked { other.answers.recv().unwrap_or_default() } else { Duration::ZERO }
        });
        Look(core::iter::once(own).chain(others).collect())
    }
}

impl Other {
    fn new(cpu: usize, pin: fn(usize) -> bool) -> Self {
        let (ask, asked) = channel();
        let (answer, answers) = channel();
        let thread = std::thread::spawn(move || {
            pin(cpu);
            while asked.recv().is_ok() && answer.send(loop_twice()).is_ok() {}
        });
        Other { ask: Some(ask), answers, thread: Some(thread) }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.ask.take());
        if let Some(thread) = self.thread.take() {
            // It only loops.
            let _ = thread.join();
        }
    }
}

impl Look {
    /// The slower of two, processor by processor.
    pub(crate) fn or_slower(self, other: Look) -> Look {
        Look(self.0.into_iter().zip(other.0).map(|(one, other)| one.max(other)).collect())
    }

    /// The faster of two, processor by processor.
    pub(crate) fn or_faster(&self, other: &Look) -> Look {
        Look(self.0.iter().zip(&other.0).map(|(one, other)| *one.min(other)).collect())
    }

    /// How many times as long as in `best` the loop took, on the processor where that is most.
    pub(crate) fn through(&self, best: &Look) -> f64 {
        let ratios = self.0.iter().zip(&best.0).map(|(took, best)| took.as_secs_f64() / best.as_secs_f64());
        // Nothing to divide by is no disturbance.
        ratios.filter(|ratio| ratio.is_finite()).fold(1.0, f64::max)
    }
}

/// The faster of two, because an interrupt in the one says nothing.
fn loop_twice() -> Duration {
    let (one, other) = (timed_loop(), timed_loop());
    one.min(other)
}

/// Four chains that need nothing of each other: more than one core can begin at once, and no memory.
fn timed_loop() -> Duration {
    let start = Instant::now();
    let mut words = black_box([1u64, 2, 3, 4]);
    for _ in 0..TURNS {
        for word in &mut words {
            *word ^= *word << 13;
            *word ^= *word >> 7;
            *word ^= *word << 17;
        }
    }
    black_box(words);
    start.elapsed()
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::{Look, Watch};

    fn look(micros: &[u64]) -> Look {
        Look(micros.iter().map(|micros| Duration::from_micros(*micros)).collect())
    }

    #[test]
    fn looks_are_compared_processor_by_processor() {
        let (one, other) = (look(&[10, 30]), look(&[20, 20]));
        assert_eq!(one.or_faster(&other), look(&[10, 20]));
        assert_eq!(one.through(&look(&[10, 20])), 1.5);
        assert_eq!(one.or_slower(other), look(&[20, 30]));
        assert_eq!(look(&[0]).through(&look(&[0])), 1.0);
    }

    #[test]
    fn a_look_sees_every_processor() {
        let watch = Watch::new(&[0, 0], |_| true);
        let looks = watch.look();
        assert_eq!(looks.0.len(), 3);
        assert!(looks.0.iter().all(|took| *took > Duration::ZERO), "{looks:?}");
    }
}
