//! What a source promises, on both drivers.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use super::source::{Afterlife, Descriptor, forget, register_for_guest};
use super::tests::{
    Count, READ, TestCore, WRITE, on_both, own_descriptors, pair, poll_read, read, recv, sees_end, send,
    tcp_pair, wait_for_read, write,
};
use super::{DriverKind, Source, Wait};
use crate::context;

#[test]
fn echoes_over_loopback() {
    on_both(|core| {
        let (source, mut peer) = tcp_pair();
        let client = thread::spawn(move || {
            let mut answer = [0; 5];
            for _ in 0..20 {
                peer.write_all(b"hello").unwrap();
                peer.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, b"hello");
            }
        });
        core.run(async {
            let mut buffer = [0; 64];
            loop {
                let got = read(&source, &mut buffer).await.unwrap();
                if got == 0 {
                    break;
                }
                source.drained(READ);
                assert_eq!(write(&source, &buffer[..got]).await.unwrap(), got);
            }
        });
        client.join().unwrap();
    });
}

#[test]
fn all_waiters_of_one_direction_are_woken() {
    on_both(|core| {
        let (source, mut peer) = pair();
        let waiting: Vec<_> = (0..5).map(|_| wait_for_read(&source)).collect();
        peer.write_all(b"x").unwrap();
        core.turn_until("waking all five", || waiting.iter().all(|count| count.get() == 1));
        assert_eq!(recv(&source, &mut [0; 8]).unwrap(), 1);
    });
}

#[test]
fn a_waiter_is_kept_once_and_a_growing_crowd_is_swept() {
    on_both(|core| {
        let (source, mut peer) = pair();
        let count = wait_for_read(&source);
        let waker = Waker::from(count.clone());
        assert!(poll_read(&source, &waker, &mut [0; 8]).is_pending());
        // Twenty waiters that lose interest at once. Dropped by whoever is swept, held by nobody else.
        let others: Vec<_> = (0..20).map(|_| wait_for_read(&source)).collect();
        let held = others.iter().filter(|other| Arc::strong_count(other) > 1).count();
        assert!(held <= 16, "{held} are still held");
        assert!(others.iter().all(|other| (other.get() == 1) != (Arc::strong_count(other) > 1)));
        peer.write_all(b"x").unwrap();
        core.turn_until("the wake", || count.get() > 0);
        assert_eq!(count.get(), 1);
        assert!(others.iter().all(|other| other.get() == 1));
    });
}

#[test]
fn a_reused_number_hears_nothing_of_its_former_life() {
    own_descriptors();
    on_both(|core| {
        for submitted in [false, true] {
            let (source, mut peer) = pair();
            let number = source.fd().as_raw_fd();
            let old = wait_for_read(&source);
            if submitted {
                core.turn(Wait::No);
            }
            peer.write_all(b"too late").unwrap();
            drop(source);
            // The ring closes with the next turn. Until then the number stays taken.
            let (source, mut peer) = match pair() {
                reused if reused.0.fd().as_raw_fd() == number => {
                    assert!(!core.has_ring(), "the ring has yet to see entries that name the number");
                    reused
                }
                early => {
                    core.turn(Wait::No);
                    let late = pair();
                    drop(early);
                    late
                }
            };
            assert_eq!(source.fd().as_raw_fd(), number);
            let new = wait_for_read(&source);
            core.turn(Wait::For(Duration::from_millis(5)));
            assert_eq!((old.get(), new.get()), (0, 0));
            peer.write_all(b"x").unwrap();
            core.turn_until("its own event", || new.get() == 1);
        }
    });
}

#[test]
fn the_end_that_came_with_the_data_is_seen_after_a_short_read() {
    on_both(|core| {
        for end_first in [true, false] {
            let (source, mut peer) = tcp_pair();
            let count = wait_for_read(&source);
            core.turn(Wait::No);
            peer.write_all(b"last").unwrap();
            if end_first {
                peer.shutdown(Shutdown::Write).unwrap();
            }
            core.turn_until("the data", || count.get() > 0);
            let mut buffer = [0; 64];
            core.run(async {
                assert_eq!(read(&source, &mut buffer).await.unwrap(), 4);
                source.drained(READ);
                if !end_first {
                    peer.shutdown(Shutdown::Write).unwrap();
                }
                assert_eq!(read(&source, &mut buffer).await.unwrap(), 0);
            });
        }
    });
}

#[test]
fn a_known_idle_source_is_not_tried() {
    on_both(|core| {
        let (source, mut peer) = pair();
        // Never registered: always tried.
        let mut tries = 0;
        let mut attempt = |source: &Source| {
            source.try_io(READ, || {
                tries += 1;
                recv(source, &mut [0; 8])
            })
        };
        assert_eq!(attempt(&source).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        peer.write_all(b"x").unwrap();
        assert_eq!(attempt(&source).unwrap(), 1);
        let count = wait_for_read(&source);
        assert_eq!(attempt(&source).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(tries, 2);
        // Other threads know nothing and try.
        thread::scope(|scope| {
            let elsewhere = scope.spawn(|| source.try_io(READ, || recv(&source, &mut [0; 8])));
            assert_eq!(elsewhere.join().unwrap().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        });
        peer.write_all(b"x").unwrap();
        core.turn_until("the wake", || count.get() == 1);
        assert_eq!(source.try_io(READ, || recv(&source, &mut [0; 8])).unwrap(), 1);
    });
}

#[test]
fn a_writer_waits_for_room_and_learns_that_the_peer_is_gone() {
    on_both(|core| {
        let (source, mut peer) = pair();
        let chunk = [7; 16 * 1024];
        let mut written = 0;
        let count = Count::new();
        let waker = Waker::from(count.clone());
        let attempt = || source.poll_io(&mut Context::from_waker(&waker), WRITE, || send(&source, &chunk));
        let fill = |written: &mut usize| {
            while let Poll::Ready(sent) = attempt() {
                *written += sent.unwrap();
            }
        };
        fill(&mut written);
        assert!(written > 0);
        let mut received = vec![0; written];
        peer.read_exact(&mut received).unwrap();
        core.turn_until("room", || count.get() == 1);
        fill(&mut written);
        drop(peer);
        core.turn_until("the peer's end", || count.get() == 2);
        let error = core.run(write(&source, b"x")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_drop_on_another_thread_hangs_up_at_once_and_closes_later() {
    on_both(|core| {
        let (source, peer) = tcp_pair();
        let descriptor = Arc::downgrade(source.descriptor());
        let count = wait_for_read(&source);
        core.turn(Wait::No);
        let held = descriptor.upgrade().unwrap();
        thread::spawn(move || drop(source)).join().unwrap();
        assert!(sees_end(&peer), "no FIN while the core still watches");
        // What the message to this core does.
        forget(&core.resources, held, Afterlife::Close);
        core.turn_until("the close", || descriptor.strong_count() == 0);
        assert_eq!(Arc::strong_count(&count), 1);
    });
}

#[test]
fn a_listener_is_not_shut_down_by_a_drop_elsewhere() {
    on_both(|core| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let inherited = listener.try_clone().unwrap();
        let source = Source::new(listener.into());
        let waker = Waker::from(Count::new());
        assert!(source.poll_ready(&mut Context::from_waker(&waker), READ).is_pending());
        core.turn(Wait::No);
        thread::spawn(move || drop(source)).join().unwrap();
        let _client = TcpStream::connect(address).expect("the other owner still listens");
        inherited.set_nonblocking(false).unwrap();
        inherited.accept().unwrap();
    });
}

#[test]
fn a_guest_is_woken_whether_the_event_came_before_or_after() {
    on_both(|core| {
        let (source, mut peer) = pair();
        let descriptor: Arc<Descriptor> = source.descriptor().clone();
        let (late, early) = (Count::new(), Count::new());
        register_for_guest(&core.resources, &descriptor, READ, Waker::from(late.clone()));
        core.turn(Wait::No);
        assert_eq!(late.get(), 0);
        peer.write_all(b"x").unwrap();
        core.turn_until("the event", || late.get() == 1);
        register_for_guest(&core.resources, &descriptor, READ, Waker::from(early.clone()));
        assert_eq!(early.get(), 1, "what is ready already needs no event");
        // This core still believes the source readable; the guest has read it empty.
        recv(&source, &mut [0; 8]).unwrap();
        let stale = Count::new();
        register_for_guest(&core.resources, &descriptor, READ, Waker::from(stale.clone()));
        core.turn(Wait::No);
        assert_eq!(stale.get(), 0);
        drop(source);
        register_for_guest(&core.resources, &descriptor, READ, Waker::from(stale.clone()));
        core.turn_until("letting go", || Arc::strong_count(&descriptor) == 1);
        assert_eq!(Arc::strong_count(&stale), 1);
    });
}

#[test]
#[should_panic(expected = "must be done from within a multikernel runtime")]
fn waiting_outside_a_runtime_panics() {
    let (source, _peer) = pair();
    let _ = poll_read(&source, Waker::noop(), &mut [0; 8]);
}

#[test]
fn a_source_taken_apart_gives_back_a_working_file() {
    on_both(|core| {
        for armed in [false, true] {
            let (source, mut peer) = pair();
            if armed {
                wait_for_read(&source);
                core.turn(Wait::No);
            }
            let fd = source.into_fd().unwrap();
            core.turn(Wait::No);
            let source = Source::new(fd);
            let count = wait_for_read(&source);
            core.turn(Wait::For(Duration::from_millis(5)));
            assert_eq!(count.get(), 0, "the peer saw no hang-up, nor did we");
            peer.write_all(b"x").unwrap();
            core.turn_until("the event", || count.get() == 1);
        }
    });
}

#[test]
fn a_file_that_cannot_be_watched_is_an_error_and_no_wait() {
    let core = TestCore::new(DriverKind::Epoll, 8);
    context::enter(&core.resources, || {
        let source = Source::new(std::fs::File::open("/proc/self/exe").unwrap().into());
        let blocked = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let polled = source.poll_io(&mut Context::from_waker(Waker::noop()), READ, blocked);
        assert!(matches!(polled, Poll::Ready(Err(error)) if error.raw_os_error() == Some(libc::EPERM)));
    });
}
