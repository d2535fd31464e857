//! `cargo run --release -p multikernel-benches -- <echo|http|churn|idle|proxy|fs|udp|resp|tasks|timers|channels|replicate|balance|uneven>`

use std::process::ExitCode;

use multikernel_benches::cli;

fn main() -> ExitCode {
    match cli::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
