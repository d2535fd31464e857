//! Two cores, on which everybody runs, so that nothing differs but what they share.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use multikernel::CoreId;
use multikernel::runtime::{Builder, Pinning, Polling, Runtime};
use multikernel::task::yield_now;

use crate::harness::cpus::{self, Cpus};

/// Both are in use.
pub(super) const CORES: usize = 2;
/// Longer than any pause between two messages, and soon over after the last.
const SPIN: Duration = Duration::from_micros(200);
/// After that, nobody watches for messages any more.
const SETTLE: Duration = Duration::from_millis(1);
/// A job that has not answered by then never will.
const PATIENCE: Duration = Duration::from_secs(20);
/// Waits for polls that are under way.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// A multikernel Machine of two cores.
pub struct Machine {
    /// There until dropped.
    runtime: Option<Runtime>,
    cpus: Cpus,
    turned: Cell<bool>,
}

impl Machine {
    pub(super) fn new(cpus: Cpus, polls: bool) -> Result<Self> {
        let polling = if polls { Polling::For(SPIN) } else { Polling::Off };
        let runtime = Builder::new().cores(CORES).pinning(Pinning::Never).polling(polling).build()?;
        let machine = Self { runtime: Some(runtime), cpus, turned: Cell::new(false) };
        machine.place(false)?;
        Ok(machine)
    }

    /// Puts the cores on the two CPUs, or the other way round.
    pub(super) fn place(&self, turned: bool) -> Result<()> {
        self.turned.set(turned);
        for core in 0..CORES {
            let cpu = self.cpu(core);
            self.start(core, move || async move { cpus::pin(&[cpu]) }).wait()?;
        }
        thread::sleep(SETTLE);
        Ok(())
    }

    /// Where a core is.
    pub(super) fn cpu(&self, core: usize) -> usize {
        if (core == 1) == self.turned.get() { self.cpus.client } else { self.cpus.server }
    }

    /// Runs the future that `job` makes on `core`.
    pub(super) fn start<F, R>(&self, core: usize, job: impl FnOnce() -> F + Send + 'static) -> Answer<R>
    where
        F: Future<Output = Result<R>> + 'static,
        R: Send + 'static,
    {
        let (desk, answer) = mpsc::sync_channel(1);
        let _guest = self.runtime.as_ref().expect("there until dropped").handle().enter();
        drop(multikernel::spawn_on(CoreId::new(core), move || async move {
            // Nobody waits any more if the run has failed elsewhere.
            let _ = desk.send(job().await);
        }));
        Answer(answer)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(SHUTDOWN);
        }
    }
}

/// What a job comes to.
pub(super) struct Answer<R>(mpsc::Receiver<Result<R>>);

impl<R> Answer<R> {
    /// Waits for it.
    pub(super) fn wait(self) -> Result<R> {
        match self.0.recv_timeout(PATIENCE) {
            Ok(result) => result,
            Err(RecvTimeoutError::Disconnected) => Err(anyhow!("a job ended without an answer")),
            Err(RecvTimeoutError::Timeout) => bail!("no end after {PATIENCE:?}"),
        }
    }
}

/// Where two jobs begin together: none of them counts the time the other takes to get ready.
pub(super) struct Meeting {
    missing: AtomicUsize,
}

impl Meeting {
    /// Of as many jobs as there are cores.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { missing: AtomicUsize::new(CORES) })
    }

    /// Waits, wide awake, for the other.
    pub(super) async fn join(&self) {
        // Release: pairs with the Acquire below; what each did to get ready comes before either begins.
        self.missing.fetch_sub(1, Ordering::Release);
        while self.missing.load(Ordering::Acquire) > 0 {
            yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_meet_and_answer() {
        let machine = Machine::new(Cpus::of_this_process().unwrap(), true).unwrap();
        for turned in [true, false] {
            machine.place(turned).unwrap();
            let meeting = Meeting::new();
            let answers = [0, 1].map(|core| {
                let meeting = Arc::clone(&meeting);
                machine.start(core, move || async move {
                    meeting.join().await;
                    Ok(CoreId::current().index())
                })
            });
            assert_eq!(answers.map(|answer| answer.wait().unwrap()), [0, 1]);
        }
        assert_ne!(machine.cpu(0), machine.cpu(1));
    }

    #[test]
    fn a_job_that_panics_is_an_error() {
        let machine = Machine::new(Cpus::of_this_process().unwrap(), false).unwrap();
        let answer: Answer<()> =
            machine.start(1, || async { std::panic::resume_unwind(Box::new("planted")) });
        assert!(answer.wait().unwrap_err().to_string().contains("without an answer"));
    }
}
