//! State that every core reads as its own and that changes everywhere or nowhere, on real cores.
#![cfg(not(loom))]

use std::future::poll_fn;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use multikernel::replicate::{Closed, CoreId, CreateError, ProposeError, Replicated, StateMachine};
use multikernel::runtime::Builder;
use multikernel::task::yield_now;
use multikernel::{on_each_core, spawn, spawn_on};

/// A list of numbers that accepts none twice, and on core 1 none above a hundred.
#[derive(Default)]
struct Numbers {
    list: Vec<u32>,
    prepared: Vec<u32>,
}

#[derive(Debug, PartialEq, Eq)]
enum No {
    Known,
    TooLarge,
}

const PANIC_IN_PREPARE: u32 = 66;

impl StateMachine for Numbers {
    type Command = u32;
    type Refusal = No;
    type Snapshot = Vec<u32>;
    const VETO: bool = true;

    fn prepare(&mut self, number: &u32) -> Result<(), No> {
        if *number == PANIC_IN_PREPARE {
            std::panic::resume_unwind(Box::new("as told"));
        }
        if self.list.contains(number) || self.prepared.contains(number) {
            return Err(No::Known);
        }
        if *number > 100 && CoreId::current().index() == 1 {
            return Err(No::TooLarge);
        }
        self.prepared.push(*number);
        Ok(())
    }
    fn commit(&mut self, number: &u32) {
        self.prepared.retain(|prepared| prepared != number);
        self.list.push(*number);
    }
    fn abort(&mut self, number: &u32) {
        assert_eq!(self.prepared.pop(), Some(*number), "the latest is undone first");
    }
    fn snapshot(&self) -> Vec<u32> {
        self.list.clone()
    }
    fn restore(list: &Vec<u32>) -> Result<Self, No> {
        Ok(Self { list: list.clone(), prepared: Vec::new() })
    }
}

fn on_cores<F: Future<Output = ()> + 'static>(cores: usize, test: impl FnOnce() -> F) {
    Builder::new_test().cores(cores).run(test).unwrap();
}

/// Until every core has run something: one that sleeps commits when it wakes.
async fn wake_all() {
    for task in on_each_core(|| async {}) {
        task.await.unwrap();
    }
}

async fn everywhere(numbers: &Replicated<Numbers>) -> Vec<Vec<u32>> {
    let numbers = numbers.clone();
    let mut lists = Vec::new();
    for task in on_each_core(move || async move { numbers.read(|numbers| numbers.list.clone()) }) {
        lists.push(task.await.unwrap());
    }
    lists
}

#[test]
fn what_is_committed_is_read_on_every_core() {
    on_cores(4, || async {
        let numbers = Replicated::new(Numbers::default).await.unwrap();
        numbers.propose(1).await.unwrap();
        assert_eq!(everywhere(&numbers).await, [[1]; 4]);
        for core in 0..4 {
            let numbers = numbers.clone();
            let proposed = spawn_on(CoreId::new(core), move || async move {
                numbers.propose(10 + core as u32).await.map(|_| numbers.read(|numbers| numbers.list.len()))
            });
            assert_eq!(proposed.await.unwrap().unwrap(), core + 2);
        }
        assert_eq!(everywhere(&numbers).await, [[1, 10, 11, 12, 13]; 4]);
    });
}

#[test]
fn a_refusal_names_the_core_and_the_reason_and_gives_the_command_back() {
    on_cores(3, || async {
        let numbers = Replicated::new(Numbers::default).await.unwrap();
        match numbers.propose(101).await.unwrap_err() {
            ProposeError::Refused { by, reason, command } => {
                assert_eq!((by.index(), &*reason, *command), (1, &No::TooLarge, 101));
            }
            other => panic!("{other}"),
        }
        let panicked = numbers.propose(PANIC_IN_PREPARE).await.unwrap_err();
        assert!(matches!(panicked, ProposeError::Panicked { .. }), "{panicked}");
        numbers.propose(5).await.unwrap();
        assert_eq!(numbers.propose(5).await.unwrap_err().refusal(), Some(&No::Known));
        assert_eq!(everywhere(&numbers).await, [[5]; 3]);
    });
}

#[test]
fn many_proposals_are_answered_one_by_one_and_in_order() {
    on_cores(3, || async {
        let numbers = Replicated::new(Numbers::default).await.unwrap();
        let there = {
            let numbers = numbers.clone();
            spawn_on(
                CoreId::new(2),
                move || async move { numbers.propose_all((0..500).map(|n| n % 250)).await },
            )
        };
        let answers = there.await.unwrap();
        for (number, answer) in answers.iter().enumerate() {
            match answer {
                Ok(_) => assert!(number < 101, "{number}"),
                Err(error) if number % 250 > 100 => assert_eq!(error.refusal(), Some(&No::TooLarge)),
                Err(ProposeError::Panicked { .. }) => assert_eq!(number % 250, PANIC_IN_PREPARE as usize),
                Err(error) => assert_eq!((error.refusal(), number / 250), (Some(&No::Known), 1)),
            }
        }
        let expected: Vec<_> = (0..101).filter(|number| *number != PANIC_IN_PREPARE).collect();
        assert!(everywhere(&numbers).await.into_iter().all(|list| list == expected));
    });
}

#[test]
fn an_object_ends_with_its_last_handle_or_when_it_is_closed() {
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Counted {
        fn new() -> Self {
            ALIVE.fetch_add(1, Ordering::Relaxed);
            Self
        }
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, Ordering::Relaxed);
        }
    }
    impl StateMachine for Counted {
        type Command = ();
        type Refusal = ();
        type Snapshot = ();
        const VETO: bool = false;
        fn prepare(&mut self, (): &()) -> Result<(), ()> {
            Ok(())
        }
        fn commit(&mut self, (): &()) {}
        fn abort(&mut self, (): &()) {}
        fn snapshot(&self) {}
        fn restore((): &()) -> Result<Self, ()> {
            Ok(Self::new())
        }
    }
    on_cores(4, || async {
        let object = Replicated::new(Counted::new).await.unwrap();
        assert_eq!(ALIVE.load(Ordering::Relaxed), 4);
        let other = object.clone();
        object.close().await.unwrap();
        assert_eq!(other.try_read(|_| ()), Err(Closed));
        assert!(matches!(other.propose(()).await, Err(ProposeError::Closed { .. })));
        assert_eq!(other.close().await, Err(Closed));
        wake_all().await;
        assert_eq!(ALIVE.load(Ordering::Relaxed), 0);

        let object = Replicated::new(Counted::new).await.unwrap();
        // The last handle goes on a thread that is no core.
        std::thread::spawn(move || drop(object)).join().unwrap();
        while ALIVE.load(Ordering::Relaxed) > 0 {
            wake_all().await;
        }
        let lost = Replicated::new(Counted::new).await.unwrap();
        std::mem::forget(lost);
    });
    assert_eq!(ALIVE.load(Ordering::Relaxed), 0, "what is open when the Machine ends is dropped");
}

#[test]
fn a_factory_that_panics_on_one_core_creates_nothing() {
    on_cores(3, || async {
        let refused = Replicated::new(|| {
            if CoreId::current().index() == 2 {
                std::panic::resume_unwind(Box::new("as told"));
            }
            Numbers::default()
        });
        assert_eq!(refused.await.unwrap_err(), CreateError::Panicked { by: CoreId::new(2) });
    });
}

#[test]
fn a_stuck_core_is_named_with_its_task_and_what_it_held_up_is_not_committed() {
    on_cores(2, || async {
        let numbers = Replicated::new(Numbers::default).await.unwrap();
        let (stuck, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (says, waits) = (stuck.clone(), release.clone());
        let line = line!() + 1;
        let task = spawn_on(CoreId::new(1), move || async move {
            says.store(1, Ordering::Release);
            while waits.load(Ordering::Acquire) == 0 {
                std::thread::yield_now();
            }
        });
        while stuck.load(Ordering::Acquire) == 0 {
            yield_now().await;
        }
        match numbers.propose_within(7, Duration::from_millis(20)).await.unwrap_err() {
            ProposeError::Stalled { core, task, command, .. } => {
                assert_eq!((core.index(), *command), (1, 7));
                assert_eq!(task.unwrap().line(), line);
            }
            other => panic!("{other}"),
        }
        release.store(1, Ordering::Release);
        task.await.unwrap();
        numbers.propose(8).await.unwrap();
        assert_eq!(everywhere(&numbers).await, [[8]; 2]);
    });
}

#[test]
fn changes_are_noticed_where_they_are_waited_for() {
    on_cores(2, || async {
        let numbers = Replicated::new(Numbers::default).await.unwrap();
        let (watched, ready) = (numbers.clone(), Arc::new(AtomicUsize::new(0)));
        let says = ready.clone();
        let watcher = spawn_on(CoreId::new(1), move || async move {
            let changed = watched.changed();
            says.store(1, Ordering::Release);
            let version = changed.await.unwrap();
            (version, watched.read(|numbers| numbers.list.clone()))
        });
        while ready.load(Ordering::Acquire) == 0 {
            yield_now().await;
        }
        let committed = numbers.propose(3).await.unwrap();
        assert_eq!(watcher.await.unwrap(), (committed.version, vec![3]));
        numbers.at_least(committed.version).await;
        assert_eq!(numbers.read_settled(|numbers| numbers.list.len()).await, 1);
    });
}

#[test]
fn threads_that_are_no_cores_propose_too() {
    let runtime = Builder::new_test().cores(2).build().unwrap();
    let numbers = runtime
        .block_on(async { spawn(async { Replicated::new(Numbers::default).await.unwrap() }).await.unwrap() });
    runtime.block_on(numbers.propose(4)).unwrap();
    let list = runtime.block_on(async {
        let numbers = numbers.clone();
        spawn_on(CoreId::new(1), move || async move { numbers.read(|numbers| numbers.list.clone()) })
            .await
            .unwrap()
    });
    assert_eq!(list, [4]);
    drop(runtime);
    let late = futures::executor::block_on(numbers.propose(5));
    assert!(matches!(late, Err(ProposeError::Closed { .. })));
}

#[test]
fn what_is_announced_is_committed_without_a_vote() {
    on_cores(2, || async {
        let numbers = Replicated::new(Numbers::default).await.unwrap();
        numbers.announce(7).unwrap();
        numbers.announce(7).unwrap();
        numbers.propose(8).await.unwrap();
        assert_eq!(everywhere(&numbers).await, [[7, 7, 8]; 2]);
    });
}

#[test]
fn reading_inside_a_change_is_told_to_be_wrong() {
    struct Nosy(Arc<std::sync::OnceLock<Replicated<Nosy>>>);
    impl StateMachine for Nosy {
        type Command = ();
        type Refusal = ();
        type Snapshot = ();
        const VETO: bool = false;
        fn prepare(&mut self, (): &()) -> Result<(), ()> {
            let read =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.0.get().unwrap().read(|_| ())));
            let message = *read.unwrap_err().downcast::<&str>().unwrap();
            assert!(message.contains("inside a prepare"), "{message}");
            Ok(())
        }
        fn commit(&mut self, (): &()) {}
        fn abort(&mut self, (): &()) {}
        fn snapshot(&self) {}
        fn restore((): &()) -> Result<Self, ()> {
            Err(())
        }
    }
    on_cores(1, || async {
        let shared = Arc::new(std::sync::OnceLock::new());
        let given = shared.clone();
        let nosy = Replicated::new(move || Nosy(given.clone())).await.unwrap();
        shared.set(nosy.clone()).unwrap();
        nosy.propose(()).await.unwrap();
    });
}

/// Polls a future at most so often, with other tasks between, and drops it.
async fn poll_and_drop<F: Future>(future: F, polls: usize) {
    let mut future = std::pin::pin!(future);
    for _ in 0..polls {
        if poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await.is_ready() {
            return;
        }
        yield_now().await;
    }
}

/// Polls a future whenever it is woken until it has waited so often, and drops it. True if it was done.
async fn wake_and_drop<F: Future>(future: F, waits: usize) -> bool {
    let (mut future, mut left) = (std::pin::pin!(future), waits);
    poll_fn(|cx| {
        left -= 1;
        let is_done = future.as_mut().poll(cx).is_ready();
        if is_done || left == 0 { Poll::Ready(is_done) } else { Poll::Pending }
    })
    .await
}

#[test]
fn a_propose_that_is_dropped_abandons_the_answer_and_not_the_proposal() {
    on_cores(3, || async {
        let numbers = Replicated::new(Numbers::default).await.unwrap();
        let mut expected = Vec::new();
        for (number, polls) in (0..60).zip([0, 1, 2, 3, 5, 8].into_iter().cycle()) {
            match number % 3 {
                0 => poll_and_drop(numbers.propose(number), polls).await,
                1 => poll_and_drop(numbers.propose_within(number, Duration::from_secs(60)), polls).await,
                _ => poll_and_drop(numbers.propose_all([number]), polls).await,
            }
            poll_and_drop(numbers.changed(), polls).await;
            poll_and_drop(numbers.at_least(numbers.version()), polls).await;
            expected.extend((polls > 0).then_some(number));
        }
        numbers.propose(99).await.unwrap();
        expected.push(99);
        assert_eq!(everywhere(&numbers).await, [&*expected; 3]);
    });
}

#[test]
fn an_object_whose_creation_is_dropped_ends_again() {
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    struct Counted(Numbers);
    impl Drop for Counted {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, Ordering::Relaxed);
        }
    }
    impl StateMachine for Counted {
        type Command = u32;
        type Refusal = No;
        type Snapshot = Vec<u32>;
        const VETO: bool = false;
        fn prepare(&mut self, number: &u32) -> Result<(), No> {
            StateMachine::prepare(&mut self.0, number)
        }
        fn commit(&mut self, number: &u32) {
            StateMachine::commit(&mut self.0, number);
        }
        fn abort(&mut self, number: &u32) {
            StateMachine::abort(&mut self.0, number);
        }
        fn snapshot(&self) -> Vec<u32> {
            self.0.snapshot()
        }
        fn restore(_: &Vec<u32>) -> Result<Self, No> {
            Err(No::Known)
        }
    }
    on_cores(3, || async {
        let create = || {
            Replicated::new(|| {
                ALIVE.fetch_add(1, Ordering::Relaxed);
                Counted(Numbers::default())
            })
        };
        for polls in 0..12 {
            poll_and_drop(create(), polls).await;
        }
        let mut waits = 1;
        while !wake_and_drop(create(), waits).await {
            waits += 1;
        }
        assert!(waits > 1, "it is agreed on, and so has waited");
        while ALIVE.load(Ordering::Relaxed) > 0 {
            wake_all().await;
        }
    });
}

#[test]
fn a_thread_that_was_a_core_owes_nothing_to_the_round_it_ended_in() {
    use multikernel::channels::epoch::{self, Deciding};
    let mut one = Builder::new_test();
    one.driver(multikernel::runtime::DriverChoice::Epoll);
    // As a core does that has voted, and whose Machine ends before it knows how the round does.
    one.run(|| async { epoch::prepared(&Arc::new(Deciding::new(9)), 5) }).unwrap();
    assert!(!epoch::is_prepared());
    // What comes from elsewhere would otherwise wait for that round, on this thread's next Machine.
    let there = one.run(|| async { multikernel::task::spawn_blocking(|| 7).await.unwrap() });
    assert_eq!(there.unwrap(), 7);
}

#[test]
fn what_is_proposed_within_a_read_comes_after_it() {
    on_cores(2, || async {
        let numbers = Replicated::new(Numbers::default).await.unwrap();
        let mut proposals = numbers.read(|_| {
            let mut proposals: Vec<_> = (1..4).map(|number| Box::pin(numbers.propose(number))).collect();
            for proposal in &mut proposals {
                assert!(proposal.as_mut().now_or_never().is_none());
            }
            proposals
        });
        for proposal in &mut proposals {
            proposal.as_mut().await.unwrap();
        }
        assert_eq!(everywhere(&numbers).await, [[1, 2, 3]; 2]);
    });
}
