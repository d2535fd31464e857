//! The cases, written once.
//!
//! A macro and not a trait, because what the runtimes' `spawn` asks of a future differs (`Send` or not), and so do
//! the types of their channels; the code that runs is the same, token for token.

/// Makes `async fn case(case: Case, count: u32) -> Duration` out of four expressions that can be called:
/// `spawn(future)`, `yield_now()`, `sleep(duration)` and `channel()`, whose two ends have `send` and `recv`.
macro_rules! cases {
    (spawn: $spawn:expr, yield_now: $yield_now:expr, sleep: $sleep:expr, channel: $channel:expr $(,)?) => {
        async fn case(case: $crate::tasks::Case, count: u32) -> std::time::Duration {
            use std::hint::black_box;

            use $crate::tasks::Case;

            let start = std::time::Instant::now();
            match case {
                Case::SpawnBatch => {
                    let mut handles = Vec::with_capacity(1000);
                    for _ in 0..count / 1000 {
                        handles
                            .extend((0..1000_u32).map(|number| ($spawn)(async move { black_box(number) })));
                        for handle in handles.drain(..) {
                            let _ = black_box(handle.await);
                        }
                    }
                }
                Case::SpawnOne => {
                    for number in 0..count {
                        let _ = black_box(($spawn)(async move { black_box(number) }).await);
                    }
                }
                Case::Yield => {
                    for _ in 0..count {
                        ($yield_now)().await;
                    }
                }
                Case::YieldHundred => {
                    let yields = move || async move {
                        for _ in 0..count / 100 {
                            ($yield_now)().await;
                        }
                    };
                    let handles: Vec<_> = (0..100).map(|_| ($spawn)(yields())).collect();
                    for handle in handles {
                        let _ = handle.await;
                    }
                }
                Case::PingPong => ping_pong!(count, $spawn, $channel),
                Case::PingPongTokio => ping_pong!(count, $spawn, || ::tokio::sync::mpsc::channel::<u32>(1)),
                Case::Sleep => {
                    for _ in 0..count {
                        let mut sleep = std::pin::pin!(($sleep)(std::time::Duration::from_secs(10)));
                        let pending = std::future::poll_fn(|cx| {
                            std::task::Poll::Ready(Future::poll(sleep.as_mut(), cx).is_pending())
                        });
                        assert!(black_box(pending.await), "ten seconds have not passed");
                    }
                }
            }
            start.elapsed()
        }
    };
}

/// Sends `count` messages to another task, each after the answer to the one before.
macro_rules! ping_pong {
    ($count:expr, $spawn:expr, $channel:expr) => {{
        #[allow(unused_mut, reason = "some ends take `&self`")]
        let ((mut there, mut from_us), (mut back, mut from_them)) = (($channel)(), ($channel)());
        let other = ($spawn)(async move {
            for _ in 0..$count {
                let number: u32 = from_us.recv().await.expect("we send as many");
                back.send(number).await.expect("we wait for the answer");
            }
        });
        for number in 0..$count {
            there.send(number).await.expect("the other task is there to the last");
            let answer: u32 = from_them.recv().await.expect("it answers each");
            assert_eq!(black_box(answer), number);
        }
        let _ = other.await;
    }};
}
