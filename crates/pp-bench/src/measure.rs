//! Rounds, medians and ratios.
//!
//! A machine that others use too is slow for a while and then fast again. So nobody is measured in one go: all
//! contenders of a case take turns in short rounds, A B C A B C, and what is compared is the rounds of one turn with
//! each other. A round in which a processor was visibly not ours alone is measured again ([`quiet`](crate::quiet)), as far as there is time; what
//! disturbs unseen, the median throws away, and the quartiles say how much that was.

use core::time::Duration;
use std::time::Instant;

use crate::quiet::{Look, Watch};

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

/// What became of the rounds of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rounds {
    /// How many there were.
    pub(crate) all: usize,
    /// In how many of them a processor was not ours alone.
    pub(crate) disturbed: usize,
    /// How many of those count all the same, because there were not enough others.
    pub(crate) counted: usize,
}

impl core::fmt::Display for Rounds {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Rounds { all, disturbed, counted } = self;
        write!(f, "in {disturbed} of {all} rounds a processor was shared with somebody; {counted} of them count")
    }
}

/// How many times as long as at best the watch's loop may take in a round that counts as quiet. Alone it takes up to 1.12 times, beside somebody
/// else 1.3 and more.
const QUIET: f64 = 1.15;
/// More rounds than were asked for are tried as long as one of so many is quiet.
const PATIENCE: usize = 4;

/// Lets the contenders take turns. Nanoseconds a page for each of them, in the order of the rounds that count: the quiet ones, and if
/// those are too few the least disturbed ones.
pub(crate) fn measure(contenders: &mut [Runner], effort: Effort, watch: &Watch) -> (Vec<Vec<f64>>, Rounds) {
    let pages: Vec<_> = contenders.iter_mut().map(|run| calibrate(run, effort.round)).collect();
    let need = effort.rounds.max(1);
    let mut before = watch.look();
    let mut best = before.clone();
    let mut rounds: Vec<(Look, Vec<f64>)> = Vec::with_capacity(need);
    let mut quiet = 0;
    while quiet < need && (rounds.len() < need || rounds.len() < quiet * PATIENCE) {
        let turn = |(run, pages): (&mut Runner, &usize)| run(*pages).as_nanos() as f64 / *pages as f64;
        let times = contenders.iter_mut().zip(&pages).map(turn).collect();
        let after = watch.look();
        best = best.or_faster(&after);
        rounds.push((before.or_slower(after.clone()), times));
        before = after;
        // All of them again: the best may have been seen just now.
        quiet = rounds.iter().filter(|(look, _)| look.through(&best) <= QUIET).count();
    }
    let counting = least_disturbed(&rounds, &best, need);
    let samples =
        (0..contenders.len()).map(|who| counting.iter().filter_map(|times| times.get(who)).copied().collect());
    let counts = Rounds { all: rounds.len(), disturbed: rounds.len() - quiet, counted: need.saturating_sub(quiet) };
    (samples.collect(), counts)
}

/// The times of so many rounds, in the order in which they were measured: of quiet ones the first, then the least disturbed.
fn least_disturbed<'a>(rounds: &'a [(Look, Vec<f64>)], best: &Look, need: usize) -> Vec<&'a Vec<f64>> {
    let mut order: Vec<_> = rounds.iter().enumerate().collect();
    let disturbance = |(_, (look, _)): &(usize, &(Look, _))| look.through(best).max(QUIET);
    // Stable, so that quiet ones, which are all alike, stay in order.
    order.sort_by(|one, other| disturbance(one).total_cmp(&disturbance(other)));
    order.truncate(need);
    order.sort_unstable_by_key(|(at, _)| *at);
    order.into_iter().map(|(_, (_, times))| times).collect()
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

    use super::{Effort, Look, Middle, Runner, Watch, least_disturbed, measure};

    #[test]
    fn the_middle_of_samples() {
        let middle = Middle::of(&[5.0, 1.0, 3.0, 2.0, 4.0]).unwrap();
        assert_eq!((middle.least, middle.median, middle.quartiles), (1.0, 3.0, (2.0, 4.0)));
        assert_eq!(Middle::of(&[7.0]).unwrap().quartiles, (7.0, 7.0));
        assert_eq!(Middle::of(&[]), None);
    }

    #[test]
    fn rounds_beside_somebody_else_count_only_where_others_are_wanting() {
        let look = |micros| Look(vec![Duration::from_micros(micros), Duration::from_micros(100)]);
        // Their times say which they are; 11 is no more disturbed than 10.
        let rounds: Vec<_> =
            [16, 10, 14, 11, 10].into_iter().zip(0u8..).map(|(l, at)| (look(l), vec![f64::from(at)])).collect();
        let chosen =
            |need| least_disturbed(&rounds, &look(10), need).into_iter().map(|times| times[0]).collect::<Vec<_>>();
        assert_eq!(chosen(2), [1.0, 3.0]);
        assert_eq!(chosen(3), [1.0, 3.0, 4.0]);
        assert_eq!(chosen(4), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(chosen(9).len(), 5);
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
        let (samples, rounds) = measure(&mut [clock(1), clock(2)], effort, &Watch::new(&[], |_| true));
        assert!(rounds.all >= 5 && rounds.counted <= rounds.disturbed, "{rounds:?}");
        let ratio = Middle::of_ratios(&samples[1], &samples[0]).unwrap();
        assert_eq!((samples[0].len(), ratio.least, ratio.median, ratio.quartiles), (5, 2.0, 2.0, (2.0, 2.0)));
    }
}
