//! The tables, and what they come to: from how many cores on a tree is faster, and how fast each grows.

use std::fmt::Write;

use super::{HOME, MODELS, Model, SHAPES, SIZES, Shape};

/// What Smelt measured for an agreement of 20 cores, in cycles: its own tree, and one core that tells all others.
pub(super) const SMELT: [(Shape, f64); 2] = [(Shape::Greedy, 6_100.0), (Shape::Flat, 14_400.0)];
/// On so many cores.
pub(super) const SMELT_CORES: usize = 20;
/// Growth is that from here on: below, machines differ too much in the number of their packages.
const GROWS_FROM: usize = 64;
/// A fit that is off by more is none.
const FAR_OFF: f64 = 0.15;
/// As far as it is looked whether flat is ever faster.
const LOOKED_AT: usize = 128;

/// All that `--latency` prints.
#[must_use]
pub fn report() -> String {
    let mut text = String::from(
        "One agreement, simulated: cycles from a proposal at the home to the last commit. Flat is the protocol as it ships,\n\
         the trees are a model of relays. \"told\": until the task that proposed has its answer.\n",
    );
    for model in &MODELS {
        table(&mut text, model).expect("a string takes all");
    }
    compared(&mut text).expect("a string takes all");
    text
}

fn table(text: &mut String, model: &Model) -> std::fmt::Result {
    writeln!(text, "\n{}\n", model.name)?;
    let names = SHAPES.map(Shape::name);
    write!(text, "| cores |")?;
    names.iter().try_for_each(|name| write!(text, " {name} |"))?;
    writeln!(text, " flat, told | both ways, told |")?;
    writeln!(text, "|{}", "---:|".repeat(SHAPES.len() + 3))?;
    let mut curves = SHAPES.map(|_| Vec::new());
    for cores in SIZES {
        let machine = model.machine(cores);
        let took = SHAPES.map(|shape| shape.run(&machine, HOME));
        write!(text, "| {cores} |")?;
        took.iter().try_for_each(|took| write!(text, " {} |", took.committed))?;
        writeln!(text, " {} | {} |", took[0].answered, took[SHAPES.len() - 1].answered)?;
        for (curve, took) in curves.iter_mut().zip(took) {
            curve.push((cores as f64, took.committed as f64));
        }
    }
    writeln!(
        text,
        "\n| from {GROWS_FROM} cores on | as a power of the cores n | with each doubling | faster than flat |"
    )?;
    writeln!(text, "|---|---:|---:|---:|")?;
    for ((shape, name), curve) in SHAPES.into_iter().zip(names).zip(&curves) {
        let grown: Vec<_> = curve.iter().copied().filter(|(cores, _)| *cores >= GROWS_FROM as f64).collect();
        let (power, doubling) = (Growth::as_a_power(&grown), Growth::with_each_doubling(&grown));
        let crossing = match (shape, crossing(model, shape)) {
            (Shape::Flat, _) => String::new(),
            (_, Some(cores)) => format!("from {cores} cores on"),
            (_, None) => format!("not always up to {LOOKED_AT}"),
        };
        writeln!(
            text,
            "| {name} | {} | {} | {crossing} |",
            power.told(|slope| format!("n^{slope:.2}")),
            doubling.told(|slope| format!("{slope:+.0} cycles")),
        )?;
    }
    Ok(())
}

/// How a curve grows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    pub(super) slope: f64,
    /// How far the worst point lies from the fit, as a part of it.
    pub(super) worst: f64,
}

impl Growth {
    /// The slope and how far off it is, if it says anything.
    fn told(self, slope: impl Fn(f64) -> String) -> String {
        match self.worst {
            ..=FAR_OFF => format!("{} (off by up to {:.0} %)", slope(self.slope), 100.0 * self.worst),
            _ => "does not fit".to_owned(),
        }
    }

    /// The exponent: a straight line when both axes are logarithmic.
    pub(super) fn as_a_power(curve: &[(f64, f64)]) -> Self {
        let points: Vec<_> = curve.iter().map(|(cores, cycles)| (cores.log2(), cycles.log2())).collect();
        let (slope, base) = line(&points);
        let off = points.iter().map(|(x, y)| ((y - base - slope * x).exp2() - 1.0).abs());
        Self { slope, worst: off.fold(0.0, f64::max) }
    }

    /// Cycles for twice as many cores: a straight line when the axis of the cores is logarithmic.
    pub(super) fn with_each_doubling(curve: &[(f64, f64)]) -> Self {
        let points: Vec<_> = curve.iter().map(|(cores, cycles)| (cores.log2(), *cycles)).collect();
        let (slope, base) = line(&points);
        let off = points.iter().map(|(x, y)| (y / (base + slope * x) - 1.0).abs());
        Self { slope, worst: off.fold(0.0, f64::max) }
    }
}

/// The slope and the base of the line with the least squares.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let number = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / number;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let both: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let squares: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let slope = both / squares;
    (slope, y - slope * x)
}

/// From how many cores on that shape is faster than flat.
pub(super) fn crossing(model: &Model, shape: Shape) -> Option<usize> {
    let is_faster = |cores: usize| {
        let machine = model.machine(cores);
        shape.run(&machine, HOME).committed < Shape::Flat.run(&machine, HOME).committed
    };
    let slower = (2..=LOOKED_AT).rev().find(|cores| !is_faster(*cores));
    slower.map_or(Some(2), |cores| (cores < LOOKED_AT).then_some(cores + 1))
}

/// Like with like: in Smelt's agreement a core asks the root, which tells all, hears from all, and tells all again; the time is
/// that of the core for which it takes longest.
fn compared(text: &mut String) -> std::fmt::Result {
    writeln!(
        text,
        "\n{SMELT_CORES} cores beside what Smelt measured, from the core at which it takes longest\n"
    )?;
    writeln!(text, "| | cycles | Smelt | ratio | from the home |")?;
    writeln!(text, "|---|---:|---:|---:|---:|")?;
    for model in [&MODELS[0], &MODELS[2]] {
        let machine = model.machine(SMELT_CORES);
        for (shape, measured) in SMELT {
            let cycles = shape.run_from_the_worst(&machine).committed;
            let ratio = cycles as f64 / measured;
            let from_home = shape.run(&machine, HOME).committed;
            writeln!(
                text,
                "| {}. {} | {cycles} | {measured} | {ratio:.2} | {from_home} |",
                model.name,
                shape.name()
            )?;
        }
    }
    Ok(())
}

/// Where a shape stands on a kind of machine, for the plot.
pub(super) fn curve(model: &Model, shape: Shape) -> Vec<(f64, f64)> {
    let point = |cores: usize| (cores as f64, shape.run(&model.machine(cores), HOME).committed as f64);
    SIZES.into_iter().map(point).collect()
}
