//! What io_uring refuses, interrupts or runs out of, each forced; what the drivers share, on both.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use super::tests::{
    Count, CountingBell, PATIENCE, TestCore, at_end, kinds, on_both, pair, wait_for_read, write,
};
use super::tests_recv::{all_are_free, free};
use super::tests_recv_read::read;
use super::tests_seccomp::{Gate, with_gate};
use super::tests_send::watched;
use super::{DriverKind, Peer, SendAll, Source, Wait};
use crate::context;
use crate::limits::RECEIVE_BUFFERS;
use crate::runtime::{Builder, DriverChoice};
use crate::time::sleep;

/// The operation of io_uring_register that registers a pool of buffers.
const REGISTER_POOL: u64 = 22;

/// On a ring of 8 entries, every io_uring_enter of which fails while the gate says so.
fn with_gated_ring(test: impl FnOnce(&TestCore, &Gate) + Send + 'static) {
    if !kinds().contains(&DriverKind::Uring) {
        return;
    }
    with_gate(libc::SYS_io_uring_enter, None, |gate| {
        let core = TestCore::new(DriverKind::Uring, 8);
        context::enter(&core.resources, || test(&core, gate));
        core.resources.reactor.into_inner().close(PATIENCE);
    });
}

#[test]
fn what_the_ring_does_not_take_now_it_takes_later() {
    with_gated_ring(|core, gate| {
        for errno in [libc::EBUSY, libc::EAGAIN, libc::EINTR] {
            let (source, mut peer) = pair();
            let woken = wait_for_read(&source);
            peer.write_all(b"x").unwrap();
            gate.refuse(errno);
            let before = gate.refused();
            // A wait that is refused ends at once, and is no error.
            for wait in [Wait::No, Wait::For(PATIENCE), Wait::Forever] {
                assert_eq!(core.turn(wait), 0);
            }
            assert!(gate.refused() >= before + 3);
            gate.allow();
            core.turn_until("the wake", || woken.get() == 1);
        }
    });
}

#[test]
fn a_ring_that_is_busy_when_it_opens_hears_its_bell_later() {
    if !kinds().contains(&DriverKind::Uring) {
        return;
    }
    with_gate(libc::SYS_io_uring_enter, None, |gate| {
        gate.refuse(libc::EAGAIN);
        let core = TestCore::new(DriverKind::Uring, 8);
        assert!(core.has_ring() && gate.refused() == 1);
        gate.allow();
        core.ring_bell();
        core.turn(Wait::Forever);
        core.resources.reactor.into_inner().close(PATIENCE);
    });
}

#[test]
fn a_core_that_gets_no_ring_uses_epoll() {
    with_gate(libc::SYS_io_uring_setup, None, |gate| {
        gate.refuse(libc::ENOMEM);
        let core = TestCore::new(DriverKind::Uring, 8);
        assert!(!core.has_ring() && gate.refused() > 0);
        context::enter(&core.resources, || converse_with_echo(&core));
    });
}

fn reads_to_the_end(peer: &mut UnixStream) -> bool {
    peer.set_nonblocking(true).unwrap();
    let mut bytes = [0; 4096];
    loop {
        match peer.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return false;
            }
        }
    }
}

#[test]
fn cancels_that_find_the_queue_full_are_made_later() {
    with_gated_ring(|core, gate| {
        let mut cx = Context::from_waker(Waker::noop());
        // Sources that wait to be readable, others that stream, and sends that nobody reads.
        let (waiting, mut peers): (Vec<_>, Vec<_>) = (0..20).map(|_| pair()).unzip();
        waiting.iter().for_each(|source| drop(wait_for_read(source)));
        let (streaming, more): (Vec<_>, Vec<_>) = (0..20).map(|_| pair()).unzip();
        peers.extend(more);
        streaming.iter().for_each(|source| assert!(source.poll_recv(&mut cx).is_pending()));
        let (sending, mut readers): (Vec<_>, Vec<_>) = (0..10).map(|_| pair()).unzip();
        let (buffers, freed): (Vec<_>, Vec<_>) = sending.iter().map(|_| watched()).unzip();
        let mut sends: Vec<_> = Vec::new();
        for (source, buffer) in sending.iter().zip(buffers) {
            sends.push(Box::pin(SendAll::new(source, buffer)));
            assert!(sends.last_mut().unwrap().as_mut().poll(&mut cx).is_pending());
        }
        core.turn(Wait::No);

        gate.refuse(libc::EBUSY);
        drop(sends);
        drop((waiting, streaming, sending));
        for _ in 0..3 {
            core.turn(Wait::No);
        }
        let freed = |count: usize| freed.iter().map(|freed| freed.load(SeqCst)).sum::<usize>() == count;
        assert!(freed(0), "the ring may still read them");
        assert!(!peers.iter().any(at_end), "the ring still watches them");
        // A core is rung all the same.
        let bell = Arc::<CountingBell>::default();
        let ring = core.resources.reactor.borrow().ring_fd();
        core.resources.reactor.borrow_mut().ring_peer(&Peer::new(ring, bell.clone()));
        assert_eq!(bell.rings(), 1);

        gate.allow();
        core.turn_until("freeing the buffers", || freed(10));
        core.turn_until("closing the sources", || peers.iter().all(at_end));
        core.turn_until("closing those that sent", || readers.iter_mut().all(reads_to_the_end));
    });
}

#[test]
fn a_ring_that_refuses_to_the_end_is_left_and_leaks_what_the_ring_reads() {
    if !kinds().contains(&DriverKind::Uring) {
        return;
    }
    with_gate(libc::SYS_io_uring_enter, None, |gate| {
        let core = TestCore::new(DriverKind::Uring, 8);
        let (source, _peer) = pair();
        let (buffer, freed) = watched();
        context::enter(&core.resources, || {
            let mut send = pin!(SendAll::new(&source, buffer));
            assert!(send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            core.turn(Wait::No);
        });
        gate.refuse(libc::EBUSY);
        let begin = Instant::now();
        core.resources.reactor.into_inner().close(Duration::from_millis(20));
        assert!(begin.elapsed() < PATIENCE);
        assert_eq!(freed.load(SeqCst), 0);
    });
}

/// Runs `f` while this thread gets a signal every now and then, whose handler interrupts what it does.
fn amid_signals<R>(f: impl FnOnce() -> R) -> R {
    extern "C" fn nothing(_: i32) {}
    let signal = libc::SIGRTMIN() + 5;
    // SAFETY: zeroes are an empty mask and no flags, SA_RESTART among them; the handler does nothing; the action lives
    // across the call. The last two calls take no pointers.
    let (process, me) = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(i32) as usize;
        assert_eq!(libc::sigaction(signal, &action, ptr::null_mut()), 0);
        (libc::getpid(), libc::gettid())
    };
    let (done, is_done) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while is_done.recv_timeout(Duration::from_micros(300)) == Err(RecvTimeoutError::Timeout) {
                // SAFETY: takes no pointers; the thread lives until after this scope.
                assert_eq!(unsafe { libc::syscall(libc::SYS_tgkill, process, me, signal) }, 0);
            }
        });
        let result = f();
        drop(done);
        result
    })
}

/// A peer that sends back what it gets, until the end.
fn echo(mut peer: UnixStream) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut bytes = [0; 64];
        loop {
            match peer.read(&mut bytes).unwrap() {
                0 => return,
                count => peer.write_all(&bytes[..count]).unwrap(),
            }
        }
    })
}

async fn converse(source: &Source) {
    for round in 0..200u8 {
        assert_eq!(write(source, &[round; 8]).await.unwrap(), 8);
        let mut bytes = [0; 8];
        assert_eq!(read(source, &mut bytes).await, 8);
        assert_eq!(bytes, [round; 8]);
    }
}

fn converse_with_echo(core: &TestCore) {
    let (source, peer) = pair();
    let peer = echo(peer);
    core.run(converse(&source));
    drop(source);
    core.turn_until("the peer's end", || peer.is_finished());
    peer.join().unwrap();
}

#[test]
fn a_signal_ends_a_wait_and_nothing_else() {
    on_both(|core| {
        amid_signals(|| {
            // Nothing else could end these.
            for _ in 0..20 {
                assert_eq!(core.turn(Wait::Forever), 0);
                assert_eq!(core.turn(Wait::For(PATIENCE)), 0);
            }
            converse_with_echo(core);
        });
    });
}

#[test]
fn signals_make_no_sleep_shorter_and_lose_no_event() {
    for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
        let run = move || {
            Builder::new_test().driver(driver).run(|| async {
                let begin = Instant::now();
                sleep(Duration::from_millis(50)).await;
                assert!(begin.elapsed() >= Duration::from_millis(50));
                let (source, peer) = pair();
                let peer = echo(peer);
                converse(&source).await;
                drop(source);
                crate::task::spawn_blocking(|| peer.join().unwrap()).await.unwrap();
            })
        };
        amid_signals(run).unwrap();
    }
}

/// Starts to wait for bytes on `source`; gives how often it was woken.
fn wait_to_receive(source: &Source) -> Arc<Count> {
    let woken = Count::new();
    assert!(source.poll_recv(&mut Context::from_waker(&Waker::from(woken.clone()))).is_pending());
    woken
}

#[test]
fn more_streams_than_buffers_lose_nothing_and_wake_everybody() {
    const STREAMS: usize = RECEIVE_BUFFERS as usize + 70;
    for into_own_memory in [false, true] {
        on_both(|core| {
            let mut pairs: Vec<_> = (0..STREAMS).map(|_| pair()).collect();
            let woken: Vec<_> = pairs.iter().map(|(source, _)| wait_to_receive(source)).collect();
            core.turn(Wait::No);
            let mut sent = vec![];
            // Each piece takes a buffer while there is one; the streams for which there is none come to an end.
            for piece in 0..3u8 {
                pairs.iter_mut().for_each(|(_, peer)| peer.write_all(&[piece; 5]).unwrap());
                sent.extend([piece; 5]);
                core.turn_until("waking all", || woken.iter().all(|woken| woken.get() >= 1));
            }
            assert!(free(core).is_none_or(|free| free == 0), "this forces nothing");
            for (source, _) in &pairs {
                let mut received = Vec::new();
                while received.len() < sent.len() {
                    if into_own_memory {
                        let mut bytes = [0; 7];
                        let count = core.run(read(source, &mut bytes));
                        received.extend_from_slice(&bytes[..count]);
                    } else {
                        received.extend_from_slice(&core.run(source.recv()).unwrap());
                    }
                }
                assert_eq!(received, sent);
            }
            assert!(all_are_free(core));
            // And they stream again.
            let (source, peer) = &mut pairs[STREAMS - 1];
            for byte in 0..3 {
                let _ = wait_to_receive(source);
                core.turn(Wait::No);
                peer.write_all(&[byte]).unwrap();
                let buffer = core.run(source.recv()).unwrap();
                assert_eq!(*buffer, [byte]);
                assert!(byte == 0 || buffer.is_shared() == core.has_ring());
            }
        });
    }
}

#[test]
fn without_a_pool_sockets_read_into_memory_of_their_own() {
    if !kinds().contains(&DriverKind::Uring) {
        return;
    }
    // Linux before 5.19, and too little memory.
    for errno in [libc::EINVAL, libc::ENOMEM] {
        with_gate(libc::SYS_io_uring_register, Some(REGISTER_POOL), move |gate| {
            let core = TestCore::new(DriverKind::Uring, 8);
            gate.refuse(errno);
            context::enter(&core.resources, || {
                let (source, mut peer) = pair();
                for byte in 0..10 {
                    let woken = wait_to_receive(&source);
                    peer.write_all(&[byte]).unwrap();
                    core.turn_until("the wake", || woken.get() == 1);
                    let buffer = core.run(source.recv()).unwrap();
                    assert!(*buffer == [byte] && !buffer.is_shared());
                }
                // More waits in a row than it takes to stream where there is a pool.
                converse_with_echo(&core);
                assert!(free(&core).is_none());
            });
            assert_eq!(gate.refused(), 1, "it is asked for once");
            core.resources.reactor.into_inner().close(PATIENCE);
        });
    }
}
