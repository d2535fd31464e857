//! The plots of the book: slowdowns by the number of cores, and what happens when a core's CPU is taken. SVG, so that no
//! font is needed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::load::Load;
use super::world::{Plan, World};
use super::{Named, OURS, Results};

const PIXELS: (u32, u32) = (860, 420);
/// Which loads are drawn, in which file.
const SLOWDOWNS: [(Load, &str, &str); 3] = [
    (Load::Skew, "balance-skew.svg", "One connection in eight has 90 % of the work"),
    (Load::Bursts, "balance-bursts.svg", "Connections that are silent 90 % of the time"),
    (Load::Tail, "balance-tail.svg", "One request in 200 takes 100 times as long"),
];
/// The schemes' names are beside the lines: so much longer is the axis, as a factor of cores and of time.
const LEGEND: (f64, f64) = (8.0, 1.3);
/// Of a recovery: how long one point stands for.
const STEP: u64 = 25_000_000;
const LENGTH: u64 = 3_500_000_000;

/// A line with its name.
type Line = (String, Vec<(f64, f64)>);

/// The 99th percentile of the slowdown from moment to moment, while the CPU of one of eight cores is taken and comes back.
#[must_use]
pub fn recoveries(schemes: &[Named], seeds: u64) -> Vec<Line> {
    let line = |(name, scheme): &Named| {
        let mut steps = vec![Vec::new(); (LENGTH / STEP) as usize];
        for seed in 1..=seeds {
            let plan = Plan { cores: 8, load: Load::Taken, seed, warm_up: 0, length: LENGTH };
            for (at, slowdown) in World::run(plan, *scheme).slowdowns {
                if let Some(step) = steps.get_mut((at / STEP) as usize) {
                    step.push(slowdown);
                }
            }
        }
        let point = |(index, mut step): (usize, Vec<f32>)| {
            let place = step.len() * 99 / 100;
            let most = (!step.is_empty()).then(|| *step.select_nth_unstable_by(place, f32::total_cmp).1);
            most.map(|most| (index as f64 * STEP as f64 / 1e9, f64::from(most)))
        };
        ((*name).to_owned(), steps.into_iter().enumerate().filter_map(point).collect())
    };
    schemes.iter().map(line).collect()
}

/// Draws into `folder`: `balance-skew.svg`, `balance-bursts.svg` and `balance-tail.svg`, each if that load was simulated,
/// and `balance-taken.svg`.
///
/// # Errors
/// When a file cannot be written, or there is nothing to draw.
pub fn draw(folder: &Path, results: &Results, recoveries: &[Line]) -> Result<()> {
    ensure!(!recoveries.is_empty(), "nothing was simulated that could be drawn");
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (load, file, title) in SLOWDOWNS {
        let lines = lines(results, load);
        if lines.is_empty() {
            continue;
        }
        let path = folder.join(file);
        let area = SVGBackend::new(&path, PIXELS).into_drawing_area();
        let most = lines.iter().flat_map(|line| &line.1).fold(2.0, |most: f64, point| most.max(point.0));
        slowdown_plot(&area, title, &lines, most).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    }
    let path = folder.join("balance-taken.svg");
    let area = SVGBackend::new(&path, PIXELS).into_drawing_area();
    recovery_plot(&area, recoveries).map_err(|error| anyhow!("{}: {error}", path.display()))
}

fn lines(results: &Results, load: Load) -> Vec<Line> {
    let line = |(name, _): Named| {
        let points: Vec<_> = results.line(load, name).iter().map(|row| (row.0 as f64, row.1.most)).collect();
        (points.len() > 1).then(|| (name.to_owned(), points))
    };
    super::schemes().into_iter().filter_map(line).collect()
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn slowdown_plot<'a>(area: &Area<'a>, title: &str, lines: &[Line], cores: f64) -> Drawn<'a> {
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption(
            format!("{title}: 99 % of requests take at most so many times their service (simulated)"),
            FONT,
        )
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d((2.0..cores * LEGEND.0).log_scale().base(2.0), range(lines).log_scale())?;
    chart
        .configure_mesh()
        .x_label_formatter(&|count| if *count > cores { String::new() } else { format!("{count} cores") })
        .y_label_formatter(&|slowdown| slowdown.to_string())
        .light_line_style(WHITE)
        .draw()?;
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

fn recovery_plot<'a>(area: &Area<'a>, lines: &[Line]) -> Drawn<'a> {
    area.fill(&WHITE)?;
    let seconds = LENGTH as f64 / 1e9;
    let mut chart = ChartBuilder::on(area)
        .caption("Half of one of eight CPUs is taken from 1 s to 2 s: p99 of slowdown (simulated)", FONT)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..seconds * LEGEND.1, range(lines).log_scale())?;
    chart
        .configure_mesh()
        .x_label_formatter(&|at| if *at > seconds { String::new() } else { format!("{at} s") })
        .y_label_formatter(&|slowdown| slowdown.to_string())
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

const FONT: (&str, u32) = ("sans-serif", 15);

/// Ours stands out.
fn style_of(name: &str, place: usize) -> ShapeStyle {
    if name == OURS { BLACK.stroke_width(4) } else { Palette99::pick(place).stroke_width(2) }
}

fn range(lines: &[Line]) -> std::ops::Range<f64> {
    let values = lines.iter().flat_map(|(_, points)| points.iter().map(|(_, value)| *value));
    let most = values.filter(|value| value.is_finite()).fold(2.0, f64::max);
    1.0..most * 1.3
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressBar;

    use super::super::{Size, schemes, simulate};
    use super::*;

    #[test]
    fn plots_say_that_they_are_simulated() {
        let folder = std::env::temp_dir().join(format!("multikernel-balance-{}", std::process::id()));
        let size = Size { cores: vec![2, 3], seeds: 1, length: 600_000_000 };
        let results = simulate(&[Load::Skew], &schemes()[2..4], &size, &ProgressBar::hidden());
        draw(&folder, &results, &[("placed once".to_owned(), vec![(0.5, 3.0)])]).unwrap();
        let drawn = |name: &str| fs::read_to_string(folder.join(name));
        let [skew, taken] = ["balance-skew.svg", "balance-taken.svg"].map(|name| drawn(name).unwrap());
        let tail = drawn("balance-tail.svg");
        fs::remove_dir_all(&folder).unwrap();
        assert!(skew.contains("simulated") && skew.contains(OURS) && taken.contains("simulated"));
        assert!(tail.is_err(), "it was not simulated");
        assert!(draw(&folder, &results, &[]).is_err());
    }
}
