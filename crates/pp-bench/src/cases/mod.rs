//! The cases: what is done to a page, and who does it.

mod contended;
mod cross;
mod direct;
mod frag;
mod growth;
mod held;
mod kernel;
mod life;
mod map;
mod orders;
mod touch;

use crate::lineup::Lineup;

/// One thing to measure.
pub(crate) struct Case {
    pub(crate) name: String,
    /// Cases of one file; naming it means all of them.
    pub(crate) group: &'static str,
    /// What is done, in half a sentence.
    pub(crate) about: String,
    /// What the nanoseconds are of.
    pub(crate) unit: &'static str,
    /// Processors without which it cannot be measured.
    pub(crate) processors: usize,
    /// Processors at most that it keeps busy.
    pub(crate) busy: usize,
    /// Enters everybody who can do it.
    pub(crate) enter: Box<dyn Fn(&mut Lineup<'_>)>,
}

impl Case {
    /// A case of one thread, in nanoseconds a page.
    fn new(
        group: &'static str,
        name: impl Into<String>,
        about: impl Into<String>,
        enter: impl Fn(&mut Lineup<'_>) + 'static,
    ) -> Self {
        let (name, about, enter) = (name.into(), about.into(), Box::new(enter));
        Case { name, group, about, unit: "page", processors: 1, busy: 1, enter }
    }

    fn per(self, unit: &'static str) -> Self {
        Case { unit, ..self }
    }

    fn on_processors(self, processors: usize) -> Self {
        Case { processors, busy: processors, ..self }
    }

    fn keeps_busy(self, busy: usize) -> Self {
        Case { busy, ..self }
    }
}

/// All there are, in the order in which they are measured.
pub(crate) fn all() -> Vec<Case> {
    let groups = [
        direct::cases,
        kernel::cases,
        cross::cases,
        contended::cases,
        frag::cases,
        orders::cases,
        life::cases,
        map::cases,
        growth::cases,
        touch::cases,
        held::cases,
    ];
    groups.into_iter().flat_map(|cases| cases()).collect()
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use crate::lineup::{Lineup, Peer, Purpose, Stage};

    #[test]
    fn names_are_unique_and_no_group_is_a_case() {
        let cases = super::all();
        let names: BTreeSet<_> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), cases.len());
        assert!(cases.iter().all(|case| !names.contains(case.group)), "a word must mean one thing");
    }

    #[test]
    fn every_case_has_contenders_of_different_names_the_pool_among_them() {
        let stage = Stage { cpus: vec![0, 1], peers: Vec::new(), purpose: Purpose::Naming };
        for case in super::all() {
            let mut lineup = Lineup::new(&stage);
            (case.enter)(&mut lineup);
            let names: BTreeSet<_> = lineup.contenders.iter().map(|contender| contender.who.to_string()).collect();
            assert_eq!(names.len(), lineup.contenders.len(), "{}", case.name);
            assert!(lineup.contenders.first().is_some_and(|first| first.who.peer == Peer::Pool), "{}", case.name);
        }
    }
}
