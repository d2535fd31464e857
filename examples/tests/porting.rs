//! Holds what the chapter on porting says: what is unchanged is the same in both programs, and what needs tokio's runtime
//! fails without it.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use futures::FutureExt;
use multikernel::runtime::Handle;
use multikernel::task::coop::cooperative;

fn quoted(file: &str, anchor: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().skip_while(|line| line.trim() != format!("// ANCHOR: {anchor}")).skip(1);
    let lines: Vec<_> = lines.take_while(|line| line.trim() != format!("// ANCHOR_END: {anchor}")).collect();
    assert!(!lines.is_empty(), "{file} has no {anchor}");
    lines.into_iter().map(str::to_owned).collect()
}

#[test]
fn what_is_said_to_be_unchanged_is() {
    for anchor in ["serve", "talk", "save"] {
        assert_eq!(quoted("on_tokio/board.rs", anchor), quoted("bin/board.rs", anchor), "{anchor}");
    }
    for anchor in ["names", "store", "main", "answer", "change"] {
        assert_ne!(quoted("on_tokio/board.rs", anchor), quoted("bin/board.rs", anchor), "{anchor}");
    }
}

/// The message of the panic that this ends in.
fn panic_of<T>(f: impl FnOnce() -> T) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).err().expect("it panics");
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string)).expect("a panic with a message")
}

#[multikernel::test]
async fn what_spawns_or_sleeps_on_tokio_says_that_there_is_no_runtime() {
    let no_runtime = |message: String| assert!(message.contains("runtime"), "{message}");
    no_runtime(panic_of(|| tokio::spawn(async {})));
    no_runtime(panic_of(|| tokio::task::spawn_blocking(|| ())));
    no_runtime(panic_of(|| tokio::time::sleep(Duration::ZERO)));
    no_runtime(panic_of(|| tokio_util::task::TaskTracker::new().spawn(async {})));
    no_runtime(panic_of(|| tokio::net::TcpListener::bind("127.0.0.1:0").now_or_never()));
}

#[multikernel::test]
async fn what_only_waits_works() {
    let token = tokio_util::sync::CancellationToken::new();
    let waits = multikernel::spawn(token.clone().cancelled_owned());
    token.cancel();
    waits.await.unwrap();
    let (send, mut receive) = tokio::sync::mpsc::channel(1);
    multikernel::spawn(async move { send.send(7).await });
    assert_eq!(receive.recv().await, Some(7));
    // Followed, not spawned, by tokio-util's.
    let tracker = tokio_util::task::TaskTracker::new();
    multikernel::spawn(tracker.track_future(async {}));
    tracker.close();
    tracker.wait().await;
}

#[multikernel::test]
async fn tokio_s_channel_is_emptied_in_one_poll_unless_it_is_wrapped() {
    for wrapped in [false, true] {
        let (send, mut receive) = tokio::sync::mpsc::channel(1_000);
        (0..1_000).for_each(|n| send.try_send(n).unwrap());
        let mut received = 0;
        // A task of its own, so that its poll has a budget of its own.
        let task = multikernel::spawn(async move {
            let drain = async {
                while received < 1_000 {
                    let next = receive.recv();
                    let next = if wrapped { cooperative(next).await } else { next.await };
                    received += usize::from(next.is_some());
                }
            };
            // The first poll, and what it has left.
            let is_done = { Box::pin(drain) }.as_mut().now_or_never().is_some();
            (is_done, received)
        });
        let (is_done, received) = task.await.unwrap();
        assert_eq!(is_done, !wrapped, "{received} were received");
        drop(send);
    }
}

#[multikernel::test(cores = 2)]
async fn block_on_panics_on_a_core_and_works_elsewhere() {
    let handle = Handle::current();
    assert!(!panic_of(|| handle.block_on(async {})).is_empty());
    let handle = Handle::current();
    let seven = multikernel::task::spawn_blocking(move || handle.block_on(async { 7 }));
    assert_eq!(seven.await.unwrap(), 7);
    let is_missing = std::thread::spawn(|| Handle::try_current().unwrap_err().is_missing_context());
    assert!(is_missing.join().unwrap());
}

#[test]
fn the_end_does_not_wait_for_blocking_calls() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let body = || async move {
        let (begin, begun) = multikernel::channels::oneshot::channel();
        multikernel::task::spawn_blocking(move || {
            let _ = begin.send(());
            // Released only after the end.
            tell.send(held.recv_timeout(Duration::from_secs(20))).unwrap();
        });
        begun.await.unwrap();
    };
    multikernel::runtime::Builder::new_test().run(body).unwrap();
    drop(release);
    assert_eq!(told.recv().unwrap(), Err(RecvTimeoutError::Disconnected), "the end has waited for the call");
}
