//! Cores that have nothing to do, and the CPU time they use for it.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::channel::oneshot;
use futures_lite::future::zip;

use super::cases::{Contender, Waiters};
use super::crew::{Answer, Crew, Waiting};
use super::ends::{Channel, OrClosed, Receiver, RecvEnd, SendEnd, Sender};
use crate::harness::sched::CpuTime;

/// Cores of each contender that wait; one more will wake the first of them.
pub const CORES: usize = 16;
/// For whatever a runtime does after it has started.
const SETTLE: Duration = Duration::from_millis(300);

/// A chain: each core waits for a message from the one before, and passes it on. The first one's comes from a core
/// that waits for `start`, and not by blocking its thread: that would keep busy whoever looks for cores that are stuck.
struct Chain<W> {
    /// Kept alive.
    _crew: W,
    start: oneshot::Sender<()>,
    answers: Vec<Answer<()>>,
}

/// Has `cores` cores wait for a message each.
pub(super) fn park<C: Channel, W: Crew>(cores: usize) -> Result<Box<dyn Waiters>> {
    let crew = W::assemble(&vec![None; cores + 1], Waiting::Parking)?;
    let (start, started) = oneshot::channel();
    let (first, mut rx) = C::open::<u64>(1);
    let mut answers = vec![crew.start(cores, move || async move {
        let mut tx = first.arrive().await;
        started.await?;
        Ok(tx.send(0).await.or_closed()?)
    })];
    for core in 0..cores - 1 {
        let (tx, next) = C::open(1);
        let before = std::mem::replace(&mut rx, next);
        answers.push(crew.start(core, move || async move {
            let (mut tx, mut rx) = zip(tx.arrive(), before.arrive()).await;
            Ok(tx.send(rx.recv().await.or_closed()?).await.or_closed()?)
        }));
    }
    answers.push(crew.start(cores - 1, move || async move {
        rx.arrive().await.recv().await.or_closed()?;
        Ok(())
    }));
    Ok(Box::new(Chain { _crew: crew, start, answers }))
}

impl<W> Waiters for Chain<W> {
    fn end(self: Box<Self>) -> Result<()> {
        self.start.send(()).ok().context("the first core no longer waits")?;
        self.answers.into_iter().try_for_each(Answer::wait)
    }
}

/// What the threads of one contender used while they had nothing to do.
#[derive(Debug)]
pub struct Idle {
    /// Whose.
    pub name: &'static str,
    /// How many threads it had.
    pub threads: usize,
    /// CPU time in percent of the time that passed, all threads together; or why that means nothing.
    pub percent: Result<f64>,
}

/// Parks `cores` cores of each contender that can, all at the same time, and watches them for `length`.
///
/// # Errors
/// When the machine's own books cannot be read, or a contender cannot start.
pub fn measure(contenders: &[Contender], cores: usize, length: Duration) -> Result<Vec<Idle>> {
    let mut parked = Vec::new();
    for contender in contenders {
        if let Some(park) = contender.park {
            let before = threads()?;
            let waiters =
                park(cores).with_context(|| format!("{} cannot park {cores} cores", contender.name))?;
            thread::sleep(SETTLE);
            let own: Vec<u32> = threads()?.difference(&before).copied().collect();
            parked.push((contender.name, waiters, own));
        }
    }
    let used = |own: &[u32]| own.iter().map(|&thread| CpuTime::of_thread(thread)).sum::<Result<CpuTime>>();
    let before = parked.iter().map(|(_, _, own)| used(own)).collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    thread::sleep(length);
    let after = parked.iter().map(|(_, _, own)| used(own)).collect::<Result<Vec<_>>>()?;
    let wall = start.elapsed();
    let spent = before.into_iter().zip(after).map(|(before, after)| (after - before).ran);
    let results = parked.into_iter().zip(spent).map(|((name, waiters, own), spent)| {
        let percent = waiters.end().and_then(|()| {
            ensure!(own.len() > cores, "{} threads for {cores} cores and one", own.len());
            Ok(100.0 * spent.as_secs_f64() / wall.as_secs_f64())
        });
        Idle { name, threads: own.len(), percent }
    });
    Ok(results.collect())
}

/// The threads of this process.
fn threads() -> Result<BTreeSet<u32>> {
    let tasks = fs::read_dir("/proc/self/task").context("cannot list threads")?;
    tasks
        .map(|task| task?.file_name().to_str().and_then(|name| name.parse().ok()).context("not a thread"))
        .collect()
}
