//! The halves of each measurement: what runs on the sending core, and what runs on the receiving one.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_lite::future::{yield_now, zip};
use hdrhistogram::Histogram;

use super::crew::Meeting;
use super::ends::{Both, Call, Channel, Many, Message, OrClosed, Receiver, RecvEnd, SendEnd, Sender};

/// Messages in a batch.
pub(super) const BATCH: usize = 64;
/// Messages that a stream's channel holds.
pub(super) const ROOM: usize = 1024;
/// Messages that the receiver takes in one turn while fairness is watched: a quarter of what the channel holds.
pub(super) const TURN: usize = ROOM / 4;
/// Those who send into one channel.
pub(super) const SENDERS: usize = 4;
/// Long enough for every sender to have filled what it can.
const FILL: Duration = Duration::from_micros(200);

/// For round trips, in nanoseconds: up to ten seconds, three digits.
pub(super) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 10_000_000_000, 3).expect("the bounds are in order")
}

/// Sends messages 0 to `count` one at a time; says when it began.
pub(super) async fn send<C: Channel, T: Message>(
    tx: C::Tx<T>,
    meeting: Arc<Meeting>,
    count: u64,
) -> Result<Instant> {
    let mut tx = tx.arrive().await;
    meeting.join().await;
    let start = Instant::now();
    for number in 0..count {
        tx.send(T::numbered(number)).await.or_closed()?;
    }
    Ok(start)
}

/// Receives what [`send`] sends; says when it had the last one.
pub(super) async fn recv<C: Channel, T: Message>(
    rx: C::Rx<T>,
    meeting: Arc<Meeting>,
    count: u64,
) -> Result<Instant> {
    let mut rx = rx.arrive().await;
    meeting.join().await;
    for number in 0..count {
        let message = black_box(rx.recv().await.or_closed()?);
        ensure!(message.number() == number, "message {} came in place of {number}", message.number());
    }
    Ok(Instant::now())
}

/// As [`send`], a batch at a time.
pub(super) async fn send_batches<C: Channel>(
    tx: C::Tx<u64>,
    meeting: Arc<Meeting>,
    count: u64,
) -> Result<Instant> {
    let mut tx = tx.arrive().await;
    meeting.join().await;
    let start = Instant::now();
    let mut next = 0;
    while next < count {
        let batch = (count - next).min(BATCH as u64) as usize;
        let first = next;
        // The length is known, as of a slice.
        tx.send_many((0..batch).map(|place| first + place as u64)).await?;
        next += batch as u64;
    }
    Ok(start)
}

/// As [`recv`], up to a batch at a time.
pub(super) async fn recv_batches<C: Channel>(
    rx: C::Rx<u64>,
    meeting: Arc<Meeting>,
    count: u64,
) -> Result<Instant> {
    let mut rx = rx.arrive().await;
    let mut batch = Vec::with_capacity(ROOM);
    meeting.join().await;
    let mut next = 0;
    while next < count {
        rx.recv_many(&mut batch, BATCH).await?;
        ensure!(!batch.is_empty(), "an empty batch");
        for message in black_box(&batch) {
            ensure!(*message == next, "message {message} came in place of {next}");
            next += 1;
        }
        batch.clear();
    }
    Ok(Instant::now())
}

/// Asks `count` times, each after the answer before; says how long that took.
pub(super) async fn ask<C: Channel>(
    (tx, rx): Both<C>,
    meeting: Arc<Meeting>,
    count: u64,
) -> Result<Duration> {
    let (mut tx, mut rx) = zip(tx.arrive(), rx.arrive()).await;
    meeting.join().await;
    let start = Instant::now();
    for number in 0..count {
        tx.send(number).await.or_closed()?;
        let answer = rx.recv().await.or_closed()?;
        ensure!(answer == number, "answer {answer} came in place of {number}");
    }
    Ok(start.elapsed())
}

/// As [`ask`], with the time of each round trip. Reading the clock is part of each.
pub(super) async fn ask_and_time<C: Channel>(
    (tx, rx): Both<C>,
    meeting: Arc<Meeting>,
    count: u64,
) -> Result<Histogram<u64>> {
    let (mut tx, mut rx) = zip(tx.arrive(), rx.arrive()).await;
    let mut latency = latencies();
    meeting.join().await;
    let mut before = Instant::now();
    for number in 0..count {
        tx.send(number).await.or_closed()?;
        let answer = rx.recv().await.or_closed()?;
        ensure!(answer == number, "answer {answer} came in place of {number}");
        let now = Instant::now();
        latency.saturating_record((now - before).as_nanos() as u64);
        before = now;
    }
    Ok(latency)
}

/// Sends back what [`ask`] sends.
pub(super) async fn echo<C: Channel>((tx, rx): Both<C>, meeting: Arc<Meeting>, count: u64) -> Result<()> {
    let (mut tx, mut rx) = zip(tx.arrive(), rx.arrive()).await;
    meeting.join().await;
    for _ in 0..count {
        tx.send(rx.recv().await.or_closed()?).await.or_closed()?;
    }
    Ok(())
}

/// Sends to itself, and receives; says how long `count` messages took.
pub(super) async fn talk_to_itself<C: Channel>((tx, rx): Both<C>, count: u64) -> Result<Duration> {
    let (mut tx, mut rx) = zip(tx.arrive(), rx.arrive()).await;
    let start = Instant::now();
    for number in 0..count {
        tx.send(black_box(number)).await.or_closed()?;
        let message = rx.recv().await.or_closed()?;
        ensure!(message == number, "message {message} came in place of {number}");
    }
    Ok(start.elapsed())
}

/// Who sent message `number`, and which of that sender's it is.
fn split(number: u64) -> (usize, u64) {
    ((number >> 48) as usize, number & ((1 << 48) - 1))
}

/// Sends `count` messages as one of several.
pub(super) async fn send_as<C: Many>(
    sender: usize,
    tx: C::Tx<u64>,
    meeting: Arc<Meeting>,
    count: u64,
) -> Result<Instant> {
    let mut tx = tx.arrive().await;
    meeting.join().await;
    let start = Instant::now();
    for number in 0..count {
        tx.send((sender as u64) << 48 | number).await.or_closed()?;
    }
    Ok(start)
}

/// Receives `count` messages of each of several senders, each sender's in their order.
pub(super) async fn recv_of_all<C: Many>(
    rx: C::Rx<u64>,
    meeting: Arc<Meeting>,
    count: u64,
) -> Result<Instant> {
    let mut rx = rx.arrive().await;
    meeting.join().await;
    let mut next = [0; SENDERS];
    for _ in 0..count * SENDERS as u64 {
        let (sender, number) = split(rx.recv().await.or_closed()?);
        let expected = next.get_mut(sender).context("a message of nobody")?;
        ensure!(number == *expected, "message {number} of sender {sender} came in place of {expected}");
        *expected += 1;
    }
    Ok(Instant::now())
}

/// Sends for as long as anybody receives, counting in `sent`.
pub(super) async fn send_without_end<C: Many>(
    sender: usize,
    tx: C::Tx<u64>,
    meeting: Arc<Meeting>,
    sent: Arc<AtomicU64>,
) -> Result<()> {
    let mut tx = tx.arrive().await;
    meeting.join().await;
    let mut number = 0;
    while tx.send((sender as u64) << 48 | number).await.or_closed().is_ok() {
        number += 1;
        // Relaxed: a count that is only compared with itself.
        sent.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Sends a fair share of what the channel holds, as one of several, and waits until all have.
pub(super) async fn send_share<C: Many>(
    sender: usize,
    tx: C::Tx<u64>,
    (begun, sent): (Arc<Meeting>, Arc<Meeting>),
) -> Result<()> {
    send_as::<C>(sender, tx, begun, (ROOM / SENDERS) as u64).await?;
    sent.join().await;
    Ok(())
}

/// Takes what [`send_share`] sent, once all of it is there, in turns, and returns for each turn by which share of its
/// due the sender that fared best or worst was off.
pub(super) async fn take_shares<C: Many>(
    rx: C::Rx<u64>,
    (begun, sent): (Arc<Meeting>, Arc<Meeting>),
) -> Result<Vec<f64>> {
    let mut rx = rx.arrive().await;
    begun.join().await;
    sent.join().await;
    let mut off = Vec::new();
    for _ in 0..ROOM / TURN {
        off.push(take_turn::<C>(&mut rx).await?);
    }
    Ok(off)
}

async fn take_turn<C: Many>(rx: &mut <C::Rx<u64> as RecvEnd>::Here) -> Result<f64> {
    let mut shares = [0_u32; SENDERS];
    for _ in 0..TURN {
        let (sender, _) = split(rx.recv().await.or_closed()?);
        *shares.get_mut(sender).context("a message of nobody")? += 1;
    }
    let due = TURN as f64 / SENDERS as f64;
    Ok(shares.iter().map(|share| (f64::from(*share) - due).abs() / due).fold(0.0, f64::max))
}

/// As [`take_shares`], but `turns` turns, each when every sender waits for room to send more.
pub(super) async fn watch_turns<C: Many>(
    rx: C::Rx<u64>,
    meeting: Arc<Meeting>,
    sent: Arc<AtomicU64>,
    turns: u64,
) -> Result<Vec<f64>> {
    let mut rx = rx.arrive().await;
    meeting.join().await;
    let mut off = Vec::new();
    for _ in 0..turns {
        let mut before = None;
        loop {
            // Relaxed: as above.
            let now = sent.load(Ordering::Relaxed);
            if before.replace(now) == Some(now) {
                break;
            }
            // The core goes on meanwhile: it may owe the senders their wake-ups.
            let filled = Instant::now() + FILL;
            while Instant::now() < filled {
                thread::yield_now();
                yield_now().await;
            }
        }
        off.push(take_turn::<C>(&mut rx).await?);
    }
    Ok(off)
}

/// Calls `count` times; says how long that took.
pub(super) async fn call<K: Call>(
    mut caller: K::Caller,
    meeting: Arc<Meeting>,
    count: u64,
) -> Result<Duration> {
    meeting.join().await;
    let start = Instant::now();
    for number in 0..count {
        let answer = K::call(&mut caller, number).await?;
        ensure!(answer == number + 1, "{number} was answered with {answer}");
    }
    Ok(start.elapsed())
}

/// Answers `count` calls.
pub(super) async fn answer<K: Call>(mut callee: K::Callee, meeting: Arc<Meeting>, count: u64) -> Result<()> {
    meeting.join().await;
    for _ in 0..count {
        K::answer(&mut callee).await?;
    }
    Ok(())
}
