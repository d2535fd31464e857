//! What the lanes of many cores take. With the rings of the cores: `runtime/tests/memory.rs`.
#![cfg(not(loom))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use multikernel_channels::hub::Hub;
use multikernel_channels::mpsc::{Receiver, Sender, channel};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: of the caller.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;

/// What `f` leaves behind, in bytes.
fn left_by<R>(f: impl FnOnce() -> R) -> (R, usize) {
    let before = LIVE.load(Ordering::Relaxed);
    let result = f();
    (result, LIVE.load(Ordering::Relaxed).saturating_sub(before))
}

/// As many cores at once, each of which calls `f`, and each of which then lets the next one begin.
fn with_cores(count: usize, f: &impl Fn(usize)) {
    if count > 0 {
        Hub::new().enter(|| {
            f(count - 1);
            with_cores(count - 1, f);
        });
    }
}

/// Every one of so many cores sends a message to every channel, and nobody receives before the end. Says how many bytes
/// that took.
fn all_to_all<T>(cores: usize, channels: usize, capacity: usize, message: impl Fn(usize) -> T) -> usize {
    let (left, rest) = left_by(|| {
        let (mut channels, bytes) = left_by(|| -> Vec<(Sender<T>, Receiver<T>)> {
            let channels: Vec<_> = (0..channels).map(|_| channel(capacity)).collect();
            let each = |core: usize| {
                for (tx, _) in &channels {
                    tx.try_send(message(core)).expect("there is room for one of each");
                }
            };
            with_cores(cores, &each);
            channels
        });
        for (_, rx) in &mut channels {
            let received = std::iter::from_fn(|| rx.try_recv().ok()).count();
            assert_eq!(received, cores, "each core's message");
        }
        bytes
    });
    assert!(rest < MIB, "{rest} bytes are left");
    left
}

/// What a channel with a message in the lane of the threads that are no cores takes.
fn shared_lane() -> usize {
    let (_channel, bytes) = left_by(|| {
        let (tx, rx) = channel(64);
        tx.try_send(0_usize).expect("there is room");
        (tx, rx)
    });
    bytes
}

/// A channel with more in it than the limit: such a lane takes what it needs.
fn use_up_the_limit() -> (Sender<[u8; 20 << 10]>, Receiver<[u8; 20 << 10]>) {
    let (tx, rx) = channel(5_000);
    let ((), bytes) = left_by(|| (0..5_000).for_each(|_| tx.try_send([0; _]).expect("there is room")));
    assert!(bytes > 128 * MIB, "the limit is not reached: {bytes} bytes");
    (tx, rx)
}

/// Beyond the limit a core's lane stays as it is, and the lane that cores then share begins with one slot.
fn lanes_stay_small_beyond_their_limit() {
    // As many as lie in the first slots, twice as many, and so on: the next needs 512 slots more.
    const SLOTS: usize = 32 + 64 + 128 + 256;
    let first = shared_lane();
    let (tx, mut rx) = channel(1024);
    let send = |number| tx.try_send(number).expect("there is room");
    Hub::new().enter(|| {
        (0..SLOTS).for_each(send);
        let beyond = std::thread::spawn(|| (use_up_the_limit(), shared_lane()));
        let (_full, smallest) = beyond.join().unwrap();
        assert_eq!(smallest + 31 * size_of::<usize>(), first);
        let ((), bytes) = left_by(|| send(SLOTS));
        assert!(bytes < 512 * size_of::<usize>(), "a core's lane grows beyond the limit: {bytes} bytes");
        (SLOTS + 1..1024).for_each(send);
    });
    assert!((0..1024).eq(std::iter::from_fn(|| rx.try_recv().ok())), "all arrive, in order");
    assert_eq!(shared_lane(), first, "what is freed is given back");
}

#[test]
fn lanes_stay_within_their_limit() {
    let bytes = all_to_all(256, 256, 1024, |core| core);
    assert!(bytes < 64 * MIB, "256 cores, all to all: {bytes} bytes");

    // Lanes for all of these would take much more than the limit: cores that come too late share one in each channel.
    let channels = 2_600;
    let bytes = all_to_all(100, channels, 1024, |core| core as u8);
    assert!(bytes > 124 * MIB, "the limit is not reached: {bytes} bytes");
    assert!(bytes < 128 * MIB + channels * 8192, "lanes are made beyond the limit: {bytes} bytes");

    let small = all_to_all(1, 1, 1 << 20, |core| core);
    assert!(small < 4096, "memory follows use, not capacity: {small} bytes");

    lanes_stay_small_beyond_their_limit();
}
