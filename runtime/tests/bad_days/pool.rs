//! A blocking pool all of whose threads are taken: what needs one waits its turn, everything else goes on.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use multikernel::fs::{self, File};
use multikernel::net::lookup_host;
use multikernel::runtime::{Builder, DriverKind, Handle};
use multikernel::task::{spawn_blocking, yield_now};
use multikernel::time::{Duration, sleep, timeout};

use crate::common::{
    DRIVERS, Folder, PATIENCE, alone, assert_driver, census, pattern, poll_once, until_as_before,
};
use crate::outside::Gate;
use crate::sockets::pair;

const THREADS: usize = 2;

/// Takes all threads of the pool until the gate opens.
async fn take_all(gate: &Arc<Gate>) {
    for _ in 0..THREADS {
        let (begun, begins) = futures::channel::oneshot::channel();
        let gate = gate.clone();
        drop(spawn_blocking(move || {
            begun.send(()).unwrap();
            gate.wait();
        }));
        begins.await.unwrap();
    }
}

type Step = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// What always takes a thread, of whichever driver.
fn what_needs_a_thread(folder: &Folder) -> Vec<Step> {
    let path = folder.join("file");
    let (one, two, copied, made) = (path.clone(), path, folder.join("copied"), folder.join("made"));
    vec![
        Box::pin(async { spawn_blocking(|| ()).await.map_err(io::Error::other) }),
        Box::pin(async move { fs::metadata(one).await.map(|found| assert!(found.is_file())) }),
        Box::pin(async move { fs::copy(two, copied).await.map(|count| assert_eq!(count, 10_000)) }),
        Box::pin(async move { fs::create_dir(made).await }),
        Box::pin(async { lookup_host("localhost:80").await.map(|mut all| assert!(all.next().is_some())) }),
    ]
}

fn poll(step: &mut Step) -> Poll<io::Result<()>> {
    step.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

async fn a_day(gate: Arc<Gate>, ends_full: bool) -> io::Result<Vec<Step>> {
    let folder = Folder::new("pool");
    std::fs::write(folder.join("file"), pattern(10_000))?;
    let file = File::open(folder.join("file")).await?;
    let (near, far) = pair().await?;
    take_all(&gate).await;
    let mut waiting = what_needs_a_thread(&folder);
    let read = file.read_at(vec![0; 10_000], 0);
    let mut read = pin!(read);
    if Handle::current().driver().kind == DriverKind::Uring {
        assert!(fs::read(folder.join("file")).await? == pattern(10_000));
    }
    for round in 0..200_u8 {
        for step in &mut waiting {
            assert!(poll(step).is_pending(), "it has found a thread");
        }
        // Sockets and time need none.
        near.send_all(vec![round; 100]).await.result?;
        assert_eq!(far.recv().await?[..], [round; 100]);
        yield_now().await;
    }
    let late = timeout(Duration::from_millis(1), waiting.pop().expect("the lookup"));
    assert!(late.await.is_err(), "a limit holds all the same");
    sleep(Duration::from_millis(1)).await;
    // io_uring reads without a thread; epoll waits for one.
    let early = poll_once(&mut read).await;
    if ends_full {
        return Ok(waiting);
    }
    gate.open();
    let read = match early {
        Poll::Ready(read) => read,
        Poll::Pending => read.await,
    };
    assert!(read.buffer.unwrap()[..read.result?] == pattern(10_000));
    for step in waiting {
        step.await?;
    }
    Ok(Vec::new())
}

#[test]
fn what_needs_a_thread_waits_its_turn_and_nothing_else_does() {
    alone("pool::what_needs_a_thread_waits_its_turn_and_nothing_else_does", || {
        let before = census();
        for (driver, kind) in DRIVERS {
            for ends_full in [false, true, false, true] {
                let gate = Arc::<Gate>::default();
                let opens = gate.clone();
                let mut builder = Builder::new_test();
                builder.cores(2).driver(driver).max_blocking_threads(THREADS);
                let rest = builder.run(|| async move {
                    assert_driver(&Handle::current(), kind);
                    timeout(PATIENCE, a_day(opens, ends_full)).await.expect("it hangs").unwrap()
                });
                // The calls under way are left to themselves, and those that have not begun never do.
                for mut step in rest.unwrap() {
                    assert!(!matches!(poll(&mut step), Poll::Ready(Ok(()))));
                }
                gate.open();
                until_as_before(&before, &format!("{kind}, {ends_full}"));
            }
        }
    });
}
