//! Rounds, medians and ratios.
//!
//! A machine that others use too is slow for a while and then fast again. So nobody is measured in one go: all
//! contenders of a case take turns in short rounds, A B C A B C, and what is compared is the rounds of one turn with
//! each other. The median throws away the rounds that somebody else's compiler ran in; the quartiles say how
//! many those were.

use core::time::Duration;

use crate::lineup::{Absent, Contender, Runner, Who};

/// How much time may pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Rounds of each contender.
    pub(crate) rounds: usize,
    /// How long one round should take.
    pub(crate) round: Duration,
}

/// What was measured of one contender: nanoseconds a page of each round, in the order of the rounds.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) who: Who,
    /// Empty for one who is absent.
    pub(crate) samples: Vec<f64>,
    pub(crate) absent: Option<Absent>,
}

/// The middle of a number of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Middle {
    pub(crate) median: f64,
    /// A quarter of the samples were below the first and a quarter above the second.
    pub(crate) quartiles: (f64, f64),
    pub(crate) least: f64,
}

impl Middle {
    /// Of at least one sample.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |part: f64| sorted.get((sorted.len().checked_sub(1)? as f64 * part).round() as usize).copied();
        Some(Middle { median: at(0.5)?, quartiles: (at(0.25)?, at(0.75)?), least: at(0.0)? })
    }

    /// How far the quartiles lie apart, in parts of the median.
    pub(crate) fn spread(&self) -> f64 {
        (self.quartiles.1 - self.quartiles.0) / self.median
    }
}

impl Outcome {
    pub(crate) fn middle(&self) -> Option<Middle> {
        Middle::of(&self.samples)
    }

    /// This one's time through `other`'s, turn by turn.
    pub(crate) fn through(&self, other: &Outcome) -> Option<Middle> {
        Middle::of(&self.samples.iter().zip(&other.samples).map(|(this, other)| this / other).collect::<Vec<_>>())
    }
}

/// Lets the contenders take turns.
pub(crate) fn measure(contenders: Vec<Contender>, effort: Effort) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut racers = Vec::new();
    for contender in contenders {
        let (run, absent) = contender.run.map_or_else(|absent| (None, Some(absent)), |run| (Some(run), None));
        if let Some(mut run) = run {
            let pages = calibrate(&mut run, effort.round);
            racers.push((outcomes.len(), run, pages));
        }
        outcomes.push(Outcome { who: contender.who, samples: Vec::with_capacity(effort.rounds), absent });
    }
    for _ in 0..effort.rounds.max(1) {
        for (at, run, pages) in &mut racers {
            outcomes[*at].samples.push(run(*pages).as_nanos() as f64 / *pages as f64);
        }
    }
    outcomes
}

/// How many pages fill a round. Also the warm-up.
fn calibrate(run: &mut Runner, round: Duration) -> usize {
    let mut pages = 256;
    loop {
        let took = run(pages);
        if took * 4 >= round || pages >= 1 << 30 {
            let scale = round.as_secs_f64() / took.as_secs_f64().max(1e-9);
            return ((pages as f64 * scale) as usize / 64).max(1) * 64;
        }
        pages *= 2;
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::{Effort, Middle, measure};
    use crate::lineup::{Absent, Contender, Peer, Who};

    #[test]
    fn the_middle_of_samples() {
        let middle = Middle::of(&[5.0, 1.0, 3.0, 2.0, 4.0]).unwrap();
        assert_eq!((middle.least, middle.median, middle.quartiles), (1.0, 3.0, (2.0, 4.0)));
        assert_eq!(middle.spread(), 2.0 / 3.0);
        assert_eq!(Middle::of(&[7.0]).unwrap().quartiles, (7.0, 7.0));
        assert_eq!(Middle::of(&[]), None);
    }

    #[test]
    fn ratios_are_paired() {
        // Every turn is slower than the one before; within a turn the second takes twice as long as the first.
        let clock = |factor: u64| {
            let mut turn = 0;
            Contender {
                who: Who { peer: Peer::Pool, way: "" },
                run: Ok(Box::new(move |pages: usize| {
                    turn += 1;
                    Duration::from_nanos(pages as u64 * 1000 * factor * turn)
                })),
            }
        };
        let absent = Contender { who: Who { peer: Peer::Mmap, way: "" }, run: Err(Absent("not here".into())) };
        let effort = Effort { rounds: 5, round: Duration::from_micros(1) };
        let outcomes = measure(vec![clock(1), absent, clock(2)], effort);
        let ratios = outcomes.iter().map(|outcome| outcome.through(&outcomes[0]).map(|ratio| ratio.median));
        assert_eq!(ratios.collect::<Vec<_>>(), [Some(1.0), None, Some(2.0)]);
        assert_eq!(outcomes[1].absent, Some(Absent("not here".into())));
    }
}
