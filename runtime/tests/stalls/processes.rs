//! What concerns the whole process: it is stopped, or handles the signal itself. Each test calls itself in a process of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use multikernel::CoreId;
use multikernel::runtime::Builder;
use multikernel::signal::unix::{SignalKind, signal};
use multikernel::task::spawn_blocking;
use multikernel::time::{sleep, timeout};

use crate::common::*;

const CHILD: &str = "MULTIKERNEL_TEST_STALLS";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

fn child(name: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture"]).env(CHILD, "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// What the calling thread has spent on a CPU.
fn ran() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to a variable of ours.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn run_for(time: Duration) {
    let start = ran();
    while ran() - start < time {}
}

/// Long enough that the parent stops the child well within the rest of it.
const LONG: Duration = Duration::from_secs(2);

/// A poll that is seen for more than half of the threshold, and is in its middle when the process is stopped for longer than
/// that. All that it does besides is shorter.
fn be_stopped_in_a_poll(computes: bool) {
    let (tell, told) = telling();
    let mut builder = Builder::new_test();
    builder.thread_name("stopped").stall_threshold(Some(LONG)).on_stall(tell);
    let poll = move || async move {
        run_for(LONG * 3 / 5);
        println!("stop me");
        if computes {
            run_for(LONG / 5);
            // The parent looks at the watcher, which ends with the core.
            spawn_blocking(|| std::io::stdin().read_exact(&mut [0])).await.unwrap().unwrap();
        } else {
            std::io::stdin().read_exact(&mut [0]).unwrap();
        }
    };
    builder.run(poll).unwrap();
    println!("told of {} stalls", told.try_iter().count());
}

fn signal_child(child: &Child, signal: i32) {
    // SAFETY: a child that was not waited for: the number is its own.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

fn until_stopped(child: &Child) {
    let mut status = 0;
    // SAFETY: as above; writes to a variable of ours.
    let stopped = unsafe { libc::waitpid(child.id() as i32, &mut status, libc::WUNTRACED) };
    assert_eq!((stopped, libc::WIFSTOPPED(status)), (child.id() as i32, true));
}

fn stop_in_a_poll(name: &str) {
    let mut child = child(name);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("stop me")));
    signal_child(&child, libc::SIGSTOP);
    until_stopped(&child);
    // What matters is that the child has been stopped for longer than its threshold.
    Builder::new_test().run(|| sleep(LONG + LONG / 4)).unwrap();
    let watcher = the_thread(child.id(), "stopped-watch");
    let before = switches(child.id(), &watcher);
    signal_child(&child, libc::SIGCONT);
    let since = Instant::now();
    while switches(child.id(), &watcher) < before + 2 {
        assert!(since.elapsed() < PATIENCE, "its watcher, which is late, looks, and sleeps again");
    }
    child.stdin.take().unwrap().write_all(b"x").unwrap();
    let told: Vec<_> = lines.filter(|line| line.contains("told of")).collect();
    assert!(child.wait().unwrap().success());
    assert_eq!(told, ["told of 0 stalls"]);
}

#[test]
fn a_process_that_was_stopped_was_not_stuck_in_a_call() {
    match is_child() {
        true => be_stopped_in_a_poll(false),
        false => stop_in_a_poll("processes::a_process_that_was_stopped_was_not_stuck_in_a_call"),
    }
}

#[test]
fn a_process_that_was_stopped_did_not_compute() {
    match is_child() {
        true => be_stopped_in_a_poll(true),
        false => stop_in_a_poll("processes::a_process_that_was_stopped_did_not_compute"),
    }
}

/// The program handles the signal too, from before our first use of it or from after.
fn share_the_signal(listens_first: bool) {
    let (runtime, told) = watched(&mut Builder::new_test());
    let get_stuck = || {
        let stop = Stop::default();
        let _stop = StopOnDrop(stop.clone());
        let (_, task) = make_spin(&runtime, CORE, &stop);
        let stall = next(&told);
        stop.stop();
        runtime.block_on(task).unwrap();
        assert!(stall.stack.is_some(), "the signal comes through");
    };
    if !listens_first {
        get_stuck();
    }
    let mut signals = signal(SignalKind::from_raw(libc::SIGURG)).unwrap();
    get_stuck();
    // SAFETY: a signal to this thread, which handles it.
    assert_eq!(unsafe { libc::raise(libc::SIGURG) }, 0);
    let came = runtime.block_on(async { timeout(PATIENCE, signals.recv()).await });
    assert_eq!(came, Ok(Some(())));
    println!("done on {}", CoreId::new(0));
}

fn assert_child_is_done(name: &str) {
    let output = child(name).wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("done on"), "{text}");
}

#[test]
fn a_program_that_handled_the_signal_before_goes_on_to() {
    match is_child() {
        true => share_the_signal(true),
        false => assert_child_is_done("processes::a_program_that_handled_the_signal_before_goes_on_to"),
    }
}

#[test]
fn a_program_may_handle_the_signal_later() {
    match is_child() {
        true => share_the_signal(false),
        false => assert_child_is_done("processes::a_program_may_handle_the_signal_later"),
    }
}
