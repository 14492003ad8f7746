//! Rounds, medians and ratios.
//!
//! A machine that others use too is slow for a while and then fast again. So nobody is measured in one go: all
//! contenders of a case take turns in short rounds, A B C A B C, and what is compared is the rounds of one turn with
//! each other. The median throws away the rounds that somebody else's compiler ran in; the quartiles say how
//! many those were.

use core::time::Duration;
use std::time::Instant;

/// Somebody who can move pages.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// Moves so many pages, a multiple of 64, and says how long that took.
    pub(crate) run: Box<dyn FnMut(usize) -> Duration>,
}

impl Contender {
    /// Times the whole of `run`.
    pub(crate) fn timed(name: &'static str, mut run: impl FnMut(usize) + 'static) -> Self {
        Contender::new(name, move |pages| {
            let start = Instant::now();
            run(pages);
            start.elapsed()
        })
    }

    /// `run` times itself.
    pub(crate) fn new(name: &'static str, run: impl FnMut(usize) -> Duration + 'static) -> Self {
        Contender { name, run: Box::new(run) }
    }
}

/// How much time may pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Rounds of each contender.
    pub(crate) rounds: usize,
    /// How long one round should take.
    pub(crate) round: Duration,
}

/// What was measured of one contender, in nanoseconds a page.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) contender: &'static str,
    pub(crate) median: f64,
    /// A quarter of the rounds were faster than the first and a quarter slower than the second.
    pub(crate) quartiles: (f64, f64),
    pub(crate) fastest: f64,
    /// Median over the turns of this contender's time through the first contender's.
    pub(crate) ratio: f64,
}

/// Lets the contenders take turns. The first one is what the others are compared with.
pub(crate) fn measure(contenders: &mut [Contender], budget: Budget) -> Vec<Outcome> {
    let pages: Vec<usize> = contenders.iter_mut().map(|contender| calibrate(contender, budget.round)).collect();
    let mut samples = vec![Vec::with_capacity(budget.rounds); contenders.len()];
    for _ in 0..budget.rounds.max(1) {
        for ((contender, pages), samples) in contenders.iter_mut().zip(&pages).zip(&mut samples) {
            samples.push((contender.run)(*pages).as_nanos() as f64 / *pages as f64);
        }
    }
    let first = samples[0].clone();
    let outcome = |(contender, samples): (&Contender, &Vec<f64>)| Outcome {
        contender: contender.name,
        median: quantile(samples, 0.5),
        quartiles: (quantile(samples, 0.25), quantile(samples, 0.75)),
        fastest: quantile(samples, 0.0),
        ratio: quantile(&samples.iter().zip(&first).map(|(other, first)| other / first).collect::<Vec<_>>(), 0.5),
    };
    contenders.iter().zip(&samples).map(outcome).collect()
}

/// How many pages fill a round. Also the warm-up.
fn calibrate(contender: &mut Contender, round: Duration) -> usize {
    let mut pages = 1024;
    loop {
        let took = (contender.run)(pages);
        if took * 4 >= round || pages >= 1 << 30 {
            let scale = round.as_secs_f64() / took.as_secs_f64().max(1e-9);
            return ((pages as f64 * scale) as usize / 64).max(1) * 64;
        }
        pages *= 2;
    }
}

/// The value that `part` of the samples lie below.
fn quantile(samples: &[f64], part: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::{Budget, Contender, measure, quantile};

    #[test]
    fn quantiles() {
        let samples = [5.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!([0.0, 0.25, 0.5, 0.75, 1.0].map(|part| quantile(&samples, part)), [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(quantile(&[7.0], 0.75), 7.0);
    }

    #[test]
    fn ratios_are_paired() {
        // Every turn is slower than the one before; within a turn the second takes twice as long as the first.
        let clock = |factor: u64| {
            let mut turn = 0;
            move |pages: usize| {
                turn += 1;
                Duration::from_nanos(pages as u64 * 1000 * factor * turn)
            }
        };
        let mut contenders = [Contender::new("a", clock(1)), Contender::new("b", clock(2))];
        let outcomes = measure(&mut contenders, Budget { rounds: 5, round: Duration::from_micros(1) });
        assert_eq!(outcomes.iter().map(|outcome| outcome.ratio).collect::<Vec<_>>(), [1.0, 2.0]);
    }
}
