//! What the tests of processes share.

use std::collections::BTreeMap;
use std::fs;
use std::future::{Future, poll_fn};
use std::io::{PipeReader, PipeWriter};
use std::path::PathBuf;
use std::pin::pin;
use std::process::Stdio;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Poll;
use std::time::{Duration, Instant};

use multikernel::process::{Child, Command};

pub use crate::support::{DRIVERS, PATIENCE, on_both, pattern};

static OTHERS: RwLock<()> = RwLock::new(());

/// Tests that start processes hold this, and those that count what the process has hold [`alone`].
pub fn among_others() -> RwLockReadGuard<'static, ()> {
    OTHERS.read().unwrap_or_else(PoisonError::into_inner)
}

/// No other test has processes or descriptors meanwhile.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    OTHERS.write().unwrap_or_else(PoisonError::into_inner)
}

pub fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// A child that runs until its standard input ends, and then exits with `code`.
pub fn until_told(code: i32) -> (Child, std::io::PipeWriter) {
    let (input, tell) = std::io::pipe().unwrap();
    let child = sh(&format!("read x; exit {code}")).stdin(input).spawn().unwrap();
    (child, tell)
}

/// A child that ends only if it is killed. Should the test die, it ends with the pipe that it reads.
pub fn endless() -> Command {
    static INPUT: OnceLock<(PipeReader, PipeWriter)> = OnceLock::new();
    let (input, _) = INPUT.get_or_init(|| std::io::pipe().unwrap());
    let mut command = Command::new("cat");
    command.stdin(Stdio::from(input.try_clone().unwrap())).stdout(Stdio::null());
    command
}

/// True while there is such a process, and be it a zombie.
pub fn is_there(pid: u32) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists()
}

/// This process's children and their states: `Z` is a zombie.
pub fn children() -> BTreeMap<u32, char> {
    let me = std::process::id();
    let mut children = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().map_while(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let mut fields = rest.split(' ');
        let state = fields.next().and_then(|state| state.chars().next()).unwrap();
        if fields.next().and_then(|parent| parent.parse().ok()) == Some(me) {
            children.insert(pid, state);
        }
    }
    children
}

/// The numbers of open descriptors and what they are, without the one that the look itself needs.
pub fn descriptors(process: &str) -> BTreeMap<i32, String> {
    let folder = format!("/proc/{process}/fd");
    let entries = fs::read_dir(&folder).unwrap().map_while(Result::ok);
    let link = |path: PathBuf| fs::read_link(path).ok().map(|to| to.to_string_lossy().into_owned());
    let named = entries.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, link(entry.path())?))
    });
    // The folder being read is closed by the time it is looked up.
    named.filter(|(_, to)| !to.ends_with("/fd")).collect()
}

/// Waits for something that is bound to happen. For threads that are no cores.
pub fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < PATIENCE, "it does not happen: {what}");
        std::thread::yield_now();
    }
}

/// As [`until`], while the core does other things.
pub async fn until_async(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < PATIENCE, "it does not happen: {what}");
        multikernel::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Polls `future`, each time that it wakes, until it has waited `waits` times, and drops it there. Its output if it was
/// done before.
pub async fn give_up_after<F: Future>(waits: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = waits;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left <= 1 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}
