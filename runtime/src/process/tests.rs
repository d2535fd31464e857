//! Systems that know less: refused system calls, by a filter on the thread that is the core.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::{Child, Command};
use crate::driver::tests_seccomp;
use crate::runtime::{Builder, DriverChoice};
use crate::time::sleep;

const PATIENCE: Duration = Duration::from_secs(60);

fn is_there(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

async fn until_gone(pid: u32) {
    let start = Instant::now();
    while is_there(pid) {
        assert!(start.elapsed() < PATIENCE, "nobody reaps it");
        sleep(Duration::from_millis(1)).await;
    }
}

/// A child that runs until its standard input ends, and then exits with 4.
fn until_told() -> Child {
    Command::new("sh").args(["-c", "read x; exit 4"]).stdin(Stdio::piped()).spawn().unwrap()
}

/// Runs `test` on a core whose thread is refused `call` with `errno`, on both drivers.
fn refused<F: Future<Output = ()> + 'static>(call: libc::c_long, errno: i32, test: fn() -> F) {
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        let refused = std::thread::spawn(move || {
            let Some(gate) = tests_seccomp::gate(call) else { return };
            gate.refuse(errno);
            Builder::new_test().driver(driver).run(test).unwrap();
        });
        refused.join().unwrap();
    }
}

async fn children_of_all_kinds() {
    for _ in 0..3 {
        let mut child = until_told();
        let mut wait = Box::pin(child.wait());
        while wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            crate::task::yield_now().await;
        }
        drop(wait);
        assert_eq!(child.wait().await.unwrap().code(), Some(4));

        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id().unwrap();
        child.kill().await.unwrap();
        assert_eq!(child.wait().await.unwrap().signal(), Some(libc::SIGKILL));
        assert!(!is_there(pid));

        let mut child = until_told();
        let (pid, input) = (child.id().unwrap(), child.stdin.take());
        drop(child);
        assert!(is_there(pid));
        drop(input);
        until_gone(pid).await;

        let child = Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        let pid = child.id().unwrap();
        drop(child);
        until_gone(pid).await;
    }
    let mut all: Vec<_> = (0..20).map(|_| until_told()).collect();
    for mut child in all.split_off(10) {
        assert_eq!(child.wait().await.unwrap().code(), Some(4));
    }
    let pids: Vec<_> = all.iter().map(|child| child.id().unwrap()).collect();
    drop(all); // and with them their input
    for pid in pids {
        until_gone(pid).await;
    }
}

#[test]
fn where_children_have_no_descriptors_signals_tell() {
    refused(libc::SYS_pidfd_open, libc::ENOSYS, children_of_all_kinds);
}

#[test]
fn where_descriptors_cannot_be_signalled_numbers_can() {
    refused(libc::SYS_pidfd_send_signal, libc::ENOSYS, children_of_all_kinds);
    refused(libc::SYS_pidfd_send_signal, libc::EPERM, children_of_all_kinds);
}
