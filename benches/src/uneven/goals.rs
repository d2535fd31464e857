//! What is to be reached, by measure.

use std::collections::BTreeMap;

use crate::harness::stats::Summary;

/// The figures of each visit, by server and measure.
pub type Figures = BTreeMap<(&'static str, &'static str), Vec<f64>>;

/// One measure of one server, by itself or beside another's of the same round.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    ours: &'static str,
    measure: &'static str,
    theirs: Option<&'static str>,
    bound: Bound,
    /// Every round has to keep it, and not half of them.
    worst: bool,
}

/// How large it may be, or has to be.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// Less is better.
    AtMost(f64),
    /// More is better.
    AtLeast(f64),
}

impl Goal {
    /// The median over rounds of multikernel's divided by theirs.
    #[must_use]
    pub const fn ratio(measure: &'static str, theirs: &'static str, bound: Bound) -> Self {
        Self { ours: "multikernel-each", measure, theirs: Some(theirs), bound, worst: false }
    }

    /// The median over rounds of multikernel's.
    #[must_use]
    pub const fn value(measure: &'static str, bound: Bound) -> Self {
        Self { ours: "multikernel-each", measure, theirs: None, bound, worst: false }
    }

    /// multikernel's in the worst of all rounds.
    #[must_use]
    pub const fn worst(measure: &'static str, bound: Bound) -> Self {
        Self { ours: "multikernel-each", measure, theirs: None, bound, worst: true }
    }

    /// The same for another form of multikernel.
    #[must_use]
    pub const fn of(self, ours: &'static str) -> Self {
        Self { ours, ..self }
    }

    /// What it says, what was reached, and whether that is enough.
    #[must_use]
    pub fn line(&self, figures: &Figures) -> String {
        let Self { ours, measure, theirs, bound, worst } = self;
        let (bound, limit) = match bound {
            Bound::AtMost(limit) => ("at most", limit),
            Bound::AtLeast(limit) => ("at least", limit),
        };
        let beside = theirs.map_or(String::new(), |theirs| format!(" times {theirs}'s"));
        let each = if *worst { " in every round" } else { "" };
        let outcome = match self.reached(figures) {
            None => "not measured".to_owned(),
            Some(summary) => {
                let Summary { low, median, high } = summary;
                let verdict = if self.is_kept(summary) { "reached" } else { "MISSED" };
                format!("{median:.3} ({low:.3} to {high:.3}): {verdict}")
            }
        };
        format!("goal: {ours}'s {measure} {bound} {limit}{beside}{each}; {outcome}")
    }

    /// The median and the quartiles, or of all rounds the best and the worst.
    fn reached(&self, figures: &Figures) -> Option<Summary> {
        let find = |name| figures.get(&(name, self.measure));
        let ours = find(self.ours)?;
        let all = match self.theirs {
            None => ours.clone(),
            Some(theirs) => {
                find(theirs)?.iter().zip(ours).map(|(theirs, ours)| ours / theirs).collect::<Vec<_>>()
            }
        };
        let summary = Summary::of(all.iter().copied())?;
        if !self.worst {
            return Some(summary);
        }
        let edge = |pick: fn(f64, f64) -> f64| all.iter().copied().reduce(pick);
        Some(Summary { low: edge(f64::min)?, high: edge(f64::max)?, ..summary })
    }

    fn is_kept(&self, Summary { low, median, high }: Summary) -> bool {
        match self.bound {
            Bound::AtMost(limit) => (if self.worst { high } else { median }) <= limit,
            Bound::AtLeast(limit) => (if self.worst { low } else { median }) >= limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        [
            (("multikernel-each", "p99"), vec![10.0, 20.0, 90.0]),
            (("multikernel-local", "p99"), vec![20.0, 40.0, 60.0]),
            (("tokio-mt", "p99"), vec![20.0, 40.0, 60.0]),
        ]
        .into()
    }

    #[test]
    fn the_median_decides_unless_every_round_has_to_be_good() {
        let ends = |goal: Goal, end: &str| {
            let line = goal.line(&figures());
            assert!(line.ends_with(end), "{line}");
        };
        ends(Goal::value("p99", Bound::AtMost(20.0)), "20.000 (15.000 to 55.000): reached");
        ends(Goal::worst("p99", Bound::AtMost(20.0)), "20.000 (10.000 to 90.000): MISSED");
        ends(Goal::worst("p99", Bound::AtMost(90.0)), ": reached");
        ends(Goal::value("p99", Bound::AtLeast(21.0)), ": MISSED");
        ends(Goal::worst("p99", Bound::AtLeast(10.0)), ": reached");
        ends(Goal::value("p50", Bound::AtMost(20.0)), "; not measured");
    }

    #[test]
    fn figures_of_the_same_round_are_divided() {
        let ratio = |bound| Goal::ratio("p99", "tokio-mt", bound);
        assert!(ratio(Bound::AtMost(0.5)).line(&figures()).ends_with("0.500 (0.500 to 1.000): reached"));
        assert!(ratio(Bound::AtMost(0.4)).line(&figures()).ends_with(": MISSED"));
        let other = ratio(Bound::AtMost(1.0)).of("multikernel-local").line(&figures());
        assert!(other.contains("1.000 (1.000 to 1.000)"), "{other}");
        assert!(Goal::ratio("p99", "smol", Bound::AtMost(1.0)).line(&figures()).ends_with("not measured"));
    }
}
