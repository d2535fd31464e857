//! Cores that come and go with the CPUs of the process. Alone in its process, for it changes the masks of all its threads.
#![cfg(not(loom))]

mod support;

use std::io;
use std::time::{Duration, Instant};

use multikernel::channels::mpsc;
use multikernel::net::{TcpListener, TcpStream};
use multikernel::runtime::{Builder, DriverChoice, Handle, Pinning};
use multikernel::task::JoinSet;
use multikernel::time::sleep;
use multikernel::{CoreId, on_each_core, spawn};

use crate::support::{PATIENCE, read, read_exact, skip, write_all};

const SENDERS: usize = 4;

fn mask_of(thread: libc::pid_t) -> Vec<usize> {
    // SAFETY: a set of bits is valid as zeroes, and is written within its size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        assert_eq!(libc::sched_getaffinity(thread, size_of_val(&set), &mut set), 0);
        (0..1024).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect()
    }
}

/// As `taskset -ap` does.
fn give_all_threads(cpus: &[usize]) {
    // SAFETY: as above.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        cpus.iter().for_each(|cpu| libc::CPU_SET(*cpu, &mut set));
        for thread in std::fs::read_dir("/proc/self/task").unwrap() {
            let thread: libc::pid_t = thread.unwrap().file_name().to_str().unwrap().parse().unwrap();
            libc::sched_setaffinity(thread, size_of_val(&set), &set); // it may have ended
        }
    }
}

/// How many cores take tasks: no others run what is sent to each.
async fn serving() -> usize {
    let mut count = 0;
    for task in on_each_core(|| async {}) {
        count += usize::from(task.await.is_ok());
    }
    count
}

async fn until_serving(wanted: usize) {
    let started = Instant::now();
    while serving().await != wanted {
        assert!(started.elapsed() < PATIENCE, "{} cores serve, not {wanted}", serving().await);
        sleep(Duration::from_millis(20)).await;
    }
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

/// Asks and is answered until told to stop: no connection is dropped, no request lost.
async fn talk(
    to: std::net::SocketAddr,
    mut stop: multikernel::channels::watch::Receiver<bool>,
) -> io::Result<u64> {
    let stream = TcpStream::connect(to).await?;
    let mut round = 0_u64;
    while !*stop.borrow_and_update() {
        write_all(&stream, &round.to_le_bytes()).await?;
        let mut back = [0; 8];
        read_exact(&stream, &mut back).await?;
        assert_eq!(u64::from_le_bytes(back), round);
        round += 1;
        sleep(Duration::from_millis(1)).await;
    }
    Ok(round)
}

/// Sends numbers in order, with its own name, until told to stop. Says how many.
async fn send(
    name: usize,
    to: mpsc::Sender<(usize, u64)>,
    mut stop: multikernel::channels::watch::Receiver<bool>,
) -> io::Result<u64> {
    let mut number = 0;
    while !*stop.borrow_and_update() {
        to.send((name, number)).await.expect("the receiver waits for all of them");
        number += 1;
        if number % 64 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    Ok(number)
}

/// Says how many numbers came in all, each sender's in order.
async fn receive(mut from: mpsc::Receiver<(usize, u64)>) -> u64 {
    let mut next = [0; SENDERS];
    while let Some((name, number)) = from.recv().await {
        assert_eq!(number, next[name], "a message was lost or doubled");
        next[name] += 1;
    }
    next.iter().sum()
}

/// How often a CPU is taken and given back. Each time takes two seconds.
fn rounds() -> u32 {
    std::env::var("MULTIKERNEL_ROUNDS").map_or(2, |rounds| rounds.parse().expect("a number"))
}

#[test]
fn cores_come_and_go_with_the_cpus_and_nothing_is_lost() {
    let cpus = mask_of(0);
    let [first, second, ..] = cpus[..] else {
        return skip("one CPU: nothing to take away");
    };
    for (driver, pinning) in [(DriverChoice::Uring, Pinning::Never), (DriverChoice::Epoll, Pinning::Always)] {
        let run = Builder::new().cores(2).driver(driver).pinning(pinning).run(move || async move {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            let serving = spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    drop(spawn(echo(stream)));
                }
            });
            let (stop, stopped) = multikernel::channels::watch::channel(false);
            let (sender, receiver) = mpsc::channel(256);
            let mut senders = JoinSet::new();
            for name in 0..SENDERS {
                senders.spawn(send(name, sender.clone(), stopped.clone()));
            }
            drop(sender);
            let receiving = spawn(receive(receiver));
            let mut talkers = JoinSet::new();
            for _ in 0..8 {
                talkers.spawn(talk(address, stopped.clone()));
            }
            until_serving(2).await;
            for _ in 0..rounds() {
                give_all_threads(&[first]);
                until_serving(1).await;
                give_all_threads(&[first, second]);
                until_serving(2).await;
            }
            stop.send(true).unwrap();
            while let Some(talker) = talkers.join_next().await {
                assert!(talker.unwrap()? > 0);
            }
            let mut sent = 0;
            while let Some(sender) = senders.join_next().await {
                sent += sender.unwrap()?;
            }
            assert_eq!(receiving.await.unwrap(), sent);
            serving.abort();
            assert_eq!(Handle::current().metrics().num_workers(), 2);
            assert_eq!(CoreId::current(), CoreId::new(0));
            io::Result::Ok(())
        });
        give_all_threads(&cpus);
        run.unwrap().unwrap();
    }
}
