//! Tasks that go from core to core in mid-life.
#![cfg(not(loom))]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use multikernel::channels::{mpsc, oneshot, spsc};
use multikernel::net::{TcpListener, TcpStream};
use multikernel::runtime::Handle;
use multikernel::task::{JoinSet, pin_here, yield_now};
use multikernel::time::sleep;
use multikernel::{CoreId, spawn, spawn_on};

use crate::support::{on_both, read, read_exact, write_all};

/// Takes cores 1 and up out of the Machine and brings them back, in turn, until `done`; counts how often.
async fn shake(cores: usize, done: Arc<AtomicBool>) -> io::Result<u64> {
    let machine = Handle::current();
    let mut turns = 0;
    while !done.load(Ordering::Relaxed) || turns < 3 {
        let core = CoreId::new(1 + turns as usize % (cores - 1));
        machine.retire(core).await?;
        yield_now().await;
        machine.revive(core).await?;
        turns += 1;
    }
    Ok(turns)
}

fn moved() -> u64 {
    let metrics = Handle::current().metrics();
    multikernel::cores().map(|core| metrics.core(core).moved).sum()
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buf = [0; 64];
    loop {
        match read(&stream, &mut buf).await? {
            0 => return Ok(()),
            got => write_all(&stream, &buf[..got]).await?,
        }
    }
}

async fn talk(to: std::net::SocketAddr, rounds: u32) -> io::Result<u32> {
    let stream = TcpStream::connect(to).await?;
    for round in 0..rounds {
        let word = round.to_le_bytes();
        write_all(&stream, &word).await?;
        let mut back = [0; 4];
        read_exact(&stream, &mut back).await?;
        assert_eq!(back, word);
    }
    Ok(rounds)
}

/// Everything that can wait: sockets, sleeps, channels, joins, while its cores go away and come back.
#[test]
fn tasks_move_with_all_that_they_wait_for() {
    const CORES: usize = 4;
    on_both(CORES, || async {
        let done = Arc::new(AtomicBool::new(false));
        let shaking = multikernel::spawn_local(shake(CORES, done.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let serving = spawn(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                drop(spawn(echo(stream)));
            }
            #[allow(unreachable_code)]
            io::Result::Ok(())
        });
        let mut all = JoinSet::new();
        for _ in 0..8 {
            all.spawn(async move { talk(address, 200).await.map(u64::from) });
        }
        for n in 0..8 {
            let (mut send, mut receive) = spsc::channel(4);
            let sender = spawn(async move {
                for n in 0..500u64 {
                    send.send(n).await.unwrap();
                }
            });
            all.spawn(async move {
                for n in 0..500u64 {
                    assert_eq!(receive.recv().await, Some(n));
                }
                assert_eq!(receive.recv().await, None);
                sender.await.unwrap();
                Ok(500)
            });
            all.spawn(async move {
                for _ in 0..50 {
                    sleep(Duration::from_micros(100 * n)).await;
                }
                Ok(50)
            });
        }
        let mut sum = 0;
        while let Some(one) = all.join_next().await {
            sum += one.unwrap()?;
        }
        assert_eq!(sum, 8 * (200 + 500 + 50));
        done.store(true, Ordering::Relaxed);
        shaking.await.unwrap()?;
        serving.abort();
        assert!(moved() > 0, "nothing moved");
        Ok(())
    });
}

/// A wake that comes while the task is under way is not lost, nor one sent to where it was.
#[test]
fn wakes_find_tasks_that_move() {
    const CORES: usize = 3;
    on_both(CORES, || async {
        let done = Arc::new(AtomicBool::new(false));
        let shaking = multikernel::spawn_local(shake(CORES, done.clone()));
        let (send, mut receive) = mpsc::channel::<oneshot::Sender<u64>>(16);
        let asked = Arc::new(AtomicU64::new(0));
        let answers = asked.clone();
        let serving = spawn(async move {
            while let Some(reply) = receive.recv().await {
                let _ = reply.send(answers.fetch_add(1, Ordering::Relaxed));
            }
        });
        let mut all = JoinSet::new();
        for _ in 0..6 {
            let send = send.clone();
            all.spawn(async move {
                for _ in 0..500 {
                    let (reply, answer) = oneshot::channel();
                    send.send(reply).await.unwrap();
                    answer.await.unwrap();
                }
            });
        }
        drop(send);
        while let Some(one) = all.join_next().await {
            one.unwrap();
        }
        serving.await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 3000);
        done.store(true, Ordering::Relaxed);
        shaking.await.unwrap()?;
        Ok(())
    });
}

#[test]
fn a_core_that_retires_hands_over_what_may_go_and_waits_for_the_rest() {
    on_both(2, || async {
        let (machine, core) = (Handle::current(), CoreId::new(1));
        let (end, ended) = oneshot::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let stays = spawn_on(core, || async move {
            let free = spawn(async {
                sleep(Duration::from_millis(1)).await;
                while CoreId::current().index() == 1 {
                    yield_now().await;
                }
                CoreId::current()
            });
            let pinned = spawn(async move {
                pin_here();
                let _ = ended.await;
                CoreId::current()
            });
            let _ = begun.send(());
            (free.await.unwrap(), pinned.await.unwrap())
        });
        has_begun.await.unwrap();
        let retiring = multikernel::spawn_local({
            let machine = machine.clone();
            async move { machine.retire(core).await }
        });
        while moved() == 0 {
            yield_now().await;
        }
        assert!(!retiring.is_finished());
        end.send(()).unwrap();
        assert_eq!(stays.await.unwrap(), (CoreId::new(0), core));
        retiring.await.unwrap()?;
        machine.revive(core).await?;
        Ok(())
    });
}
