//! `uneven`: load that is not even: a client on the servers' CPUs, a CPU that another process takes, connections of which
//! some are busier than others, fewer connections than would fill the cores, ten thousand at once.
//!
//! All servers run at once and are visited in turn, as [`crate::harness::pairs`] says, but a visit is longer and opens
//! connections of its own: what is measured is what becomes of them.

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::harness::cpus::{self, Cpus};
use crate::harness::stats::Summary;
use crate::harness::{pairs, process, table};
use crate::runs::{self, Common, choose};
use crate::servers::{Cores, Server};

pub mod client;
pub mod figures;
pub mod frame;
pub mod goals;
pub mod scenes;

use goals::Figures;
use scenes::{Scene, Visit};

/// What to run.
#[derive(Clone, Debug)]
pub struct Shape {
    /// What all measurements can be told.
    pub common: Common,
    /// Names, or starts of names, of scenes; empty means all.
    pub scenes: Vec<String>,
    /// Cores of each server.
    pub cores: usize,
}

/// A server that takes part.
struct Entrant {
    name: &'static str,
    process: process::Server,
    failure: Option<String>,
}

/// Runs the scenes and prints what they came to.
///
/// # Errors
/// When the run cannot be made or proves nothing.
pub fn run(shape: &Shape) -> Result<()> {
    let cpus = Cpus::of_this_process()?;
    println!("{}\n", cpus::head(cpus));
    let scenes = choose(scenes::ALL.into_iter().collect(), |scene| scene.name, &shape.scenes)?;
    let rounds_per_micro = f64::from(frame::rounds_in(Duration::from_millis(1))) / 1e3;
    let (mut all, mut failures) = (Vec::new(), 0);
    for scene in &scenes {
        let (figures, failed) = play(scene, shape, cpus, rounds_per_micro)?;
        failures += failed;
        all.push(to_json(scene, &figures));
    }
    table::save(shape.common.json.as_deref(), &Value::from(all))?;
    anyhow::ensure!(failures == 0, "the run proves nothing for {failures} of the servers");
    Ok(())
}

fn play(scene: &Scene, shape: &Shape, cpus: Cpus, rounds_per_micro: f64) -> Result<(Figures, usize)> {
    let Common { quick, ref only, .. } = shape.common;
    let rounds = shape.common.rounds.unwrap_or(scene.rounds[usize::from(quick)]);
    println!("{}: {}; {rounds} rounds, {} cores", scene.name, scene.about, shape.cores);
    std::io::stdout().flush()?;
    runs::need_descriptors(scene.connections)?;
    let mut entrants = servers(scene, only)?
        .into_iter()
        .map(|server| {
            let process = runs::start(server, scene.protocol, shape.cores, cpus)?;
            Ok(Entrant { name: server.name, process, failure: None })
        })
        .collect::<Result<Vec<_>>>()?;
    let progress = pairs::progress(entrants.len() * (rounds + 1));
    let mut figures = Figures::new();
    for round in 0..=rounds {
        for place in 0..entrants.len() {
            let turn = (place + round) % entrants.len();
            let Entrant { name, process, failure } = &mut entrants[turn];
            progress.inc(1);
            progress.set_message(*name);
            if failure.is_some() {
                continue;
            }
            let visit = Visit { server: process, cores: shape.cores, rounds_per_micro, cpus, quick };
            match (scene.visit)(scene, &visit) {
                // The first is for whatever happens only once.
                Ok(_) if round == 0 => {}
                Ok(measured) => {
                    for (measure, figure) in scene.measures.iter().zip(measured) {
                        figures.entry((*name, *measure)).or_default().push(figure);
                    }
                }
                Err(error) => *failure = Some(format!("{error:#}")),
            }
        }
    }
    progress.finish_and_clear();
    report(scene, &entrants, &figures);
    Ok((figures, entrants.iter().filter(|entrant| entrant.failure.is_some()).count()))
}

fn servers(scene: &Scene, only: &[String]) -> Result<Vec<&'static Server>> {
    let takes_part = |server: &&Server| {
        server.cores == Cores::Many && (scene.servers.is_empty() || scene.servers.contains(&server.name))
    };
    let all = runs::servers_for(scene.protocol, &[])?.into_iter().filter(takes_part).collect();
    choose(all, |server| server.name, only)
}

fn report(scene: &Scene, entrants: &[Entrant], figures: &Figures) {
    let mut header = vec!["server"];
    header.extend(scene.measures);
    let cell = |name, measure| {
        let summary = Summary::of(figures.get(&(name, measure))?.iter().copied())?;
        let Summary { low, median, high } = summary;
        let digits = if median < 100.0 { 2 } else { 0 };
        Some(format!("{median:.digits$} ({low:.digits$} to {high:.digits$})"))
    };
    let rows = entrants.iter().map(|entrant| {
        let cells =
            scene.measures.iter().map(|measure| cell(entrant.name, *measure).unwrap_or("-".to_owned()));
        std::iter::once(entrant.name.to_owned()).chain(cells).collect()
    });
    println!("\n{}\n", table::table(&header, rows));
    for goal in scene.goals {
        println!("{}", goal.line(figures));
    }
    for Entrant { name, failure, .. } in entrants {
        if let Some(failure) = failure {
            println!("PROVES NOTHING: {name}: {failure}");
        }
    }
    println!();
}

fn to_json(scene: &Scene, figures: &Figures) -> Value {
    let one = |((server, measure), figures): (&(&str, &str), &Vec<f64>)| json!({ "scene": scene.name, "server": server, "measure": measure, "rounds": figures });
    figures.iter().map(one).collect()
}
