//! The agreement on real threads, watched by the checkers of the simulator.
//!
//! A replicated object writes down what is done to it on each core, the tasks write down what they propose, hear, send and
//! handle. The checkers know one order, in which every core has a prefix; a task that runs has all that anybody was told is
//! everywhere, and who handles a message has what its sender had.
#![cfg(not(loom))]

mod journal;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as plain};
use std::time::{Duration, Instant};

use multikernel::channels::{epoch, mpsc, spsc};
use multikernel::replicate::{CoreId, Replicated, Seq};
use multikernel::runtime::{Builder, Handle};
use multikernel::{spawn_local, spawn_on, time};
use multikernel_sim::What;

use crate::journal::{Book, Recorder, propose};

const CORES: usize = 16;
/// These run tasks all the time; the others come and go, and core 0, the first home, with them.
const BUSY: std::ops::Range<usize> = 4..10;

/// What the tasks of one core have in common.
#[derive(Clone)]
struct Desk {
    book: Book,
    object: Replicated<Recorder>,
    numbers: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Desk {
    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    async fn propose(&self) {
        let (id, seq) = (self.number(), Seq(self.number()));
        propose(&self.book, &self.object, seq, id, Duration::from_millis(1 + id % 50)).await;
    }

    /// A message that travels: with what its sender had.
    fn letter(&self) -> u64 {
        self.book.sent(self.number())
    }

    async fn propose_and_tell(self, mut tell: spsc::Sender<u64>, by_way_of: plain::Sender<u64>) {
        while !self.is_over() {
            self.propose().await;
            if tell.send(self.letter()).await.is_err() {
                return;
            }
            let letter = self.letter();
            let _ = by_way_of.send(letter);
            // A spawn is a message, and so is its end.
            let (desk, letter) = (self.clone(), self.letter());
            let next = CoreId::new(BUSY.start + (letter as usize) % BUSY.len());
            let there = spawn_on(next, move || async move {
                desk.book.handled(letter);
                desk.letter()
            });
            self.book.handled(there.await.unwrap());
            let read = self.number();
            self.book.note_here(What::ReadBegun(read));
            self.object.read_settled(|_| self.book.note_here(What::ReadEnded(read))).await;
            if letter.is_multiple_of(5) {
                time::sleep(Duration::from_micros(letter % 700)).await;
            }
        }
    }
}

async fn busy(
    desk: Desk,
    tell: spsc::Sender<u64>,
    mut told: spsc::Receiver<u64>,
    by_way_of: plain::Sender<u64>,
    mut foreign: mpsc::Receiver<u64>,
) {
    let proposer = spawn_local(desk.clone().propose_and_tell(tell, by_way_of));
    let listener = spawn_local({
        let desk = desk.clone();
        async move {
            while let Some(letter) = told.recv().await {
                desk.book.handled(letter);
            }
        }
    });
    while let Some(letter) = foreign.recv().await {
        desk.book.handled(letter);
    }
    proposer.await.unwrap();
    listener.await.unwrap();
}

/// Cores come and go until the time is up. Says how often.
async fn come_and_go(book: &Book, until: Instant) -> usize {
    let machine = Handle::current();
    let cores: Vec<_> = (0..CORES).filter(|core| !BUSY.contains(core)).map(CoreId::new).collect();
    let mut turns = 0;
    while Instant::now() < until && book.failure().is_none() {
        let core = cores[turns * 7 % cores.len()];
        machine.retire(core).await.unwrap();
        if turns % 3 != 0 {
            time::sleep(Duration::from_micros(turns as u64 % 11 * 100)).await;
        }
        machine.revive(core).await.unwrap();
        turns += 1;
    }
    turns
}

fn seconds() -> u64 {
    std::env::var("MULTIKERNEL_STRESS_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(3)
}

/// Runs cores and tasks for a time, or until something is seen that must not be.
fn run(time: Duration) -> Result<String, String> {
    let runtime = Builder::new_test().cores(CORES).build().unwrap();
    let book = Book::new(CORES);
    let made = book.clone();
    let object = runtime.block_on(spawn_on_core(BUSY.start, &runtime, move || async move {
        Replicated::new(move || Recorder::new(&made, 0)).await.unwrap()
    }));
    let desk = Desk {
        book: book.clone(),
        object,
        numbers: Arc::new(AtomicU64::new(1)),
        stop: Arc::new(AtomicBool::new(false)),
    };
    let mut tasks = Vec::new();
    let mut carriers = Vec::new();
    let (mut tells, mut tolds): (Vec<_>, Vec<_>) = BUSY.map(|_| spsc::channel(16)).unzip();
    tolds.rotate_left(1);
    for core in BUSY {
        let (tell, told) = (tells.remove(0), tolds.remove(0));
        // By way of a thread that is no core and knows nothing of versions.
        let (by_way_of, carried) = plain::channel();
        let (foreign_tell, foreign) = mpsc::channel(16);
        carriers.push(std::thread::spawn(move || {
            carried.into_iter().for_each(|letter| _ = foreign_tell.blocking_send(letter));
        }));
        let desk = desk.clone();
        let _guest = runtime.handle().enter();
        tasks.push(spawn_on(CoreId::new(core), move || busy(desk, tell, told, by_way_of, foreign)));
    }
    let turns = runtime.block_on(come_and_go(&book, Instant::now() + time));
    desk.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
    carriers.into_iter().for_each(|carrier| carrier.join().unwrap());
    // Everyone has run something since: nobody sleeps on a round.
    for task in runtime.block_on(async { multikernel::on_each_core(|| async {}) }) {
        runtime.block_on(task).unwrap();
    }
    book.end(CORES).map(|events| format!("{turns} cores went and came, {events} events"))
}

/// One at a time: whether messages are held is a matter of the process.
static ONE: Mutex<()> = Mutex::new(());

#[test]
fn the_checkers_of_the_simulator_find_nothing_on_real_threads() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    println!("{}", run(Duration::from_secs(seconds())).unwrap());
}

#[test]
fn if_messages_were_not_held_the_checkers_would_find_the_commit_window() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    epoch::hold_messages(false);
    let failure = run(Duration::from_secs(120));
    epoch::hold_messages(true);
    let failure = failure.expect_err("a message overtakes a commit within two minutes");
    assert!(failure.contains("EPOCH"), "{failure}");
}

async fn spawn_on_core<F, Fut>(core: usize, runtime: &multikernel::runtime::Runtime, make: F) -> Fut::Output
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    let _guest = runtime.handle().enter();
    spawn_on(CoreId::new(core), make).await.unwrap()
}
