//! Whether the budgets are kept: what `--check` says.

use core::fmt;

use crate::budgets::Budget;
use crate::lineup::{Outcome, spread};
use crate::measure::Middle;
use crate::report::Verdict;

/// Rounds below which nothing is judged.
pub(crate) const ROUNDS: usize = 15;
/// How far over its budget a ratio may be.
const TOLERANCE: f64 = 0.05;
/// How far the quartiles of a ratio may lie apart, in parts of its median.
pub(crate) const SPREAD: f64 = 0.15;

/// What became of one budget.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Judgement {
    Kept {
        ratio: f64,
    },
    Missed {
        ratio: f64,
    },
    /// The rounds do not agree.
    Noisy {
        ratio: f64,
        spread: f64,
    },
    /// Nobody to compare with.
    Absent(String),
    /// Not promised, or not measured, on this machine.
    Skipped(String),
}

impl Judgement {
    pub(crate) fn is_failure(&self) -> bool {
        !matches!(self, Judgement::Kept { .. } | Judgement::Skipped(_))
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Judgement::Kept { ratio } => write!(f, "kept: {ratio:.3}"),
            Judgement::Missed { ratio } => write!(f, "MISSED: {ratio:.3}"),
            Judgement::Noisy { ratio, spread } => {
                write!(f, "TOO NOISY, twice: {ratio:.3}, quartiles {:.0} % apart", 100.0 * spread)
            }
            Judgement::Absent(why) => write!(f, "ABSENT: {why}"),
            Judgement::Skipped(why) => write!(f, "skipped: {why}"),
        }
    }
}

/// Judges one budget by what was measured.
pub(crate) fn judge(budget: &Budget, verdict: &Verdict, processors: usize) -> Judgement {
    if processors < budget.processors {
        return Judgement::Skipped(format!(
            "promised for {} processors, and there are {processors}",
            budget.processors
        ));
    }
    let outcomes = match verdict {
        Verdict::Measured(outcomes) => outcomes,
        Verdict::Skipped(why) => return Judgement::Skipped(why.clone()),
    };
    let find = |who| outcomes.iter().find(|outcome| outcome.who == who);
    let (Some(ours), Some(theirs)) = (find(budget.ours), find(budget.theirs)) else {
        return Judgement::Absent(format!("{} was left out by --peers", budget.theirs));
    };
    if let Some(absent) = &theirs.absent {
        return Judgement::Absent(format!("{}: {}", budget.theirs, absent.0));
    }
    let Some(ratio) = ours.through(theirs) else {
        return Judgement::Absent(format!("{} was not measured", budget.ours));
    };
    decide(budget.at_most, ratio)
}

fn decide(at_most: f64, ratio: Middle) -> Judgement {
    let Middle { median, .. } = ratio;
    // What is no number must not pass for one that is small.
    let spread = spread(&ratio);
    if spread.is_nan() || spread > SPREAD {
        Judgement::Noisy { ratio: median, spread }
    } else if median <= at_most * (1.0 + TOLERANCE) {
        Judgement::Kept { ratio: median }
    } else {
        Judgement::Missed { ratio: median }
    }
}

/// Whether a case has to be measured once more, because some budget's ratio is too noisy to judge.
pub(crate) fn is_noisy(budgets: &[&Budget], outcomes: &[Outcome], processors: usize) -> bool {
    let verdict = Verdict::Measured(outcomes.to_vec());
    budgets.iter().any(|budget| matches!(judge(budget, &verdict, processors), Judgement::Noisy { .. }))
}

/// The whole table of judgements, and whether all is well: nothing failed, and something was judged.
pub(crate) fn table(judged: &[(&Budget, Judgement)]) -> (String, bool) {
    let mut lines = Vec::new();
    for (budget, judgement) in judged {
        lines.push(format!(
            "{:<12} {} at most {:.3} of {}: {judgement}",
            budget.case, budget.ours, budget.at_most, budget.theirs
        ));
        if judgement.is_failure() {
            lines.push(format!("{:<12}   {}", "", budget.source));
        }
    }
    let failed = judged.iter().filter(|(_, judgement)| judgement.is_failure()).count();
    let kept = judged.iter().filter(|(_, judgement)| matches!(judgement, Judgement::Kept { .. })).count();
    let skipped = judged.len() - failed - kept;
    lines.push(format!("{kept} budgets kept, {failed} not, {skipped} skipped"));
    if kept + failed == 0 {
        lines.push("no budget was judged, which is no success".to_owned());
    }
    (lines.join("\n"), failed == 0 && kept > 0)
}

#[cfg(test)]
mod tests {
    use super::{Judgement, judge, table};
    use crate::budgets::Budget;
    use crate::lineup::Outcome;
    use crate::lineup::{Absent, Peer, Who};
    use crate::report::Verdict;

    const OURS: Who = Who { peer: Peer::Pool, way: "" };
    const THEIRS: Who = Who { peer: Peer::Mempool, way: "" };
    const BUDGET: Budget =
        Budget { case: "single", ours: OURS, theirs: THEIRS, at_most: 0.5, processors: 1, source: "a test" };

    fn outcome(who: Who, samples: &[f64]) -> Outcome {
        Outcome { who, samples: samples.to_vec(), absent: None }
    }

    fn judged(ours: &[f64], theirs: &[f64]) -> Judgement {
        judge(&BUDGET, &Verdict::Measured(vec![outcome(OURS, ours), outcome(THEIRS, theirs)]), 2)
    }

    #[test]
    fn budgets_are_kept_missed_or_too_noisy_to_say() {
        assert_eq!(judged(&[1.0; 15], &[2.0; 15]), Judgement::Kept { ratio: 0.5 });
        assert_eq!(judged(&[1.04; 15], &[2.0; 15]), Judgement::Kept { ratio: 0.52 }, "within 5 %");
        assert_eq!(judged(&[1.2; 15], &[2.0; 15]), Judgement::Missed { ratio: 0.6 });
        let swinging: Vec<f64> = (0..15).map(|round| 1.0 + 0.1 * f64::from(round)).collect();
        assert!(matches!(judged(&swinging, &[2.0; 15]), Judgement::Noisy { .. }));
        // What slows both down alike is no noise.
        let both: Vec<f64> = swinging.iter().map(|time| 2.0 * time).collect();
        assert_eq!(judged(&swinging, &both), Judgement::Kept { ratio: 0.5 });
        assert!(judged(&[f64::NAN; 15], &[2.0; 15]).is_failure());
    }

    #[test]
    fn nobody_to_compare_with_is_a_failure_and_a_small_machine_is_not() {
        let absent = Outcome { who: THEIRS, samples: Vec::new(), absent: Some(Absent("no libdpdk".into())) };
        let judgement = judge(&BUDGET, &Verdict::Measured(vec![outcome(OURS, &[1.0; 15]), absent]), 2);
        assert!(judgement.is_failure() && judgement.to_string().contains("no libdpdk"), "{judgement}");
        let left_out = judge(&BUDGET, &Verdict::Measured(vec![outcome(OURS, &[1.0; 15])]), 2);
        assert!(left_out.is_failure() && left_out.to_string().contains("--peers"), "{left_out}");
        let small = judge(&Budget { processors: 8, ..BUDGET }, &Verdict::Measured(Vec::new()), 2);
        assert!(matches!(small, Judgement::Skipped(_)));
        let (text, well) = table(&[(&BUDGET, small)]);
        assert!(!well && text.contains("no budget was judged"), "{text}");
    }
}
