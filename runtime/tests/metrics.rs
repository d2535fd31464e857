//! What the cores count, against loads of which every step is known.
#![cfg(not(loom))]

use std::future::poll_fn;
use std::pin::pin;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use multikernel::channels::oneshot;
use multikernel::net::{TcpListener, TcpStream};
use multikernel::runtime::{Builder, CoreMetrics, DriverChoice, DriverKind, Handle, RuntimeMetrics};
use multikernel::task::{spawn_blocking, spawn_local, yield_now};
use multikernel::time::sleep;
use multikernel::{CoreId, spawn_on};

fn on_both_drivers<F: Future<Output = ()> + 'static>(cores: usize, test: impl Fn() -> F) {
    for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
        Builder::new_test().cores(cores).driver(driver).run(&test).unwrap();
    }
}

fn metrics() -> RuntimeMetrics {
    Handle::current().metrics()
}

fn here() -> CoreMetrics {
    metrics().core(CoreId::current())
}

/// Counts how often `future` is polled.
async fn counted<F: Future>(future: F) -> (F::Output, u64) {
    let (mut future, mut polls) = (pin!(future), 0);
    let counting = poll_fn(|cx| {
        polls += 1;
        future.as_mut().poll(cx)
    });
    (counting.await, polls)
}

#[test]
fn polls_wakes_and_tasks_are_counted_exactly() {
    on_both_drivers(1, || async {
        let before = here();
        let ((), own) = counted(async {
            let yielding = |yields| async move {
                for _ in 0..yields {
                    yield_now().await;
                }
            };
            let tasks: Vec<_> = (0..7).map(|task| spawn_local(yielding(task * 100))).collect();
            let (wake, woken) = oneshot::channel();
            let sleeper = spawn_local(async move { woken.await.unwrap() });
            assert_eq!((here().tasks, here().queue_depth), (1 + 8, 8));
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!((here().tasks, here().queue_depth), (1 + 1, 0));
            wake.send(()).unwrap();
            sleeper.await.unwrap();
        })
        .await;
        let after = here();
        // Each yield ends one poll. The sleeper is polled twice. Our first poll began before the first look.
        let polls = (0..7).map(|task| task * 100 + 1).sum::<u64>() + 2 + own - 1;
        assert_eq!(after.polls - before.polls, polls);
        assert_eq!(after.wakes - before.wakes, polls, "nobody is in the queue, then and now");
        assert_eq!(after.spawned - before.spawned, 8);
        assert_eq!((before.tasks, after.tasks, after.queue_depth), (1, 1, 0));
        assert_eq!((after.messages_in, after.messages_out), (before.messages_in, before.messages_out));
        let whole = metrics();
        assert_eq!(whole.worker_poll_count(0), here().polls);
        assert_eq!(whole.worker_local_schedule_count(0), here().wakes);
        assert_eq!((whole.spawned_tasks_count(), whole.num_alive_tasks()), (9, 1));
    });
}

#[test]
fn what_cores_send_is_what_cores_get() {
    on_both_drivers(3, || async {
        let before = metrics().core(CoreId::new(1));
        let chatter = (0..300).map(|task| {
            spawn_on(CoreId::new(1 + task % 2), || async {
                yield_now().await;
                spawn_on(CoreId::new(0), yield_now).await.unwrap();
            })
        });
        for task in chatter.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert!(here().messages_out >= 300, "{:?}", here());
        // What is on its way arrives, and what was counted is published, within a few turns.
        loop {
            let all = metrics();
            let cores = [0, 1, 2].map(|core| all.core(CoreId::new(core)));
            let (come, sent) = cores
                .iter()
                .fold((0, 0), |(come, sent), core| (come + core.messages_in, sent + core.messages_out));
            if come == sent && cores[1].tasks == 0 && cores[2].tasks == 0 {
                assert_eq!(cores[1].spawned - before.spawned, 150);
                assert!(cores[1].messages_in >= before.messages_in + 150);
                assert_eq!(all.num_alive_tasks(), 1);
                break;
            }
            sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn time_in_polls_is_busy_and_time_asleep_is_not() {
    on_both_drivers(1, || async {
        let (start, before) = (Instant::now(), here());
        let work = Duration::from_millis(20);
        spawn_local(async move {
            let begin = Instant::now();
            while begin.elapsed() < work {}
        })
        .await
        .unwrap();
        yield_now().await;
        sleep(Duration::from_millis(30)).await;
        let after = here();
        assert!(after.parks > before.parks);
        assert_eq!(after.parks, metrics().worker_park_count(0));
        let busy = after.busy - before.busy;
        assert!(busy >= work && busy <= start.elapsed(), "{busy:?}");
        assert!(metrics().worker_total_busy_duration(0) >= busy);
    });
}

#[test]
fn a_queue_that_outlasts_a_turn_has_a_delay() {
    on_both_drivers(1, || async {
        assert_eq!(here().queue_delay, Duration::ZERO);
        let tasks: Vec<_> = (0..1_000).map(|_| spawn_local(async { here().queue_delay })).collect();
        assert_eq!(metrics().worker_local_queue_depth(0), 1_000);
        let mut delays = Vec::new();
        for task in tasks {
            delays.push(task.await.unwrap());
        }
        assert_eq!(delays[0], Duration::ZERO);
        assert!(delays[400..].iter().all(|delay| !delay.is_zero()), "turns have ended before those");
        sleep(Duration::from_millis(1)).await;
        yield_now().await;
        sleep(Duration::from_millis(1)).await;
        assert_eq!((here().queue_depth, here().queue_delay), (0, Duration::ZERO));
    });
}

#[test]
fn the_driver_counts_its_work() {
    on_both_drivers(1, || async {
        let before = here();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn_local(async move {
            let (stream, _) = listener.accept().await.unwrap();
            for _ in 0..20 {
                let received = stream.recv().await.unwrap();
                stream.send_all(received.to_vec()).await.result.unwrap();
            }
        });
        let stream = TcpStream::connect(address).await.unwrap();
        for _ in 0..20 {
            stream.send_all(&b"x"[..]).await.result.unwrap();
            assert_eq!(&stream.recv().await.unwrap()[..], b"x");
        }
        server.await.unwrap();
        let after = here();
        assert!(after.driver_batches > before.driver_batches, "{after:?}");
        assert!(after.driver_events > before.driver_events, "{after:?}");
        let is_uring = Handle::current().driver().kind == DriverKind::Uring;
        assert_eq!(after.driver_submissions > before.driver_submissions, is_uring, "{after:?}");
    });
}

#[test]
fn an_odd_count_of_sleeps_and_wakes_means_that_a_core_sleeps() {
    on_both_drivers(2, || async {
        let other = CoreId::new(1);
        let count = || metrics().worker_park_unpark_count(1);
        while count() % 2 == 0 {
            yield_now().await;
        }
        let asleep = count();
        // Seen from the core itself, and from here while it is in a poll.
        let (begun, has_begun) = mpsc::channel();
        let (release, wait) = mpsc::channel();
        let there = spawn_on(other, move || async move {
            begun.send(metrics().worker_park_unpark_count(1)).unwrap();
            wait.recv().unwrap();
        });
        let awake = loop {
            match has_begun.try_recv() {
                Ok(count) => break count,
                Err(_) => yield_now().await,
            }
        };
        assert!(awake > asleep && awake % 2 == 0, "{asleep}, then {awake}");
        assert_eq!(count(), awake);
        release.send(()).unwrap();
        there.await.unwrap();
    });
}

#[test]
fn blocking_threads_and_their_queue_are_counted() {
    Builder::new_test()
        .max_blocking_threads(1)
        .run(|| async {
            let (release, wait) = mpsc::channel();
            let (begun, has_begun) = oneshot::channel();
            let first = spawn_blocking(move || {
                begun.send(()).unwrap();
                wait.recv().unwrap();
            });
            has_begun.await.unwrap();
            let second = spawn_blocking(|| {});
            yield_now().await;
            let all = metrics();
            assert_eq!(all.num_blocking_threads(), 1);
            assert_eq!((all.num_idle_blocking_threads(), all.blocking_queue_depth()), (0, 1));
            release.send(()).unwrap();
            first.await.unwrap();
            second.await.unwrap();
            assert_eq!((all.num_blocking_threads(), all.blocking_queue_depth()), (1, 0));
        })
        .unwrap();
}

#[test]
fn figures_are_read_from_anywhere_and_never_go_back() {
    let runtime = Builder::new_test().cores(2).build().unwrap();
    let whole = runtime.handle().metrics();
    let readers: Vec<_> = (0..2)
        .map(|core| {
            let (whole, core) = (whole.clone(), CoreId::new(core));
            std::thread::spawn(move || {
                let mut last = whole.core(core);
                let mut reads = 0;
                while whole.core(core).polls < 10_000 {
                    let next = whole.core(core);
                    assert!(next.polls >= last.polls && next.wakes >= last.wakes && next.busy >= last.busy);
                    assert!(next.spawned >= last.spawned && next.messages_in >= last.messages_in);
                    (last, reads) = (next, reads + 1);
                    std::thread::yield_now();
                }
                reads
            })
        })
        .collect();
    let work = [0, 1].map(|core| {
        let _guard = runtime.handle().enter();
        spawn_on(CoreId::new(core), || async {
            for _ in 0..10_001 {
                yield_now().await;
            }
        })
    });
    for task in work {
        runtime.block_on(task).unwrap();
    }
    for reader in readers {
        reader.join().unwrap();
    }
    drop(runtime);
    assert!(whole.worker_poll_count(1) > 10_000, "also when the runtime has ended");
}
