//! Waiting, but not for ever.

use std::time::Duration;

use multikernel::task::spawn_blocking;
use multikernel::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

#[multikernel::main]
async fn main() {
    give_up().await;
    tick().await;
    block_elsewhere().await;
}

// ANCHOR: timeout
async fn give_up() {
    let slow = sleep(Duration::from_secs(3600));
    let result = timeout(Duration::from_millis(20), slow).await;
    assert!(result.is_err());
    println!("an hour is too long");
}
// ANCHOR_END: timeout

// ANCHOR: interval
async fn tick() {
    let start = Instant::now();
    let mut ticks = interval(Duration::from_millis(5));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for _ in 0..4 {
        ticks.tick().await; // the first one comes at once
    }
    assert!(start.elapsed() >= Duration::from_millis(15));
    println!("four ticks");
}
// ANCHOR_END: interval

// ANCHOR: blocking
/// What blocks a thread must not block a core: everything else on that core would wait with it.
async fn block_elsewhere() {
    let answer = spawn_blocking(|| std::fs::read_to_string("/proc/sys/kernel/osrelease")).await;
    println!("Linux {}", answer.unwrap().unwrap().trim());
}
// ANCHOR_END: blocking
