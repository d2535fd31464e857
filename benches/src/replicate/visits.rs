//! How each case is visited.

use std::hint::{black_box, spin_loop};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use crossbeam_utils::CachePadded;
use hdrhistogram::Histogram;
use multikernel::replicate::{Replicated, StateMachine};
use multikernel::task::yield_now;

use super::cases::{BATCHES, Case, Offer, Sample};
use super::machine::{Machine, Meeting};
use super::maps::{ENTRIES, Map, Read, Write, value};
use crate::client::latencies;
use crate::harness::cpus;

/// A core that only reads yields after so many reads.
const READS: u64 = 1024;
/// And one that reads beside a writer after so many.
const READS_BESIDE: u64 = 64;
/// Reads of both cores for each write.
const READS_PER_WRITE: u64 = 99;
/// The writer is on this core, which is home.
const HOME: usize = 0;

/// Keys in no order (Steele and Vigna's constant for a linear congruence).
struct Keys(u64);

impl Keys {
    #[inline]
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        ((self.0 >> 32) * ENTRIES) >> 32
    }
}

/// Reads `count` times. Says how long that took.
async fn read_all<R: Read>(mut map: R, core: usize, meeting: Arc<Meeting>, count: u64) -> Result<Duration> {
    map.arrive();
    let mut keys = Keys(core as u64);
    let mut wrong = 0;
    meeting.join().await;
    let start = Instant::now();
    for first in (0..count).step_by(READS as usize) {
        for _ in first..count.min(first + READS) {
            let key = keys.next();
            wrong |= map.get(key) ^ value(key, 0);
        }
        yield_now().await;
    }
    let took = start.elapsed();
    ensure!(black_box(wrong) == 0, "a read came out wrong");
    Ok(took)
}

pub(super) fn read<M: Map>() -> Offer {
    let open = |machine: &Rc<Machine>| {
        let machine = Rc::clone(machine);
        Ok(Box::new(move |count: u64| {
            // New maps for each visit: luck with their places in memory is nobody's for long.
            let ([here, there], _write) = machine.start(HOME, M::open).wait()?;
            let meeting = Meeting::new();
            let met = Arc::clone(&meeting);
            let there = machine.start(1, move || read_all(there, 1, met, count));
            let here = machine.start(HOME, move || read_all(here, 0, meeting, count));
            Ok(Sample::of((here.wait()? + there.wait()?) / 2, count))
        }) as _)
    };
    (Case::Read, Box::new(open))
}

/// Reads `count` times, and calls `write` after each `every` halves of a read.
async fn read_and<R: Read>(
    map: &R,
    core: usize,
    count: u64,
    mut write: impl AsyncFnMut() -> Result<()>,
) -> Result<()> {
    let mut keys = Keys(core as u64);
    let (mut wrong, mut due) = (0, 0);
    for first in (0..count).step_by(READS_BESIDE as usize) {
        for _ in first..count.min(first + READS_BESIDE) {
            let key = keys.next();
            // The lower half: the upper changes.
            wrong |= (map.get(key) ^ value(key, 0)) as u32;
            // The other core reads meanwhile as often.
            due += 2;
            if due >= READS_PER_WRITE {
                due -= READS_PER_WRITE;
                write().await?;
            }
        }
        yield_now().await;
    }
    ensure!(black_box(wrong) == 0, "a read came out wrong");
    Ok(())
}

/// How many times [`read_and`] writes.
fn writes(count: u64) -> u64 {
    2 * count / READS_PER_WRITE
}

async fn read_and_write<R: Read, W: Write>(
    mut map: R,
    mut writer: W,
    meeting: Arc<Meeting>,
    count: u64,
) -> Result<(Duration, R, W)> {
    map.arrive();
    meeting.join().await;
    let start = Instant::now();
    let (mut keys, mut written) = (Keys(!0), 0);
    read_and(&map, HOME, count, async || {
        written += 1;
        let key = if written == writes(count) { ENTRIES - 1 } else { keys.next() };
        writer.write(key, value(key, written)).await
    })
    .await?;
    writer.settle().await?;
    let took = start.elapsed();
    ensure!(written == writes(count), "{written} writes among {count} reads of each core");
    Ok((took, map, writer))
}

async fn read_beside<R: Read>(mut map: R, meeting: Arc<Meeting>, count: u64) -> Result<(Duration, R)> {
    map.arrive();
    meeting.join().await;
    let start = Instant::now();
    read_and(&map, 1, count, async || Ok(())).await?;
    Ok((start.elapsed(), map))
}

pub(super) fn mixed<M: Map>() -> Offer {
    let open = |machine: &Rc<Machine>| {
        let machine = Rc::clone(machine);
        Ok(Box::new(move |count: u64| {
            let count = count.max(READS_PER_WRITE);
            let ([here, there], writer) = machine.start(HOME, M::open).wait()?;
            let meeting = Meeting::new();
            let met = Arc::clone(&meeting);
            let there = machine.start(1, move || read_beside(there, met, count));
            let here = machine.start(HOME, move || read_and_write(here, writer, meeting, count));
            let (took_here, here, writer) = here.wait()?;
            let (took_there, there) = there.wait()?;
            let last = move |map: M::Read| async move { Ok(map.get(ENTRIES - 1)) };
            let last = [machine.start(HOME, move || last(here)), machine.start(1, move || last(there))];
            for read in last {
                let read = read.wait()?;
                let expected = value(ENTRIES - 1, writes(count));
                ensure!(read == expected, "the last write is {expected:x}, and {read:x} is read");
            }
            drop(writer);
            Ok(Sample::of(took_here.max(took_there), 2 * count + writes(count)))
        }) as _)
    };
    (Case::Mixed, Box::new(open))
}

/// As little as can be agreed on.
pub(super) struct Total(u64);

impl StateMachine for Total {
    type Command = u64;
    type Refusal = ();
    type Snapshot = u64;
    const VETO: bool = false;

    fn prepare(&mut self, _: &u64) -> Result<(), ()> {
        Ok(())
    }

    fn commit(&mut self, more: &u64) {
        self.0 += more;
    }

    fn abort(&mut self, _: &u64) {}

    fn snapshot(&self) -> u64 {
        self.0
    }

    fn restore(total: &u64) -> Result<Self, ()> {
        Ok(Self(*total))
    }
}

/// Proposals before the clock starts: the other core may have gone to sleep between two visits.
const WARM_UP: u64 = 64;

async fn propose_one_by_one(total: Replicated<Total>, count: u64) -> Result<(Duration, Histogram<u64>)> {
    for _ in 0..WARM_UP {
        total.propose(1).await?;
    }
    let start = Instant::now();
    for _ in 0..count {
        total.propose(1).await?;
    }
    let took = start.elapsed();
    let mut latency = latencies();
    let mut before = Instant::now();
    for _ in 0..count {
        total.propose(1).await?;
        let now = Instant::now();
        latency.saturating_record((now - before).as_nanos() as u64);
        before = now;
    }
    Ok((took, latency))
}

async fn propose_in_batches(total: Replicated<Total>, size: u64, batches: u64) -> Result<Duration> {
    for _ in 0..WARM_UP {
        total.propose(1).await?;
    }
    let start = Instant::now();
    for _ in 0..batches {
        for answer in total.propose_all((0..size).map(|_| 1)).await {
            answer?;
        }
    }
    Ok(start.elapsed())
}

/// Makes proposals with `propose`, which is given how many and says how many it made, and looks whether they arrive.
fn proposing(
    machine: &Rc<Machine>,
    propose: impl Fn(&Machine, Replicated<Total>, u64) -> Result<(Sample, u64)> + 'static,
) -> Result<super::cases::Visit> {
    let machine = Rc::clone(machine);
    let create = || async { Ok(Replicated::new(|| Total(0)).await?) };
    let total = machine.start(HOME, create).wait()?;
    let mut sum = 0;
    Ok(Box::new(move |count: u64| {
        let (sample, made) = propose(&machine, total.clone(), count)?;
        sum += made;
        for core in [HOME, 1] {
            let total = total.clone();
            let read = machine.start(core, move || async move { Ok(total.read(|total| total.0)) }).wait()?;
            ensure!(read == sum, "{sum} proposals came to {read} on core {core}");
        }
        Ok(sample)
    }))
}

pub(super) fn one(case: Case, from: usize) -> Offer {
    let open = move |machine: &Rc<Machine>| {
        proposing(machine, move |machine, total, count| {
            let (took, latency) = machine.start(from, move || propose_one_by_one(total, count)).wait()?;
            Ok((Sample { latency: Some(latency), ..Sample::of(took, count) }, WARM_UP + 2 * count))
        })
    };
    (case, Box::new(open))
}

pub(super) fn batches() -> Vec<Offer> {
    let offer = |size: u64| -> Offer {
        let open = move |machine: &Rc<Machine>| {
            proposing(machine, move |machine, total, count| {
                let batches = count.div_ceil(size);
                let took = machine.start(HOME, move || propose_in_batches(total, size, batches)).wait()?;
                Ok((Sample::of(took, batches * size), WARM_UP + batches * size))
            })
        };
        (Case::Batch(size), Box::new(open))
    };
    BATCHES.map(offer).into()
}

/// A word on a line of its own goes to and fro so many times, and nothing else happens. Says how long each `trips` took.
fn to_and_fro(places: [usize; 2], trips: u64, count: u64) -> Result<(Duration, Histogram<u64>)> {
    let line = CachePadded::new(AtomicU64::new(0));
    let (line, total) = (&line, 2 * trips * count);
    thread::scope(|scope| {
        let other = scope.spawn(move || {
            cpus::pin(&[places[1]])?;
            // The other side's moves are the odd ones.
            (1..=total).for_each(|trip| answer(line, 2 * trip - 1));
            anyhow::Ok(())
        });
        let this = scope.spawn(move || {
            cpus::pin(&[places[0]])?;
            let mut at = 0;
            let mut ask = || {
                (0..trips).for_each(|_| {
                    answer(line, at);
                    at += 2;
                });
            };
            let start = Instant::now();
            (0..count).for_each(|_| ask());
            let took = start.elapsed();
            let mut latency = latencies();
            let mut before = Instant::now();
            for _ in 0..count {
                ask();
                let now = Instant::now();
                latency.saturating_record((now - before).as_nanos() as u64);
                before = now;
            }
            anyhow::Ok((took, latency))
        });
        other.join().expect("it does not panic")?;
        this.join().expect("it does not panic")
    })
}

/// Waits for the word to be this, and makes it one more.
fn answer(line: &AtomicU64, word: u64) {
    // Acquire, Release: for form's sake; nothing else is handed over.
    while line.load(Ordering::Acquire) != word {
        spin_loop();
    }
    line.store(word + 1, Ordering::Release);
}

/// The limit of a proposal: so many hops of a line.
pub(super) fn line(case: Case, hops: u64) -> Offer {
    let open = move |machine: &Rc<Machine>| {
        let machine = Rc::clone(machine);
        Ok(Box::new(move |count: u64| {
            let places = [machine.cpu(0), machine.cpu(1)];
            let (took, latency) = to_and_fro(places, hops / 2, count)?;
            Ok(Sample { latency: Some(latency), ..Sample::of(took, count) })
        }) as _)
    };
    (case, Box::new(open))
}
