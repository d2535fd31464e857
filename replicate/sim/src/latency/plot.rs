//! The plot of the book. SVG, so that no font is needed.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::report::{SMELT, SMELT_CORES, curve};
use super::{MODELS, Model, SIZES, Shape};

const PIXELS: (u32, u32) = (1000, 470);
/// Who is drawn. Of the k-ary trees the one that is best on large machines.
const DRAWN: [Shape; 4] = [Shape::Flat, Shape::TwoLevel, Shape::KAry(4), Shape::Greedy];
/// Told apart by everybody, and by their marks where there is no colour.
const COLOURS: [RGBColor; 4] =
    [RGBColor(213, 94, 0), RGBColor(0, 114, 178), RGBColor(0, 158, 115), RGBColor(0, 0, 0)];
/// Both panels have this scale.
const CYCLES: std::ops::Range<f64> = 300.0..2e6;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

/// Draws the plot into that file.
///
/// # Errors
///
/// What went wrong, with the name of the file.
pub fn draw(path: &Path) -> Result<(), String> {
    let area = SVGBackend::new(path, PIXELS).into_drawing_area();
    draw_on(&area).map_err(|error| format!("{}: {error}", path.display()))
}

fn draw_on<'a>(area: &Area<'a>) -> Drawn<'a> {
    area.fill(&WHITE)?;
    let title = "One agreement, simulated: cycles from the proposal to the last commit";
    let body = area.titled(title, ("sans-serif", 17))?;
    let (left, right) = body.split_horizontally(PIXELS.0 / 2);
    panel(&left, &MODELS[0], &SMELT)?;
    panel(&right, &MODELS[3], &[])?;
    area.present()
}

/// One kind of machine. `measured` are marked beside what is simulated.
fn panel<'a>(area: &Area<'a>, model: &Model, measured: &[(Shape, f64)]) -> Drawn<'a> {
    let cores = SIZES[0] as f64..1.2 * SIZES[SIZES.len() - 1] as f64;
    let ticks = SIZES.iter().filter(|cores| **cores != SMELT_CORES).map(|cores| *cores as f64).collect();
    let mut chart = ChartBuilder::on(area)
        .caption(model.name, ("sans-serif", 14))
        .margin(8)
        .x_label_area_size(38)
        .y_label_area_size(52)
        .build_cartesian_2d(cores.log_scale().base(2.0).with_key_points(ticks), CYCLES.log_scale())?;
    chart
        .configure_mesh()
        .x_desc("cores")
        .x_label_formatter(&|cores| format!("{cores}"))
        .y_label_formatter(&|cycles| thousands(*cycles))
        .light_line_style(WHITE)
        .draw()?;
    for (place, shape) in DRAWN.into_iter().enumerate() {
        let points = curve(model, shape);
        let style = COLOURS[place].stroke_width(if shape == Shape::Greedy { 3 } else { 2 });
        let name = if shape == Shape::Flat { "flat, as it ships".to_owned() } else { shape.name() };
        chart.draw_series(LineSeries::new(points.iter().copied(), style))?.label(name).legend(
            move |(x, y)| {
                EmptyElement::at((x, y)) + PathElement::new([(0, 0), (20, 0)], style) + mark(place, (10, 0))
            },
        );
        chart.draw_series(points.iter().map(|point| EmptyElement::at(*point) + mark(place, (0, 0))))?;
    }
    let ring = BLACK.stroke_width(2);
    let rings = measured.iter().map(|(_, cycles)| Circle::new((SMELT_CORES as f64, *cycles), 8, ring));
    let series = chart.draw_series(rings)?;
    if !measured.is_empty() {
        series
            .label("measured by Smelt, from another core")
            .legend(move |(x, y)| Circle::new((x + 10, y), 7, ring));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(BLACK)
        .background_style(WHITE)
        .draw()?;
    Ok(())
}

/// The mark of that line: a square, a triangle, a diamond, a disc.
fn mark(place: usize, (x, y): (i32, i32)) -> Polygon<(i32, i32)> {
    let corners: &[(i32, i32)] = match place {
        0 => &[(-4, -4), (4, -4), (4, 4), (-4, 4)],
        1 => &[(0, -6), (6, 5), (-6, 5)],
        2 => &[(0, -6), (6, 0), (0, 6), (-6, 0)],
        _ => &[(-2, -5), (2, -5), (5, -2), (5, 2), (2, 5), (-2, 5), (-5, 2), (-5, -2)],
    };
    let corners: Vec<_> = corners.iter().map(|(right, down)| (x + right, y + down)).collect();
    Polygon::new(corners, COLOURS[place].filled())
}

/// `4000` is 4k.
fn thousands(cycles: f64) -> String {
    match cycles {
        1e6.. => format!("{}M", cycles / 1e6),
        1e3.. => format!("{}k", cycles / 1e3),
        _ => format!("{cycles}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_machines_are_drawn_and_every_line_is_named() {
        let path = std::env::temp_dir().join(format!("multikernel-agreement-{}.svg", std::process::id()));
        draw(&path).unwrap();
        let plot = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        for name in
            ["flat, as it ships", "two-level", "4-ary", "topology", "measured by Smelt", "HotOS", "1024"]
        {
            assert!(plot.contains(name), "{name} is missing");
        }
        assert!(draw(Path::new("/nowhere/plot.svg")).is_err());
    }

    #[test]
    fn labels_are_short() {
        assert_eq!([500.0, 4000.0, 2e6].map(thousands), ["500", "4k", "2M"]);
    }
}
