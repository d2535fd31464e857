//! Tasks that wait for children, signals, time, channels, threads, other tasks and agreement.

use std::convert::Infallible;
use std::future::pending;
use std::io::{self, PipeReader, PipeWriter};
use std::process::Stdio;
use std::sync::OnceLock;

use multikernel::channels::{broadcast, call, mpsc, oneshot, spsc, watch};
use multikernel::io::unix::AsyncFd;
use multikernel::net::lookup_host;
use multikernel::process::Command;
use multikernel::signal::unix::{SignalKind, signal};
use multikernel::task::{JoinSet, LocalSet, spawn_blocking, yield_now};
use multikernel::time::{Duration, Instant, interval, machine, sleep, timeout};
use multikernel::{cores, spawn_on};

use crate::common::Buffer;
use crate::ends::{Run, flights, next};

flights!(
    waits_for_a_child,
    waits_for_output,
    writes_to_a_child,
    is_told_of_signals,
    sleeps,
    ticks,
    arms_timers,
    waits_for_a_call,
    looks_names_up,
    waits_for_a_descriptor,
    waits_for_messages,
    waits_for_room_in_a_channel,
    asks,
    listens,
    proposes,
    joins,
    runs_a_local_set,
    spawns,
);

const HOUR: Duration = Duration::from_secs(3_600);

/// What children read that are not to end. Should the test die, they end with it.
fn nothing() -> &'static PipeReader {
    static INPUT: OnceLock<(PipeReader, PipeWriter)> = OnceLock::new();
    &INPUT.get_or_init(|| std::io::pipe().unwrap()).0
}

/// Has what a process keeps once it has had it.
pub fn prepare() {
    nothing();
}

/// A child that ends only if it is killed.
fn endless() -> Command {
    let mut command = Command::new("cat");
    command.stdin(Stdio::from(nothing().try_clone().unwrap())).kill_on_drop(true);
    command
}

async fn waits_for_a_child(run: Run) -> io::Result<Infallible> {
    let mut child = endless().stdout(Stdio::null()).spawn()?;
    run.under_way(child.wait()).await?;
    Err(run.unexpected())
}

async fn waits_for_output(run: Run) -> io::Result<Infallible> {
    run.under_way(endless().output()).await?;
    Err(run.unexpected())
}

/// It reads what it is sent, and stops when nobody reads what it writes.
async fn writes_to_a_child(run: Run) -> io::Result<Infallible> {
    let mut command = Command::new("cat");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let input = child.stdin.take().expect("it is piped");
    run.under_way(async {
        loop {
            input.send_all(Buffer::new(vec![1; 1 << 20], &run.buffers)).await.result?;
        }
    })
    .await
}

/// There is a storm of them.
async fn is_told_of_signals(run: Run) -> io::Result<Infallible> {
    let mut signals = signal(SignalKind::user_defined1())?;
    run.under_way(async { while signals.recv().await.is_some() {} }).await;
    Err(run.unexpected())
}

async fn sleeps(run: Run) -> io::Result<Infallible> {
    let all: Vec<_> =
        (0..100).map(|n| Box::pin(timeout(HOUR + Duration::from_secs(n), sleep(2 * HOUR)))).collect();
    run.under_way(futures::future::select_all(all)).await.0.map_err(io::Error::other)?;
    Err(run.unexpected())
}

async fn ticks(run: Run) -> io::Result<Infallible> {
    let mut ticks = interval(Duration::from_millis(1));
    run.under_way(async {
        loop {
            ticks.tick().await;
        }
    })
    .await
}

async fn arms_timers(run: Run) -> io::Result<Infallible> {
    let (one, two, three) = (run.alive.one(), run.alive.one(), run.alive.one());
    let hour = Instant::now() + HOUR;
    // What they hold ends with the Machine.
    let kept = (
        machine::once(hour, move || drop(one)).await.map_err(io::Error::other)?,
        machine::on_each(hour, move || _ = &two).await.map_err(io::Error::other)?,
        machine::every(Duration::from_millis(1), move || _ = &three).await.map_err(io::Error::other)?,
    );
    let arming: io::Result<Infallible> = run
        .under_way(async {
            loop {
                let timer = machine::once(hour, || ()).await.map_err(io::Error::other)?;
                timer.cancel().await.map_err(io::Error::other)?;
            }
        })
        .await;
    drop(kept);
    arming
}

async fn waits_for_a_call(run: Run) -> io::Result<Infallible> {
    let gate = run.outside.gate();
    let one = run.buffers.one();
    run.under_way(spawn_blocking(move || {
        let _one = one;
        gate.wait();
    }))
    .await?;
    Err(run.unexpected())
}

/// An empty label: the resolver refuses such a name without asking the network.
async fn looks_names_up(run: Run) -> io::Result<Infallible> {
    run.under_way(async {
        loop {
            if lookup_host("no..such..host:80").await.is_ok() {
                return Err(run.unexpected());
            }
        }
    })
    .await
}

async fn waits_for_a_descriptor(run: Run) -> io::Result<Infallible> {
    let (reader, _writer) = std::io::pipe()?;
    let reader = AsyncFd::new(reader)?;
    drop(run.under_way(reader.readable()).await?);
    Err(run.unexpected())
}

/// Its only sender waits on the next core, for a message of its own.
async fn waits_for_messages(run: Run) -> io::Result<Infallible> {
    let (sender, mut receiver) = mpsc::channel::<u32>(4);
    let (own_sender, own) = oneshot::channel::<u32>();
    let waiting = spawn_on(next(), move || async move {
        let _kept = sender;
        own.await
    });
    run.under_way(receiver.recv()).await;
    drop((own_sender, waiting));
    Err(run.unexpected())
}

async fn waits_for_room_in_a_channel(run: Run) -> io::Result<Infallible> {
    let (mut sender, receiver) = spsc::channel(2);
    let (many, many_receiver) = mpsc::channel(2);
    drop(spawn_on(next(), move || async move {
        pending::<()>().await;
        drop((receiver, many_receiver));
    }));
    run.under_way(async {
        loop {
            many.send(run.alive.one()).await.map_err(|_| run.unexpected())?;
            sender.send(run.alive.one()).await.map_err(|_| run.unexpected())?;
        }
    })
    .await
}

async fn asks(run: Run) -> io::Result<Infallible> {
    let (mut caller, mut callee) = call::channel();
    let (one, other) = (run.alive.one(), run.alive.one());
    let answering = spawn_on(next(), move || async move {
        let question = callee.next().await;
        let _kept = other;
        pending::<()>().await;
        drop(question);
    });
    let answer: Result<u32, _> = run.under_way(caller.call(one)).await;
    drop((answer, answering));
    Err(run.unexpected())
}

async fn listens(run: Run) -> io::Result<Infallible> {
    let (sender, mut receiver) = watch::channel(0_u32);
    let (told, mut hears) = broadcast::channel::<u32>(2);
    drop(spawn_on(next(), move || async move {
        pending::<()>().await;
        drop((sender, told));
    }));
    run.under_way(async {
        futures::future::select(Box::pin(receiver.changed()), Box::pin(hears.recv())).await;
    })
    .await;
    Err(run.unexpected())
}

/// On all cores at once, to one object.
async fn proposes(run: Run) -> io::Result<Infallible> {
    let cell = run.cell.clone();
    run.under_way(async {
        for n in 0.. {
            cell.set(n).await.map_err(io::Error::other)?;
        }
        Err(run.unexpected())
    })
    .await
}

async fn joins(run: Run) -> io::Result<Infallible> {
    let mut set = JoinSet::new();
    for _ in 0..100 {
        let one = run.alive.one();
        set.spawn(async move {
            let _one = one;
            pending::<()>().await;
        });
    }
    run.under_way(set.join_next()).await;
    Err(run.unexpected())
}

async fn runs_a_local_set(run: Run) -> io::Result<Infallible> {
    let set = LocalSet::new();
    let one = run.alive.one();
    set.spawn_local(async move {
        let _one = one;
        pending::<()>().await;
    });
    run.under_way(set).await;
    Err(run.unexpected())
}

/// Tasks that are wherever they are when the Machine ends: queued, under way to a core, or done and not joined.
async fn spawns(run: Run) -> io::Result<Infallible> {
    run.under_way(async {
        loop {
            let all: Vec<_> = cores()
                .map(|core| {
                    let one = run.alive.one();
                    spawn_on(core, move || async move {
                        yield_now().await;
                        one
                    })
                })
                .collect();
            for one in all {
                one.await?;
            }
        }
    })
    .await
}
