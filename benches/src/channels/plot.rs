//! The plots of the book: latency of round trips, and throughput by message size. SVG, so that no font is needed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::cases::{Case, SIZES};
use super::report::Report;
use crate::harness::stats::Summary;

const PIXELS: (u32, u32) = (860, 500);
/// Who is drawn: enough to see where we are, few enough to be told apart.
const AWAKE: [&str; 5] = ["line", "rtrb", "crossbeam", "glommio", "multikernel"];
const PARKED: [&str; 5] = ["msg-ring", "async-channel", "tokio-ct", "glommio", "multikernel"];
const STREAMS: [&str; 7] = ["rtrb", "crossbeam", "kanal", "flume", "tokio-ct", "glommio", "multikernel"];
/// Points of a latency line, from the fastest to 99.99 % of round trips.
const POINTS: usize = 200;
const NINES: f64 = 4.0;
/// A share is drawn if more round trips than this lie beyond it.
const FEW: f64 = 4.0;
/// The names are beside the lines: so much longer is the axis.
const LEGEND: f64 = 1.4;

/// A line with its name.
type Line = (String, Vec<(f64, f64)>);

/// Draws into `folder`: `latency.svg` and `throughput.svg`, each if anybody was measured.
///
/// # Errors
/// When a file cannot be written, or there is nothing to draw.
pub fn draw(folder: &Path, report: &Report<'_>) -> Result<()> {
    let (latency, throughput) = (latency_lines(report), throughput_lines(report));
    ensure!(!(latency.is_empty() && throughput.is_empty()), "nothing was measured that could be drawn");
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    if !latency.is_empty() {
        let path = folder.join("latency.svg");
        let area = SVGBackend::new(&path, PIXELS).into_drawing_area();
        latency_plot(&area, &latency).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    }
    if !throughput.is_empty() {
        let path = folder.join("throughput.svg");
        let area = SVGBackend::new(&path, PIXELS).into_drawing_area();
        throughput_plot(&area, &throughput).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn latency_lines(report: &Report<'_>) -> Vec<Line> {
    let awake = AWAKE.map(|name| (name, Case::Awake));
    let parked = PARKED.map(|name| (name, Case::Parked));
    let line = |(name, case): (&str, Case)| {
        let latency = &report.series(name, case)?.latency;
        // As far as a few round trips were slower.
        let known = (latency.len() as f64 / FEW).log10();
        let nines = (0..=POINTS).map(|point| NINES * point as f64 / POINTS as f64);
        let points = nines.take_while(|nines| *nines <= known);
        let points = points.map(|nines| (nines, latency.value_at_quantile(1.0 - 10_f64.powf(-nines)) as f64));
        (!latency.is_empty()).then(|| (format!("{name}, {}", case.name()), points.collect::<Vec<_>>()))
    };
    awake.into_iter().chain(parked).filter_map(line).collect()
}

fn throughput_lines(report: &Report<'_>) -> Vec<Line> {
    let line = |name: &str| {
        let point = |bytes: usize| {
            let ns = Summary::of(report.series(name, Case::Stream(bytes))?.ns.iter().copied())?.median;
            Some((bytes as f64, 1e3 / ns))
        };
        let points: Vec<_> = SIZES.into_iter().filter_map(point).collect();
        (points.len() > 1).then(|| (name.to_owned(), points))
    };
    STREAMS.into_iter().filter_map(line).collect()
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn latency_plot<'a>(area: &Area<'a>, lines: &[Line]) -> Drawn<'a> {
    area.fill(&WHITE)?;
    let (low, high) = range(lines);
    let mut chart = ChartBuilder::on(area)
        .caption("Round trips between two cores: so many took at most so long", ("sans-serif", 17))
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
        let style = style_of(name, place);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
    area.present()
}

fn throughput_plot<'a>(area: &Area<'a>, lines: &[Line]) -> Drawn<'a> {
    area.fill(&WHITE)?;
    let (low, high) = range(lines);
    // A factor of eight is a quarter of the range.
    let sizes = SIZES[0] as f64..8.0 * SIZES[SIZES.len() - 1] as f64;
    let mut chart = ChartBuilder::on(area)
        .caption("From one core to another, one at a time: million messages a second", ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(
            sizes.log_scale().base(2.0).with_key_points(SIZES.map(|bytes| bytes as f64).to_vec()),
            (low / 1.3..high * 1.3).log_scale(),
        )?;
    chart.configure_mesh().x_label_formatter(&|bytes| format!("{bytes} B")).light_line_style(WHITE).draw()?;
    for (place, (name, points)) in lines.iter().enumerate() {
        let style = style_of(name, place);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style).point_size(3))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
    area.present()
}

/// Ours stand out.
fn style_of(name: &str, place: usize) -> ShapeStyle {
    if name.starts_with("multikernel") {
        BLACK.stroke_width(4)
    } else {
        Palette99::pick(place).stroke_width(2)
    }
}

/// The least and the greatest value of all lines.
fn range(lines: &[Line]) -> (f64, f64) {
    let values = lines.iter().flat_map(|(_, points)| points.iter().map(|(_, value)| *value));
    values.fold((f64::INFINITY, 0.0), |(low, high), value| (low.min(value.max(1.0)), high.max(value)))
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
        let folder = std::env::temp_dir().join(format!("multikernel-plots-{}", std::process::id()));
        let (mut contenders, mut results) =
            planted(&[("rtrb", Case::Awake, 300.0), ("multikernel", Case::Parked, 9000.0)]);
        let (streaming, streams) = planted(&[("glommio", Case::Stream(8), 40.0)]);
        contenders.extend(streaming);
        results.extend(streams);
        let (_, mut larger) = planted(&[("glommio", Case::Stream(1024), 400.0)]);
        results[2].extend(larger.remove(0));
        draw(&folder, &Report { contenders: &contenders, results: &results, idle: &[] }).unwrap();
        let [latency, throughput] =
            ["latency.svg", "throughput.svg"].map(|name| fs::read_to_string(folder.join(name)).unwrap());
        fs::remove_dir_all(&folder).unwrap();
        assert!(latency.contains("rtrb, awake") && latency.contains("multikernel, parked"), "{latency}");
        assert!(throughput.contains("glommio") && throughput.contains("1024 B"), "{throughput}");
        let nothing = Report { contenders: &[], results: &Vec::new(), idle: &[] };
        assert!(draw(&folder, &nothing).is_err());
    }

    #[test]
    fn labels_are_short() {
        assert_eq!(
            [0.0, 1.0, 2.0, 3.0, 4.0, 5.0].map(share),
            ["fastest", "90 %", "99 %", "99.9 %", "99.99 %", ""]
        );
        assert_eq!([100.0, 1000.0, 2e4, 1e6].map(duration), ["100 ns", "1 us", "20 us", "1 ms"]);
    }
}
