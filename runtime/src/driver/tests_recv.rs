//! What receiving into the runtime's buffers promises, on both drivers.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use super::recv_buf::RecvBuf;
use super::tests::{
    Count, PATIENCE, READ, TestCore, kinds, on_both, on_both_with, own_descriptors, pair, read, recv,
    tcp_pair,
};
use super::{Driver, DriverKind, SendAll, Source, Wait};
use crate::context;
use crate::limits::{RECEIVE_BUFFERS, UNREAD_BUFFERS};

/// Most buffers that a receive fills before a cancel gets a word in: Linux's own bound, twice.
const OVERSHOOT: usize = 64;

/// Shared buffers that nobody holds, as far as completions tell.
pub(super) fn free(core: &TestCore) -> Option<u16> {
    match &mut core.resources.reactor.borrow_mut().driver {
        Driver::Uring(uring) => uring.pool().map(|pool| pool.free()),
        Driver::Epoll(_) => None,
    }
}

pub(super) fn all_are_free(core: &TestCore) -> bool {
    free(core).is_none_or(|free| free == RECEIVE_BUFFERS)
}

fn recv_now(core: &TestCore, source: &Source) -> RecvBuf {
    core.run(source.recv()).unwrap()
}

/// Polls once, without waiting for anything.
fn begin_recv(source: &Source) -> Poll<std::io::Result<RecvBuf>> {
    source.poll_recv(&mut Context::from_waker(Waker::noop()))
}

/// Starts to receive and lets the system know.
fn start_streaming(core: &TestCore, source: &Source) {
    assert!(begin_recv(source).is_pending());
    core.turn(Wait::No);
    assert_eq!(source.is_streaming(), core.has_ring());
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn what_is_received_is_sent_back_without_a_copy() {
    on_both(|core| {
        let (source, mut peer) = tcp_pair();
        let client = thread::spawn(move || {
            let mut answer = [0; 5];
            for _ in 0..300 {
                peer.write_all(b"hello").unwrap();
                peer.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, b"hello");
            }
        });
        core.run(async {
            loop {
                let buffer = source.recv().await.unwrap();
                if buffer.is_empty() {
                    break;
                }
                assert_eq!(buffer.is_shared(), core.has_ring());
                SendAll::new(&source, buffer).await.result.unwrap();
            }
        });
        client.join().unwrap();
        assert!(all_are_free(core));
    });
}

#[test]
fn holding_more_buffers_than_there_are_stops_nobody() {
    on_both(|core| {
        let (source, mut peer) = pair();
        let (other, mut others_peer) = pair();
        start_streaming(core, &other);
        let mut held = Vec::new();
        for round in 0..200 {
            peer.write_all(&[round as u8]).unwrap();
            held.push(recv_now(core, &source));
        }
        assert!(held.iter().enumerate().all(|(round, buffer)| **buffer == [round as u8]));
        // One that had asked before, and has to do without.
        others_peer.write_all(b"others").unwrap();
        assert_eq!(&*recv_now(core, &other), b"others");
        drop(held);
        assert!(all_are_free(core));
        for byte in 0..10 {
            peer.write_all(&[byte]).unwrap();
            let buffer = recv_now(core, &source);
            assert_eq!(*buffer, [byte]);
            assert!(byte == 0 || buffer.is_shared() == core.has_ring(), "it never streamed again");
        }
    });
}

#[test]
fn what_nobody_reads_is_bounded_and_arrives_whole() {
    on_both(|core| {
        let (source, mut peer) = tcp_pair();
        let sent = pattern(20 << 20);
        let copy = sent.clone();
        start_streaming(core, &source);
        let writer = thread::spawn(move || peer.write_all(&copy).unwrap());
        for _ in 0..50 {
            core.turn(Wait::For(Duration::from_millis(1)));
        }
        assert!(!writer.is_finished(), "20 MB went somewhere");
        if let Some(free) = free(core) {
            let taken = usize::from(RECEIVE_BUFFERS - free);
            assert!((UNREAD_BUFFERS..UNREAD_BUFFERS + OVERSHOOT).contains(&taken), "{taken} buffers taken");
        }
        let received = core.run(async {
            let mut received = Vec::new();
            while received.len() < sent.len() {
                let buffer = source.recv().await.unwrap();
                assert!(!buffer.is_empty());
                received.extend_from_slice(&buffer);
            }
            received
        });
        assert!(received == sent);
        writer.join().unwrap();
        assert!(recv_now(core, &source).is_empty());
        assert!(all_are_free(core));
    });
}

#[test]
fn many_small_pieces_do_not_take_the_whole_pool() {
    on_both(|core| {
        let (source, mut peer) = pair();
        start_streaming(core, &source);
        for byte in 0..100 {
            peer.write_all(&[byte]).unwrap();
            core.turn(Wait::No);
        }
        if let Some(free) = free(core) {
            assert!(usize::from(RECEIVE_BUFFERS - free) <= UNREAD_BUFFERS + 1, "{free} buffers left");
        }
        let mut received = Vec::new();
        while received.len() < 100 {
            received.extend_from_slice(&recv_now(core, &source));
        }
        assert_eq!(received, (0..100).collect::<Vec<u8>>());
    });
}

#[test]
fn the_end_comes_after_the_data_and_stays() {
    on_both(|core| {
        for streaming in [false, true] {
            let (source, mut peer) = tcp_pair();
            if streaming {
                start_streaming(core, &source);
            }
            peer.write_all(b"last words").unwrap();
            drop(peer);
            core.turn(Wait::For(Duration::from_millis(1)));
            assert_eq!(&*recv_now(core, &source), b"last words");
            for _ in 0..3 {
                assert!(recv_now(core, &source).is_empty());
            }
        }
    });
}

#[test]
fn a_reset_comes_after_the_data_and_once() {
    on_both(|core| {
        let (source, mut peer) = tcp_pair();
        start_streaming(core, &source);
        peer.write_all(b"x").unwrap();
        assert_eq!(*recv_now(core, &source), *b"x");
        assert!(begin_recv(&source).is_pending());
        socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        let error = core.run(source.recv()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(recv_now(core, &source).is_empty());
    });
}

#[test]
fn a_receive_dropped_at_any_point_loses_nothing() {
    on_both(|core| {
        let (source, mut peer) = pair();
        let mut received = Vec::new();
        let poll_once = |received: &mut Vec<u8>| {
            if let Poll::Ready(buffer) = pin!(source.recv()).poll(&mut Context::from_waker(Waker::noop())) {
                received.extend_from_slice(&buffer.unwrap());
            }
        };
        for byte in 0..60u8 {
            // Before and after the entry is submitted, before and after the completion is taken.
            poll_once(&mut received);
            if byte % 2 == 0 {
                core.turn(Wait::No);
            }
            peer.write_all(&[byte]).unwrap();
            if byte % 3 == 0 {
                poll_once(&mut received);
            }
            core.turn(Wait::No);
        }
        while received.len() < 60 {
            received.extend_from_slice(&recv_now(core, &source));
        }
        assert_eq!(received, (0..60).collect::<Vec<u8>>());
    });
}

/// What net's `try_read` does.
fn try_read(source: &Source, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut got = 0;
    let left = source.try_left_over(|bytes| {
        got = bytes.len().min(buffer.len());
        buffer[..got].copy_from_slice(&bytes[..got]);
        got
    });
    match left {
        Some(result) => result.map(|()| got),
        None => source.try_io(READ, || recv(source, buffer)),
    }
}

async fn wait_and_read(source: &Source, buffer: &mut [u8]) -> usize {
    loop {
        std::future::poll_fn(|cx| source.poll_ready(cx, READ)).await.unwrap();
        match try_read(source, buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            result => return result.unwrap(),
        }
    }
}

#[test]
fn bytes_left_over_come_first_and_streams_do_not_come_back() {
    on_both(|core| {
        let (source, mut peer) = pair();
        start_streaming(core, &source);
        peer.write_all(b"one").unwrap();
        core.turn(Wait::No);
        peer.write_all(b"two").unwrap();
        core.turn(Wait::No);
        if core.has_ring() {
            assert_eq!(source.try_io(READ, || Ok(())).unwrap_err().kind(), ErrorKind::Other);
        }
        let mut peeked = Vec::new();
        let left = source.try_left_over(|bytes| {
            peeked.extend_from_slice(bytes);
            0
        });
        assert_eq!(left.is_some(), core.has_ring());
        assert!(peeked == if core.has_ring() { &b"one"[..] } else { b"" });
        peer.write_all(b"three").unwrap();
        core.run(async {
            let mut all = Vec::new();
            while all.len() < 11 {
                let mut piece = [0; 2];
                let got = wait_and_read(&source, &mut piece).await;
                all.extend_from_slice(&piece[..got]);
            }
            assert_eq!(all, b"onetwothree");
            assert!(!source.is_streaming());
            peer.write_all(b"four").unwrap();
            let mut buffer = [0; 8];
            assert_eq!(read(&source, &mut buffer).await.unwrap(), 4);
            peer.write_all(b"five").unwrap();
            let last = source.recv().await.unwrap();
            assert_eq!(&*last, b"five");
            assert!(!last.is_shared(), "for good");
        });
        assert!(all_are_free(core));
    });
}

#[test]
fn a_read_by_readiness_waits_for_the_stream_to_stop() {
    on_both(|core| {
        let (source, mut peer) = pair();
        start_streaming(core, &source);
        let count = Count::new();
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let mut buffer = [0; 8];
        assert!(source.poll_left_over(&mut cx, |_| 0).is_pending() == core.has_ring());
        assert!(source.poll_io(&mut cx, READ, || recv(&source, &mut buffer)).is_pending());
        peer.write_all(b"x").unwrap();
        core.turn_until("the byte", || try_read(&source, &mut buffer).is_ok());
        assert_eq!(buffer[0], b'x');
        core.turn_until("the wake", || count.get() > 0);
    });
}

#[test]
fn a_source_is_not_taken_apart_while_bytes_are_on_the_way() {
    on_both(|core| {
        let (source, mut peer) = pair();
        start_streaming(core, &source);
        peer.write_all(b"x").unwrap();
        core.turn(Wait::No);
        assert_eq!(source.into_fd().is_err(), core.has_ring());
        let (source, mut peer) = pair();
        start_streaming(core, &source);
        core.turn_until("the stop", || source.try_left_over(|_| 0).is_none());
        let mut file = std::fs::File::from(source.into_fd().unwrap());
        peer.write_all(b"hello").unwrap();
        let mut buffer = [0; 5];
        file.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"hello");
    });
}

#[test]
fn an_error_is_delivered_after_what_is_left_over() {
    on_both(|core| {
        let (source, mut peer) = tcp_pair();
        start_streaming(core, &source);
        peer.write_all(b"x").unwrap();
        core.turn(Wait::For(Duration::from_millis(1)));
        socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        core.turn(Wait::For(Duration::from_millis(1)));
        let mut buffer = [0; 8];
        core.run(async {
            assert_eq!(wait_and_read(&source, &mut buffer).await, 1);
            let ready = std::future::poll_fn(|cx| source.poll_ready(cx, READ)).await.unwrap();
            assert!(ready.is_readable());
        });
        assert_eq!(try_read(&source, &mut buffer).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(try_read(&source, &mut buffer).unwrap(), 0);
    });
}

#[test]
fn a_reused_number_receives_nothing_of_its_former_life() {
    own_descriptors();
    on_both(|core| {
        for submitted in [false, true] {
            let (source, mut peer) = tcp_pair();
            let number = source.fd().as_raw_fd();
            assert!(begin_recv(&source).is_pending());
            if submitted {
                core.turn(Wait::No);
                peer.write_all(b"queued").unwrap();
                core.turn(Wait::For(Duration::from_millis(1)));
            }
            drop(source);
            core.turn_until("the close", || {
                // SAFETY: asks about a number, whoever owns it.
                unsafe { libc::fcntl(number, libc::F_GETFD) == -1 }
            });
            let fillers: Vec<_> = std::iter::from_fn(|| peer.as_fd().try_clone_to_owned().ok())
                .take_while(|copy| copy.as_raw_fd() < number)
                .collect();
            let (reused, mut new_peer) = pair();
            drop(fillers);
            assert_eq!(reused.fd().as_raw_fd(), number);
            assert!(begin_recv(&reused).is_pending());
            core.turn(Wait::No);
            new_peer.write_all(b"mine").unwrap();
            assert_eq!(&*recv_now(core, &reused), b"mine");
            // An unread byte makes the close a reset.
            assert!(matches!(peer.read(&mut [0; 8]), Ok(0) | Err(_)));
        }
        assert!(all_are_free(core));
    });
}

#[test]
fn what_a_core_had_received_outlives_it() {
    for kind in kinds() {
        let core = TestCore::new(kind, 8);
        let (source, mut peer) = pair();
        let (idle, mut idle_peer) = pair();
        let held = context::enter(&core.resources, || {
            start_streaming(&core, &source);
            start_streaming(&core, &idle);
            peer.write_all(b"held").unwrap();
            let held = recv_now(&core, &source);
            peer.write_all(b"queued").unwrap();
            core.turn(Wait::No);
            held
        });
        core.resources.reactor.into_inner().close(PATIENCE);
        assert_eq!(&*held, b"held");
        drop(held);
        peer.write_all(b"later").unwrap();
        idle_peer.write_all(b"idle").unwrap();
        let next = TestCore::new(kind, 8);
        context::enter(&next.resources, || {
            let mut received = Vec::new();
            while received.len() < 11 {
                received.extend_from_slice(&recv_now(&next, &source));
            }
            assert_eq!(received, b"queuedlater");
            assert_eq!(&*recv_now(&next, &idle), b"idle");
        });
        drop((source, idle));
        next.resources.reactor.into_inner().close(PATIENCE);
    }
}

#[test]
fn a_core_lost_in_mid_stream_leaks_what_the_ring_may_fill() {
    if !kinds().contains(&DriverKind::Uring) {
        return;
    }
    let core = TestCore::new(DriverKind::Uring, 8);
    let (source, mut peer) = pair();
    let held = context::enter(&core.resources, || {
        start_streaming(&core, &source);
        peer.write_all(b"held").unwrap();
        recv_now(&core, &source)
    });
    drop(core);
    peer.write_all(b"more").unwrap();
    assert_eq!(&*held, b"held");
}

#[test]
fn completions_that_overflow_while_streaming_keep_their_order() {
    // A queue of 8 entries has room for 64 completions.
    on_both_with(8, |core| {
        let mut pairs: Vec<_> = (0..100).map(|_| pair()).collect();
        pairs.iter().for_each(|(source, _)| start_streaming(core, source));
        for byte in 0..20 {
            pairs.iter_mut().for_each(|(_, peer)| peer.write_all(&[byte]).unwrap());
            if byte % 4 == 0 {
                core.turn(Wait::No);
            }
        }
        for (source, _) in &pairs {
            let mut received = Vec::new();
            while received.len() < 20 {
                received.extend_from_slice(&recv_now(core, source));
            }
            assert_eq!(received, (0..20).collect::<Vec<u8>>());
        }
        assert!(all_are_free(core));
    });
}

#[test]
fn a_receive_that_is_no_sockets_fails() {
    on_both(|core| {
        let (reader, _writer) = std::io::pipe().unwrap();
        let source = Source::new(reader.as_fd().try_clone_to_owned().unwrap());
        let error = core.run(source.recv()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTSOCK));
    });
}
