//! Which CPUs are ours: the affinity mask, what is online, and what the control groups leave of them.
//!
//! CPUs are numbers as Linux gives them, in ascending lists without duplicates; there may be more than the 1,024
//! that the C library's fixed set holds.

use std::io;
use std::path::Path;

use super::cgroup::{self, Quota, read, understood};

/// No Linux can be built for as many CPUs; a larger number is nonsense that must not become a huge list.
pub(super) const MAX_CPUS: usize = 1 << 16;

const BITS: usize = libc::c_ulong::BITS as usize;

/// What this process may use of its computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Available {
    /// The CPUs that our threads may run on; never empty.
    pub(crate) cpus: Vec<usize>,
    /// The tightest quota of CPU time, if there is one.
    pub(crate) quota: Option<Quota>,
    /// How far the CPUs are ours alone.
    pub(crate) share: Share,
}

/// Who else may run on our CPUs, as far as the system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// Nobody: an exclusive cpuset, or CPUs that were isolated when the system booted.
    Exclusive,
    /// All CPUs of the computer are open to us, and to everybody.
    Whole,
    /// Somebody gave us some CPUs and keeps to themselves what the others do.
    Part,
}

impl Available {
    /// How many cores a Machine has by default.
    pub(crate) fn count(&self) -> usize {
        self.quota.map_or(usize::MAX, Quota::cpus).min(self.cpus.len()).max(1)
    }

    /// Whether the quota would stop us before all our CPUs are busy.
    pub(crate) fn quota_binds(&self) -> bool {
        self.quota.is_some_and(|quota| quota.binds(self.cpus.len()))
    }

    /// What the files below `root` leave of `affinity`, the mask of the calling thread.
    pub(crate) fn read(root: &Path, affinity: Vec<usize>) -> Available {
        let online = list_in(root, "sys/devices/system/cpu/online").filter(|online| !online.is_empty());
        let isolated = list_in(root, "sys/devices/system/cpu/isolated").unwrap_or_default();
        let limits = cgroup::limits(root);
        let mut cpus = affinity;
        if cpus.is_empty() {
            cpus = online.clone().unwrap_or_else(|| vec![0]);
        }
        if let Some(cpuset) = &limits.cpuset {
            let both: Vec<usize> =
                cpus.iter().copied().filter(|cpu| cpuset.binary_search(cpu).is_ok()).collect();
            if both.is_empty() {
                // The kernel applied the real cpuset to the mask already, so the mask is the one to believe.
                tracing::warn!(?cpus, ?cpuset, "the cpuset names none of our CPUs; it sets no limit");
            } else {
                cpus = both;
            }
        }
        let holds = |wanted: &usize| cpus.binary_search(wanted).is_ok();
        let share = if limits.exclusive || cpus.iter().all(|cpu| isolated.binary_search(cpu).is_ok()) {
            Share::Exclusive
        } else if online.is_some_and(|online| {
            // Isolated CPUs are in nobody's mask unless asked for.
            online.iter().filter(|cpu| isolated.binary_search(cpu).is_err()).all(holds)
        }) {
            Share::Whole
        } else {
            Share::Part
        };
        Available { cpus, quota: limits.quota, share }
    }

    /// What the calling thread may use here and now. `affinity` is its mask, or what it was before one of our
    /// Machines narrowed it.
    pub(crate) fn here(affinity: Vec<usize>) -> Available {
        Available::read(Path::new("/"), affinity)
    }
}

fn list_in(root: &Path, path: &str) -> Option<Vec<usize>> {
    let path = root.join(path);
    let text = read(&path)?;
    understood(&path, &text, parse_list(&text))
}

/// Reads a list as the kernel writes it: `0-3,8,10-11`. Nothing at all is the empty list.
pub(crate) fn parse_list(text: &str) -> Option<Vec<usize>> {
    let text = text.trim();
    let mut cpus = Vec::new();
    if text.is_empty() {
        return Some(cpus);
    }
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        cpus.extend(first..=last);
        if cpus.len() > MAX_CPUS {
            return None;
        }
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

fn number(text: &str) -> Option<usize> {
    // `parse` alone would take a sign.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number < MAX_CPUS)
}

/// The number of the calling thread.
pub(crate) fn this_thread() -> libc::pid_t {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::gettid() }
}

/// The CPU that the calling thread runs on now.
pub(crate) fn current() -> Option<usize> {
    // SAFETY: asks for a number.
    usize::try_from(unsafe { libc::sched_getcpu() }).ok()
}

/// The CPUs that the calling thread may run on.
///
/// # Errors
///
/// Those of `sched_getaffinity`: a sandbox may forbid the call.
pub(crate) fn affinity() -> io::Result<Vec<usize>> {
    affinity_of(0)
}

/// As [`affinity`], of the thread with this number; zero is the calling one.
pub(crate) fn affinity_of(thread: libc::pid_t) -> io::Result<Vec<usize>> {
    let mut words = 1024 / BITS;
    loop {
        let mut mask: Vec<libc::c_ulong> = vec![0; words];
        // SAFETY: the call writes at most the given number of bytes, which is the size of `mask`, and `mask` lives
        // across it. `cpu_set_t` is an array of `c_ulong`, so the alignment is that of `mask`.
        let result = unsafe {
            libc::sched_getaffinity(
                thread,
                size_of_val(mask.as_slice()),
                mask.as_mut_ptr().cast::<libc::cpu_set_t>(),
            )
        };
        if result == 0 {
            return Ok(bits(&mask));
        }
        let error = io::Error::last_os_error();
        // EINVAL: this kernel has more CPUs than the mask has bits.
        if error.raw_os_error() != Some(libc::EINVAL) || words * BITS >= MAX_CPUS {
            return Err(error);
        }
        words *= 2;
    }
}

/// Lets the calling thread run on `cpus` and nowhere else. Threads that it starts later inherit this.
///
/// # Errors
///
/// Those of `sched_setaffinity`: `InvalidInput` when none of `cpus` is online and in our cpuset.
pub(crate) fn set_affinity(cpus: &[usize]) -> io::Result<()> {
    set_affinity_of(0, cpus)
}

/// As [`set_affinity`], for the thread with this number; zero is the calling one.
pub(crate) fn set_affinity_of(thread: libc::pid_t, cpus: &[usize]) -> io::Result<()> {
    let highest = cpus.iter().copied().max().unwrap_or(0);
    if highest >= MAX_CPUS {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut mask: Vec<libc::c_ulong> = vec![0; highest / BITS + 1];
    for cpu in cpus {
        mask[cpu / BITS] |= 1 << (cpu % BITS);
    }
    // SAFETY: the call reads the given number of bytes, which is the size of `mask`, and keeps no reference.
    // `cpu_set_t` is an array of `c_ulong`, so the alignment is that of `mask`.
    let result = unsafe {
        libc::sched_setaffinity(thread, size_of_val(mask.as_slice()), mask.as_ptr().cast::<libc::cpu_set_t>())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn bits(mask: &[libc::c_ulong]) -> Vec<usize> {
    let set = |cpu: &usize| mask[cpu / BITS] & (1 << (cpu % BITS)) != 0;
    (0..mask.len() * BITS).filter(set).collect()
}

#[cfg(test)]
#[path = "cpus_tests.rs"]
mod tests;
