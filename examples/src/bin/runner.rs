//! Runs commands side by side, and shows their output line by line.
//!
//! `runner [--at-once N] [--timeout SECONDS] [COMMAND..]`. Each COMMAND is a line for `sh`; without any, a few harmless
//! ones run. At most N run at once (4), each for at most SECONDS (20), with all that it has started. SIGINT and SIGTERM
//! are passed on, and nothing new is started; a second one, or five more seconds, kills what is left.

use std::fmt;
use std::io::{self, Write};
use std::pin::pin;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use multikernel::channels::{mpsc, watch};
use multikernel::io::{AsyncBufReadExt, AsyncRead, BufReader};
use multikernel::process::Command;
use multikernel::runtime::Handle;
use multikernel::signal::unix::{SignalKind, signal};
use multikernel::task::spawn_blocking;
use multikernel::time::{self, Instant, sleep_until};
use multikernel::{join, select, spawn_balanced};
use rustix::process::{Pid, Signal, kill_process_group};

/// How long commands that were asked to end may take for it.
const GRACE: Duration = Duration::from_secs(5);
/// A longer line is shown in pieces.
const LONGEST_LINE: usize = 8192;
/// Lines that wait to be shown.
const LINES: usize = 256;

const USAGE: &str = "usage: runner [--at-once N] [--timeout SECONDS] [COMMAND..]";
const SAMPLES: [&str; 5] = [
    "for n in 1 2 3; do echo step $n; sleep 0.1; done",
    "uname -sr",
    "echo this goes to standard error >&2",
    "seq 100000 | tail -n 1",
    "echo no newline at the end | tr -d '\\n'",
];

struct Options {
    at_once: usize,
    timeout: Duration,
    commands: Vec<String>,
}

/// What all commands are told.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Run,
    Pass(Signal),
    Kill,
}

type Lines = mpsc::Sender<Vec<u8>>;

#[multikernel::main]
async fn main() -> ExitCode {
    match options(std::env::args().skip(1)) {
        Ok(options) => run(options).await.unwrap_or_else(failed),
        Err(error) => failed(error),
    }
}

fn failed(error: io::Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn options(mut arguments: impl Iterator<Item = String>) -> io::Result<Options> {
    let mut options = Options { at_once: 4, timeout: Duration::from_secs(20), commands: Vec::new() };
    let bad = |what: &str| io::Error::other(format!("{what}; {USAGE}"));
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--at-once" | "--timeout" => {
                let number = arguments.next().and_then(|number| number.parse::<u32>().ok());
                let number = number.filter(|number| *number > 0);
                let number = number.ok_or_else(|| bad(&format!("{argument} takes a number from 1 on")))?;
                match argument.as_str() {
                    "--at-once" => options.at_once = number as usize,
                    _ => options.timeout = Duration::from_secs(number.into()),
                }
            }
            option if option.starts_with('-') => return Err(bad(&format!("unknown option {option}"))),
            _ => options.commands.push(argument),
        }
    }
    if options.commands.is_empty() {
        options.commands = SAMPLES.map(str::to_owned).to_vec();
    }
    Ok(options)
}

async fn run(options: Options) -> io::Result<ExitCode> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (orders, heed) = watch::channel(Order::Run);
    let (lines, shown) = mpsc::channel(LINES);
    let printer = printer(shown);

    let (options, next) = (Arc::new(options), Arc::new(AtomicUsize::new(0)));
    let count = options.at_once.min(options.commands.len());
    let workers: Vec<_> = (0..count)
        .map(|_| spawn_balanced(work(options.clone(), next.clone(), heed.clone(), lines.clone())))
        .collect();
    drop(lines);
    let mut all = pin!(async {
        let mut succeeded = 0;
        for worker in workers {
            succeeded += worker.await?;
        }
        io::Result::Ok(succeeded)
    });
    let mut stopped_by = None;
    let succeeded = loop {
        let signal = select! {
            result = &mut all => break result?,
            _ = interrupt.recv() => Signal::INT,
            _ = terminate.recv() => Signal::TERM,
        };
        let order = if stopped_by.replace(signal).is_none() { Order::Pass(signal) } else { Order::Kill };
        let _ = orders.send(order); // refused when the last command has just ended
    };
    printer.await??; // all has been shown
    println!("{succeeded} of {} commands succeeded", options.commands.len());
    Ok(match stopped_by {
        Some(signal) => ExitCode::from(128 + signal.as_raw() as u8),
        None if succeeded == options.commands.len() => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    })
}

/// Writes lines on a thread of its own: whoever reads them may be slow, and a core must not wait for that.
fn printer(mut lines: mpsc::Receiver<Vec<u8>>) -> multikernel::task::JoinHandle<io::Result<()>> {
    let machine = Handle::current();
    spawn_blocking(move || {
        machine.block_on(async {
            while let Some(line) = lines.recv().await {
                io::stdout().write_all(&line)?;
            }
            Ok(())
        })
    })
}

/// Runs one command after the other until none is left, and says how many succeeded.
async fn work(
    options: Arc<Options>,
    next: Arc<AtomicUsize>,
    mut orders: watch::Receiver<Order>,
    lines: Lines,
) -> usize {
    let mut succeeded = 0;
    while *orders.borrow() == Order::Run {
        let number = next.fetch_add(1, Ordering::Relaxed); // Relaxed: only distinct
        let Some(command) = options.commands.get(number) else { break };
        let end = run_one(number + 1, command, options.timeout, &mut orders, &lines).await;
        succeeded += usize::from(matches!(end, End::Exited(status) if status.success()));
        let _ = lines.send(format!("[{}] {end}\n", number + 1).into_bytes()).await;
    }
    succeeded
}

enum End {
    Exited(ExitStatus),
    TimedOut,
    Failed(io::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Exited(status) => write!(f, "ended: {status}"),
            End::TimedOut => f.write_str("took too long and was killed"),
            End::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

async fn run_one(
    number: usize,
    command: &str,
    timeout: Duration,
    orders: &mut watch::Receiver<Order>,
    lines: &Lines,
) -> End {
    let result = supervise(number, command, timeout, orders, lines).await;
    result.unwrap_or_else(End::Failed)
}

async fn supervise(
    number: usize,
    command: &str,
    timeout: Duration,
    orders: &mut watch::Receiver<Order>,
    lines: &Lines,
) -> io::Result<End> {
    // ANCHOR: start
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0) // of its own, with all that it starts
        .kill_on_drop(true)
        .spawn()?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("it was not waited for");
    let output = show(number, child.stdout.take().expect("piped"), lines);
    let errors = show(number, child.stderr.take().expect("piped"), lines);
    // ANCHOR_END: start

    // ANCHOR: wait
    // It has ended when nobody can write for it any more. Until then there is somebody in the group.
    let mut ended = pin!(async { join!(child.wait(), output, errors).0 });
    let mut deadline = pin!(sleep_until(Instant::now() + timeout));
    let mut is_asked = false;
    loop {
        let signal = select! {
            status = &mut ended => return Ok(End::Exited(status?)),
            () = &mut deadline => break,
            Ok(()) = orders.changed() => match *orders.borrow_and_update() {
                Order::Pass(signal) => signal,
                Order::Kill => break,
                Order::Run => continue,
            },
        };
        is_asked = true;
        let _ = kill_process_group(group, signal); // no error: it may just have ended
        deadline.as_mut().reset(Instant::now() + GRACE);
    }
    let _ = kill_process_group(group, Signal::KILL);
    // Whoever has left the group may keep the output open for as long as it likes.
    let status = time::timeout(GRACE, ended).await??;
    // ANCHOR_END: wait
    Ok(if is_asked { End::Exited(status) } else { End::TimedOut })
}

/// Sends each line that comes out of a pipe to the printer, and says whose it is.
async fn show(number: usize, pipe: impl AsyncRead + Unpin, lines: &Lines) -> io::Result<()> {
    let prefix = format!("[{number}] ").into_bytes();
    let mut pipe = BufReader::new(pipe);
    let mut line = prefix.clone();
    loop {
        let bytes = pipe.fill_buf().await?;
        let is_end = bytes.is_empty();
        let newline = bytes.iter().position(|byte| *byte == b'\n');
        let count = newline.unwrap_or(bytes.len());
        line.extend_from_slice(&bytes[..count]);
        pipe.consume(count + usize::from(newline.is_some()));
        let is_due = newline.is_some() || line.len() > LONGEST_LINE || is_end && line.len() > prefix.len();
        if is_due {
            line.push(b'\n');
            let full = std::mem::replace(&mut line, prefix.clone());
            // Nobody reads any more: go on reading, so that the command does not wait for it.
            let _ = lines.send(full).await;
        }
        if is_end {
            return Ok(());
        }
    }
}
