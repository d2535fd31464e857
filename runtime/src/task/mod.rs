//! Tasks: starting them, waiting for them, ending them.
//!
//! A task is a future that runs by itself. It is polled on one core, its home, among the other tasks there, and goes to
//! another core, between two polls, only if it is `Send` and this core has too much to do: one that computes for long without an `.await` holds the others up, and belongs in [`spawn_blocking`].
//!
//! | to start one | where it runs | what must be `Send` |
//! |---|---|---|
//! | [`spawn`] | here, unless there is a reason to go elsewhere | the future |
//! | [`spawn_balanced`] | where there is least to do | the future |
//! | [`spawn_placed`] | where a rule of yours says | the future |
//! | [`spawn_local`] | here | nothing |
//! | [`spawn_on`] | on the core that you name | a closure that makes the future |
//! | [`on_each_core`] | on every core, one each | a closure that makes the future |
//! | [`spawn_blocking`] | on a thread for calls that block | the function |
//!
//! [`JoinSet`] and [`TaskTracker`] wait for many of them, [`LocalSet`] keeps those of one thread together,
//! [`task_local!`](crate::task_local) gives them values of their own, and [`coop`] is about taking turns.
//!
//! The output must be `Send` too, but for `spawn_local`. All return a [`JoinHandle`], `on_each_core` one for each core:
//! await it for the output, abort the task with it, or drop it and let the task go on.
//!
//! # Tracing tasks
//! With the feature `task-spans`, each task has a span of [`tracing`](https://docs.rs/tracing) from its birth until its
//! future is gone. The task is in it while it is polled, and while its future is dropped, so whatever it logs carries its
//! name: target `multikernel::task`, level `TRACE`, and the fields `core` (where it lives), `loc.file`, `loc.line` and
//! `loc.col` (where it was spawned). Without the feature there is nothing, not even a byte in the task.
//!
//! With a subscriber such as `tracing_subscriber::fmt` that lets `multikernel::task=trace` through,
//! ```
//! # multikernel::runtime::Builder::new_test().run(|| async {
//! multikernel::spawn(async {
//!     tracing::info!("connected");
//! });
//! # multikernel::task::yield_now().await;
//! # }).unwrap();
//! ```
//! logs `task{core=0 loc.file="src/main.rs" loc.line=7 loc.col=5}: connected`.
//!
//! # Examples
//! ```
//! # multikernel::runtime::Builder::new().cores(2).run(|| async {
//! use multikernel::task::{spawn_balanced, yield_now};
//!
//! let sums = [0..100, 100..200].map(|range| spawn_balanced(async move { range.sum::<u64>() }));
//! yield_now().await; // others may run
//! let mut total = 0;
//! for sum in sums {
//!     total += sum.await.expect("adding does not panic");
//! }
//! assert_eq!(total, 19_900);
//! # }).unwrap();
//! ```

// For whoever changes this: one spawned future, its memory, its life, its wakers and its join handle.
//
// ```text
//                        Newborn
//                           │ arrives at its home
//              wake         ▼          poll
//   Idle ───────────────▶ Queued ───────────────▶ Running ──────── Ready, panic, abort ──▶ Complete
//    ▲                      ▲                       │   │ wake                               │
//    │                      └── RunningWoken ◀──────┼───┘                                    │ last
//    └───────────────── Pending ────────────────────┘                                        ▼ reference
//                                                                                          freed
// ```
//
// From `Queued`, a task that is movable may become a newborn of another core: see hand_over.rs.
//
// | field of the header | written | read |
// |---|---|---|
// | `phase`, `run_next`, `list_*`, `joiner`, `wanted`, `notes`, `moves`, `local_refs` | home | home |
// | the future | home | home |
// | the output | home, before `done` | whoever holds the join handle, after `done` (home: after `Complete`) |
// | `done` | home, once, Release | anyone, Acquire |
// | `mailbox` | home, when it hands the task over, Release | anyone, Acquire |
// | `remote` | anyone adds bits and posts the envelope; home takes them | home |
// | `shared_refs` | anyone | anyone |
// | `local_refs`, `merged`, once the home has closed its inbox | nobody | whoever's post is refused, once |
//
// **References.** Those made and dropped at home are a plain count, the rest an atomic one; either may hold what the
// other lost, and only the sum means anything ("biased" counting; Choi, Shull, Torrellas, PACT 2018). A thread that
// would take the atomic count below zero gives its reference to the home in a message instead. So at home, after
// completion, a plain count of zero and an atomic count of zero together say that the task is free, and a task that
// never left its core dies without an atomic read-modify-write. When the plain count ends while others hold
// references, it is merged, and the last of them frees the task wherever it is.
//
// **Messages.** Whatever another thread wants of a task is a bit in `remote`; the first to set one posts the task's
// own envelope, the others ride along. Each gives its reference with it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

#[cfg(not(loom))]
pub mod coop;
#[cfg(not(loom))]
mod ended;
mod error;
pub(crate) mod hand_over;
#[cfg(all(test, loom))]
mod hand_over_loom_tests;
pub(crate) mod header;
pub(crate) mod home;
pub(crate) mod id;
mod join;
#[cfg(not(loom))]
pub mod join_set;
pub(crate) mod key;
mod lazy;
#[cfg(not(loom))]
mod local_key;
#[cfg(not(loom))]
pub(crate) mod local_set;
#[cfg(all(test, loom))]
mod loom_tests;
mod notes;
#[cfg(not(loom))]
mod pin_here;
mod queue;
mod raw;
pub(crate) mod recycle;
mod share;
mod span;
#[cfg(not(loom))]
mod tracked;
#[cfg(not(loom))]
mod tracker;
mod waker;
mod yield_now;

/// Futures that one may want to name.
#[cfg(not(loom))]
pub mod futures {
    pub use super::local_key::TaskLocalFuture;
}

#[cfg(not(loom))]
pub use crate::machine::in_place::block_in_place;
#[cfg(not(loom))]
pub use crate::machine::spawn::{
    on_each_core, spawn, spawn_balanced, spawn_blocking, spawn_local, spawn_on, spawn_placed,
};
#[cfg(not(loom))]
pub use coop::{Unconstrained, consume_budget, unconstrained};
pub use error::JoinError;
pub use id::{Id, id, try_id};
pub use join::{AbortHandle, JoinHandle};
#[cfg(not(loom))]
pub use join_set::JoinSet;
#[cfg(not(loom))]
pub use local_key::{AccessError, LocalKey, TaskLocalFuture};
#[cfg(not(loom))]
pub use local_set::{LocalEnterGuard, LocalSet};
#[cfg(not(loom))]
pub use pin_here::pin_here;
#[cfg(not(loom))]
pub use tracked::{TaskTrackerToken, TaskTrackerWaitFuture, TrackedFuture};
#[cfg(not(loom))]
pub use tracker::TaskTracker;
pub use yield_now::{YieldNow, yield_now};

use hand_over::Moves;
pub(crate) use home::Home;
pub(crate) use raw::Revoke;

use crate::machine::mailbox::Mailbox;
use multikernel_channels::sync::Ordering;

/// Runs `f`, which may run code of users (a drop, a waker), and swallows its panic: the panic hook has told of it.
pub(crate) fn quietly(f: impl FnOnce()) {
    let result = catch_unwind(AssertUnwindSafe(f));
    // A payload's own drop may panic, and so may that panic's payload: after two, leak it.
    if let Err(payload) = result
        && let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload)))
    {
        std::mem::forget(second);
    }
}

/// Spawns on the home of the calling thread, where the task stays.
pub(crate) fn spawn_at_home<F>(
    home: &Home,
    future: F,
    at: &'static Location<'static>,
) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    adopt_new(home, future, at, false, Moves::NEVER)
}

/// As [`spawn_at_home`], for a task that may be handed over to another core.
pub(crate) fn spawn_movable<F>(
    home: &Home,
    future: F,
    at: &'static Location<'static>,
) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    adopt_new(home, future, at, false, Moves::FREELY)
}

/// Spawns on the core that was chosen for the task, be it the thread's own or another.
pub(crate) fn spawn_chosen<F>(
    home: &Home,
    target: &Mailbox,
    future: F,
    at: &'static Location<'static>,
    connection: bool,
    moves: Moves,
) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    if target.uid == home.mailbox().uid {
        return adopt_new(home, future, at, connection, moves);
    }
    // SAFETY: the future is `Send`.
    unsafe { post_new(target, future, at, connection, moves) }
}

/// If it ever `moves`, both the future and its output are `Send`.
fn adopt_new<F>(
    home: &Home,
    future: F,
    at: &'static Location<'static>,
    connection: bool,
    moves: Moves,
) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let task = raw::allocate(home.mailbox(), future, at);
    task.header().moves.set(moves);
    if connection {
        task.header().connection.set(true);
        home.mailbox().load.connections.fetch_add(1, Ordering::Relaxed); // a figure
    }
    home.adopt(task);
    // SAFETY: the second of the two references a task is born with.
    unsafe { JoinHandle::new(task) }
}

/// Spawns the future that `make` returns; it is called at the task's first poll.
pub(crate) fn spawn_closure_at_home<F, Fut>(
    home: &Home,
    make: F,
    at: &'static Location<'static>,
) -> JoinHandle<Fut::Output>
where
    F: FnOnce() -> Fut + 'static,
    Fut: Future + 'static,
    Fut::Output: 'static,
{
    spawn_at_home(home, lazy::Lazy::new(make), at)
}

/// Spawns on another core, by message. If that core has ended, the task is cancelled at once.
pub(crate) fn spawn_elsewhere<F>(
    target: &Mailbox,
    future: F,
    at: &'static Location<'static>,
    moves: Moves,
) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    // SAFETY: the future is `Send`.
    unsafe { post_new(target, future, at, false, moves) }
}

/// Sends a closure to another core, which makes a future of it there.
pub(crate) fn spawn_closure_elsewhere<F, Fut>(
    target: &Mailbox,
    make: F,
    at: &'static Location<'static>,
) -> JoinHandle<Fut::Output>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    // SAFETY: until its first poll, which happens there, a `Lazy` holds nothing but the closure, which is `Send`;
    // from then on it never leaves.
    unsafe { post_new(target, lazy::Lazy::new(make), at, false, Moves::NEVER) }
}

/// What is spawned at a home that has closed: a task that is cancelled at once.
pub(crate) fn spawn_refused<F>(
    home: &Home,
    future: F,
    at: &'static Location<'static>,
) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let task = raw::allocate(home.mailbox(), future, at);
    // SAFETY: newborn. It goes nowhere: the inbox is closed, so it is dropped here, whatever it holds.
    unsafe { task.post_newborn() };
    // SAFETY: the second of the two references a task is born with.
    unsafe { JoinHandle::new(task) }
}

/// Spawns the wait for a call that is made on some other thread, here or on the core behind `target`.
pub(crate) fn spawn_call<F>(
    home: Option<&Home>,
    target: &Mailbox,
    call: F,
    at: &'static Location<'static>,
) -> JoinHandle<F::Output>
where
    F: Future + Revoke + Send + 'static,
    F::Output: Send + 'static,
{
    let task = raw::allocate_call(target, call, at);
    task.header().moves.set(Moves::FREELY); // both the call and its output are `Send`
    match home {
        Some(home) => home.adopt(task),
        // SAFETY: newborn, and what it holds is `Send`.
        None => unsafe { task.post_newborn() },
    }
    // SAFETY: the second of the two references a task is born with.
    unsafe { JoinHandle::new(task) }
}

/// # Safety
/// What `future` holds now may be sent to another thread; if it ever moves, so may what it ever holds.
unsafe fn post_new<F>(
    target: &Mailbox,
    future: F,
    at: &'static Location<'static>,
    connection: bool,
    moves: Moves,
) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: Send + 'static,
{
    let task = raw::allocate(target, future, at);
    task.header().moves.set(moves);
    if connection {
        task.header().connection.set(true);
        target.load.connections.fetch_add(1, Ordering::Relaxed); // a figure
    }
    // SAFETY: newborn; the caller answers for what it holds.
    unsafe { task.post_newborn() };
    // SAFETY: the second of the two references a task is born with.
    unsafe { JoinHandle::new(task) }
}
