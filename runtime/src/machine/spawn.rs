//! The functions that start tasks, and where each puts them.

use std::future::Future;
use std::panic::Location;

use crate::context;
use crate::executor::{self, Core};
use crate::machine::placer::Newcomer;
use crate::machine::policy::Placement;
use crate::machine::runtime::Handle;
use crate::machine::{CoreId, Machine, placement};
use crate::task::hand_over::Moves;
use crate::task::key::Key;
use crate::task::{self, JoinHandle, local_set};

/// Starts a task, here unless there is a reason to go elsewhere.
///
/// The task begins on this core, unless tasks here now wait for so long that sending it to another core pays. The first
/// task spawned in a poll in which a connection was accepted is taken to serve that connection, and goes to the core
/// with the fewest. On a thread that is a guest of a runtime, it is [placed](crate::runtime::Builder::placement).
///
/// Later, between two polls, the task may be handed over to another core: if this one has much more to do
/// ([`Builder::balancing`](crate::runtime::Builder::balancing)), retires, or blocks. [`pin_here`](crate::task::pin_here)
/// prevents it.
///
/// Dropping the handle detaches the task.
///
/// # Panics
/// On a thread that is neither a core nor a guest of a runtime.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let task = multikernel::spawn(async { "done" });
/// assert_eq!(task.await.unwrap(), "done");
/// # }).unwrap();
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let at = Location::caller();
    executor::with(|core| {
        let Some(core) = core else { return Handle::current().spawn(future) };
        if context::take_accept() {
            return spawn_connection(core, future, at);
        }
        match placement::less_delayed(&core.machine, core) {
            Some(target) => task::spawn_elsewhere(target, future, at, Moves::FREELY),
            None => task::spawn_movable(&core.home, future, at),
        }
    })
}

fn spawn_connection<F>(core: &Core, future: F, at: &'static Location<'static>) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let placement = core.machine.placement;
    let target = core.place(placement, Newcomer::Connection);
    task::spawn_chosen(&core.home, target, future, at, true, moves(placement))
}

/// Whether a task that was placed so may go elsewhere later.
pub(super) fn moves(placement: Placement) -> Moves {
    match placement {
        Placement::ByKey(hash) => Moves::with(Key::of(hash)),
        _ => Moves::FREELY,
    }
}

/// Starts a task where there is least to do, or as the runtime's [`Placement`] says. For work that
/// is worth a message to another core.
///
/// # Panics
/// As [`spawn`].
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new().cores(2).run(|| async {
/// let tasks: Vec<_> = (0..10).map(|n| multikernel::spawn_balanced(async move { n * n })).collect();
/// let mut sum = 0;
/// for task in tasks {
///     sum += task.await.unwrap();
/// }
/// assert_eq!(sum, 285);
/// # }).unwrap();
/// ```
#[track_caller]
pub fn spawn_balanced<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    place(None, future, Location::caller())
}

/// Starts a task where `placement` says. As [`spawn_balanced`], for one task with a rule of its own. A thread that is no core
/// has none that is [`Local`](Placement::Local): for it, as for [`Spread`](Placement::Spread), that is the core with the fewest tasks.
///
/// # Panics
/// As [`spawn`]; and if a function of [`Placement::Custom`] does.
///
/// # Examples
/// What belongs to one user runs on one core, and [stays](Placement::ByKey) there. It needs no lock that is contended:
/// ```
/// # multikernel::runtime::Builder::new().cores(4).run(|| async {
/// use multikernel::CoreId;
/// use multikernel::runtime::Placement;
/// use multikernel::task::spawn_placed;
///
/// let user = 7;
/// let first = spawn_placed(Placement::ByKey(user), async { CoreId::current() });
/// let second = spawn_placed(Placement::ByKey(user), async { CoreId::current() });
/// assert_eq!(first.await.unwrap(), second.await.unwrap());
/// # }).unwrap();
/// ```
#[track_caller]
pub fn spawn_placed<F>(placement: Placement, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    place(Some(placement), future, Location::caller())
}

fn place<F>(placement: Option<Placement>, future: F, at: &'static Location<'static>) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    executor::with(|core| {
        let Some(core) = core else { return Handle::current().spawn_from_outside(placement, future, at) };
        let placement = placement.unwrap_or(core.machine.placement);
        let target = core.place(placement, Newcomer::Task);
        task::spawn_chosen(&core.home, target, future, at, false, moves(placement))
    })
}

/// Starts a task on this core. It never leaves it, so it need not be `Send`.
///
/// Within a [`LocalSet`](crate::task::LocalSet), the task is added to the set instead.
///
/// # Panics
/// On a thread that is not a core, outside a `LocalSet`.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// use std::rc::Rc;
///
/// let shared = Rc::new(5);
/// let task = multikernel::spawn_local({ let shared = shared.clone(); async move { *shared + 1 } });
/// assert_eq!(task.await.unwrap(), 6);
/// # }).unwrap();
/// ```
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let at = Location::caller();
    if let Some(set) = local_set::current() {
        return set.spawn(future, at);
    }
    executor::with(|core| {
        let core =
            core.expect("spawn_local must be called on a core of a multikernel runtime, or in a LocalSet");
        task::spawn_at_home(&core.home, future, at)
    })
}

/// Sends a closure to a core and runs the future that it makes there, where it stays. Only the closure and the output
/// need be `Send`.
///
/// # Panics
/// If the Machine has no such core; on a thread that is neither a core nor a guest of a runtime.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new().cores(2).run(|| async {
/// use multikernel::CoreId;
/// use std::rc::Rc;
///
/// let there = CoreId::new(1);
/// let task = multikernel::spawn_on(there, || async {
///     let not_send = Rc::new(1);
///     multikernel::task::yield_now().await;
///     (CoreId::current(), *not_send)
/// });
/// assert_eq!(task.await.unwrap(), (there, 1));
/// # }).unwrap();
/// ```
#[track_caller]
pub fn spawn_on<F, Fut>(core: CoreId, make: F) -> JoinHandle<Fut::Output>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    let at = Location::caller();
    let handle = Handle::current();
    on_machine(&handle.machine, core, make, at)
}

pub(crate) fn on_machine<F, Fut>(
    machine: &Machine,
    core: CoreId,
    make: F,
    at: &'static Location<'static>,
) -> JoinHandle<Fut::Output>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    let count = machine.cores.len();
    let Some(target) = machine.cores.get(core.index()) else { panic!("there is no {core} among {count}") };
    executor::with(|here| match here {
        Some(here) if here.home.mailbox().uid == target.uid => {
            task::spawn_closure_at_home(&here.home, make, at)
        }
        _ => task::spawn_closure_elsewhere(target, make, at),
    })
}

/// Runs a future on each core: `make` is cloned for every core and called there.
///
/// The handles come in the order of the cores. Cores that have retired are left out.
///
/// # Panics
/// On a thread that is neither a core nor a guest of a runtime.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new().cores(3).run(|| async {
/// let mut names = Vec::new();
/// for task in multikernel::on_each_core(|| async { multikernel::CoreId::current().index() }) {
///     names.push(task.await.unwrap());
/// }
/// assert_eq!(names, [0, 1, 2]);
/// # }).unwrap();
/// ```
#[track_caller]
pub fn on_each_core<F, Fut>(make: F) -> Vec<JoinHandle<Fut::Output>>
where
    F: FnOnce() -> Fut + Clone + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    let at = Location::caller();
    let handle = Handle::current();
    let live = handle.machine.cores.iter().filter(|core| core.load.standing().is_part());
    let live = live.map(|core| CoreId::new(core.index as usize));
    live.map(|core| on_machine(&handle.machine, core, make.clone(), at)).collect()
}

/// Runs a function that blocks on a thread kept for that, and gives its result to the handle.
///
/// At most [`max_blocking_threads`](crate::runtime::Builder::max_blocking_threads) run at a time; further calls wait in
/// a queue without bound, so put a semaphore before calls that outsiders can cause. Calls start in the order in which
/// they were made.
///
/// The thread is a guest of the runtime: [`Handle::current`] is there, so `f` may spawn, and wait for futures with
/// [`Handle::block_on`].
///
/// Aborting the handle takes back a call that has not begun. One that has begun runs to its end, and the handle gives
/// its result. When the runtime ends, calls that have not begun never do, and those under way run on by themselves,
/// unobserved; a program that returns from `main` does not wait for them.
///
/// # Panics
/// As [`spawn`]. A panic of `f` becomes a [`JoinError`](crate::task::JoinError).
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let host = multikernel::task::spawn_blocking(|| std::fs::read_to_string("/proc/sys/kernel/ostype"));
/// assert_eq!(host.await.unwrap().unwrap().trim(), "Linux");
/// # }).unwrap();
/// ```
#[track_caller]
pub fn spawn_blocking<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Handle::current().spawn_blocking(f)
}
