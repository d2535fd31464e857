use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use super::*;
use crate::driver::DriverChoice;
use crate::runtime::{Builder, Handle, Runtime};
use crate::task::{spawn_blocking, spawn_local, yield_now};
use crate::{CoreId, spawn};

const HOUR: Duration = Duration::from_secs(3_600);
const SECOND: Duration = Duration::from_secs(1);
const DRIVERS: [DriverChoice; 2] = [DriverChoice::Auto, DriverChoice::Epoll];

/// On both drivers, for the core sleeps in them.
fn paused<F: Future<Output = ()> + 'static>(test: impl Fn() -> F) {
    for driver in DRIVERS {
        Builder::new_test().driver(driver).start_paused(true).run(&test).unwrap();
    }
}

fn built() -> impl Iterator<Item = Runtime> {
    DRIVERS.into_iter().map(|driver| Builder::new_test().driver(driver).start_paused(true).build().unwrap())
}

fn message(panic: Box<dyn std::any::Any + Send>) -> String {
    panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(|s| (*s).into())).unwrap()
}

fn refusal(f: impl FnOnce()) -> String {
    message(catch_unwind(AssertUnwindSafe(f)).unwrap_err())
}

#[test]
fn time_jumps_to_each_timer_and_to_no_other_point() {
    paused(|| async {
        let start = Instant::now();
        let odd = [1, 262_143, 262_144, 262_145, 1_000_000, 999_999_999, 86_400_000_000_001_u64];
        let sleeps = odd.map(|nanos| {
            spawn_local(async move {
                sleep(Duration::from_nanos(nanos)).await;
                start.elapsed()
            })
        });
        for (nanos, sleep) in odd.into_iter().zip(sleeps) {
            assert_eq!(sleep.await.unwrap(), Duration::from_nanos(nanos));
        }
        assert_eq!(start.elapsed(), Duration::from_nanos(odd[6]));
    });
}

#[test]
fn paused_time_stands_still_while_there_is_something_to_do() {
    paused(|| async {
        let start = Instant::now();
        let late = spawn_local(sleep(SECOND));
        for _ in 0..10_000 {
            yield_now().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(!late.is_finished());
        late.await.unwrap();
        assert_eq!(start.elapsed(), SECOND);
    });
}

#[test]
fn an_advance_fires_what_is_due_and_nothing_else() {
    paused(|| async {
        let start = Instant::now();
        let tasks = [10, 20, 30].map(|millis| spawn_local(sleep(Duration::from_millis(millis))));
        yield_now().await;
        advance(Duration::from_nanos(19_999_999)).await;
        assert_eq!([0, 1, 2].map(|task: usize| tasks[task].is_finished()), [true, false, false]);
        advance(Duration::from_nanos(1)).await;
        assert_eq!([0, 1, 2].map(|task: usize| tasks[task].is_finished()), [true, true, false]);
        advance(HOUR).await;
        assert!(tasks[2].is_finished());
        assert_eq!(start.elapsed(), HOUR + Duration::from_millis(20));
    });
}

#[test]
fn an_interval_ticks_through_paused_time() {
    paused(|| async {
        let start = Instant::now();
        let mut beat = interval(Duration::from_millis(7));
        for tick in 0..1_000 {
            assert_eq!(beat.tick().await, start + tick * Duration::from_millis(7));
            assert_eq!(start.elapsed(), tick * Duration::from_millis(7));
        }
    });
}

#[test]
fn time_that_is_resumed_goes_on_from_where_it_stood() {
    for driver in DRIVERS {
        let test = || async {
            let start = Instant::now();
            pause();
            let stopped = Instant::now();
            assert!(stopped >= start);
            sleep(HOUR).await;
            assert_eq!(stopped.elapsed(), HOUR);
            resume();
            let resumed = Instant::now();
            assert!(resumed.saturating_duration_since(stopped) >= HOUR);
            let real = std::time::Instant::now();
            sleep(Duration::from_millis(3)).await;
            assert!(real.elapsed() >= Duration::from_millis(3), "a timer of before is exact, and not early");
            assert!(resumed.elapsed() >= Duration::from_millis(3) && resumed.elapsed() < HOUR);
            pause(); // once more, and it does not go back
            assert!(Instant::now() >= resumed + Duration::from_millis(3));
        };
        Builder::new_test().driver(driver).run(test).unwrap();
    }
}

#[test]
fn a_blocking_call_keeps_time_from_jumping() {
    paused(|| async {
        let start = Instant::now();
        let (release, wait) = mpsc::channel();
        let (begun, has_begun) = crate::channels::oneshot::channel();
        let call = spawn_blocking(move || {
            begun.send(()).unwrap();
            wait.recv().unwrap()
        });
        has_begun.await.unwrap();
        let late = spawn_local(async move {
            sleep(SECOND).await;
            start.elapsed()
        });
        // Only this real second would show that the clock has jumped, so another thread lets it pass.
        let watcher = std::thread::spawn(move || {
            let (_keep, never) = mpsc::channel::<()>();
            let _timed_out = never.recv_timeout(Duration::from_millis(50));
            release.send(7).unwrap();
        });
        assert_eq!(call.await.unwrap(), 7);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(!late.is_finished());
        assert_eq!(late.await.unwrap(), SECOND, "and when it has returned, time goes on");
        watcher.join().unwrap();
    });
}

#[test]
fn a_call_whose_result_nobody_waits_for_lets_time_go_on_when_it_returns() {
    paused(|| async {
        // It returns before, after and just when the core goes to sleep: nothing but that wakes the core.
        for spins in 0..5_000 {
            drop(spawn_blocking(move || (0..spins % 97 * 8).for_each(|_| std::hint::spin_loop())));
            sleep(SECOND).await;
        }
    });
}

#[test]
fn work_on_a_file_keeps_time_from_jumping() {
    paused(|| async {
        let start = Instant::now();
        let path = std::env::temp_dir().join(format!("multikernel-paused-{}", std::process::id()));
        let work = async {
            let options = OpenOptions::new().read(true).write(true).create(true).truncate(true).clone();
            let file = crate::fs::SharedFile::open(&path, &options).await.unwrap();
            for page in 0..16 {
                file.write_at(vec![1; 4096], page * 4096).await.result.unwrap();
                file.sync_all().await.unwrap(); // which io_uring leaves to a thread of the system
                file.read_at(vec![0; 4096], page * 4096).await.result.unwrap();
            }
            file.close().await.unwrap();
            let own = crate::fs::File::open(&path).await.unwrap();
            for page in 0..16 {
                own.read_at(vec![0; 4096], page * 4096).await.result.unwrap();
            }
        };
        timeout(Duration::from_nanos(1), work).await.expect("work on files takes no time");
        assert_eq!(start.elapsed(), Duration::ZERO);
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn traffic_does_not_keep_time_from_jumping() {
    paused(|| async {
        let listener = crate::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let start = Instant::now();
        assert!(timeout(HOUR, listener.accept()).await.is_err());
        assert_eq!(start.elapsed(), HOUR);
    });
}

#[test]
fn what_a_guest_does_takes_no_paused_time() {
    for runtime in built() {
        runtime.block_on(async {
            let start = Instant::now();
            let beat = spawn(async {
                let mut beat = interval(Duration::from_millis(1));
                for _ in 0..100 {
                    beat.tick().await;
                }
            });
            for second in 1..=20_u32 {
                sleep(Duration::from_millis(1)).await;
                assert_eq!(start.elapsed(), second * Duration::from_millis(1), "the guest was not overtaken");
            }
            beat.await.unwrap();
            assert!(start.elapsed() >= Duration::from_millis(99));
            let before = Instant::now();
            let task = spawn(async { sleep(HOUR).await });
            yield_now().await;
            advance(HOUR - SECOND).await;
            assert!(!task.is_finished());
            advance(SECOND).await;
            task.await.unwrap();
            assert_eq!(before.elapsed(), HOUR);
            resume();
            sleep(Duration::from_millis(1)).await;
            pause();
        });
    }
}

#[test]
fn a_timer_of_the_machine_follows_the_paused_clock() {
    paused(|| async {
        let start = Instant::now();
        let (send, receive) = crate::channels::oneshot::channel();
        let once = machine::once(start + HOUR, move || send.send(Instant::now()).unwrap());
        once.await.unwrap();
        assert_eq!(receive.await.unwrap(), start + HOUR);
    });
}

#[test]
fn several_cores_have_no_clock_to_stop() {
    let refused = Builder::new_test().cores(2).start_paused(true).build();
    let error = refused.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("one core"), "{error}");
    let two = Builder::new_test().cores(2).build().unwrap();
    assert!(two.block_on(async { refusal(pause) }).contains("one core"));
    assert!(two.block_on(async { refusal(resume) }).contains("not paused"));
    assert!(refusal(pause).contains("multikernel runtime"));
    Builder::new()
        .start_paused(true)
        .run(|| async { assert_eq!(Handle::current().cores().len(), 1) })
        .unwrap();
}

#[test]
fn the_clock_is_paused_and_resumed_once_at_a_time() {
    paused(|| async {
        assert!(refusal(pause).contains("paused already"));
        resume();
        assert!(refusal(resume).contains("not paused"));
        let late = spawn_local(advance(SECOND)).await.unwrap_err();
        assert!(message(late.into_panic()).contains("not paused"));
    });
}

#[test]
fn a_paused_clock_is_no_business_of_another_machine() {
    let other = Builder::new_test().build().unwrap();
    let there = other.handle().clone();
    paused(move || {
        let there = there.clone();
        async move {
            let stopped = Instant::now();
            sleep(HOUR).await;
            let real = there.spawn(async {
                let start = Instant::now();
                sleep(Duration::from_millis(1)).await;
                assert_eq!(CoreId::current().index(), 0);
                start
            });
            let elsewhere = real.await.unwrap();
            assert!(elsewhere < stopped + HOUR);
        }
    });
}
