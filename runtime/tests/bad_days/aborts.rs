//! A hundred thousand tasks aborted at once, each of which waits for something that then knows nothing of it any more.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;

use multikernel::channels::{mpsc, oneshot, watch};
use multikernel::net::{TcpStream, UdpSocket};
use multikernel::runtime::{Handle, RuntimeMetrics};
use multikernel::task::{JoinSet, yield_now};
use multikernel::time::{Duration, sleep, timeout};
use multikernel::{CoreId, spawn_on};

use crate::common::{Alive, alone, census, on_both, poll_once, until_as_before};
use crate::sockets::pair;

const COUNT: usize = 100_000;

/// Hundreds wait for each.
const SOCKETS: usize = 64;

/// What the tasks wait for.
struct Sources {
    streams: Vec<Arc<TcpStream>>,
    datagrams: Vec<Arc<UdpSocket>>,
    watched: watch::Receiver<u32>,
    full: mpsc::Sender<u32>,
    silent: Vec<oneshot::Sender<u32>>,
}

type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Sources {
    fn wait(&mut self, n: usize) -> Wait {
        let socket = n / 6 % SOCKETS;
        let (stream, datagrams) = (self.streams[socket].clone(), self.datagrams[socket].clone());
        let (mut watched, full) = (self.watched.clone(), self.full.clone());
        match n % 6 {
            0 => Box::pin(sleep(Duration::from_secs(3_600 + n as u64))),
            1 => Box::pin(async move { stream.readable().await.unwrap() }),
            2 => Box::pin(async move { _ = datagrams.recv_from(&mut [0; 8]).await.unwrap() }),
            3 => Box::pin(async move { watched.changed().await.unwrap() }),
            4 => Box::pin(async move { full.send(1).await.unwrap() }),
            _ => {
                let (silent, hears) = oneshot::channel();
                self.silent.push(silent);
                Box::pin(async move { _ = hears.await.unwrap() })
            }
        }
    }
}

fn tasks() -> usize {
    let metrics: RuntimeMetrics = Handle::current().metrics();
    metrics.num_alive_tasks()
}

async fn until_gone(alive: &Alive) {
    while alive.count() > 0 || tasks() > 1 {
        yield_now().await;
    }
}

async fn a_day(round: usize) -> io::Result<()> {
    let alive = Alive::default();
    let (mut streams, mut peers, mut datagrams) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SOCKETS {
        let (near, far) = pair().await?;
        streams.push(Arc::new(near));
        peers.push(far);
        datagrams.push(Arc::new(UdpSocket::bind("127.0.0.1:0").await?));
    }
    let (telling, watched) = watch::channel(0);
    let (full, mut receiver) = mpsc::channel(1);
    while full.try_send(0).is_ok() {}
    let mut sources = Sources {
        streams: streams.clone(),
        datagrams: datagrams.clone(),
        watched,
        full: full.clone(),
        silent: Vec::new(),
    };
    let mut set = JoinSet::new();
    for n in 0..COUNT {
        let (one, wait) = (alive.one(), sources.wait(n));
        set.spawn(async move {
            let _one = one;
            wait.await;
        });
    }
    // All have begun to wait, here, or on the other core if that had less to do.
    let queued =
        || (0..2).map(|core| Handle::current().metrics().worker_local_queue_depth(core)).sum::<usize>();
    while tasks() < COUNT + 1 || queued() > 0 {
        yield_now().await;
    }
    match round {
        0 => {
            set.abort_all();
            let mut cancelled = 0;
            while let Some(output) = set.join_next().await {
                cancelled += usize::from(output.unwrap_err().is_cancelled());
            }
            assert_eq!(cancelled, COUNT);
        }
        1 => spawn_on(CoreId::new(1), move || async move { drop(set) }).await?,
        _ => drop(set),
    }
    until_gone(&alive).await;
    // What they waited for has forgotten them, and works for others.
    assert!(sources.silent.iter().all(oneshot::Sender::is_closed));
    assert_eq!(telling.receiver_count(), 1);
    drop(sources);
    for ((stream, peer), socket) in streams.iter().zip(peers).zip(&datagrams) {
        let mut waiting = pin!(stream.recv());
        assert!(poll_once(&mut waiting).await.is_pending());
        peer.send_all(&b"still here"[..]).await.result?;
        assert_eq!(&waiting.await?[..], b"still here");
        socket.send_to(b"too", socket.local_addr()?).await?;
        assert_eq!(socket.recv_from(&mut [0; 8]).await?.0, 3);
    }
    while receiver.try_recv().is_ok() {}
    full.send(2).await.map_err(io::Error::other)?;
    assert_eq!(timeout(Duration::from_secs(60), receiver.recv()).await.map_err(io::Error::other)?, Some(2));
    Ok(())
}

#[test]
fn a_hundred_thousand_waits_are_given_up_at_once_and_leave_nothing() {
    alone("aborts::a_hundred_thousand_waits_are_given_up_at_once_and_leave_nothing", || {
        let before = census();
        on_both(2, || async {
            for round in 0..3 {
                a_day(round).await?;
            }
            Ok(())
        });
        until_as_before(&before, "after both drivers");
    });
}
