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

/// Every one of so many cores sends a message to every other, and nobody receives before the end. Says how many bytes
/// that took.
fn all_to_all<T: Copy>(cores: usize, capacity: usize, message: impl Fn(usize) -> T) -> usize {
    let ((channels, left), rest) = left_by(|| {
        let (mut channels, bytes) = left_by(|| -> Vec<(Sender<T>, Receiver<T>)> {
            let channels: Vec<_> = (0..cores).map(|_| channel(capacity)).collect();
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
        drop(channels);
        ((), bytes)
    });
    let () = channels;
    assert!(rest < MIB, "{rest} bytes are left");
    left
}

#[test]
fn lanes_stay_within_their_limit() {
    let bytes = all_to_all(256, 1024, |core| core);
    assert!(bytes < 64 * MIB, "256 cores, all to all: {bytes} bytes");

    // Lanes for such messages would take more than the limit: those that come too late share one in each channel.
    const LARGE: usize = 16 << 10;
    let cores = 100;
    let bytes = all_to_all(cores, 1024, |core| [core as u8; LARGE]);
    assert!(bytes > 124 * MIB, "the limit is not reached: {bytes} bytes");
    let refused = cores * cores - 7800;
    assert!(bytes < 128 * MIB + 2 * refused * LARGE + 4 * MIB, "{bytes} bytes");

    let small = all_to_all(1, 1 << 20, |core| core);
    assert!(small < 4096, "memory follows use, not capacity: {small} bytes");
}
