//! A stream and the cores around it: real ones, as only they pass messages.

use std::future::poll_fn;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread;

use super::tests::{READ, pair, recv};
use super::{Driver, RecvBuf, Source};
use crate::context;
use crate::limits::RECEIVE_BUFFERS;
use crate::runtime::{Builder, DriverChoice};
use crate::task::yield_now;
use crate::{CoreId, spawn_on};

fn on_two_cores<F: Future<Output = ()> + 'static>(test: impl Fn() -> F) {
    for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
        Builder::new_test().cores(2).driver(driver).run(&test).unwrap();
    }
}

fn shared_pair() -> (Arc<Source>, impl Write) {
    let (source, peer) = pair();
    (Arc::new(source), peer)
}

/// Receives on a core until it has `count` bytes.
async fn recv_on(core: usize, source: &Arc<Source>, count: usize) -> Vec<u8> {
    let source = source.clone();
    let task = spawn_on(CoreId::new(core), move || async move {
        let mut received = Vec::new();
        while received.len() < count {
            let buffer = source.recv().await.unwrap();
            assert!(!buffer.is_empty());
            received.extend_from_slice(&buffer);
        }
        received
    });
    task.await.unwrap()
}

/// Shared buffers of this core that nobody holds.
fn free() -> Option<u16> {
    context::with_core(|core| match &mut core.expect("asked on a core").reactor.borrow_mut().driver {
        Driver::Uring(uring) => uring.pool().map(|pool| pool.free()),
        Driver::Epoll(_) => None,
    })
}

#[test]
fn a_stream_that_changes_cores_keeps_its_order() {
    on_two_cores(|| async {
        let (source, mut peer) = shared_pair();
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        for round in 0..100u8 {
            peer.write_all(&[round; 3]).unwrap();
            sent.extend_from_slice(&[round; 3]);
            // Sometimes some is read and some stays queued at the former home.
            if round % 3 == 0 {
                continue;
            }
            received.extend(recv_on(usize::from(round % 2), &source, 1).await);
        }
        let rest = sent.len() - received.len();
        if rest > 0 {
            received.extend(recv_on(1, &source, rest).await);
        }
        assert!(received == sent);
    });
}

#[test]
fn a_receive_elsewhere_gets_what_comes_while_the_home_waits_too() {
    on_two_cores(|| async {
        let (source, mut peer) = shared_pair();
        peer.write_all(b"0").unwrap();
        recv_on(0, &source, 1).await;
        // Both wait at once; each byte goes to one of them, and whoever gets none is still served afterwards.
        let both = [0, 1].map(|core| {
            let source = source.clone();
            spawn_on(CoreId::new(core), move || async move { recv_on(core, &source, 1).await })
        });
        for _ in 0..20 {
            yield_now().await;
        }
        peer.write_all(b"1").unwrap();
        let [first, second] = both;
        while !first.is_finished() && !second.is_finished() {
            yield_now().await;
        }
        peer.write_all(b"2").unwrap();
        let mut got = first.await.unwrap();
        got.extend(second.await.unwrap());
        got.sort();
        assert_eq!(got, b"12");
    });
}

#[test]
fn a_thread_that_is_no_core_reads_on() {
    for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
        let runtime = Builder::new_test().cores(2).driver(driver).build().unwrap();
        let (source, mut peer) = shared_pair();
        runtime.block_on(async {
            peer.write_all(b"one").unwrap();
            assert_eq!(recv_on(1, &source, 3).await, b"one");
            peer.write_all(b"two").unwrap();
            let mut received = Vec::new();
            while received.len() < 3 {
                received.extend_from_slice(&source.recv().await.unwrap());
            }
            assert_eq!(received, b"two");
            peer.write_all(b"three").unwrap();
            assert_eq!(recv_on(0, &source, 5).await, b"three");
        });
    }
}

#[test]
fn a_read_by_readiness_elsewhere_ends_the_stream_for_good() {
    on_two_cores(|| async {
        let (source, mut peer) = shared_pair();
        peer.write_all(b"0").unwrap();
        recv_on(1, &source, 1).await;
        peer.write_all(b"hello").unwrap();
        let mut all = Vec::new();
        while all.len() < 5 {
            poll_fn(|cx| source.poll_ready(cx, READ)).await.unwrap();
            let mut left = Vec::new();
            let result = source.try_left_over(|bytes| {
                left.extend_from_slice(bytes);
                bytes.len()
            });
            match result {
                Some(Ok(())) => all.extend(left),
                Some(Err(error)) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                None => {
                    let mut buffer = [0; 8];
                    match source.try_io(READ, || recv(&source, &mut buffer)) {
                        Ok(got) => all.extend_from_slice(&buffer[..got]),
                        Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                    }
                }
            }
        }
        assert_eq!(all, b"hello");
        while source.try_left_over(|_| 0).is_some() {
            yield_now().await;
        }
        assert!(!source.is_streaming());
    });
}

#[test]
fn a_buffer_dropped_on_another_thread_goes_home() {
    on_two_cores(|| async {
        let (source, mut peer) = shared_pair();
        let mut held = Vec::new();
        for byte in 0..20 {
            peer.write_all(&[byte]).unwrap();
            held.push(source.recv().await.unwrap());
        }
        let elsewhere: Vec<RecvBuf> = held.split_off(10);
        thread::spawn(move || drop(elsewhere)).join().unwrap();
        spawn_on(CoreId::new(1), move || async move { drop(held) }).await.unwrap();
        while free().is_some_and(|free| free < RECEIVE_BUFFERS) {
            yield_now().await;
        }
    });
}

#[test]
fn a_source_dropped_elsewhere_while_it_streams_closes() {
    on_two_cores(|| async {
        let (source, mut peer) = shared_pair();
        peer.write_all(b"0").unwrap();
        recv_on(0, &source, 1).await;
        peer.write_all(b"queued").unwrap();
        spawn_on(CoreId::new(1), move || async move { drop(source) }).await.unwrap();
        while peer.write_all(b"x").is_ok() {
            yield_now().await;
        }
    });
}

#[test]
fn buffers_and_bytes_outlive_the_runtime() {
    for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
        let (source, mut peer) = shared_pair();
        let of_task = source.clone();
        let held = Builder::new_test().cores(2).driver(driver).run(move || async move {
            peer.write_all(b"held").unwrap();
            let held = of_task.recv().await.unwrap();
            assert!(poll_fn(|cx| std::task::Poll::Ready(of_task.poll_recv(cx))).await.is_pending());
            peer.write_all(b"queued").unwrap();
            drop(peer);
            held
        });
        assert_eq!(&*held.unwrap(), b"held");
        let rest = Builder::new_test().driver(driver).run(move || async move {
            let rest = source.recv().await.unwrap();
            assert!(source.recv().await.unwrap().is_empty());
            rest
        });
        assert_eq!(&*rest.unwrap(), b"queued");
    }
}
