//! Tasks that go from core to core in mid-life.
#![cfg(not(loom))]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use multikernel::channels::{mpsc, oneshot, spsc};
use multikernel::fs::{File, SharedFile};
use multikernel::net::{TcpListener, TcpStream, UdpSocket};
use multikernel::replicate::ReplicatedMap;
use multikernel::runtime::Handle;
use multikernel::task::{JoinSet, pin_here, spawn_balanced, yield_now};
use multikernel::time::{Instant, machine, sleep};
use multikernel::{CoreId, spawn, spawn_on};

use crate::support::{Folder, on_both, pattern, read, read_exact, write_all};

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

/// Where there is least to do, or else all would stay with who begins them.
async fn elsewhere<F>(future: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    spawn_balanced(future).await.unwrap()
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
            all.spawn(elsewhere(async move { talk(address, 200).await.map(u64::from) }));
        }
        for n in 0..8 {
            let (mut send, mut receive) = spsc::channel(4);
            let sender = spawn(async move {
                for n in 0..500u64 {
                    send.send(n).await.unwrap();
                }
            });
            all.spawn(elsewhere(async move {
                for n in 0..500u64 {
                    assert_eq!(receive.recv().await, Some(n));
                }
                assert_eq!(receive.recv().await, None);
                sender.await.unwrap();
                Ok(500)
            }));
            all.spawn(elsewhere(async move {
                for _ in 0..50 {
                    sleep(Duration::from_micros(100 * n)).await;
                }
                Ok(50)
            }));
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
            all.spawn(elsewhere(async move {
                for _ in 0..500 {
                    let (reply, answer) = oneshot::channel();
                    send.send(reply).await.unwrap();
                    answer.await.unwrap();
                }
            }));
        }
        drop(send);
        while let Some(one) = all.join_next().await {
            one.unwrap();
        }
        serving.await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 3000);
        done.store(true, Ordering::Relaxed);
        shaking.await.unwrap()?;
        assert!(moved() > 0, "nothing moved");
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

/// Two tasks that send each other datagrams, to and fro.
async fn exchange_datagrams(rounds: u64) -> io::Result<u64> {
    let (near, far) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    near.connect(far.local_addr()?).await?;
    far.connect(near.local_addr()?).await?;
    let answering = spawn(async move {
        let mut buf = [0; 8];
        while far.recv(&mut buf).await.is_ok() && u64::from_le_bytes(buf) < u64::MAX {
            far.send(&buf).await.unwrap();
        }
    });
    for n in 0..rounds {
        near.send(&n.to_le_bytes()).await?;
        let mut back = [0; 8];
        near.recv(&mut back).await?;
        assert_eq!(u64::from_le_bytes(back), n);
    }
    near.send(&u64::MAX.to_le_bytes()).await?;
    answering.await.unwrap();
    Ok(rounds)
}

/// What is agreed, what is on disk and what is due, asked for by tasks whose cores go away under them.
#[test]
fn agreements_files_timers_and_datagrams_find_tasks_that_move() {
    const CORES: usize = 6;
    on_both(CORES, || async {
        let folder = Folder::new("moving");
        let data = pattern(64 * 1024);
        std::fs::write(folder.join("file"), &data)?;
        let done = Arc::new(AtomicBool::new(false));
        let shaking = multikernel::spawn_local(shake(CORES, done.clone()));
        let map = ReplicatedMap::<u64, u64>::new().await.unwrap();
        let shared =
            SharedFile::open(folder.join("file"), std::fs::OpenOptions::new().read(true)).await.unwrap();
        let mut all = JoinSet::new();
        for task in 0..4_u64 {
            let map = map.clone();
            all.spawn(elsewhere(async move {
                for n in 0..40 {
                    let key = task * 1000 + n;
                    map.insert(key, n).await.unwrap();
                    // Committed here, wherever that is by now.
                    assert_eq!(map.get(&key), Some(n));
                }
                io::Result::Ok(40)
            }));
        }
        for task in 0..4_u64 {
            let (path, data) = (folder.join("file"), data.clone());
            all.spawn(elsewhere(async move {
                let file = File::open(path).await?;
                for n in 0..50 {
                    let at = (task * 50 + n) * 300;
                    let expected = &data[at as usize..at as usize + 64];
                    assert_eq!(file.read_at(Vec::with_capacity(64), at).await.buffer.unwrap(), expected);
                    let same = shared.read_at(Vec::with_capacity(64), at).await;
                    assert_eq!(same.buffer.unwrap(), expected);
                }
                Ok(50)
            }));
        }
        let fired = Arc::new(AtomicU64::new(0));
        for n in 0..20 {
            let fired = fired.clone();
            all.spawn(elsewhere(async move {
                let count = move || _ = fired.fetch_add(1, Ordering::Relaxed);
                let due = Instant::now() + Duration::from_millis(n);
                machine::once(due, count).await.map_err(io::Error::other)?;
                Ok(1)
            }));
        }
        for _ in 0..3 {
            all.spawn(elsewhere(exchange_datagrams(100)));
        }
        let mut sum = 0;
        while let Some(one) = all.join_next().await {
            sum += one.unwrap()?;
        }
        assert_eq!(sum, 4 * 40 + 4 * 50 + 20 + 3 * 100);
        while fired.load(Ordering::Relaxed) < 20 {
            yield_now().await;
        }
        done.store(true, Ordering::Relaxed);
        shaking.await.unwrap()?;
        assert_eq!(fired.load(Ordering::Relaxed), 20, "a timer fired twice");
        assert_eq!(map.len(), 160);
        assert!(moved() > 0, "nothing moved");
        Ok(())
    });
}
