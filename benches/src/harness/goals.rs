//! What is to be reached, and whether it was.

use super::pairs::Series;
use super::stats::Summary;
use super::table;

/// One figure in terms of another's of the same round.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// Whose figure it is.
    pub ours: &'static str,
    /// What it is held against.
    pub theirs: &'static str,
    /// What is compared.
    pub measure: Measure,
    /// How many times as good it is to be, or better.
    pub at_least: f64,
}

/// What can be compared: more is better.
#[derive(Clone, Copy, Debug)]
pub enum Measure {
    /// Answers per second.
    Rate,
    /// Answers per second of CPU time.
    PerCpu,
}

impl Goal {
    /// The median of the ratios with its quartiles. Nothing if either was not measured.
    #[must_use]
    pub fn reached(&self, all: &[Series]) -> Option<Summary> {
        let find = |name| all.iter().find(|series| series.name == name && series.failure.is_none());
        let (ours, theirs) = (find(self.ours)?, find(self.theirs)?);
        match self.measure {
            Measure::Rate if ours.client_bound.is_some() || theirs.client_bound.is_some() => None,
            Measure::Rate => Summary::of_ratios(&ours.rate, &theirs.rate),
            // The one that uses less is the better one.
            Measure::PerCpu => Summary::of_ratios(&theirs.cpu, &ours.cpu),
        }
    }

    fn line(&self, what: &str, all: &[Series]) -> String {
        let Self { ours, theirs, measure, at_least } = self;
        let unit = match measure {
            Measure::Rate => "second",
            Measure::PerCpu => "second of CPU time",
        };
        let outcome = match self.reached(all) {
            None => "not measured".to_owned(),
            Some(summary) if summary.median >= *at_least => format!("{}: reached", table::spread(summary)),
            Some(summary) => format!("{}: MISSED", table::spread(summary)),
        };
        format!("goal: {ours} {what}s per {unit} at least {at_least} times {theirs}'s; {outcome}")
    }
}

/// One line for each goal; `what` is what is counted.
#[must_use]
pub fn lines(goals: &[Goal], what: &str, all: &[Series]) -> String {
    goals.iter().map(|goal| goal.line(what, all)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, figures: &[f64]) -> Series {
        let mut series = Series::failed(name, 1, String::new());
        series.failure = None;
        series.rate = figures.to_vec();
        series.cpu = figures.iter().map(|figure| 1.0 / figure).collect();
        series
    }

    #[test]
    fn a_goal_is_reached_or_not() {
        let mut all = [series("a", &[100.0, 200.0, 300.0]), series("b", &[50.0, 100.0, 150.0])];
        for measure in [Measure::Rate, Measure::PerCpu] {
            let goal = |at_least| Goal { ours: "a", theirs: "b", measure, at_least };
            assert!(lines(&[goal(1.9)], "read", &all).ends_with(": reached"));
            assert!(lines(&[goal(2.1)], "read", &all).ends_with(": MISSED"));
            let other = Goal { theirs: "c", ..goal(1.0) };
            assert!(lines(&[other], "read", &all).ends_with("; not measured"));
        }
        all[1].client_bound = Some("the client".to_owned());
        let goal = |measure| Goal { ours: "a", theirs: "b", measure, at_least: 1.0 };
        assert!(goal(Measure::Rate).reached(&all).is_none());
        assert!(goal(Measure::PerCpu).reached(&all).is_some());
        all[1].failure = Some("none".to_owned());
        assert!(goal(Measure::PerCpu).reached(&all).is_none());
    }
}
