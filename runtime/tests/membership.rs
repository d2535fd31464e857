//! Cores that leave by plan and come back, on real cores.
#![cfg(not(loom))]

mod support;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use multikernel::net::{TcpListener, TcpStream};
use multikernel::replicate::{CoreId, Replicated, StateMachine};
use multikernel::runtime::{Builder, Handle, RetireError, ReviveError};
use multikernel::task::{JoinSet, yield_now};
use multikernel::{on_each_core, spawn, spawn_balanced, spawn_on};

use crate::support::{on_both, read, read_exact, write_all};

/// What was committed, in order.
#[derive(Default)]
struct Log(Vec<u64>);

impl StateMachine for Log {
    type Command = u64;
    type Refusal = ();
    type Snapshot = Vec<u64>;
    const VETO: bool = true;

    fn prepare(&mut self, line: &u64) -> Result<(), ()> {
        if line % 97 == 96 && CoreId::current().index() == *line as usize % 5 { Err(()) } else { Ok(()) }
    }
    fn commit(&mut self, line: &u64) {
        self.0.push(*line);
    }
    fn abort(&mut self, _: &u64) {}
    fn snapshot(&self) -> Vec<u64> {
        self.0.clone()
    }
    fn restore(log: &Vec<u64>) -> Result<Self, ()> {
        Ok(Self(log.clone()))
    }
    fn digest(&self) -> Option<u64> {
        Some(self.0.iter().fold(7, |sum: u64, line| sum.rotate_left(5) ^ line))
    }
}

fn on_cores<F: Future<Output = ()> + 'static>(cores: usize, test: impl FnOnce() -> F) {
    Builder::new_test().cores(cores).run(test).unwrap();
}

async fn logs(log: &Replicated<Log>) -> Vec<Vec<u64>> {
    let log = log.clone();
    let mut logs = Vec::new();
    for task in on_each_core(move || async move { log.read(|log| log.0.clone()) }) {
        logs.push(task.await.unwrap());
    }
    logs
}

#[test]
fn a_core_retires_and_comes_back_with_all_that_is_replicated() {
    on_cores(4, || async {
        let machine = Handle::current();
        let log = Replicated::new(Log::default).await.unwrap();
        log.propose(1).await.unwrap();
        for turn in 0..10 {
            let core = CoreId::new(1 + turn % 3);
            machine.retire(core).await.unwrap();
            assert_eq!(machine.retire(core).await, Err(RetireError::NotThere));
            assert_eq!(logs(&log).await.len(), 3);
            assert!(spawn_on(core, || async {}).await.unwrap_err().is_cancelled());
            for _ in 0..20 {
                let chosen = spawn_balanced(async { CoreId::current() });
                assert_ne!(chosen.await.unwrap(), core);
            }
            log.propose(10 + turn as u64).await.unwrap();
            machine.revive(core).await.unwrap();
            assert_eq!(machine.revive(core).await, Err(ReviveError::NotRetired));
            let expected: Vec<_> = [1].into_iter().chain((0..=turn).map(|turn| 10 + turn as u64)).collect();
            assert!(logs(&log).await.iter().all(|log| *log == expected));
        }
    });
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buf = [0; 8];
    loop {
        match read(&stream, &mut buf).await? {
            0 => return Ok(()),
            got => write_all(&stream, &buf[..got]).await?,
        }
    }
}

/// Asks on one connection until told to stop, and counts the answers.
async fn ask(to: SocketAddr, stop: Arc<AtomicBool>, answers: Arc<AtomicU64>) -> io::Result<()> {
    let stream = TcpStream::connect(to).await?;
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        write_all(&stream, &number.to_le_bytes()).await?;
        let mut answer = [0; 8];
        read_exact(&stream, &mut answer).await?;
        assert_eq!(u64::from_le_bytes(answer), number);
        answers.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[test]
fn a_machine_is_resized_under_load_and_loses_nothing() {
    on_both(4, || async {
        let machine = Handle::current();
        for cores in [0, 5] {
            assert_eq!(machine.resize(cores).await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, mut clients) = (listener.local_addr()?, JoinSet::new());
        let serving = spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(spawn(echo(stream)));
            }
        });
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        for _ in 0..16 {
            clients.spawn(ask(address, stop.clone(), answers.clone()));
        }
        for cores in [1, 4, 2, 3, 3, 1, 4] {
            machine.resize(cores).await?;
            let serve = on_each_core(|| async { CoreId::current().index() });
            assert_eq!(serve.len(), cores);
            for (index, core) in serve.into_iter().enumerate() {
                assert_eq!(core.await.unwrap(), index, "the highest go, the lowest come first");
            }
            let before = answers.load(Ordering::Relaxed);
            while answers.load(Ordering::Relaxed) < before + 160 {
                if let Some(ended) = clients.try_join_next() {
                    panic!("nobody has told it to stop: {ended:?}");
                }
                yield_now().await;
            }
        }
        stop.store(true, Ordering::Relaxed);
        while let Some(client) = clients.join_next().await {
            client.unwrap()?;
        }
        serving.abort();
        Ok(())
    });
}

#[test]
fn the_home_retires_and_the_next_one_goes_on() {
    let runtime = Builder::new_test().cores(3).build().unwrap();
    let machine = runtime.handle().clone();
    let log = runtime.block_on(async {
        spawn_on(CoreId::new(2), || async { Replicated::new(Log::default).await.unwrap() }).await.unwrap()
    });
    runtime.block_on(async {
        for core in [0, 1] {
            log.propose(core).await.unwrap();
            machine.retire(CoreId::new(core as usize)).await.unwrap();
        }
        assert_eq!(machine.retire(CoreId::new(2)).await, Err(RetireError::Refused));
        log.propose(2).await.unwrap();
        assert_eq!(logs(&log).await, [[0, 1, 2]]);
        for core in [0, 1] {
            machine.revive(CoreId::new(core)).await.unwrap();
        }
        machine.retire(CoreId::new(2)).await.unwrap();
        log.propose(3).await.unwrap();
        assert_eq!(logs(&log).await, [[0, 1, 2, 3]; 2]);
    });
}

/// Nothing but that would wake it: its task waits, and it gets no new ones.
#[test]
fn a_core_that_sleeps_serves_again_when_nobody_waits_for_it_to_leave() {
    on_cores(2, || async {
        let (machine, core) = (Handle::current(), CoreId::new(1));
        let (end, ended) = multikernel::channels::oneshot::channel::<()>();
        let task = spawn_on(core, || async move { ended.await.is_ok() });
        for _ in 0..20 {
            let given_up = multikernel::time::timeout(Duration::from_millis(5), machine.retire(core)).await;
            // It may not have looked yet since the last time.
            assert!(given_up.is_err() || given_up == Ok(Err(RetireError::NotThere)));
            let started = Instant::now();
            while spawn_balanced(async { CoreId::current() }).await.unwrap() != core {
                assert!(started.elapsed() < Duration::from_secs(30), "it gets no tasks any more");
            }
        }
        end.send(()).unwrap();
        assert!(task.await.unwrap());
    });
}

#[test]
fn a_core_with_a_task_retires_when_the_task_has_ended() {
    on_cores(2, || async {
        let machine = Handle::current();
        let core = CoreId::new(1);
        let (go, gone) = multikernel::channels::oneshot::channel::<()>();
        let task = spawn_on(core, || async move { gone.await.is_ok() });
        let retiring = multikernel::spawn({
            let machine = machine.clone();
            async move { machine.retire(core).await }
        });
        for _ in 0..100 {
            yield_now().await;
        }
        assert!(!retiring.is_finished());
        go.send(()).unwrap();
        assert!(task.await.unwrap());
        retiring.await.unwrap().unwrap();
        machine.revive(core).await.unwrap();

        // Who gives up waiting leaves the core as it was.
        let (go, gone) = multikernel::channels::oneshot::channel::<()>();
        let task = spawn_on(core, || async move { gone.await.is_ok() });
        let retiring = multikernel::spawn(async move { Handle::current().retire(core).await });
        yield_now().await;
        retiring.abort();
        assert!(retiring.await.unwrap_err().is_cancelled());
        while spawn_on(core, || async {}).await.is_err() {}
        go.send(()).unwrap();
        assert!(task.await.unwrap());
        while machine.retire(core).await.is_err() {}
    });
}

/// How long the random test runs; longer on request.
fn patience() -> Duration {
    let seconds = std::env::var("MULTIKERNEL_STRESS_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

#[test]
fn proposals_survive_whoever_comes_and_goes() {
    const CORES: usize = 16;
    on_cores(CORES, || async {
        let log = Replicated::new(Log::default).await.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (committed, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut proposers = Vec::new();
        for core in 0..CORES / 2 {
            let (log, stop, committed, refused) =
                (log.clone(), stop.clone(), committed.clone(), refused.clone());
            proposers.push(spawn_on(CoreId::new(core), move || async move {
                let mut line = core as u64;
                let mut mine = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match log.propose(line).await {
                        Ok(done) => {
                            committed.fetch_add(1, Ordering::Relaxed);
                            assert!(log.version() >= done.version);
                            assert_eq!(
                                log.read(|log| log.0.iter().filter(|known| **known == line).count()),
                                1
                            );
                            mine.push(line);
                        }
                        Err(error) => {
                            assert!(error.refusal().is_some(), "{error}");
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    line += CORES as u64;
                }
                mine
            }));
        }
        let machine = Handle::current();
        let (mut changes, started) = (0_u32, Instant::now());
        while started.elapsed() < patience() {
            let core = CoreId::new(CORES / 2 + changes as usize * 5 % (CORES / 2));
            machine.retire(core).await.unwrap();
            if !changes.is_multiple_of(3) {
                yield_now().await;
            }
            machine.revive(core).await.unwrap();
            changes += 1;
        }
        stop.store(true, Ordering::Relaxed);
        let mut all = 0;
        for proposer in proposers {
            let mine = proposer.await.unwrap();
            all += mine.len();
            log.read(|log| {
                let order: Vec<_> = log
                    .0
                    .iter()
                    .copied()
                    .filter(|line| line % CORES as u64 == mine[0] % CORES as u64)
                    .collect();
                assert_eq!(order, mine, "each proposer's lines are there once and in order");
            });
        }
        let logs = logs(&log).await;
        assert!(logs.iter().all(|log| *log == logs[0] && log.len() == all));
        println!(
            "{changes} cores went and came, {} committed, {} refused",
            committed.load(Ordering::Relaxed),
            refused.load(Ordering::Relaxed)
        );
        assert!(changes > 0 && committed.load(Ordering::Relaxed) > 0 && refused.load(Ordering::Relaxed) > 0);
    });
}

#[test]
fn whoever_dies_the_others_agree_and_go_on() {
    const CORES: usize = 9;
    let runtime = Builder::new_test().cores(CORES).build().unwrap();
    let machine = runtime.handle().clone();
    let witness = CoreId::new(CORES - 1);
    runtime.block_on(async {
        let log = spawn_on(witness, || async { Replicated::new(Log::default).await.unwrap() }).await.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let mut proposers = Vec::new();
        for core in 0..CORES {
            let (log, stop) = (log.clone(), stop.clone());
            proposers.push(spawn_on(CoreId::new(core), move || async move {
                let (mut line, mut mine) = (core as u64, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    match log.propose(line).await {
                        Ok(_) => mine.push(line),
                        Err(error) => assert!(error.refusal().is_some(), "{error}"),
                    }
                    line += CORES as u64;
                }
                mine
            }));
        }
        let at_least = |lines| {
            let log = log.clone();
            spawn_on(witness, move || async move {
                while log.read(|log| log.0.len()) < lines {
                    log.changed().await.unwrap();
                }
            })
        };
        // The home among them, and whoever is home next.
        for (turn, core) in [3, 0, 1, 7, 2].into_iter().enumerate() {
            at_least((turn + 1) * 200).await.unwrap();
            machine.kill(CoreId::new(core));
        }
        at_least(2000).await.unwrap();
        stop.store(true, Ordering::Relaxed);
        let (mut lived, mut died) = (Vec::new(), 0);
        for proposer in proposers {
            match proposer.await {
                Ok(mine) => lived.push(mine),
                Err(error) => died += usize::from(error.is_cancelled()),
            }
        }
        assert_eq!((lived.len(), died), (CORES - 5, 5));
        let logs = logs(&log).await;
        assert_eq!(logs.len(), CORES - 5);
        assert!(logs.iter().all(|log| *log == logs[0]));
        for mine in lived {
            let of_one = |line: &&u64| **line % CORES as u64 == mine[0] % CORES as u64;
            assert!(logs[0].iter().filter(of_one).eq(&mine), "each line once, in order");
        }
    });
}
