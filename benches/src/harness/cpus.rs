//! Which CPUs there are, which part runs where, and what to say about the machine.

use std::fs;

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The two CPUs a measurement uses.
#[derive(Clone, Copy, Debug)]
pub struct Cpus {
    /// Where the client runs.
    pub client: usize,
    /// Where one-core servers run.
    pub server: usize,
    /// How many CPUs this process may use.
    pub allowed: usize,
}

impl Cpus {
    /// The first two CPUs that this process may use.
    ///
    /// # Errors
    /// With fewer than two CPUs nothing can be measured this way.
    pub fn of_this_process() -> Result<Self> {
        let set = sched_getaffinity(None).context("cannot read the CPU affinity")?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu));
        let pair = allowed.next().zip(allowed.next());
        let (client, server) =
            pair.context("two CPUs are needed: one for the client and one for the server")?;
        Ok(Self { client, server, allowed: 2 + allowed.count() })
    }
}

/// Keeps the calling thread, and threads it starts from now on, on `cpus`.
///
/// # Errors
/// When none of `cpus` may be used.
pub fn pin(cpus: &[usize]) -> Result<()> {
    ensure!(cpus.iter().all(|cpu| *cpu < CpuSet::MAX_CPU), "no such CPU: {cpus:?}");
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu));
    sched_setaffinity(None, &set).with_context(|| format!("cannot run on CPU {cpus:?}"))
}

/// Runs `f` with the calling thread kept on `cpu`, and restores its CPUs afterwards.
///
/// # Errors
/// When the CPU may not be used; otherwise what `f` returns.
pub fn pinned<R>(cpu: usize, f: impl FnOnce() -> Result<R>) -> Result<R> {
    let before = sched_getaffinity(None).context("cannot read the CPU affinity")?;
    pin(&[cpu])?;
    let result = f();
    sched_setaffinity(None, &before).context("cannot restore the CPU affinity")?;
    result
}

/// One line on the CPU, one on the kernel.
#[must_use]
pub fn head(cpus: Cpus) -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown CPU", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let online = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    format!(
        "{model}, {online} CPUs online, {} ours; Linux {}; load before the run {load}",
        cpus.allowed,
        kernel.trim()
    )
}
