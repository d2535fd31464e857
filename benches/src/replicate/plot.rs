//! The plots of the book: what a read costs, and how long a proposal takes. SVG, so that no font is needed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::cases::Case;
use super::report::{OURS, Report};
use crate::harness::stats::Summary;

const PIXELS: (u32, u32) = (860, 500);
/// Whose proposals are drawn, and in which cases.
const PROPOSALS: [(&str, Case); 5] = [
    ("line", Case::Home),
    ("line", Case::Other),
    (OURS, Case::Parked),
    (OURS, Case::Home),
    (OURS, Case::Other),
];
/// Points of a line, from the fastest to 99.99 % of proposals.
const POINTS: usize = 200;
const NINES: f64 = 4.0;
/// A share is drawn if more proposals than this lie beyond it.
const FEW: f64 = 4.0;
/// The names are beside the lines: so much longer is the axis.
const LEGEND: f64 = 1.45;

/// A line with its name.
type Line = (String, Vec<(f64, f64)>);

/// Draws into `folder`: `replicate-read.svg` and `replicate-propose.svg`, each if anybody was measured.
///
/// # Errors
/// When a file cannot be written, or there is nothing to draw.
pub fn draw(folder: &Path, report: &Report<'_>) -> Result<()> {
    let (bars, lines) = (bars(report), lines(report));
    ensure!(!(bars.is_empty() && lines.is_empty()), "nothing was measured that could be drawn");
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    if !bars.is_empty() {
        let path = folder.join("replicate-read.svg");
        let area = SVGBackend::new(&path, PIXELS).into_drawing_area();
        read_plot(&area, &bars).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    }
    if !lines.is_empty() {
        let path = folder.join("replicate-propose.svg");
        let area = SVGBackend::new(&path, PIXELS).into_drawing_area();
        propose_plot(&area, &lines).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// Names with nanoseconds, the slowest first: the fastest is at the top.
fn bars(report: &Report<'_>) -> Vec<(&'static str, f64)> {
    let bar = |name: &'static str| {
        let ns = Summary::of(report.series(name, Case::Read)?.ns.iter().copied())?.median;
        Some((name, ns))
    };
    let mut bars: Vec<_> = report.contenders.iter().filter_map(|contender| bar(contender.name)).collect();
    bars.sort_by(|a, b| b.1.total_cmp(&a.1));
    bars
}

fn lines(report: &Report<'_>) -> Vec<Line> {
    let line = |(name, case): (&str, Case)| {
        let latency = &report.series(name, case)?.latency;
        // As far as a few proposals were slower.
        let known = (latency.len() as f64 / FEW).log10();
        let nines = (0..=POINTS).map(|point| NINES * point as f64 / POINTS as f64);
        let points = nines.take_while(|nines| *nines <= known);
        let points = points.map(|nines| (nines, latency.value_at_quantile(1.0 - 10_f64.powf(-nines)) as f64));
        (!latency.is_empty()).then(|| (label(name, case), points.collect::<Vec<_>>()))
    };
    PROPOSALS.into_iter().filter_map(line).collect()
}

fn label(name: &str, case: Case) -> String {
    let what = match (name, case) {
        ("line", Case::Home) => "four hops",
        ("line", _) => "six hops",
        (_, Case::Home) => "from the home",
        (_, Case::Other) => "from the other core",
        (_, _) => "the other core asleep",
    };
    format!("{name}, {what}")
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn read_plot<'a>(area: &Area<'a>, bars: &[(&str, f64)]) -> Drawn<'a> {
    area.fill(&WHITE)?;
    let most = bars.iter().fold(0.0, |most: f64, bar| most.max(bar.1));
    let rows = 0.0..bars.len() as f64;
    let mut chart = ChartBuilder::on(area)
        .caption("A read of a map of 10,000 entries, on two cores at once: nanoseconds", ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(36)
        .build_cartesian_2d(0.0..most * LEGEND, rows)?;
    chart.configure_mesh().disable_y_mesh().disable_y_axis().light_line_style(WHITE).draw()?;
    for (row, &(name, ns)) in bars.iter().enumerate() {
        let low = row as f64;
        let style =
            if name.starts_with(OURS) { BLACK.filled() } else { Palette99::pick(0).mix(0.6).filled() };
        let bar = Rectangle::new([(0.0, low + 0.2), (ns, low + 0.8)], style);
        let beside = (ns + most * 0.01, low + 0.6);
        let text = Text::new(format!("{name}  {ns:.0}"), beside, ("sans-serif", 15));
        chart.draw_series([bar])?;
        chart.draw_series([text])?;
    }
    area.present()
}

fn propose_plot<'a>(area: &Area<'a>, lines: &[Line]) -> Drawn<'a> {
    area.fill(&WHITE)?;
    let values = lines.iter().flat_map(|(_, points)| points.iter().map(|(_, ns)| ns.max(1.0)));
    let (low, high) =
        values.fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), ns| (low.min(ns), high.max(ns)));
    let mut chart = ChartBuilder::on(area)
        .caption("A proposal on two cores: so many took at most so long", ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..NINES * LEGEND, (low / 1.3..high * 1.3).log_scale())?;
    chart
        .configure_mesh()
        .x_labels((NINES * LEGEND) as usize + 1)
        .x_label_formatter(&|nines| share(*nines))
        .y_label_formatter(&|ns| duration(*ns))
        .light_line_style(WHITE)
        .draw()?;
    for (place, (name, points)) in lines.iter().enumerate() {
        let style = match name.starts_with(OURS) {
            true => Palette99::pick(place).stroke_width(4),
            false => BLACK.mix(0.5).stroke_width(2),
        };
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
    area.present()
}

/// `2` nines are 99 %.
fn share(nines: f64) -> String {
    let percent = 100.0 * (1.0 - 10_f64.powf(-nines));
    match nines {
        ..=0.0 => "fastest".to_owned(),
        ..=NINES => format!("{} %", (percent * 100.0).round() / 100.0),
        _ => String::new(),
    }
}

fn duration(ns: f64) -> String {
    match ns {
        1e6.. => format!("{} ms", ns / 1e6),
        1e3.. => format!("{} us", ns / 1e3),
        _ => format!("{ns} ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::planted;
    use super::*;

    #[test]
    fn both_plots_are_drawn_and_name_who_is_in_them() {
        let folder = std::env::temp_dir().join(format!("multikernel-replicate-{}", std::process::id()));
        let (contenders, results) = planted(&[
            ("dashmap", Case::Read, 90.0),
            ("line", Case::Home, 500.0),
            (OURS, Case::Parked, 400.0),
        ]);
        draw(&folder, &Report { contenders: &contenders, results: &results }).unwrap();
        let [read, propose] = ["replicate-read.svg", "replicate-propose.svg"]
            .map(|name| fs::read_to_string(folder.join(name)).unwrap());
        fs::remove_dir_all(&folder).unwrap();
        assert!(read.contains("dashmap") && !read.contains("line  "), "{read}");
        assert!(propose.contains("four hops") && propose.contains("the other core asleep"), "{propose}");
        let nothing = Report { contenders: &[], results: &Vec::new() };
        assert!(draw(&folder, &nothing).is_err());
    }
}
