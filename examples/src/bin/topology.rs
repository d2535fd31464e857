//! Shows what a computer is made of, and how long a message takes from CPU to CPU.
//!
//! `topology [ROOT]`. ROOT is a captured tree, a folder with `sys` below it, of which the structure is shown; without it,
//! this computer is, and its round trips are measured.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use multikernel::machine::{self, Cpu, CpuKind, Topology};
use multikernel::task::spawn_blocking;

/// How long the measurement may take.
const LIMIT: Duration = Duration::from_secs(5);

#[multikernel::main(cores = 1)]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let root = arguments.next();
    // ANCHOR: read
    let shown = match &root {
        Some(root) => Topology::read_from(Path::new(root)),
        None => machine::topology(),
    };
    // ANCHOR_END: read
    match shown {
        _ if arguments.next().is_some() => {
            eprintln!("error: usage: topology [ROOT]");
            return ExitCode::FAILURE;
        }
        Ok(topology) => print!("{}{}{}", tree(&topology), distances(&topology), orders(&topology)),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    }
    if root.is_none() {
        // ANCHOR: measure
        // It blocks, and keeps two CPUs at a time busy.
        let trips = spawn_blocking(|| machine::measure_round_trips(LIMIT)).await;
        // ANCHOR_END: measure
        match trips {
            Ok(Ok(trips)) => print!("round trips in nanoseconds:\n{trips}"),
            Ok(Err(error)) => eprintln!("error: no round trips: {error}"),
            Err(error) => eprintln!("error: no round trips: {error}"),
        }
    }
    ExitCode::SUCCESS
}

/// A line for each physical core, below its package, NUMA node and last cache.
fn tree(topology: &Topology) -> String {
    let mut text = String::new();
    let mut above = [String::new(), String::new(), String::new()];
    for package in &topology.packages {
        let mut cpus: Vec<&Cpu> = package.cpus.iter().filter_map(|cpu| topology.cpu(*cpu)).collect();
        cpus.sort_by_key(|cpu| (cpu.node, cpu.last_level_cache(), cpu.core));
        for cores in cpus.chunk_by(|a, b| a.core == b.core) {
            let lines =
                [named("package", package.id), named("NUMA node", cores[0].node), cache(topology, cores[0])];
            for at in 0..lines.len() {
                if above[at] != lines[at] {
                    let _ = writeln!(text, "{:at$}{}", "", lines[at], at = at * 2);
                    above[at].clone_from(&lines[at]);
                    above[at + 1..].iter_mut().for_each(String::clear);
                }
            }
            let _ = writeln!(text, "      {}", core(cores));
        }
    }
    let offline: Vec<_> = topology.cpus.iter().filter(|cpu| !cpu.online).map(|cpu| cpu.number).collect();
    if !offline.is_empty() {
        let _ = writeln!(text, "offline: {}", list(&offline));
    }
    text
}

fn named(what: &str, number: Option<usize>) -> String {
    number.map_or_else(|| format!("unknown {what}"), |number| format!("{what} {number}"))
}

fn cache(topology: &Topology, cpu: &Cpu) -> String {
    let Some(cache) = cpu.last_level_cache().map(|cache| &topology.caches[cache]) else {
        return "unknown caches".to_owned();
    };
    let size =
        cache.size.map_or_else(|| "of unknown size".to_owned(), |size| format!("of {} KiB", size >> 10));
    format!("L{} {size} for {}", cache.level, list(&cache.cpus))
}

// ANCHOR: core
fn core(cpus: &[&Cpu]) -> String {
    let numbers: Vec<usize> = cpus.iter().map(|cpu| cpu.number).collect();
    let kind = match cpus[0].kind {
        CpuKind::Performance => ", performance",
        CpuKind::Efficient => ", efficient",
        _ => "",
    };
    let capacity = cpus[0].capacity.map_or_else(String::new, |capacity| format!(", capacity {capacity}"));
    format!("core: CPU {}{kind}{capacity}", list(&numbers))
}
// ANCHOR_END: core

/// As Linux writes it: `0-3,8`.
fn list(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    runs.collect::<Vec<_>>().join(",")
}

/// How far it is from each NUMA node to each, if there are several.
fn distances(topology: &Topology) -> String {
    let mut text = String::new();
    if topology.nodes.len() > 1 {
        text.push_str("distances of NUMA nodes:\n");
        for node in &topology.nodes {
            let _ = write!(text, "{:>5}", node.number);
            for distance in &node.distances {
                let distance = distance.map_or_else(|| "-".to_owned(), |distance| distance.to_string());
                let _ = write!(text, " {distance:>3}");
            }
            text.push('\n');
        }
    }
    text
}

// ANCHOR: order
/// Where to put what talks to the first CPU, and what keeps CPUs busy.
fn orders(topology: &Topology) -> String {
    let cpus: Vec<usize> = topology.online().map(|cpu| cpu.number).collect();
    let Some(first) = cpus.first() else { return String::new() };
    let nearest = topology.nearest(*first, &cpus);
    let capable = topology.by_capacity(&cpus);
    format!("nearest to {first} first: {}\nmost capable first: {}\n", list(&nearest), list(&capable))
}
// ANCHOR_END: order
