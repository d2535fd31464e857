//! A task that holds its core up, how the program learns of it, and what to write instead.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use multikernel::runtime::{Builder, Stall};
use multikernel::spawn;
use multikernel::task::{spawn_blocking, yield_now};

static STALLS: AtomicUsize = AtomicUsize::new(0);

// ANCHOR: tell
fn tell(stall: Stall) {
    let task = stall.task.map_or("no task".to_owned(), |place| format!("the task of {place}"));
    println!("{} has been in {task} for {:?}", stall.core, stall.lasted);
    if let Some(stack) = stall.stack {
        println!("and is here now:{stack}");
    }
    STALLS.fetch_add(1, Ordering::Relaxed);
}

fn main() -> io::Result<()> {
    let threshold = Some(Duration::from_millis(20));
    Builder::new().stall_threshold(threshold).on_stall(tell).run(compute)
}
// ANCHOR_END: tell

/// Something that takes a while.
#[inline(never)]
fn mix(numbers: std::ops::Range<u64>) -> u64 {
    numbers.fold(0, |sum, number| sum.rotate_left(5) ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

// ANCHOR: wrong
/// One poll, however long it takes. Whatever else this core has to do waits for its end.
async fn at_once() -> u64 {
    let mut sum = 0;
    while STALLS.load(Ordering::Relaxed) == 0 {
        sum ^= mix(0..1_000_000);
    }
    sum
}
// ANCHOR_END: wrong

// ANCHOR: right
/// Many polls, between which the core looks after everything else.
async fn in_pieces() -> u64 {
    let mut sum = 0;
    for piece in 0..1_000 {
        sum ^= mix(piece * 10_000..(piece + 1) * 10_000);
        yield_now().await;
    }
    sum
}

/// No poll at all: a thread that is no core computes.
async fn elsewhere() -> u64 {
    spawn_blocking(|| mix(0..10_000_000)).await.expect("it does not panic")
}
// ANCHOR_END: right

async fn compute() {
    let sums = (spawn(at_once()).await, spawn(in_pieces()).await, spawn(elsewhere()).await);
    println!("{sums:?}");
    assert_eq!(STALLS.load(Ordering::Relaxed), 1, "only the first held its core up");
}
