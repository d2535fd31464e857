//! Following what the process may use: CPUs are taken from it and given back, by whoever runs the container.
//!
//! A thread of its own looks once a second: at its own affinity mask (which the kernel narrows with the cpuset, and which
//! whoever changes the masks of all threads changes as well), at the control group and at its quota. If less is left than there
//! are cores, the highest cores retire; when it comes back, so do they. A core that was tied to a CPU is tied to one that is
//! there, also if somebody has reset its mask, as the CPU manager of Kubernetes does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use multikernel_channels::sync::Arc;

use crate::limits::FOLLOW_PAUSE;
use crate::machine::cpus::{self, Available};
use crate::machine::mailbox::Standing;
use crate::machine::runtime::Handle;
use crate::machine::{CoreId, Machine, pinning};
use crate::task::JoinHandle;

/// Tells the thread that follows that the Machine ends.
#[derive(Default)]
pub(crate) struct Following {
    ends: Mutex<bool>,
    bell: Condvar,
}

impl Following {
    pub(crate) fn end(&self) {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.notify_all();
    }

    /// Waits for the next look. False at the end.
    fn pause(&self) -> bool {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.wait_timeout_while(ends, FOLLOW_PAUSE, |ends| !*ends);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Starts the thread. `available` is what the cores were started for.
pub(crate) fn start(
    machine: &Arc<Machine>,
    available: Available,
    name: &str,
) -> Option<thread::JoinHandle<()>> {
    let follower = Follower { machine: machine.clone(), root: "/".into(), available, gone: BTreeMap::new() };
    let started = thread::Builder::new().name(format!("{name}-cpus")).spawn(move || follower.run());
    started.inspect_err(|error| tracing::warn!(%error, "nobody follows which CPUs the process may use")).ok()
}

struct Follower {
    machine: Arc<Machine>,
    /// Below which the files of the system are.
    root: PathBuf,
    available: Available,
    /// Cores that this has sent away, with what does it.
    gone: BTreeMap<usize, Option<JoinHandle<()>>>,
}

impl Follower {
    fn run(mut self) {
        // The mask that it has inherited is that of one CPU if a core has started it, and its mask is what tells.
        if let Err(error) = pinning::unpin_current_thread() {
            return tracing::warn!(%error, "nobody follows which CPUs the process may use");
        }
        while self.machine.following.pause() {
            self.look();
        }
        // What is under way ends with the Machine.
    }

    fn look(&mut self) {
        let Ok(affinity) = cpus::affinity() else { return };
        let now = Available::read(&self.root, affinity);
        if now != self.available {
            let (before, after) = (&self.available.cpus, &now.cpus);
            tracing::info!(
                ?before,
                ?after,
                cores = self.serving(&now),
                "the CPUs of this process have changed"
            );
            let serves = |core: usize| self.machine.cores[core].load.standing() == Standing::Member;
            self.machine.pins.choose_again(&now, pinning::order, serves);
            self.available = now;
        }
        self.machine.tie_cores();
        self.fit(self.serving(&self.available));
    }

    /// How many cores are to serve.
    fn serving(&self, available: &Available) -> usize {
        available.count().min(self.machine.cores.len())
    }

    /// Has cores retire or come back until `wanted` serve. Those that somebody else has sent away stay away.
    fn fit(&mut self, wanted: usize) {
        let standing = |core: usize| self.machine.cores[core].load.standing();
        let serve: Vec<_> =
            (0..self.machine.cores.len()).filter(|core| standing(*core) == Standing::Member).collect();
        if let Some(too_many) = serve.len().checked_sub(wanted) {
            for core in serve.into_iter().rev().take(too_many) {
                let handle = Handle { machine: self.machine.clone() };
                let leaving = handle.clone().spawn(async move {
                    // Refused: then it serves on, and the next look tries again.
                    let _ = handle.retire(CoreId::new(core)).await;
                });
                self.gone.insert(core, Some(leaving));
            }
            return;
        }
        let missing = wanted - serve.len();
        let back: Vec<_> = self.gone.keys().copied().take(missing).collect();
        for core in back {
            self.bring_back(core);
        }
    }

    fn bring_back(&mut self, core: usize) {
        let standing = self.machine.cores[core].load.standing();
        let leaving = self.gone.get_mut(&core).and_then(Option::take);
        match standing {
            // Nobody waits for it to leave any more, so it stays; or it has left, which the next look sees.
            Standing::Leaving => leaving.iter().for_each(JoinHandle::abort),
            Standing::Retired => {
                let handle = Handle { machine: self.machine.clone() };
                let coming = handle.clone().spawn(async move {
                    let _ = handle.revive(CoreId::new(core)).await; // or else at the next look
                });
                self.gone.insert(core, Some(coming));
            }
            Standing::Joining => {}
            Standing::Member | Standing::Dead => _ = self.gone.remove(&core),
        }
    }
}

#[cfg(all(test, not(loom)))]
#[path = "follow_tests.rs"]
mod tests;
