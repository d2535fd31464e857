//! Both drivers pass the same tests. Each test is its own thread and makes its own core.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::context::{self, CoreUid, Resources};
use crate::time::Timers;

pub(super) const PATIENCE: Duration = Duration::from_secs(10);
pub(super) const READ: Interest = Interest::READABLE;
pub(super) const WRITE: Interest = Interest::WRITABLE;

pub(super) struct TestBell(OwnedFd);

impl TestBell {
    pub(super) fn new() -> Arc<TestBell> {
        // SAFETY: takes no pointers; the result is checked and is a new descriptor.
        let fd = unsafe {
            let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            assert!(fd >= 0);
            OwnedFd::from_raw_fd(fd)
        };
        Arc::new(TestBell(fd))
    }
}

impl Bell for TestBell {
    fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: writes eight readable bytes.
        let written = unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        assert_eq!(written, 8);
    }
}

pub(super) struct TestCore {
    pub(super) resources: Resources,
    bell: Arc<TestBell>,
}

pub(super) fn resources(uid: u64, reactor: Reactor) -> Resources {
    let uid = CoreUid(NonZeroU64::new(uid).unwrap());
    Resources {
        uid,
        reactor: RefCell::new(reactor),
        timers: RefCell::new(Timers::new(crate::time::Instant::now())),
    }
}

impl TestCore {
    pub(super) fn new(kind: DriverKind, entries: u32) -> TestCore {
        let bell = TestBell::new();
        let reactor = Reactor::open(kind, &Settings { entries }, bell.0.as_fd()).unwrap();
        TestCore { resources: resources(1, reactor), bell }
    }

    pub(super) fn has_ring(&self) -> bool {
        self.resources.reactor.borrow().ring_fd().is_some()
    }

    pub(super) fn ring_bell(&self) {
        self.bell.ring();
    }

    /// One turn; wakes whom it should and says how many.
    pub(super) fn turn(&self, wait: Wait) -> usize {
        let mut woken = Vec::new();
        self.resources.reactor.borrow_mut().turn(wait, &mut woken).unwrap();
        let count = woken.len();
        woken.into_iter().for_each(Waker::wake);
        count
    }

    pub(super) fn turn_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < end, "{what} did not happen");
            self.turn(Wait::For(Duration::from_millis(20)));
        }
    }

    pub(super) fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let woken = Count::new();
        let waker = Waker::from(woken.clone());
        loop {
            context::begin_poll();
            let before = woken.get();
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            self.turn_until("a wake", || woken.get() > before);
        }
    }
}

pub(super) fn on_both(test: impl Fn(&TestCore)) {
    on_both_with(64, test);
}

pub(super) fn on_both_with(entries: u32, test: impl Fn(&TestCore)) {
    for kind in kinds() {
        let core = TestCore::new(kind, entries);
        context::enter(&core.resources, || test(&core));
        core.resources.reactor.into_inner().close(PATIENCE);
    }
}

/// io_uring is left out where this machine refuses it.
pub(super) fn kinds() -> Vec<DriverKind> {
    let uring = uring::probe().is_ok().then_some(DriverKind::Uring);
    uring.into_iter().chain([DriverKind::Epoll]).collect()
}

#[derive(Default)]
pub(super) struct Count(AtomicUsize);

impl Count {
    pub(super) fn new() -> Arc<Count> {
        Arc::default()
    }

    pub(super) fn get(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

pub(super) fn pair() -> (Source, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    (Source::new(ours.into()), theirs)
}

pub(super) fn tcp_pair() -> (Source, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let ours = listener.accept().unwrap().0;
    ours.set_nonblocking(true).unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    (Source::new(ours.into()), theirs)
}

pub(super) fn recv(source: &Source, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of a live mutable slice.
    let got = unsafe { libc::recv(source.fd().as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

pub(super) fn send(source: &Source, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of a live slice.
    let sent = unsafe {
        libc::send(source.fd().as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

pub(super) fn poll_read(source: &Source, waker: &Waker, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
    source.poll_io(&mut Context::from_waker(waker), READ, || recv(source, buffer))
}

pub(super) async fn read(source: &Source, buffer: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| source.poll_io(cx, READ, || recv(source, buffer))).await
}

pub(super) async fn write(source: &Source, bytes: &[u8]) -> io::Result<usize> {
    poll_fn(|cx| source.poll_io(cx, WRITE, || send(source, bytes))).await
}

pub(super) fn wait_for_read(source: &Source) -> Arc<Count> {
    let count = Count::new();
    assert!(poll_read(source, &Waker::from(count.clone()), &mut [0; 8]).is_pending());
    count
}

fn wait_until_readable(source: &Source) -> Arc<Count> {
    let count = Count::new();
    let waker = Waker::from(count.clone());
    assert!(source.poll_ready(&mut Context::from_waker(&waker), READ).is_pending());
    count
}

/// What the peer of a closed or shut-down socket reads.
pub(super) fn sees_end(mut peer: impl Read) -> bool {
    matches!(peer.read(&mut [0; 8]), Ok(0))
}

pub(super) fn at_end(peer: &UnixStream) -> bool {
    peer.set_nonblocking(true).unwrap();
    sees_end(peer)
}

/// Gives this thread a descriptor table of its own, so that no other test takes numbers.
pub(super) fn own_descriptors() {
    const FIRST_BEYOND_STDERR: u32 = 3;
    // SAFETY: takes no pointers. What it leaves out of this thread's table stays open in the other threads'.
    let result = unsafe {
        libc::syscall(libc::SYS_close_range, FIRST_BEYOND_STDERR, u32::MAX, libc::CLOSE_RANGE_UNSHARE)
    };
    assert_eq!(result, 0);
}

#[test]
fn completions_that_overflow_are_not_lost() {
    // A queue of 8 entries has room for 64 completions.
    on_both_with(8, |core| {
        let mut pairs: Vec<_> = (0..300).map(|_| pair()).collect();
        pairs.iter_mut().for_each(|(_, peer)| peer.write_all(b"xx").unwrap());
        // What is ready completes when it is submitted, and nobody takes completions meanwhile.
        let counts: Vec<_> = pairs.iter().map(|(source, _)| wait_until_readable(source)).collect();
        if core.has_ring() {
            // The reactor knows by itself that there is more, however often it has to be asked.
            while core.resources.reactor.borrow().has_completions() {
                core.turn(Wait::No);
            }
            assert!(counts.iter().all(|count| count.get() == 1));
        }
        core.turn_until("waking all", || counts.iter().all(|count| count.get() == 1));
        // Those whose poll ended when the queue was full are watched again.
        pairs.iter().for_each(|(source, _)| assert_eq!(recv(source, &mut [0; 8]).unwrap(), 2));
        for (source, peer) in &mut pairs {
            assert_eq!(
                source.try_io(READ, || recv(source, &mut [0; 8])).unwrap_err().kind(),
                io::ErrorKind::WouldBlock
            );
            let ready = wait_until_readable(source);
            peer.write_all(b"y").unwrap();
            core.turn_until("a second wake", || ready.get() == 1);
            assert_eq!(source.try_io(READ, || recv(source, &mut [0; 8])).unwrap(), 1);
        }
    });
}

#[test]
fn more_registrations_and_cancels_than_the_queue_holds() {
    on_both_with(8, |core| {
        let (sources, peers): (Vec<_>, Vec<_>) = (0..100).map(|_| pair()).unzip();
        let counts: Vec<_> = sources.iter().map(wait_for_read).collect();
        core.turn(Wait::No);
        drop(sources);
        core.turn_until("closing all", || peers.iter().all(at_end));
        assert!(counts.iter().all(|count| Arc::strong_count(count) == 1));
    });
}

#[test]
fn the_bell_ends_every_wait() {
    on_both(|core| {
        for _ in 0..3 {
            let bell = core.bell.clone();
            let ringer = thread::spawn(move || bell.ring());
            core.turn(Wait::Forever);
            ringer.join().unwrap();
            // Rung before the wait began.
            core.bell.ring();
            core.turn(Wait::Forever);
            core.turn(Wait::No);
        }
    });
}

#[test]
fn what_an_early_turn_found_is_not_slept_on() {
    on_both(|core| {
        let (source, mut peer) = pair();
        let woken = wait_for_read(&source);
        core.turn(Wait::No);
        peer.write_all(b"x").unwrap();
        // As the drop of a listener does, in the middle of a task's poll.
        drop(CloseNow);
        let begin = Instant::now();
        core.turn(Wait::For(PATIENCE));
        assert!(woken.get() == 1 && begin.elapsed() < PATIENCE);
    });
}

#[test]
fn a_wait_is_not_rounded_down() {
    on_both(|core| {
        core.turn(Wait::No);
        // A single wait may end early, so one of many must last.
        for micros in [300, 1_700] {
            let time = Duration::from_micros(micros);
            let lasts = |_| {
                let begin = Instant::now();
                core.turn(Wait::For(time));
                begin.elapsed() >= time
            };
            assert!((0..100).any(lasts));
        }
    });
}

#[test]
fn a_peer_is_reached_by_ring_or_by_bell() {
    for kind in kinds() {
        on_both(|core| {
            let (send, receive) = mpsc::channel();
            let sleeper = thread::spawn(move || {
                let sleeper = TestCore::new(kind, 8);
                sleeper.turn(Wait::No);
                let ring = sleeper.resources.reactor.borrow().ring_fd();
                send.send(Peer::new(ring, sleeper.bell.clone())).unwrap();
                sleeper.turn(Wait::Forever);
            });
            let peer = receive.recv().unwrap();
            core.resources.reactor.borrow_mut().ring_peer(&peer);
            core.turn(Wait::No);
            sleeper.join().unwrap();
        });
    }
}

#[derive(Default)]
pub(super) struct CountingBell(AtomicUsize);

impl CountingBell {
    pub(super) fn rings(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Bell for CountingBell {
    fn ring(&self) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_message_that_does_not_get_through_rings_the_bell() {
    on_both(|core| {
        let bell = Arc::<CountingBell>::default();
        let no_ring = core.bell.0.as_raw_fd();
        let peer = Peer::new(Some(no_ring), bell.clone());
        for round in 1..=3 {
            core.resources.reactor.borrow_mut().ring_peer(&peer);
            core.turn_until("the bell", || bell.rings() == round);
        }
    });
}

#[test]
fn closing_a_reactor_wakes_those_who_wait_and_takes_no_time() {
    for kind in kinds() {
        let core = TestCore::new(kind, 8);
        let (pairs, begin) = ((0..50).map(|_| pair()).collect::<Vec<_>>(), Instant::now());
        let counts: Vec<_> = context::enter(&core.resources, || {
            let counts = pairs.iter().map(|(source, _)| wait_for_read(source)).collect();
            core.turn(Wait::No);
            counts
        });
        core.resources.reactor.into_inner().close(PATIENCE);
        assert!(begin.elapsed() < PATIENCE);
        assert!(counts.iter().all(|count| count.get() == 1));
        // Registrations died with the reactor; dropping the sources closes them.
        let (sources, peers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        drop(sources);
        assert!(peers.iter().all(at_end));
    }
}
