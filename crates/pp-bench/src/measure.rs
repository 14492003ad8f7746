//! Rounds, medians and ratios.
//!
//! A machine that others use too is slow for a while and then fast again. So nobody is measured in one go: all
//! contenders of a case take turns in short rounds, A B C A B C, and what is compared is the rounds of one turn with
//! each other. The median throws away the rounds that somebody else's compiler ran in; the quartiles say how
//! many those were.

use core::time::Duration;
use std::time::Instant;

/// Moves so many pages, a multiple of 64, and says how long that took.
pub(crate) type Runner = Box<dyn FnMut(usize) -> Duration>;

/// Times the whole of `run`.
pub(crate) fn timed(mut run: impl FnMut(usize) + 'static) -> Runner {
    Box::new(move |pages| {
        let start = Instant::now();
        run(pages);
        start.elapsed()
    })
}

/// How much time may pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Rounds of each contender.
    pub(crate) rounds: usize,
    /// How long one round should take.
    pub(crate) round: Duration,
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

    /// Of one's times through another's, turn by turn.
    pub(crate) fn of_ratios(ones: &[f64], others: &[f64]) -> Option<Self> {
        Middle::of(&ones.iter().zip(others).map(|(one, other)| one / other).collect::<Vec<_>>())
    }
}

/// Lets the contenders take turns. Nanoseconds a page for each of them, in the order of the rounds.
pub(crate) fn measure(contenders: &mut [Runner], effort: Effort) -> Vec<Vec<f64>> {
    let pages: Vec<_> = contenders.iter_mut().map(|run| calibrate(run, effort.round)).collect();
    let mut samples = vec![Vec::with_capacity(effort.rounds); contenders.len()];
    for _ in 0..effort.rounds.max(1) {
        for ((run, pages), samples) in contenders.iter_mut().zip(&pages).zip(&mut samples) {
            samples.push(run(*pages).as_nanos() as f64 / *pages as f64);
        }
    }
    samples
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

    use super::{Effort, Middle, Runner, measure};

    #[test]
    fn the_middle_of_samples() {
        let middle = Middle::of(&[5.0, 1.0, 3.0, 2.0, 4.0]).unwrap();
        assert_eq!((middle.least, middle.median, middle.quartiles), (1.0, 3.0, (2.0, 4.0)));
        assert_eq!(Middle::of(&[7.0]).unwrap().quartiles, (7.0, 7.0));
        assert_eq!(Middle::of(&[]), None);
    }

    #[test]
    fn ratios_are_paired() {
        // Every turn is slower than the one before; within a turn the second takes twice as long as the first.
        let clock = |factor: u64| -> Runner {
            let mut turn = 0;
            Box::new(move |pages: usize| {
                turn += 1;
                Duration::from_nanos(pages as u64 * 1000 * factor * turn)
            })
        };
        let effort = Effort { rounds: 5, round: Duration::from_micros(1) };
        let samples = measure(&mut [clock(1), clock(2)], effort);
        let ratio = Middle::of_ratios(&samples[1], &samples[0]).unwrap();
        assert_eq!((samples[0].len(), ratio.least, ratio.median, ratio.quartiles), (5, 2.0, 2.0, (2.0, 2.0)));
    }
}
