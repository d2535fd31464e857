//! What was measured, as tables, as goals met or missed, and as figures for other programs.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::cases::{Case, Contender, SIZES};
use super::idle::Idle;
use super::measure::{Results, Series};
use crate::harness::stats::Summary;
use crate::harness::table::{spread, table};

/// Whom the others are compared with: the first of these that was measured.
const BASELINES: [&str; 2] = ["multikernel", "ring"];
/// More CPU time than this is not nothing, in percent.
const NOTHING: f64 = 0.05;

/// All that is known after a run.
pub struct Report<'a> {
    /// Who took part.
    pub contenders: &'a [Contender],
    /// What each did, in the same order.
    pub results: &'a Results,
    /// And what those used that did nothing.
    pub idle: &'a [Idle],
}

/// A goal of ours for one case.
enum Goal {
    /// So many nanoseconds at most.
    Most(f64),
    /// At most so many times what this contender needs.
    Times(f64, &'static str),
    /// At least so many times as fast as the fastest contender whose name begins like this.
    Faster(f64, &'static str),
    /// Shares off by at most this part of their due, in every turn.
    Fair(f64),
}

const GOALS: [(&str, Case, Goal); 12] = [
    ("multikernel", Case::Stream(8), Goal::Most(10.0)),
    ("multikernel", Case::Batch, Goal::Most(3.0)),
    ("multikernel", Case::Stream(64), Goal::Most(20.0)),
    ("multikernel", Case::Awake, Goal::Most(400.0)),
    ("multikernel", Case::Awake, Goal::Times(1.3, "rtrb")),
    ("multikernel", Case::Parked, Goal::Times(1.05, "msg-ring")),
    ("multikernel-epoll", Case::Parked, Goal::Times(1.05, "eventfd")),
    ("multikernel", Case::OneOfMany, Goal::Faster(5.0, "tokio")),
    ("multikernel", Case::Many, Goal::Faster(5.0, "tokio")),
    ("multikernel", Case::Fairness, Goal::Fair(0.1)),
    ("multikernel", Case::SameCore, Goal::Most(15.0)),
    ("multikernel", Case::Call, Goal::Most(500.0)),
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
        let streams =
            [Case::Stream(8), Case::Batch, Case::Stream(64), Case::OneOfMany, Case::Many, Case::SameCore];
        let trips = [Case::Awake, Case::Parked, Case::Call];
        let parts = [
            self.figures("ns a message", &streams),
            self.ratios("ns a message", &streams),
            self.figures("ns a round trip", &trips),
            self.ratios("ns a round trip", &trips),
            self.latencies(),
            self.figures("ns a message, by size", &SIZES.map(Case::Stream)),
            self.fairness(),
            self.idle(),
            self.goals(),
            self.notes(),
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
        let cases: Vec<Case> = cases
            .iter()
            .filter(|case| self.results.iter().any(|row| row.contains_key(case)))
            .copied()
            .collect();
        let names: Vec<String> = cases.iter().map(|case| case.name()).collect();
        let header: Vec<&str> =
            ["channel", "cores"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let rows = self.contenders.iter().zip(self.results).filter_map(|(contender, row)| {
            let cells: Vec<_> = cases
                .iter()
                .map(|case| row.get(case).and_then(|series| cell(contender, series, *case)))
                .collect();
            cells.iter().any(Option::is_some).then(|| {
                let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
                [contender.name.to_owned(), contender.cores.to_owned()].into_iter().chain(cells).collect()
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
        let Some(base) =
            BASELINES.into_iter().find(|base| cases.iter().any(|&case| self.series(base, case).is_some()))
        else {
            return String::new();
        };
        let title = format!("{what}, divided by {base}'s of the same round: median, and the quartiles");
        self.grid(&title, cases, |contender, series, case| {
            let base = self.series(base, case)?;
            self.series(contender.name, case)?;
            Summary::of_ratios(&series.ns, &base.ns).map(spread)
        })
    }

    fn latencies(&self) -> String {
        let rows = self.contenders.iter().zip(self.results).flat_map(|(contender, row)| {
            [Case::Awake, Case::Parked].into_iter().filter_map(|case| {
                let series = row.get(&case).filter(|series| series.amiss(case).is_none())?;
                let at = |share| series.latency.value_at_quantile(share).to_string();
                Some(vec![
                    contender.name.to_owned(),
                    case.name(),
                    at(0.5),
                    at(0.9),
                    at(0.99),
                    at(0.999),
                    series.latency.len().to_string(),
                ])
            })
        });
        let rows: Vec<_> = rows.collect();
        if rows.is_empty() {
            return String::new();
        }
        let header = ["channel", "cores are", "p50", "p90", "p99", "p99.9", "round trips"];
        format!("ns of single round trips, each with one reading of the clock\n{}", table(&header, rows))
    }

    fn fairness(&self) -> String {
        let title = "\
            how far a sender's share of a turn was from its due, the worst of four senders: median turn, worst turn\n\
            fairness: as many messages of each wait, so the receiver alone decides\n\
            greedy: each sends all it can, so most of what waits may be of one, and a receiver has no choice: no goal";
        self.grid(title, &[Case::Fairness, Case::Greedy], |_, series, _| {
            let median = Summary::of(series.off.iter().copied())?.median;
            Some(format!("{:.0} %, {:.0} %", 100.0 * median, 100.0 * worst_turn(series)?))
        })
    }

    fn idle(&self) -> String {
        if self.idle.is_empty() {
            return String::new();
        }
        let rows = self.idle.iter().map(|idle| {
            let percent = match &idle.percent {
                Ok(percent) => format!("{percent:.3} %"),
                Err(_) => "failed".to_owned(),
            };
            vec![idle.name.to_owned(), idle.threads.to_string(), percent]
        });
        format!("CPU time of cores that wait\n{}", table(&["channel", "threads", "CPU"], rows))
    }

    fn goals(&self) -> String {
        let verdict = |met| if met { "met" } else { "missed" }.to_owned();
        let mut rows: Vec<Vec<String>> = Vec::new();
        for (name, case, goal) in &GOALS {
            if let Some((asked, here, met)) = self.against(name, *case, goal) {
                rows.push(vec![format!("{name} {}", case.name()), asked, here, verdict(met)]);
            }
        }
        if let Some(idle) = self.idle.iter().find(|idle| idle.name == BASELINES[0])
            && let Ok(percent) = idle.percent
        {
            let here = format!("{percent:.3} %");
            rows.push(vec![
                "multikernel idle".to_owned(),
                "0.0 %".to_owned(),
                here,
                verdict(percent < NOTHING),
            ]);
        }
        if rows.is_empty() {
            return String::new();
        }
        format!("goals\n{}", table(&["figure", "goal", "here", ""], rows))
    }

    /// What a reader should know of the figures.
    fn notes(&self) -> String {
        let mut notes = Vec::new();
        for (contender, row) in self.contenders.iter().zip(self.results) {
            for case in Case::all() {
                let Some(series) = row.get(&case) else { continue };
                let name = format!("{} {}", contender.name, case.name());
                if series.hung > 0 {
                    notes.push(format!("{name}: {} visits never ended and do not count", series.hung));
                }
                if let Some(why) = series.amiss(case) {
                    notes.push(format!("{name}: {why}"));
                }
            }
        }
        notes.join("\n")
    }

    /// The goal in words, what was reached, and whether that is enough.
    fn against(&self, name: &str, case: Case, goal: &Goal) -> Option<(String, String, bool)> {
        let ours = self.series(name, case)?;
        let ratio = |other: &str| Some(Summary::of_ratios(&ours.ns, &self.series(other, case)?.ns)?.median);
        Some(match *goal {
            Goal::Most(most) => {
                let here = Summary::of(ours.ns.iter().copied())?.median;
                (format!("<= {most} ns"), format!("{here:.1} ns"), here <= most)
            }
            Goal::Times(most, other) => {
                let here = ratio(other)?;
                (format!("<= {most} x {other}"), format!("{here:.3} x"), here <= most)
            }
            Goal::Faster(least, beginning) => {
                let peers = self.contenders.iter().filter(|contender| contender.name.starts_with(beginning));
                let here = 1.0 / peers.filter_map(|peer| ratio(peer.name)).reduce(f64::max)?;
                (format!(">= {least} x as fast as {beginning}"), format!("{here:.1} x"), here >= least)
            }
            Goal::Fair(most) => {
                let here = worst_turn(ours)?;
                (format!("<= {:.0} %", 100.0 * most), format!("{:.1} %", 100.0 * here), here <= most)
            }
        })
    }

    /// Why the run proves nothing, if it does not: whatever went wrong, and what is no figure though it has to be one.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for (contender, row) in self.contenders.iter().zip(self.results) {
            for case in Case::all() {
                let Some(series) = row.get(&case) else { continue };
                // A peer that does not sleep, or does not stay awake, is shown without a figure; it is what it is.
                if let Some(why) =
                    series.amiss(case).filter(|_| series.failure.is_some() || contender.controlled)
                {
                    reasons.push(format!("{} {}: {why}", contender.name, case.name()));
                }
            }
        }
        let idle = self.idle.iter().filter_map(|idle| Some((idle.name, idle.percent.as_ref().err()?)));
        reasons.extend(idle.map(|(name, error)| format!("{name} idle: {error:#}")));
        if self.results.iter().all(HashMap::is_empty) && self.idle.is_empty() {
            reasons.push("none of these channels has any of these figures".to_owned());
        }
        reasons
    }

    /// All figures of all rounds.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let one = |(contender, row): (&Contender, &HashMap<Case, Series>)| {
            let figures: serde_json::Map<_, _> =
                row.iter().map(|(case, series)| (case.name(), of_series(series, *case))).collect();
            let idle = self.idle.iter().find(|idle| idle.name == contender.name);
            json!({
                "name": contender.name,
                "cores": contender.cores,
                "figures": figures,
                "idle_cpu_percent": idle.and_then(|idle| idle.percent.as_ref().ok()),
            })
        };
        self.contenders.iter().zip(self.results).map(one).collect()
    }
}

fn of_series(series: &Series, case: Case) -> Value {
    let quantile = |share| (!series.latency.is_empty()).then(|| series.latency.value_at_quantile(share));
    json!({
        "ns": series.ns,
        "off": series.off,
        "switches": series.switches,
        "hung": series.hung,
        "latency_ns": { "p50": quantile(0.5), "p99": quantile(0.99), "p99.9": quantile(0.999) },
        "amiss": series.amiss(case),
    })
}

/// How far off the worst share of all turns was.
fn worst_turn(series: &Series) -> Option<f64> {
    series.off.iter().copied().reduce(f64::max)
}

fn figure(series: &Series, case: Case) -> String {
    if series.failure.is_some() {
        return "failed".to_owned();
    }
    if series.amiss(case).is_some() {
        return if case == Case::Awake { "sleeps" } else { "is awake" }.to_owned();
    }
    let digits = |figure: f64| if figure < 100.0 { 1 } else { 0 };
    let show = |figure: f64| format!("{figure:.*}", digits(figure));
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
            series.switches = if case == Case::Parked { 2.0 } else { 0.0 };
            (Contender::new(name, "none").controlled(), HashMap::from([(case, series)]))
        };
        figures.iter().map(one).unzip()
    }

    fn report<'a>((contenders, results): &'a (Vec<Contender>, Results)) -> Report<'a> {
        Report { contenders, results, idle: &[] }
    }

    #[test]
    fn figures_are_compared_within_their_round() {
        let parked = [("msg-ring", 100.0), ("multikernel", 104.0)];
        let all = planted(&parked.map(|(name, ns)| (name, Case::Parked, ns)));
        let tables = report(&all).tables();
        assert!(tables.contains("0.962 (0.962 to 0.962)"), "{tables}");
        assert!(tables.contains("<= 1.05 x msg-ring  1.040 x  met"), "{tables}");
    }

    #[test]
    fn a_goal_is_met_by_the_fastest_of_the_peers() {
        let ns = [("tokio-ct", 100.0), ("tokio-mt", 40.0), ("multikernel", 10.0)];
        let all = planted(&ns.map(|(name, ns)| (name, Case::Many, ns)));
        let tables = report(&all).tables();
        assert!(tables.contains("4.0 x  missed"), "{tables}");
    }

    #[test]
    fn one_unfair_turn_is_unfair() {
        let (contenders, mut results) = planted(&[("multikernel", Case::Fairness, 0.0)]);
        results[0].get_mut(&Case::Fairness).unwrap().off = vec![0.01, 0.02, 0.09];
        let mut all = (contenders, results);
        assert!(report(&all).tables().contains("<= 10 %  9.0 %  met"));
        all.1[0].get_mut(&Case::Fairness).unwrap().off.push(0.2);
        assert!(report(&all).tables().contains("<= 10 %  20.0 %  missed"));
    }

    #[test]
    fn greedy_senders_are_shown_and_not_judged() {
        let (contenders, mut results) = planted(&[("multikernel", Case::Greedy, 0.0)]);
        results[0].get_mut(&Case::Greedy).unwrap().off = vec![0.5, 0.5, 3.0];
        let tables = report(&(contenders, results)).tables();
        assert!(tables.contains("50 %, 300 %") && !tables.contains("goals"), "{tables}");
    }

    #[test]
    fn what_is_not_asleep_has_no_figure_and_proves_nothing() {
        let (contenders, mut results) = planted(&[("msg-ring", Case::Parked, 100.0)]);
        results[0].get_mut(&Case::Parked).unwrap().switches = 0.5;
        let mut all = (contenders, results);
        assert!(report(&all).tables().contains("is awake"));
        assert_eq!(report(&all).reasons().len(), 1);
        all.0[0].controlled = false;
        assert_eq!(report(&all).reasons().len(), 0, "what a peer does is its own affair");
    }

    #[test]
    fn failures_and_an_empty_run_prove_nothing() {
        let (contenders, mut results) = planted(&[("rtrb", Case::Batch, 1.0)]);
        results[0].get_mut(&Case::Batch).unwrap().failure = Some("planted".to_owned());
        let all = (contenders, results);
        assert_eq!(report(&all).reasons(), ["rtrb batch: planted"]);
        assert!(report(&all).tables().contains("failed"));
        assert_eq!(report(&(Vec::new(), Vec::new())).reasons().len(), 1);
    }
}
