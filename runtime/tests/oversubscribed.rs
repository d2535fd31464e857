//! Everything at once, on sixteen cores that share the few CPUs there are, while cores retire and are revived at random, the
//! home and whoever waits on a retired core's socket among them.
//!
//! | who | does | what must hold |
//! |---|---|---|
//! | clients, threads of their own | ask a TCP server, many requests on a connection | each request gets its own answer; a client reads what it has written |
//! | rovers, tasks that are handed over | spawn stints on random cores, send each other letters | who handles a letter has what its sender had |
//! | stints, tasks that stay | propose lines, hold a seat of a bounded counter, read | the checkers of the simulator; no core sees more seats than there are |
//! | rovers | arm and cancel timers of the Machine, and lend map entries for a time | started exactly once, or once on each core; never early; never after a cancel |
//!
//! `MULTIKERNEL_STRESS_SECONDS` sets how long each driver is at it.
#![cfg(not(loom))]

mod journal;
mod shots;
mod support;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use multikernel::channels::mpsc;
use multikernel::net::{TcpListener, TcpStream};
use multikernel::replicate::ready::CounterRefusal;
use multikernel::replicate::{CoreId, Replicated, ReplicatedCell, ReplicatedCounter, ReplicatedMap, Seq};
use multikernel::runtime::{Builder, DriverChoice, Handle};
use multikernel::task::{JoinHandle, yield_now};
use multikernel::time::{sleep, timeout};
use multikernel::{on_each_core, spawn, spawn_balanced, spawn_on};
use multikernel_sim::What;

use crate::journal::{Book, Recorder, propose};
use crate::shots::Shots;
use crate::support::{read, read_exact, write_all};

const CORES: usize = 16;
const CLIENTS: u64 = 8;
const ROVERS: u64 = 6;
/// Cores that are out at once, at most.
const OUT: usize = 4;
const SEATS: i64 = 3;
/// Who waits for longer waits for ever.
const PATIENCE: Duration = Duration::from_secs(120);
/// Keys of clients are below, those of entries that are lent are not.
const LENT: u64 = 1 << 32;

/// A small generator (Steele, Lea, Flood 2014: SplitMix).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }

    fn core(&mut self) -> CoreId {
        CoreId::new(self.below(CORES as u64) as usize)
    }
}

/// What all have in common.
struct World {
    book: Book,
    lines: Replicated<Recorder>,
    map: ReplicatedMap<u64, u64>,
    cell: ReplicatedCell<u64>,
    seats: ReplicatedCounter,
    numbers: AtomicU64,
    stop: AtomicBool,
}

impl World {
    async fn new() -> Self {
        let book = Book::new(CORES);
        let made = book.clone();
        Self {
            book,
            lines: Replicated::new(move || Recorder::new(&made, 0)).await.unwrap(),
            map: ReplicatedMap::new().await.unwrap(),
            cell: ReplicatedCell::new(0).await.unwrap(),
            seats: ReplicatedCounter::with_bound(SEATS).await.unwrap(),
            numbers: AtomicU64::new(1),
            stop: AtomicBool::new(false),
        }
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A message that travels: with what its sender had.
    fn letter(&self) -> u64 {
        self.book.sent(self.number())
    }
}

// What a client may ask for, and what it is answered.

/// Puts an entry in; the value.
const SET: u8 = 0;
/// The value of a key, as the core has it that serves the client now.
const GET: u8 = 1;
/// Adds to the cell; how much.
const ADD: u8 = 2;

async fn answer(world: &World, request: [u8; 17]) -> u64 {
    let word = |at: usize| u64::from_le_bytes(request[at..at + 8].try_into().unwrap());
    let (key, value) = (word(1), word(9));
    match request[0] {
        SET => {
            world.map.insert(key, value).await.unwrap();
            value
        }
        GET => world.map.get(&key).unwrap_or(0),
        ADD => {
            world.cell.update(move |sum| sum + value).await.unwrap();
            value
        }
        other => panic!("nobody asks for {other}"),
    }
}

async fn serve(world: Arc<World>, stream: TcpStream) -> io::Result<()> {
    let mut request = [0; 17];
    while read(&stream, &mut request[..1]).await? > 0 {
        read_exact(&stream, &mut request[1..]).await?;
        write_all(&stream, &answer(&world, request).await.to_le_bytes()).await?;
    }
    Ok(())
}

async fn accept(world: Arc<World>, listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        drop(spawn_balanced(serve(world.clone(), stream)));
    }
}

/// What a client has seen to.
#[derive(Default)]
struct Seen {
    answers: u64,
    added: u64,
    /// The last value of each of its keys.
    values: [u64; 8],
}

/// Asks until it is over. Errors are the test's failure: no connection may be dropped.
fn talk(world: &World, me: u64, to: SocketAddr) -> io::Result<Seen> {
    let (mut dice, mut seen) = (Dice(me), Seen::default());
    while !world.is_over() {
        let mut stream = std::net::TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        for _ in 0..dice.below(60) {
            // Several at once: answers come in order.
            let mut expected = Vec::new();
            let mut requests = Vec::new();
            for _ in 0..1 + dice.below(4) {
                let (kind, at) = (dice.below(3) as u8, dice.below(8) as usize);
                let value = 1 + dice.below(1 << 30);
                match kind {
                    SET => seen.values[at] = value,
                    ADD => seen.added += value,
                    _ => {}
                }
                expected.push(if kind == GET { seen.values[at] } else { value });
                requests.push(kind);
                requests.extend((me * 8 + at as u64).to_le_bytes());
                requests.extend(value.to_le_bytes());
            }
            stream.write_all(&requests)?;
            for expected in expected {
                let mut back = [0; 8];
                stream.read_exact(&mut back)?;
                assert_eq!(u64::from_le_bytes(back), expected, "client {me}, answer {}", seen.answers);
                seen.answers += 1;
            }
        }
    }
    Ok(seen)
}

/// Stays on its core, which it keeps from leaving: proposes lines, and holds a seat while it does, if one is free.
async fn stint(world: Arc<World>, letter: u64, lines: u64) -> u64 {
    world.book.handled(letter);
    let sits = match world.seats.add(1).await {
        Ok(_) => true,
        Err(error) => {
            assert!(matches!(error.refusal(), Some(CounterRefusal::OverBound { .. })), "{error}");
            false
        }
    };
    for _ in 0..lines {
        let id = world.number();
        let seq = Seq(world.number());
        propose(&world.book, &world.lines, seq, id, Duration::from_millis(1 + id % 50)).await;
        assert!(!sits || world.seats.held_here() > 0, "it has lost its seat");
        let seats = world.seats.value();
        assert!((i64::from(sits)..=SEATS).contains(&seats), "{seats} seats are taken");
        let read = world.number();
        world.book.note_here(What::ReadBegun(read));
        world.lines.read_settled(|_| world.book.note_here(What::ReadEnded(read))).await;
    }
    if sits {
        world.seats.add(-1).await.unwrap();
    }
    world.letter()
}

/// Goes where it is handed over to.
async fn rove(world: Arc<World>, shots: Arc<Shots>, me: u64, tell: mpsc::Sender<u64>) -> u64 {
    let (mut dice, mut stints) = (Dice(1000 + me), 0);
    while !world.is_over() {
        // A hand-over is a message, a spawn is one, and so is its end.
        let kept = world.letter();
        yield_now().await;
        world.book.handled(kept);
        let (sent, there, lines) = (world.letter(), world.clone(), dice.below(4));
        match spawn_on(dice.core(), move || stint(there, sent, lines)).await {
            Ok(letter) => {
                world.book.handled(letter);
                stints += 1;
            }
            Err(error) => assert!(error.is_cancelled(), "{error}"), // it has retired
        }
        tell.send(world.letter()).await.expect("its listener stays to the end");
        let due = Duration::from_micros(dice.below(15_000));
        match dice.below(6) {
            0 => shots.once(due, dice.below(2) == 0).await,
            1 => shots.on_each(due, dice.below(2) == 0).await,
            2 => {
                let key = LENT + world.number();
                world.map.insert_for(key, key, due).await.unwrap();
            }
            _ => sleep(due / 10).await,
        }
    }
    stints
}

async fn listen(world: Arc<World>, mut told: mpsc::Receiver<u64>) {
    while let Some(letter) = told.recv().await {
        world.book.handled(letter);
    }
}

/// Cores come and go. Says how often.
async fn shake(world: &World, until: Instant) -> usize {
    let (machine, mut dice, mut turns) = (Handle::current(), Dice(7), 0);
    while Instant::now() < until && world.book.failure().is_none() {
        let mut out = Vec::new();
        for _ in 0..1 + dice.below(OUT as u64) {
            let core = dice.core();
            if !out.contains(&core) {
                machine.retire(core).await.unwrap();
                out.push(core);
            }
        }
        sleep(Duration::from_micros(dice.below(1500))).await;
        while !out.is_empty() {
            let core = out.swap_remove(dice.below(out.len() as u64) as usize);
            machine.revive(core).await.unwrap();
            turns += 1;
        }
    }
    turns
}

/// Asks each core. All are there.
async fn on_all<R: Send + 'static>(ask: impl Fn() -> R + Clone + Send + 'static) -> Vec<R> {
    let mut answers = Vec::new();
    for task in on_each_core(move || std::future::ready(ask())) {
        answers.push(task.await.unwrap());
    }
    assert_eq!(answers.len(), CORES);
    answers
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "not in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// All that was told is everywhere, and nothing else is.
async fn look_everywhere(world: &Arc<World>, shots: &Arc<Shots>, clients: &[Seen]) {
    until("all that was lent has gone", async || {
        let world = world.clone();
        let lent = on_all(move || world.map.read(|map| map.iter().any(|(key, _)| *key >= LENT))).await;
        !lent.contains(&true)
    })
    .await;
    until("timers that are due have run", async || shots.are_over()).await;
    // Once more, when nobody comes or goes.
    shots.beats_end().await;
    let last = shots.clone();
    spawn_balanced(async move { last.on_each(Duration::ZERO, false).await }).await.unwrap();
    until("one for each core has run on each", async || shots.last_was_on_each(CORES)).await;
    shots.check();
    let (mut expected, mut added) = (Vec::new(), 0);
    for (me, client) in clients.iter().enumerate() {
        let values = client.values.iter().enumerate().filter(|(_, value)| **value > 0);
        expected.extend(values.map(|(at, value)| (me as u64 * 8 + at as u64, *value)));
        added += client.added;
    }
    let there = world.clone();
    let found = on_all(move || {
        let mut entries: Vec<_> =
            there.map.read(|map| map.iter().map(|(key, value)| (*key, *value)).collect());
        entries.sort_unstable();
        (entries, *there.cell.get(), there.seats.value())
    });
    for found in found.await {
        assert_eq!(found, (expected.clone(), added, 0));
    }
}

fn moved() -> u64 {
    let metrics = Handle::current().metrics();
    (0..CORES).map(|core| metrics.core(CoreId::new(core)).moved).sum()
}

fn seconds() -> u64 {
    std::env::var("MULTIKERNEL_STRESS_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(3)
}

async fn everything(time: Duration) -> String {
    let world = Arc::new(spawn_balanced(World::new()).await.unwrap());
    let shots = Arc::new(Shots::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = spawn(accept(world.clone(), listener));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|me| {
            let world = world.clone();
            std::thread::spawn(move || talk(&world, me, address))
        })
        .collect();
    let (mut tells, tolds): (Vec<_>, Vec<_>) = (0..ROVERS).map(|_| mpsc::channel(16)).unzip();
    tells.rotate_left(1);
    let listeners: Vec<_> =
        tolds.into_iter().map(|told| spawn_balanced(listen(world.clone(), told))).collect();
    let beats = spawn_balanced({
        let shots = shots.clone();
        async move { shots.beats_begin().await }
    });
    beats.await.unwrap();
    let rovers: Vec<JoinHandle<u64>> = (0..)
        .zip(tells)
        .map(|(me, tell)| spawn_balanced(rove(world.clone(), shots.clone(), me, tell)))
        .collect();

    let turns = shake(&world, Instant::now() + time).await;
    world.stop.store(true, Ordering::Relaxed);
    let mut stints = 0;
    for rover in rovers {
        stints += rover.await.unwrap();
    }
    for listener in listeners {
        listener.await.unwrap();
    }
    // They look at the flag, and wait for nobody but the server.
    let clients: Vec<Seen> = clients.into_iter().map(|client| client.join().unwrap().unwrap()).collect();
    let answers: u64 = clients.iter().map(|client| client.answers).sum();
    look_everywhere(&world, &shots, &clients).await;
    accepting.abort();
    let events = world.book.end(CORES).unwrap();
    assert!(answers > 0 && stints > 0 && turns > 0 && moved() > 0, "too little happens");
    format!(
        "{turns} cores went and came, {answers} requests, {stints} stints, {} timers, {events} events",
        shots.count()
    )
}

fn run(driver: DriverChoice) {
    let runtime = Builder::new_test().cores(CORES).driver(driver).build().unwrap();
    let time = Duration::from_secs(seconds());
    let told = runtime.block_on(async { timeout(time + 2 * PATIENCE, everything(time)).await });
    println!("{}", told.expect("it hangs"));
}

#[test]
fn sixteen_cores_that_come_and_go_lose_nothing_on_io_uring() {
    run(DriverChoice::Uring);
}

#[test]
fn sixteen_cores_that_come_and_go_lose_nothing_on_epoll() {
    run(DriverChoice::Epoll);
}
