//! Tools for tasks: sets that are waited for, tasks of one thread, values of a task, taking turns, and threads that are no
//! cores.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use multikernel::runtime::Handle;
use multikernel::sync::mpsc;
use multikernel::task::coop::cooperative;
use multikernel::task::{
    JoinSet, LocalSet, TaskTracker, consume_budget, spawn_blocking, spawn_local, yield_now,
};
use multikernel::{CoreId, spawn, spawn_balanced, task_local, time};

#[multikernel::main(cores = 2)]
async fn main() {
    first_answers().await;
    orderly_end().await;
    one_thread_only().await;
    whose_request().await;
    in_turns().await;
    from_a_thread().await;
    spread_out().await;
    println!("all done");
}

// ANCHOR: join_set
/// Asks many and takes the first two answers. Whoever has not answered by then is aborted, with the set.
async fn first_answers() {
    let mut asked = JoinSet::new();
    for name in ["ada", "bob", "cyd"] {
        asked.spawn(async move {
            if name == "bob" {
                time::sleep(Duration::from_secs(3600)).await;
            }
            name
        });
    }
    let mut answers = Vec::new();
    while let Some(answer) = asked.join_next().await {
        answers.push(answer.expect("no task panics"));
        if answers.len() == 2 {
            break;
        }
    }
    answers.sort_unstable();
    assert_eq!(answers, ["ada", "cyd"]);
}
// ANCHOR_END: join_set

// ANCHOR: tracker
/// Waits until all have ended, and keeps nothing of them.
async fn orderly_end() {
    let clients = TaskTracker::new();
    for _ in 0..100 {
        clients.spawn(yield_now());
    }
    clients.close(); // no more are coming
    clients.wait().await;
    assert!(clients.is_empty());
}
// ANCHOR_END: tracker

// ANCHOR: local_set
/// Tasks that are not `Send`, and end with the set.
async fn one_thread_only() {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let set = LocalSet::new();
    for word in ["all", "on", "one", "thread"] {
        let heard = heard.clone();
        set.spawn_local(async move { heard.borrow_mut().push(word) });
    }
    set.await;
    assert_eq!(heard.borrow().join(" "), "all on one thread");

    // A thread that is no core needs one to have such tasks at all.
    let machine = Handle::current();
    let there = spawn_blocking(move || {
        machine.block_on(LocalSet::new().run_until(async {
            let number = Rc::new(7);
            spawn_local(async move { *number }).await
        }))
    });
    let number = there.await.expect("it does not panic");
    assert_eq!(number.expect("nor does this"), 7);
}
// ANCHOR_END: local_set

// ANCHOR: task_local
task_local! {
    /// The request that is served.
    static REQUEST: u64;
}

/// However deep it is called, it knows for whom. It is not passed on to tasks that are spawned.
fn log(text: &str) -> String {
    match REQUEST.try_with(|request| *request) {
        Ok(request) => format!("request {request}: {text}"),
        Err(_) => text.to_owned(),
    }
}

async fn whose_request() {
    let inside = REQUEST.scope(17, async {
        yield_now().await;
        let spawned = spawn(async { log("spawned") }).await.expect("it does not panic");
        (log("found"), spawned)
    });
    assert_eq!(inside.await, ("request 17: found".to_owned(), "spawned".to_owned()));
}
// ANCHOR_END: task_local

async fn in_turns() {
    assert_eq!(add_up(1_000).await, 499_500);
    let (send, receive) = mpsc::channel(2_000);
    for job in 0..1_000 {
        send.try_send(job).expect("there is room");
    }
    drop(send);
    let mut drained = std::pin::pin!(drain(receive));
    // There are jobs left, and yet it lets others run.
    assert!(drained.as_mut().now_or_never().is_none());
    assert_eq!(drained.await, 499_500);
}

// ANCHOR: coop
/// A loop without anything that waits takes turns by hand.
async fn add_up(count: u64) -> u64 {
    let mut sum = 0;
    for number in 0..count {
        sum += number;
        consume_budget().await;
    }
    sum
}

/// tokio's channel takes part once it is wrapped. Without that a full channel would be emptied in one poll.
async fn drain(mut jobs: mpsc::Receiver<u64>) -> u64 {
    let mut sum = 0;
    while let Some(job) = cooperative(jobs.recv()).await {
        sum += job;
    }
    sum
}
// ANCHOR_END: coop

// ANCHOR: foreign
/// A thread of another library has no Machine: it is given a handle.
async fn from_a_thread() {
    assert!(std::thread::spawn(Handle::try_current).join().expect("it does not panic").is_err());

    let machine = Handle::current(); // on a core, or inside `spawn_blocking`
    let (told, mut hear) = mpsc::channel(1);
    std::thread::spawn(move || {
        machine.spawn(async move { told.send(CoreId::current()).await });
    });
    assert!(hear.recv().await.is_some(), "a core has run it");
}
// ANCHOR_END: foreign

// ANCHOR: spread
/// Work that takes long begins where there is least to do. With `spawn` it would mostly begin here.
async fn spread_out() {
    let sums: Vec<_> = (0..4_u64)
        .map(|part| spawn_balanced(async move { (part * 1_000..(part + 1) * 1_000).sum::<u64>() }))
        .collect();
    let mut total = 0;
    for sum in sums {
        total += sum.await.expect("adding does not panic");
    }
    assert_eq!(total, 7_998_000);
}
// ANCHOR_END: spread
