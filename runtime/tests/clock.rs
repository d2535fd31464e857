//! The test clock as tests ask for it.
#![cfg(not(loom))]

use multikernel::time::{self, Duration, Instant};

const HOUR: Duration = Duration::from_secs(3_600);

#[multikernel::test(start_paused = true)]
async fn a_test_may_start_paused() {
    let start = Instant::now();
    time::sleep(HOUR).await;
    assert_eq!(start.elapsed(), HOUR);
}

#[multikernel::test(start_paused = false)]
#[should_panic(expected = "time is not paused")]
async fn a_test_may_say_that_it_does_not() {
    time::advance(HOUR).await;
}

#[test]
fn a_program_may_start_paused() {
    #[multikernel::main(start_paused = true)]
    async fn main() -> Duration {
        let start = Instant::now();
        time::sleep(HOUR).await;
        start.elapsed()
    }
    assert_eq!(main(), HOUR);
}
