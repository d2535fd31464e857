//! What these tests share: a process for each, and a count of what it has.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use multikernel::fs::{StableBuf, StableBufMut};

pub use crate::support::{
    Alive, DRIVERS, Folder, One, PATIENCE, assert_driver, hoard, on_both, pattern, poll_once,
};

/// A process that is not done by then hangs, and the system ends it.
const LONGEST_SECONDS: u32 = 300;

/// Says in which process a test is.
const ALONE: &str = "MULTIKERNEL_BAD_DAY";

/// Runs `body` in a process of its own: the test `name` calls itself there.
pub fn alone(name: &str, body: impl FnOnce()) {
    alone_by(Command::new(std::env::current_exe().unwrap()), name, body);
}

/// Whether this is the process of one test.
pub fn is_alone() -> bool {
    std::env::var_os(ALONE).is_some()
}

/// As [`alone`]; `command` starts this program.
pub fn alone_by(mut command: Command, name: &str, body: impl FnOnce()) {
    if is_alone() {
        // SAFETY: takes a number.
        unsafe { libc::alarm(LONGEST_SECONDS) };
        return body();
    }
    let output = command.args([name, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}\n{said}\n{told}", output.status);
    assert!(said.contains("1 passed"), "it ran nothing: {said}");
    said.lines().filter(|line| line.contains("skipped: ")).for_each(|line| println!("{name}: {line}"));
}

/// A buffer that counts.
pub struct Buffer {
    bytes: Vec<u8>,
    _one: One,
}

impl Buffer {
    pub fn new(bytes: Vec<u8>, alive: &Alive) -> Buffer {
        Buffer { bytes, _one: alive.one() }
    }
}

// SAFETY: the bytes are on the heap, owned alone, and nobody changes them but a read.
unsafe impl StableBuf for Buffer {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

// SAFETY: as above.
unsafe impl StableBufMut for Buffer {
    fn space(&mut self) -> (*mut u8, usize) {
        self.bytes.space()
    }

    unsafe fn filled(&mut self, count: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.bytes.filled(count) };
    }
}

/// What this process has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Census {
    pub descriptors: usize,
    threads: usize,
    children: usize,
}

pub fn census() -> Census {
    Census { descriptors: count("/proc/self/fd"), threads: count("/proc/self/task"), children: children() }
}

fn count(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// This process's children, zombies included.
fn children() -> usize {
    let me = std::process::id().to_string();
    let is_mine = |path: PathBuf| {
        let Ok(stat) = std::fs::read_to_string(path.join("stat")) else { return false };
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
        parent == Some(&me)
    };
    std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter(|entry| is_mine(entry.path())).count()
}

/// Waits until this process has what it had: what ends behind the back of a Machine, such as a thread of its pool whose call
/// was under way, does so soon.
pub fn until_as_before(before: &Census, what: &str) {
    let started = Instant::now();
    while census() != *before {
        if started.elapsed() > PATIENCE {
            panic!("{what}: {:?} and not {before:?}\n{:#?}\n{:?}", census(), descriptors(), threads());
        }
        std::thread::yield_now();
    }
}

/// How many descriptors of each kind there are.
fn descriptors() -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok) {
        let Ok(link) = std::fs::read_link(entry.path()) else { continue };
        let link = link.to_string_lossy().into_owned();
        let kind = link.split_once(":[").map_or(link.as_str(), |(kind, _)| kind);
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    kinds
}

fn threads() -> Vec<String> {
    let all = std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    all.filter_map(|entry| std::fs::read_to_string(entry.path().join("comm")).ok()).collect()
}

/// Waits on a plain thread until `is_so`.
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "it does not happen: {what}");
        std::thread::yield_now();
    }
}
