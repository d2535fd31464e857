//! Figures on a terminal and in a file.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::pairs::Series;
use super::stats::Summary;

/// What the first two ratio columns divide by.
pub const BASELINES: [&str; 2] = ["tokio-ct", "raw"];

/// A table whose first column is text and whose others are figures.
#[must_use]
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let header: Vec<String> = header.iter().map(|&name| name.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let width = |column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    lines.insert(1, "-".repeat(lines[0].len()));
    lines.join("\n")
}

/// Answers per second (with ">=" where the client was the limit), latency, CPU time and who was busy; `what` is what is counted.
#[must_use]
pub fn figures(what: &str, all: &[Series]) -> String {
    let rate = format!("{what}s/s");
    let cpu = format!("CPU us/{what}");
    let header =
        ["server", "cores", &rate, "p50 us", "p99 us", "p99.9 us", &cpu, "server busy", "client busy"];
    table(&header, all.iter().filter(|series| !series.rate.is_empty()).map(figures_of))
}

fn figures_of(series: &Series) -> Vec<String> {
    let median =
        |figures: &[f64]| Summary::of(figures.iter().copied()).map_or(f64::NAN, |summary| summary.median);
    let micros = |share| format!("{:.0}", series.latency.value_at_quantile(share) as f64 / 1e3);
    vec![
        series.name.clone(),
        series.cores.to_string(),
        format!("{}{:.0}", if series.client_bound.is_some() { ">=" } else { "" }, median(&series.rate)),
        micros(0.5),
        micros(0.99),
        micros(0.999),
        format!("{:.2}", median(&series.cpu) / 1e3),
        format!("{:.0} %", 100.0 * median(&series.server_busy)),
        format!("{:.0} %", 100.0 * median(&series.client_busy)),
    ]
}

/// Medians of per-round ratios to each of [`BASELINES`], with quartiles.
#[must_use]
pub fn ratios(what: &str, all: &[Series]) -> String {
    ratios_to(&BASELINES, what, all)
}

/// The same to these.
#[must_use]
pub fn ratios_to(bases: &[&str], what: &str, all: &[Series]) -> String {
    let mut header = vec!["server".to_owned()];
    for measure in [format!("{what}s/s"), "CPU".to_owned()] {
        header.extend(bases.iter().map(|base| format!("{measure} / {base}")));
    }
    let header: Vec<_> = header.iter().map(String::as_str).collect();
    let against = |series: &Series, base: &str, measure: Measure| {
        let base = all.iter().find(|series| series.name == base)?;
        Summary::of_ratios(measure(series)?, measure(base)?).map(spread)
    };
    let rows = all.iter().filter(|series| !series.rate.is_empty()).map(|series| {
        let mut row = vec![series.name.clone()];
        for measure in [rate_of as Measure, |series| Some(&series.cpu)] {
            row.extend(bases.iter().map(|base| against(series, base, measure).unwrap_or("-".to_owned())));
        }
        row
    });
    table(&header, rows)
}

type Measure = fn(&Series) -> Option<&[f64]>;

/// Answers per second, unless they are the client's limit: a ratio of those would be about the client.
fn rate_of(series: &Series) -> Option<&[f64]> {
    series.client_bound.is_none().then_some(&series.rate)
}

/// A median with its quartiles.
#[must_use]
pub fn spread(summary: Summary) -> String {
    format!("{:.3} ({:.3} to {:.3})", summary.median, summary.low, summary.high)
}

/// All figures of all rounds, for other programs.
#[must_use]
pub fn to_json(all: &[Series]) -> Value {
    let one = |series: &Series| {
        let quantile = |share| series.latency.value_at_quantile(share);
        json!({
            "name": series.name,
            "cores": series.cores,
            "per_second": series.rate,
            "cpu_ns": series.cpu,
            "server_busy": series.server_busy,
            "client_busy": series.client_busy,
            "latency_ns": { "p50": quantile(0.5), "p99": quantile(0.99), "p99.9": quantile(0.999) },
            "client_bound": series.client_bound,
            "failure": series.failure,
        })
    };
    all.iter().map(one).collect()
}

/// Writes `value` to `path`, when there is one.
///
/// # Errors
/// When the file cannot be written.
pub fn save(path: Option<&Path>, value: &Value) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    fs::write(path, format!("{value:#}\n")).with_context(|| format!("cannot write {}", path.display()))
}

/// A duration in words a headline can use.
#[must_use]
pub fn in_ms(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
