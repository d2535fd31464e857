//! A runtime that ends while everything is under way.
//!
//! Each core has one task of each kind (`sockets`, `files`, `others`, `copies`), none of which ends by itself. When all of them
//! wait for what they are about, and some of what they write has been acknowledged, the runtime ends, with a storm of signals
//! all the while. Then every future has been dropped, what was acknowledged is there, and the process has what it had before.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use multikernel::replicate::ReplicatedCell;
use multikernel::runtime::{Builder, DriverChoice, DriverKind};
use multikernel::signal::unix::{SignalKind, signal};
use multikernel::task::yield_now;
use multikernel::time::{Duration, Instant, sleep};
use multikernel::{CoreId, spawn_on};

use crate::common::{
    Alive, DRIVERS, PATIENCE, alone, assert_driver, census, pattern, until_as_before, wait_until,
};
use crate::outside::Outside;
use crate::{files, others, sockets};

pub const CORES: usize = 3;

/// Bytes that are written, and acknowledged, at once.
pub const BLOCK: usize = 4096;

/// Blocks in a file; then they are written over.
pub const BLOCKS: u64 = 64;

/// Another core than this one.
pub fn next() -> CoreId {
    CoreId::new((CoreId::current().index() + 1) % CORES)
}

/// A block that is like no other.
pub fn block(n: u64) -> Vec<u8> {
    let mut block = pattern(BLOCK);
    block[..8].copy_from_slice(&n.to_le_bytes());
    block
}

pub type Flight = fn(Run) -> Pin<Box<dyn Future<Output = io::Result<Infallible>>>>;

/// Lists the tasks of a file, each with its name.
macro_rules! flights {
    (pub $list:ident: $($name:ident),* $(,)?) => {
        pub const $list: &[(&str, crate::ends::Flight)] =
            &[$((stringify!($name), |run| Box::pin($name(run)))),*];
    };
    ($($name:ident),* $(,)?) => {
        crate::ends::flights!(pub FLIGHTS: $($name),*);
    };
}
pub(crate) use flights;

#[cfg(feature = "tokio")]
const STREAMS: &[&[(&str, Flight)]] = &[files::STREAMS, crate::copies::FLIGHTS];
#[cfg(not(feature = "tokio"))]
const STREAMS: &[&[(&str, Flight)]] = &[];

fn all_flights() -> Vec<(&'static str, Flight)> {
    [&[sockets::FLIGHTS, files::FLIGHTS, others::FLIGHTS], STREAMS].concat().concat()
}

/// What all tasks of one run share.
#[derive(Clone, Default)]
struct Shared {
    alive: Alive,
    buffers: Alive,
    /// Tasks that do not yet wait for what they are about.
    grounded: Arc<Mutex<BTreeSet<String>>>,
    failures: Arc<Mutex<Vec<String>>>,
    is_ending: Arc<AtomicBool>,
}

/// What a task is given.
#[derive(Clone)]
pub struct Run {
    /// What is gone when the runtime is.
    pub alive: Alive,
    /// What the pool may hold for a moment longer.
    pub buffers: Alive,
    pub cell: ReplicatedCell<u64>,
    pub outside: Arc<Outside>,
    shared: Shared,
    name: String,
}

impl Run {
    /// The wait that the task is about.
    pub async fn under_way<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let polled = future.as_mut().poll(cx);
            if polled.is_pending() {
                self.shared.grounded.lock().unwrap().remove(&self.name);
            }
            polled
        })
        .await
    }

    pub fn unexpected(&self) -> io::Error {
        io::Error::other("it has ended by itself")
    }

    /// Below the folder of this run, on this core.
    pub fn path(&self, name: &str) -> PathBuf {
        self.outside.path_on(CoreId::current(), name)
    }

    /// So many blocks have been written.
    pub fn acknowledge(&self, name: &str, blocks: u64) {
        self.outside.acknowledged(CoreId::current(), name).store(blocks, SeqCst);
    }

    async fn fly(self, flight: Flight) {
        let _one = self.alive.one();
        let Err(error) = flight(self.clone()).await;
        if !self.shared.is_ending.load(SeqCst) {
            self.shared.failures.lock().unwrap().push(format!("{}: {error}", self.name));
        }
    }
}

/// Starts everything, and returns when all of it is under way.
async fn take_off(shared: Shared, outside: Arc<Outside>, waits: usize) {
    let cell = spawn_on(CoreId::new(0), || ReplicatedCell::new(0)).await.unwrap().unwrap();
    for core in 0..CORES {
        for (name, flight) in all_flights() {
            let run = Run {
                alive: shared.alive.clone(),
                buffers: shared.buffers.clone(),
                cell: cell.clone(),
                outside: outside.clone(),
                shared: shared.clone(),
                name: format!("{name} on {core}"),
            };
            shared.grounded.lock().unwrap().insert(run.name.clone());
            drop(spawn_on(CoreId::new(core), move || run.fly(flight)));
        }
    }
    let started = Instant::now();
    let is_waited_for =
        || !shared.grounded.lock().unwrap().is_empty() || !outside.has_acknowledged_everywhere();
    while is_waited_for() {
        assert!(
            started.elapsed() < PATIENCE,
            "not under way: {:?}, {outside:?}",
            shared.grounded.lock().unwrap()
        );
        fail(&shared);
        sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..waits {
        yield_now().await;
    }
    fail(&shared);
    shared.is_ending.store(true, SeqCst);
}

fn fail(shared: &Shared) {
    let failures = shared.failures.lock().unwrap();
    assert!(failures.is_empty(), "{failures:?}");
}

/// A process that gets one signal after the other, until this is dropped.
struct Storm {
    is_over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Storm {
    fn begin() -> Storm {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let storm = move || {
            while !over.load(SeqCst) {
                // SAFETY: the call takes numbers; there is a handler.
                assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) }, 0);
                std::thread::yield_now();
            }
        };
        Storm { is_over, thread: Some(std::thread::spawn(storm)) }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// As a runtime that is dropped, or shut down, or as the Machine of a program whose `main` returns.
fn run_once(driver: DriverChoice, kind: DriverKind, round: usize) {
    let (shared, outside) = (Shared::default(), Arc::new(Outside::new()));
    let storm = Storm::begin();
    let mut builder = Builder::new_test();
    builder.cores(CORES).driver(driver);
    let flying = take_off(shared.clone(), outside.clone(), round);
    if round.is_multiple_of(3) {
        builder.run(|| flying).unwrap();
    } else {
        let runtime = builder.build().unwrap();
        assert_driver(runtime.handle(), kind);
        let handle = runtime.handle().clone();
        runtime.block_on(flying);
        if round % 3 == 1 {
            drop(runtime);
        } else {
            runtime.shutdown_timeout(PATIENCE);
        }
        assert_eq!(handle.metrics().num_alive_tasks(), 0, "on {kind}");
        let queued = |core| handle.metrics().worker_local_queue_depth(core);
        assert_eq!((0..CORES).map(queued).sum::<usize>(), 0, "on {kind}");
    }
    drop(storm);
    assert_eq!(shared.alive.count(), 0, "what the tasks had is not gone with the runtime, on {kind}");
    outside.open_gates();
    wait_until("all buffers are given back", || shared.buffers.count() == 0);
    outside.check();
}

#[test]
fn a_runtime_ends_with_everything_under_way_and_leaves_nothing() {
    alone("ends::a_runtime_ends_with_everything_under_way_and_leaves_nothing", || {
        // What a process keeps once it has used it: the thread that handles signals, and a listener without which the storm
        // would end the process.
        let _listener = signal(SignalKind::user_defined1()).unwrap();
        others::prepare();
        let before = census();
        for round in 0..6 {
            for (driver, kind) in DRIVERS {
                run_once(driver, kind, round);
                until_as_before(&before, &format!("round {round} on {kind}"));
            }
        }
    });
}
