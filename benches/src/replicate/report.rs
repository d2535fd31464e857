//! What was measured, as tables, as goals met or missed, and as figures for other programs.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::cases::{BATCHES, Case, Contender};
use super::measure::{Results, Series};
use crate::harness::stats::Summary;
use crate::harness::table::{spread, table};

/// Whom the others are compared with.
pub(super) const OURS: &str = "multikernel";
/// The limit of a read.
pub(super) const PLAIN: &str = "plain";

/// All that is known after a run.
pub struct Report<'a> {
    /// Who took part.
    pub contenders: &'a [Contender],
    /// What each did, in the same order.
    pub results: &'a Results,
}

/// A goal of ours for one case.
enum Goal {
    /// So many nanoseconds at most.
    Most(f64),
    /// At most so many times what this contender needs.
    Times(f64, &'static str),
    /// At least so many millions a second.
    Millions(f64),
    /// At least so many times as fast as the fastest of the others.
    Faster(f64),
}

const GOALS: [(Case, Goal); 9] = [
    (Case::Read, Goal::Times(1.05, PLAIN)),
    (Case::Home, Goal::Most(1200.0)),
    (Case::Other, Goal::Most(1800.0)),
    (Case::Parked, Goal::Most(500.0)),
    (Case::Batch(BATCHES[0]), Goal::Millions(3.0)),
    (Case::Batch(BATCHES[1]), Goal::Millions(3.0)),
    (Case::Batch(BATCHES[2]), Goal::Millions(3.0)),
    (Case::Batch(BATCHES[3]), Goal::Millions(3.0)),
    (Case::Mixed, Goal::Faster(1.5)),
];

impl Report<'_> {
    /// What `name` did in `case`, if that is a figure.
    #[must_use]
    pub fn series(&self, name: &str, case: Case) -> Option<&Series> {
        let place = self.contenders.iter().position(|contender| contender.name == name)?;
        self.results[place].get(&case).filter(|series| series.amiss(case).is_none())
    }

    /// All tables.
    #[must_use]
    pub fn tables(&self) -> String {
        let maps = [Case::Read, Case::Mixed];
        let proposals = [Case::Home, Case::Other, Case::Parked];
        let batches = BATCHES.map(Case::Batch);
        let parts = [
            self.figures("ns an operation", &maps),
            self.ratios("ns an operation", &maps),
            self.figures("ns a proposal", &proposals),
            self.ratios("ns a proposal", &proposals),
            self.latencies(),
            self.figures("ns a proposal, by size of batch", &batches),
            self.goals(),
        ];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
    }

    /// A table of those `cases` that anybody was measured in, and of those contenders that were.
    fn grid(
        &self,
        title: &str,
        cases: &[Case],
        cell: impl Fn(&Contender, &Series, Case) -> Option<String>,
    ) -> String {
        let measured = |case: &&Case| self.results.iter().any(|row| row.contains_key(case));
        let cases: Vec<Case> = cases.iter().filter(measured).copied().collect();
        let names: Vec<String> = cases.iter().map(|case| case.name()).collect();
        let header: Vec<&str> = std::iter::once("").chain(names.iter().map(String::as_str)).collect();
        let rows = self.contenders.iter().zip(self.results).filter_map(|(contender, row)| {
            let cell = |case: &Case| row.get(case).and_then(|series| cell(contender, series, *case));
            let cells: Vec<_> = cases.iter().map(cell).collect();
            cells.iter().any(Option::is_some).then(|| {
                let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
                std::iter::once(contender.name.to_owned()).chain(cells).collect()
            })
        });
        let rows: Vec<Vec<String>> = rows.collect();
        if rows.is_empty() { String::new() } else { format!("{title}\n{}", table(&header, rows)) }
    }

    fn figures(&self, what: &str, cases: &[Case]) -> String {
        let title = format!("{what}: median over rounds, and the quartiles");
        self.grid(&title, cases, |_, series, case| Some(figure(series, case)))
    }

    fn ratios(&self, what: &str, cases: &[Case]) -> String {
        if !cases.iter().any(|&case| self.series(OURS, case).is_some()) {
            return String::new();
        }
        let title = format!("{what}, divided by {OURS}'s of the same round: median, and the quartiles");
        self.grid(&title, cases, |contender, _, case| {
            let (theirs, ours) = (self.series(contender.name, case)?, self.series(OURS, case)?);
            Summary::of_ratios(&theirs.ns, &ours.ns).map(spread)
        })
    }

    fn latencies(&self) -> String {
        let rows = self.contenders.iter().zip(self.results).flat_map(|(contender, row)| {
            [Case::Home, Case::Other, Case::Parked].into_iter().filter_map(|case| {
                let series = row.get(&case).filter(|series| series.amiss(case).is_none())?;
                let shares = [0.5, 0.9, 0.99, 0.999].map(|share| series.latency.value_at_quantile(share));
                let cells = [contender.name.to_owned(), case.name()].into_iter();
                let cells = cells.chain(shares.map(|ns| ns.to_string()));
                Some(
                    cells
                        .chain([series.latency.len().to_string(), format!("{:.3}", series.switches)])
                        .collect(),
                )
            })
        });
        let rows: Vec<Vec<String>> = rows.collect();
        if rows.is_empty() {
            return String::new();
        }
        let header = ["", "", "p50", "p90", "p99", "p99.9", "proposals", "sleeps per proposal"];
        format!("ns of single proposals, each with one reading of the clock\n{}", table(&header, rows))
    }

    fn goals(&self) -> String {
        let rows = GOALS.iter().filter_map(|(case, goal)| {
            let (asked, here, met) = self.against(*case, goal)?;
            Some(vec![case.name(), asked, here, if met { "met" } else { "missed" }.to_owned()])
        });
        let rows: Vec<_> = rows.collect();
        if rows.is_empty() {
            return String::new();
        }
        format!("{OURS}'s goals\n{}", table(&["", "goal", "here", ""], rows))
    }

    /// The goal in words, what was reached, and whether that is enough.
    fn against(&self, case: Case, goal: &Goal) -> Option<(String, String, bool)> {
        let ours = self.series(OURS, case)?;
        let median = Summary::of(ours.ns.iter().copied())?.median;
        let ratio = |other: &str| Some(Summary::of_ratios(&ours.ns, &self.series(other, case)?.ns)?.median);
        Some(match *goal {
            Goal::Most(most) => (format!("<= {most} ns"), format!("{median:.0} ns"), median <= most),
            Goal::Times(most, other) => {
                let here = ratio(other)?;
                (format!("<= {most} x {other}"), format!("{here:.3} x"), here <= most)
            }
            Goal::Millions(least) => {
                let here = 1e3 / median;
                (format!(">= {least} million/s"), format!("{here:.2} million/s"), here >= least)
            }
            Goal::Faster(least) => {
                let others = self.contenders.iter().filter(|other| !other.name.starts_with(OURS));
                let ratios = others.filter_map(|other| Some((ratio(other.name)?, other.name)));
                let (ratio, best) = ratios.max_by(|a, b| a.0.total_cmp(&b.0))?;
                let here = 1.0 / ratio;
                (format!(">= {least} x the fastest other"), format!("{here:.2} x {best}"), here >= least)
            }
        })
    }

    /// Why the run proves nothing, if it does not.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for (contender, row) in self.contenders.iter().zip(self.results) {
            for case in Case::all() {
                if let Some(why) = row.get(&case).and_then(|series| series.amiss(case)) {
                    reasons.push(format!("{} {}: {why}", contender.name, case.name()));
                }
            }
        }
        if self.results.iter().all(HashMap::is_empty) {
            reasons.push("none of these has any of these figures".to_owned());
        }
        reasons
    }

    /// All figures of all rounds.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let one = |(contender, row): (&Contender, &HashMap<Case, Series>)| {
            let figures: serde_json::Map<_, _> =
                row.iter().map(|(case, series)| (case.name(), of_series(series, *case))).collect();
            json!({ "name": contender.name, "figures": figures })
        };
        self.contenders.iter().zip(self.results).map(one).collect()
    }
}

fn of_series(series: &Series, case: Case) -> Value {
    let quantile = |share| (!series.latency.is_empty()).then(|| series.latency.value_at_quantile(share));
    json!({
        "ns": series.ns,
        "switches": series.switches,
        "latency_ns": { "p50": quantile(0.5), "p99": quantile(0.99), "p99.9": quantile(0.999) },
        "amiss": series.amiss(case),
    })
}

fn figure(series: &Series, case: Case) -> String {
    if series.failure.is_some() {
        return "failed".to_owned();
    }
    if series.amiss(case).is_some() {
        return if case == Case::Parked { "is awake" } else { "sleeps" }.to_owned();
    }
    let show = |figure: f64| format!("{figure:.*}", if figure < 100.0 { 1 } else { 0 });
    Summary::of(series.ns.iter().copied())
        .map_or("-".to_owned(), |of| format!("{} ({}-{})", show(of.median), show(of.low), show(of.high)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Contenders with a figure for each, in nanoseconds.
    pub(in super::super) fn planted(figures: &[(&'static str, Case, f64)]) -> (Vec<Contender>, Results) {
        let one = |&(name, case, ns): &(&'static str, Case, f64)| {
            let mut series = Series { ns: vec![ns, 2.0 * ns], ..Series::default() };
            series.latency.record_n(ns as u64, 100).unwrap();
            series.switches = if case == Case::Parked { 0.1 } else { 0.0 };
            (Contender::new(name, []), HashMap::from([(case, series)]))
        };
        figures.iter().map(one).unzip()
    }

    fn report<'a>((contenders, results): &'a (Vec<Contender>, Results)) -> Report<'a> {
        Report { contenders, results }
    }

    #[test]
    fn figures_are_compared_within_their_round() {
        let all = planted(&[(PLAIN, Case::Read, 20.0), (OURS, Case::Read, 20.8)]);
        let tables = report(&all).tables();
        assert!(tables.contains("0.962 (0.962 to 0.962)"), "{tables}");
        assert!(tables.contains("<= 1.05 x plain  1.040 x  met"), "{tables}");
    }

    #[test]
    fn the_fastest_of_the_others_is_to_be_beaten() {
        let ns = [("dashmap", 30.0), ("left-right", 12.0), (OURS, 10.0), ("multikernel-awaited", 1.0)];
        let all = planted(&ns.map(|(name, ns)| (name, Case::Mixed, ns)));
        let tables = report(&all).tables();
        assert!(tables.contains("1.20 x left-right  missed"), "{tables}");
    }

    #[test]
    fn millions_are_of_a_second() {
        let all = planted(&[(OURS, Case::Batch(64), 200.0)]);
        assert!(report(&all).tables().contains("3.33 million/s  met"), "{}", report(&all).tables());
    }

    #[test]
    fn what_sleeps_or_fails_has_no_figure_and_proves_nothing() {
        let (contenders, mut results) = planted(&[(OURS, Case::Home, 100.0)]);
        results[0].get_mut(&Case::Home).unwrap().switches = 0.5;
        let mut all = (contenders, results);
        assert!(report(&all).tables().contains("sleeps"));
        assert_eq!(report(&all).reasons().len(), 1);
        all.1[0].get_mut(&Case::Home).unwrap().failure = Some("planted".to_owned());
        assert_eq!(report(&all).reasons(), ["multikernel home: planted"]);
        assert_eq!(report(&(Vec::new(), Vec::new())).reasons().len(), 1);
    }
}
