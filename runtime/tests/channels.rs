//! Channels between the cores of a Machine, while those cores park, wake, poll and have other things to do.
//!
//! `MULTIKERNEL_SEED` picks the dice, `MULTIKERNEL_MESSAGES` how many messages pass through an `spsc` channel for 1,024 (fewer
//! through a smaller one and the other kinds), and one in `MULTIKERNEL_PAUSES` times an end sleeps for a while. A thousand
//! million messages:
//!
//! ```sh
//! MULTIKERNEL_MESSAGES=94000000 MULTIKERNEL_PAUSES=50000 cargo test --release -p multikernel --test channels however
//! ```

use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use multikernel::channels::bulk::{Buffer, Pool};
use multikernel::channels::spsc::{self, Receiver, Sender};
use multikernel::channels::{fanout, mpsc};
use multikernel::net::TcpListener;
use multikernel::runtime::{Builder, DriverChoice, Polling};
use multikernel::task::yield_now;
use multikernel::time::sleep;
use multikernel::{CoreId, cores, spawn_local, spawn_on};

/// A small generator (Steele, Lea, Flood 2014: SplitMix).
struct Dice {
    state: u64,
    pauses: u64,
}

impl Dice {
    fn new(seed: u64) -> Self {
        Self { state: seed, pauses: from_environment("MULTIKERNEL_PAUSES", 1_000) }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }

    /// Goes on at once, mostly; or lets others run; or lets the core park.
    async fn pause(&mut self) {
        match self.below(self.pauses) {
            0 => sleep(Duration::from_micros(self.below(200))).await,
            1..=20 => yield_now().await,
            _ => {}
        }
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Sends the numbers below `count` in all the ways there are.
async fn send_all(mut tx: Sender<u64>, count: u64, mut dice: Dice) {
    let mut next = 0;
    while next < count {
        match dice.below(3) {
            0 => {
                tx.send(next).await.expect("the receiver stays to the end");
                next += 1;
            }
            1 => next += u64::from(tx.try_send(next).is_ok()),
            _ => {
                let until = count.min(next + dice.below(300));
                let mut numbers = (next..until).collect::<Vec<_>>().into_iter();
                tx.send_many(&mut numbers).await.expect("the receiver stays to the end");
                next = until;
            }
        }
        dice.pause().await;
    }
}

/// Receives them in all the ways there are: none twice, none missing, in order.
async fn receive_all(mut rx: Receiver<u64>, count: u64, mut dice: Dice) {
    let (mut next, mut batch) = (0, Vec::new());
    while next < count {
        match dice.below(3) {
            0 => batch.extend(rx.recv().await),
            1 => batch.extend(rx.try_recv().ok()),
            _ => {
                rx.recv_many(&mut batch, 1 + dice.below(300) as usize).await;
            }
        }
        for number in batch.drain(..) {
            assert_eq!(number, next);
            next += 1;
        }
        dice.pause().await;
    }
    assert_eq!(rx.recv().await, None);
}

/// Sends the numbers below `count` from one core after another, through one lane after another.
async fn send_from_everywhere(tx: mpsc::Sender<(usize, u64)>, me: usize, count: u64, mut dice: Dice) {
    let all: Vec<_> = cores().collect();
    let (mut tx, mut next) = (tx, 0);
    while next < count {
        let core = all[dice.below(all.len() as u64) as usize];
        let until = count.min(next + 1 + dice.below(count / 10 + 1));
        let sends = spawn_on(core, move || async move {
            for number in next..until {
                if dice.below(2) == 0 || tx.try_send((me, number)).is_err() {
                    tx.send((me, number)).await.expect("the receiver stays to the end");
                }
                dice.pause().await;
            }
            (tx, dice)
        });
        (tx, dice) = sends.await.expect("no end panics");
        next = until;
    }
}

/// None twice, none missing, each sender's in order.
async fn receive_from_all(mut rx: mpsc::Receiver<(usize, u64)>, senders: usize, count: u64, mut dice: Dice) {
    let (mut next, mut batch) = (vec![0; senders], Vec::new());
    let mut is_open = true;
    while is_open {
        match dice.below(3) {
            0 => is_open = rx.recv().await.map(|message| batch.push(message)).is_some(),
            1 => batch.extend(rx.try_recv().ok()),
            _ => is_open = rx.recv_many(&mut batch, 1 + dice.below(300) as usize).await > 0,
        }
        for (from, number) in batch.drain(..) {
            assert_eq!(number, next[from], "from sender {from}");
            next[from] += 1;
        }
        dice.pause().await;
    }
    assert!(next.iter().all(|received| *received == count), "{next:?} of {count}");
}

/// Buffers of a pool.
const LENT: u64 = 4;

/// Lends out buffers with the numbers below `count` in them. In the end all are at home, and each is there once.
async fn lend(mut tx: Sender<Buffer>, count: u64, mut dice: Dice) {
    let pool = Pool::new(LENT as usize, 8);
    for number in 0..count {
        let at_once = if dice.below(2) == 0 { pool.try_take() } else { None };
        let mut buffer = match at_once {
            Some(buffer) => buffer,
            None => pool.take().await,
        };
        buffer.copy_from_slice(&number.to_le_bytes());
        tx.send(buffer).await.expect("the borrower stays to the end");
        dice.pause().await;
    }
    drop(tx); // which ends the borrower, and brings home what it keeps
    let mut home = Vec::new();
    for _ in 0..LENT {
        home.push(pool.take().await);
    }
    assert!(pool.try_take().is_none(), "one is here twice");
}

/// Keeps some of them for a while and gives them back in any order.
async fn borrow(mut rx: Receiver<Buffer>, count: u64, mut dice: Dice) {
    let (mut next, mut kept) = (0_u64, Vec::new());
    while let Some(buffer) = rx.recv().await {
        kept.push((next, buffer));
        next += 1;
        let keeps = dice.below(LENT) as usize; // not all: the lender would wait for ever
        while kept.len() > keeps {
            let (number, buffer) = kept.swap_remove(dice.below(kept.len() as u64) as usize);
            assert_eq!(buffer[..], number.to_le_bytes(), "nobody else had it meanwhile");
        }
        dice.pause().await;
    }
    assert_eq!(next, count);
}

/// Every core sends to the next one and receives from the one before, lends to it and borrows from there, and all send to some.
fn ring_of_cores(driver: DriverChoice, polling: Polling, count: usize) {
    let seed = from_environment("MULTIKERNEL_SEED", 1);
    let messages = from_environment("MULTIKERNEL_MESSAGES", 30_000);
    eprintln!(
        "{count} cores, {driver:?}, {polling:?}: seed {seed}, {messages} messages from each to the next"
    );
    let run = Builder::new_test().cores(count).driver(driver).polling(polling).run(move || async move {
        let (mut tasks, mut passed) = (Vec::new(), 0);
        let mut dice = Dice::new(seed);
        let mut dice = || Dice::new(dice.below(u64::MAX));
        let all: Vec<_> = cores().collect();
        for (at, &core) in all.iter().enumerate() {
            let next = all[(at + 1) % count];
            let capacity = [1024, 7, 64, 1][at % 4];
            let count = (messages * capacity).div_ceil(1024);
            passed += count;
            let (tx, rx) = spsc::channel(capacity as usize);
            let (sending, receiving) = (dice(), dice());
            tasks.push(spawn_on(core, move || send_all(tx, count, sending)));
            tasks.push(spawn_on(next, move || receive_all(rx, count, receiving)));
            let count = messages.div_ceil(64);
            passed += count;
            let (tx, rx) = spsc::channel(1 + at % 3);
            let (lending, borrowing) = (dice(), dice());
            tasks.push(spawn_on(core, move || lend(tx, count, lending)));
            tasks.push(spawn_on(next, move || borrow(rx, count, borrowing)));
        }
        for (capacity, &core) in [1024, 7].into_iter().zip(&all) {
            let each = (messages * capacity).div_ceil(1024 * 8);
            passed += each * count as u64;
            let (tx, rx) = mpsc::channel(capacity as usize);
            let receiving = dice();
            tasks.push(spawn_on(core, move || receive_from_all(rx, count, each, receiving)));
            for (me, &core) in all.iter().enumerate() {
                let (tx, sending) = (tx.clone(), dice());
                tasks.push(spawn_on(core, move || send_from_everywhere(tx, me, each, sending)));
            }
        }
        for task in tasks {
            task.await.expect("no end panics");
        }
        passed
    });
    eprintln!("{} messages", run.expect("a Machine"));
}

#[test]
fn all_arrives_in_order_however_cores_park() {
    for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
        ring_of_cores(driver, Polling::Off, 2);
        ring_of_cores(driver, Polling::Off, 5);
        ring_of_cores(driver, Polling::For(Duration::from_micros(20)), 2);
    }
}

#[test]
fn more_channels_than_a_core_watches_by_itself() {
    Builder::new_test()
        .cores(2)
        .run(|| async {
            let there = cores().last().expect("two cores");
            let mut tasks = Vec::new();
            for channel in 0..100 {
                let (tx, rx) = spsc::channel(4);
                tasks.push(spawn_on(there, move || send_all(tx, 500, Dice::new(channel))));
                tasks.push(spawn_local(receive_all(rx, 500, Dice::new(!channel))));
            }
            for task in tasks {
                task.await.expect("no end panics");
            }
        })
        .expect("a Machine");
}

#[multikernel::test]
async fn a_channel_that_always_has_room_and_messages_lets_others_run() {
    let (mut tx, mut rx) = spsc::channel(1_000_000);
    let others = Rc::new(Cell::new(0));
    let counting = spawn_local({
        let others = others.clone();
        async move {
            loop {
                others.set(others.get() + 1);
                yield_now().await;
            }
        }
    });
    for number in 0..100_000 {
        tx.send(number).await.unwrap();
    }
    let while_sending = others.get();
    for number in 0..100_000 {
        assert_eq!(rx.recv().await, Some(number));
    }
    counting.abort();
    assert!(while_sending > 100, "the sender let others run {while_sending} times");
    assert!(
        others.get() - while_sending > 100,
        "the receiver let others run {} times",
        others.get() - while_sending
    );
}

#[test]
fn an_end_may_be_used_by_a_core_and_then_by_a_thread_that_is_none() {
    let (mut tx, mut rx) = spsc::channel(2);
    let (there, mut back) = spsc::channel(1);
    let runtime = Builder::new_test().cores(2).build().expect("a runtime");
    let task = runtime.spawn(async move {
        let mut there = there;
        for number in 0..1_000 {
            tx.send(number).await.unwrap();
        }
        there.send(tx).await.expect("somebody waits for it");
    });
    for number in 0..1_000 {
        assert_eq!(futures::executor::block_on(rx.recv()), Some(number));
    }
    let mut tx = runtime.block_on(back.recv()).expect("the end comes back");
    runtime.block_on(task).unwrap();
    let waiting = runtime.spawn(async move { rx.recv().await });
    futures::executor::block_on(tx.send(1_000)).unwrap();
    assert_eq!(runtime.block_on(waiting).unwrap(), Some(1_000));
}

/// A waker that passes the word on, as the waker of an executor inside a task does.
struct PassOn(Mutex<Sender<u64>>);

impl Wake for PassOn {
    fn wake(self: Arc<Self>) {
        self.0.lock().unwrap().try_send(1).expect("there is room for one");
    }
}

#[test]
fn what_a_waker_sends_arrives_though_its_core_parks_next() {
    let runtime = Builder::new_test().cores(3).build().expect("a runtime");
    let done = runtime.spawn(async {
        let all: Vec<_> = cores().collect();
        for _ in 0..200 {
            let (mut tx, mut rx) = spsc::channel::<u64>(1);
            let (pass_on, mut passed_on) = spsc::channel(1);
            let waits = spawn_on(all[1], move || async move { passed_on.recv().await });
            let waker = Waker::from(Arc::new(PassOn(Mutex::new(pass_on))));
            let watched = spawn_on(all[2], move || async move {
                assert!(rx.poll_recv(&mut Context::from_waker(&waker)).is_pending());
                rx
            });
            let _rx = watched.await.expect("it was pending");
            sleep(Duration::from_millis(1)).await; // so that both park, mostly
            tx.send(1).await.expect("the receiver is here");
            assert_eq!(waits.await.unwrap(), Some(1));
        }
    });
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || send.send(runtime.block_on(done)));
    receive.recv_timeout(Duration::from_secs(20)).expect("no wake is lost").expect("no end panics");
}

#[test]
fn a_core_that_rings_another_does_not_park_on_its_own_tasks() {
    let runtime = Builder::new_test().cores(2).build().expect("a runtime");
    let done = runtime.spawn(async {
        let other = cores().find(|core| *core != CoreId::current()).expect("two cores");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let (mut tx, mut rx) = spsc::channel::<u64>(4);
        let (mut back, mut answers) = spsc::channel::<u64>(4);
        spawn_on(other, move || async move { while rx.recv().await.is_some() {} });
        spawn_local(async move {
            for round in 0..300 {
                stream.readable().await.unwrap();
                assert!(matches!(stream.try_read(&mut [0; 8]), Ok(1)));
                back.send(round).await.unwrap();
            }
        });
        for round in 0..300 {
            sleep(Duration::from_millis(1)).await; // so that the other parks
            peer.write_all(b"x").unwrap(); // an event that this core has not taken yet
            tx.try_send(round).unwrap(); // rings the other in the end of this turn
            assert_eq!(answers.recv().await, Some(round));
        }
    });
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || send.send(runtime.block_on(done)));
    receive.recv_timeout(Duration::from_secs(20)).expect("the reader runs").expect("no end panics");
}

#[test]
fn a_question_to_all_cores_is_answered_by_each() {
    type Answers = Vec<(CoreId, u64)>;
    const CORES: usize = 9;
    for make in [fanout::flat::<u64, Answers>, fanout::tree] {
        let asks = Builder::new_test().cores(CORES).run(move || async move {
            let (mut asker, answerers) = make(CORES);
            let all: Vec<_> = cores().collect();
            let serves = all.iter().zip(answerers).map(|(&core, mut answerer)| {
                spawn_on(core, move || async move {
                    answerer.serve(async |number| vec![(CoreId::current(), number)]).await;
                })
            });
            let serves: Vec<_> = serves.collect();
            for number in 0..100 {
                let answers = asker.ask(number, |a, b| [a, b].concat()).await.expect("all stay");
                assert!(answers.into_iter().eq(all.iter().map(|&core| (core, number))));
            }
            drop(asker);
            for task in serves {
                task.await.expect("it is told that there are no more questions");
            }
        });
        asks.expect("a Machine");
    }
}

#[test]
fn a_buffer_that_is_dropped_on_another_core_comes_home() {
    let lends = Builder::new_test().cores(3).run(|| async {
        let (home, all) = (CoreId::current(), cores().collect::<Vec<_>>());
        let others: Vec<_> = all.into_iter().filter(|core| *core != home).collect();
        let (mut tx, mut first) = spsc::channel::<Buffer>(1);
        let (mut pass_on, mut second) = spsc::channel::<Buffer>(1);
        let passes = spawn_on(others[0], move || async move {
            while let Some(mut buffer) = first.recv().await {
                buffer[0] += 1;
                pass_on.send(buffer).await.expect("the reader stays");
            }
        });
        let reads = spawn_on(others[1], move || async move {
            let mut total = 0;
            while let Some(buffer) = second.recv().await {
                total += usize::from(buffer[0]) + buffer.len();
            }
            total
        });
        let pool = Pool::new(1, 4096);
        let memory = pool.take().await.as_ptr();
        for round in 0..200 {
            let mut buffer = pool.take().await; // when the reader has dropped it
            assert_eq!(buffer.as_ptr(), memory, "nothing was copied");
            buffer[0] = round;
            buffer.set_len(1_000);
            tx.send(buffer).await.expect("the first stays");
        }
        drop(tx);
        passes.await.expect("no end panics");
        assert_eq!(reads.await.expect("no end panics"), (1..=200).sum::<usize>() + 200 * 1_000);
        assert!(pool.try_take().is_some(), "the last is home as well");
    });
    lends.expect("a Machine");
}
