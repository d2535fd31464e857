//! Runs seeds: `--seeds N` all from zero, `--seed N` one, with a trace. `--latency` says how long an agreement takes.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use multikernel_sim::mutants::Compared;
use multikernel_sim::{latency, run, run_all};

const USAGE: &str =
    "usage: multikernel-sim --seeds COUNT [--from FIRST] | --seed SEED | --latency [--svg FILE]";

fn value<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1).map(String::as_str)
}

fn number(arguments: &[String], name: &str) -> Option<u64> {
    value(arguments, name)?.parse().ok()
}

fn report_latency(svg: Option<&str>) -> ExitCode {
    print!("{}", latency::report());
    match svg.map(|path| latency::draw(Path::new(path))) {
        Some(Err(error)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        Some(Ok(())) | None => ExitCode::SUCCESS,
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--latency") {
        return report_latency(value(&arguments, "--svg"));
    }
    if let Some(seed) = number(&arguments, "--seed") {
        return match run::<Compared>(seed, true) {
            Ok(ran) => {
                println!("seed {seed} holds, {} events", ran.events);
                ExitCode::SUCCESS
            }
            Err(failure) => {
                println!("seed {seed} FAILS {}", failure.why);
                ExitCode::FAILURE
            }
        };
    }
    let Some(seeds) = number(&arguments, "--seeds") else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let from = number(&arguments, "--from").unwrap_or(0);
    let start = Instant::now();
    let outcome = run_all::<Compared>(from..from + seeds);
    let seconds = start.elapsed().as_secs_f64();
    match outcome {
        Ok(ran) => {
            #[expect(clippy::cast_precision_loss, reason = "a rate")]
            let (rate, events_rate) = (seeds as f64 / seconds, ran.events as f64 / seconds / 1e6);
            println!("{seeds} seeds hold: {rate:.0} seeds/s, {events_rate:.1} million events/s");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("seed {} FAILS {}", failure.seed, failure.why);
            println!("replay it with --seed {}", failure.seed);
            ExitCode::FAILURE
        }
    }
}
