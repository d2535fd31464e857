//! Threads that are there before a measurement begins, each with whatever runs futures on it.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use std::task::{Context as TaskContext, Poll, Waker};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use futures_lite::future::yield_now;

use crate::harness::cpus;

/// A job that has not answered by then never will.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a core does while it has nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// It watches for messages, as far as it can.
    Polling,
    /// It sleeps.
    Parking,
}

/// Some cores that take jobs, one at a time each.
pub(super) trait Crew: Sized + 'static {
    /// One core for each of `places`: the CPU it is kept on, if on one.
    fn assemble(places: &[Option<usize>], waiting: Waiting) -> Result<Self>;

    /// Runs the future that `job` makes on `core`.
    fn start<F, R>(&self, core: usize, job: impl FnOnce() -> F + Send + 'static) -> Answer<R>
    where
        F: Future<Output = Result<R>> + 'static,
        R: Send + 'static;
}

/// A job did not end. The core that has it is lost.
#[derive(Debug)]
pub(super) struct Hung;

impl fmt::Display for Hung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no end after {PATIENCE:?}: a lost wake-up?")
    }
}

impl std::error::Error for Hung {}

/// What a job comes to.
pub(super) struct Answer<R>(mpsc::Receiver<Result<R>>);

impl<R> Answer<R> {
    /// Where the job puts it.
    pub(super) fn desk() -> (mpsc::SyncSender<Result<R>>, Self) {
        let (tx, rx) = mpsc::sync_channel(1);
        (tx, Self(rx))
    }

    /// Waits for it.
    ///
    /// # Errors
    /// The job's own; also when it panicked or takes for ever.
    pub(super) fn wait(self) -> Result<R> {
        match self.0.recv_timeout(PATIENCE) {
            Ok(result) => result,
            Err(RecvTimeoutError::Disconnected) => Err(anyhow!("a job ended without an answer")),
            Err(RecvTimeoutError::Timeout) => Err(Hung.into()),
        }
    }
}

/// Where the jobs of one visit begin together: none of them counts the time the others take to get ready.
pub(super) struct Meeting {
    missing: AtomicUsize,
}

impl Meeting {
    /// Of `jobs` jobs.
    pub(super) fn of(jobs: usize) -> Arc<Self> {
        Arc::new(Self { missing: AtomicUsize::new(jobs) })
    }

    /// Waits, wide awake, for all others.
    pub(super) async fn join(&self) {
        // Release: pairs with the Acquire below; what each did to get ready comes before any of them begins.
        self.missing.fetch_sub(1, Ordering::Release);
        while self.missing.load(Ordering::Acquire) > 0 {
            // To the threads that are still on their way, of which there may be more than CPUs, and to the runtime.
            thread::yield_now();
            yield_now().await;
        }
    }
}

/// What runs futures on one thread.
pub(super) trait Drive: Sized + 'static {
    fn new(place: Option<usize>, waiting: Waiting) -> Result<Self>;

    fn block_on<F: Future>(&mut self, future: F) -> F::Output;
}

type Job<D> = Box<dyn FnOnce(&mut D) + Send>;

/// A crew of plain threads. They end by themselves when the crew is dropped.
pub(super) struct Threads<D> {
    desks: Vec<mpsc::Sender<Job<D>>>,
    drive: PhantomData<fn() -> D>,
}

impl<D: Drive> Crew for Threads<D> {
    fn assemble(places: &[Option<usize>], waiting: Waiting) -> Result<Self> {
        let desks = places.iter().map(|&place| hire(place, waiting)).collect::<Result<_>>()?;
        Ok(Self { desks, drive: PhantomData })
    }

    fn start<F, R>(&self, core: usize, job: impl FnOnce() -> F + Send + 'static) -> Answer<R>
    where
        F: Future<Output = Result<R>> + 'static,
        R: Send + 'static,
    {
        let (desk, answer) = Answer::desk();
        let job: Job<D> = Box::new(move |drive| {
            // Nobody waits any more if the run has failed elsewhere.
            let _ = desk.send(drive.block_on(job()));
        });
        // A thread that has died drops the job, and with it the desk: the answer says so.
        let _ = self.desks[core].send(job);
        answer
    }
}

fn hire<D: Drive>(place: Option<usize>, waiting: Waiting) -> Result<mpsc::Sender<Job<D>>> {
    let (desk, jobs) = mpsc::channel::<Job<D>>();
    let (ready, came_up) = mpsc::channel();
    thread::Builder::new().name("crew".to_owned()).spawn(move || {
        let drive = place.map_or(Ok(()), |cpu| cpus::pin(&[cpu])).and_then(|()| D::new(place, waiting));
        match drive {
            Ok(mut drive) => {
                let _ = ready.send(Ok(()));
                jobs.iter().for_each(|job| job(&mut drive));
            }
            Err(error) => drop(ready.send(Err(error))),
        }
    })?;
    came_up.recv().context("a thread ended before it was ready")??;
    Ok(desk)
}

/// No runtime: polls the future, and parks the thread or spins until the next poll.
pub(super) struct Plain(Waiting);

impl Drive for Plain {
    fn new(_: Option<usize>, waiting: Waiting) -> Result<Self> {
        Ok(Self(waiting))
    }

    fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        match self.0 {
            Waiting::Polling => spin_on(future),
            Waiting::Parking => futures_lite::future::block_on(future),
        }
    }
}

fn spin_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut cx = TaskContext::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum_of_two_jobs(waiting: Waiting) -> u32 {
        let crew = Threads::<Plain>::assemble(&[None, None], waiting).unwrap();
        let meeting = Meeting::of(2);
        let answers = [1, 2].map(|number| {
            let meeting = Arc::clone(&meeting);
            crew.start(number as usize - 1, move || async move {
                meeting.join().await;
                Ok(number)
            })
        });
        answers.into_iter().map(|answer| answer.wait().unwrap()).sum()
    }

    #[test]
    fn jobs_meet_and_answer() {
        assert_eq!(sum_of_two_jobs(Waiting::Parking), 3);
        assert_eq!(sum_of_two_jobs(Waiting::Polling), 3);
    }

    #[test]
    fn a_job_that_panics_is_an_error() {
        let crew = Threads::<Plain>::assemble(&[None], Waiting::Parking).unwrap();
        let answer: Answer<()> = crew.start(0, || async { panic!("planted") });
        assert!(answer.wait().unwrap_err().to_string().contains("without an answer"));
    }
}
