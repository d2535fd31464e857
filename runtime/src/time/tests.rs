use std::cell::RefCell;
use std::future::{Future, pending, ready};
use std::num::NonZeroU64;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::context::{self, CoreUid, Resources};
use crate::driver::{DriverKind, Reactor, Settings};
use multikernel_channels::doorbell::Doorbell;

const HOUR: Duration = Duration::from_secs(3_600);
/// More than a tick of the wheel.
const TICK: Duration = Duration::from_millis(1);

/// A core that has no thread, only timers. Counted from the far end, its number is never that of a real one.
fn core(number: u64) -> Resources {
    let doorbell = Doorbell::new().unwrap();
    let reactor = Reactor::open(DriverKind::Epoll, &Settings { entries: 8 }, doorbell.fd()).unwrap();
    Resources {
        uid: CoreUid(NonZeroU64::new(u64::MAX - number).unwrap()),
        reactor: RefCell::new(reactor),
        timers: RefCell::new(Timers::new(Instant::now())),
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A task on a core: polls by hand, and what an executor's turn does to timers.
struct Hand<'a> {
    core: &'a Resources,
    bell: Arc<Bell>,
    waker: Waker,
}

impl<'a> Hand<'a> {
    fn new(core: &'a Resources) -> Hand<'a> {
        let bell = Arc::new(Bell::default());
        Hand { core, waker: Waker::from(bell.clone()), bell }
    }

    fn poll<F: Future + ?Sized>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        context::enter(self.core, || future.poll(&mut Context::from_waker(&self.waker)))
    }

    fn advance(&self, now: Instant) {
        let mut woken = Vec::new();
        self.core.timers.borrow_mut().advance(now, &mut woken);
        woken.into_iter().for_each(Waker::wake);
    }

    fn rings(&self) -> usize {
        self.bell.0.load(Ordering::Relaxed)
    }

    /// How many sleeps are registered with the core.
    fn registered(&self) -> usize {
        self.core.timers.borrow().len()
    }

    /// How many wakers of this task there are besides its own.
    fn clones(&self) -> usize {
        Arc::strong_count(&self.bell) - 2
    }
}

#[test]
fn a_sleep_wakes_once_and_not_before_its_deadline() {
    let core = core(0);
    let hand = Hand::new(&core);
    let mut sleep = pin!(sleep(HOUR));
    assert!(!sleep.is_elapsed());
    assert!(hand.poll(sleep.as_mut()).is_pending());
    let next = core.timers.borrow().next_deadline().unwrap();
    assert!(next >= sleep.deadline() && next < sleep.deadline() + TICK);

    hand.advance(sleep.deadline() - Duration::from_nanos(1));
    assert_eq!(hand.rings(), 0);
    assert!(hand.poll(sleep.as_mut()).is_pending());
    assert!(!context::enter(&core, || sleep.is_elapsed()));

    hand.advance(sleep.deadline() + TICK);
    assert_eq!((hand.rings(), hand.registered(), hand.clones()), (1, 0, 0));
    assert!(context::enter(&core, || sleep.is_elapsed()));
    assert!(hand.poll(sleep.as_mut()).is_ready());
    assert!(hand.poll(sleep.as_mut()).is_ready(), "again after the end");
    assert!(sleep.is_elapsed());
    assert_eq!(core.timers.borrow().next_deadline(), None);
}

#[test]
fn a_sleep_that_is_due_is_ready_at_once() {
    let core = core(0);
    let hand = Hand::new(&core);
    assert!(hand.poll(pin!(sleep(Duration::ZERO))).is_ready());
    assert!(hand.poll(pin!(sleep_until(Instant::now()))).is_ready());
    let past = Instant::now();
    hand.advance(past + HOUR);
    assert!(hand.poll(pin!(sleep_until(past + HOUR))).is_ready(), "by the time of the core alone");
    assert_eq!(hand.registered(), 0);
}

#[test]
fn huge_durations_saturate() {
    let core = core(0);
    let hand = Hand::new(&core);
    let mut sleep = pin!(sleep(Duration::MAX));
    assert!(sleep.deadline() > Instant::now() + 200_000 * HOUR);
    assert!(hand.poll(sleep.as_mut()).is_pending());
    hand.advance(Instant::now() + 200_000 * HOUR);
    assert_eq!(hand.rings(), 0);
    assert!(hand.poll(pin!(timeout(Duration::MAX, pending::<()>()))).is_pending());
    assert!(interval(Duration::MAX).period() > 200_000 * HOUR);
}

#[test]
fn a_dropped_sleep_leaves_nothing_behind() {
    let core = core(0);
    let hand = Hand::new(&core);
    let mut sleep = Box::pin(sleep(HOUR));
    assert!(hand.poll(sleep.as_mut()).is_pending());
    assert_eq!((hand.registered(), hand.clones()), (1, 1));
    context::enter(&core, || drop(sleep));
    assert_eq!((hand.registered(), hand.clones()), (0, 0));
}

#[test]
fn the_latest_waker_is_woken() {
    let core = core(0);
    let (first, second) = (Hand::new(&core), Hand::new(&core));
    let mut sleep = pin!(sleep(HOUR));
    assert!(first.poll(sleep.as_mut()).is_pending());
    assert!(first.poll(sleep.as_mut()).is_pending());
    assert_eq!(first.clones(), 1, "the same waker is not cloned again");
    assert!(second.poll(sleep.as_mut()).is_pending());
    assert_eq!((first.clones(), second.clones(), second.registered()), (0, 1, 1));
    second.advance(sleep.deadline() + TICK);
    assert_eq!((first.rings(), second.rings()), (0, 1));
}

#[test]
fn reset_moves_a_waiting_sleep_without_a_poll() {
    let core = core(0);
    let hand = Hand::new(&core);
    let mut sleep = pin!(sleep(HOUR));
    assert!(hand.poll(sleep.as_mut()).is_pending());
    let (start, sooner) = (sleep.deadline(), sleep.deadline() - HOUR / 2);
    context::enter(&core, || sleep.as_mut().reset(start + HOUR));
    hand.advance(start + TICK);
    assert_eq!((hand.rings(), hand.registered()), (0, 1), "later");
    assert!(hand.poll(sleep.as_mut()).is_pending());

    context::enter(&core, || sleep.as_mut().reset(sooner));
    assert_eq!(sleep.deadline(), sooner);
    hand.advance(start + TICK);
    assert_eq!(hand.rings(), 1, "sooner, even past");
    assert!(hand.poll(sleep.as_mut()).is_ready());

    context::enter(&core, || sleep.as_mut().reset(start + HOUR));
    assert!(!sleep.is_elapsed());
    assert!(hand.poll(sleep.as_mut()).is_pending(), "after its end");
    assert_eq!(hand.registered(), 1);
}

#[test]
fn a_sleep_reset_after_it_fired_registers_anew() {
    let core = core(0);
    let hand = Hand::new(&core);
    let mut sleep = pin!(sleep(HOUR));
    assert!(hand.poll(sleep.as_mut()).is_pending());
    let later = sleep.deadline() + HOUR;
    hand.advance(sleep.deadline() + TICK);
    context::enter(&core, || sleep.as_mut().reset(later));
    assert!(hand.poll(sleep.as_mut()).is_pending());
    hand.advance(later + TICK);
    assert_eq!(hand.rings(), 2);
    assert!(hand.poll(sleep.as_mut()).is_ready());
}

#[test]
fn a_sleep_polled_on_another_core_waits_there() {
    let (old, new) = (core(1), core(2));
    let (before, after) = (Hand::new(&old), Hand::new(&new));
    let mut sleep = Box::pin(sleep(HOUR));
    assert!(before.poll(sleep.as_mut()).is_pending());
    assert!(after.poll(sleep.as_mut()).is_pending());
    assert_eq!(after.registered(), 1);
    // The old core has no thread to post the cancel to, as if it had ended. What it still fires is stale.
    before.advance(sleep.deadline() + TICK);
    assert!(after.poll(sleep.as_mut()).is_pending());
    after.advance(sleep.deadline() + TICK);
    assert_eq!(after.rings(), 1);
    assert!(after.poll(sleep.as_mut()).is_ready());
    assert_eq!(after.registered(), 0);
}

#[test]
fn a_sleep_reset_away_from_its_core_registers_anew() {
    let (old, new) = (core(1), core(2));
    let (before, after) = (Hand::new(&old), Hand::new(&new));
    let mut sleep = Box::pin(sleep(HOUR));
    assert!(before.poll(sleep.as_mut()).is_pending());
    let later = sleep.deadline() + HOUR;
    context::enter(&new, || sleep.as_mut().reset(later));
    before.advance(later - TICK);
    assert!(before.poll(sleep.as_mut()).is_pending());
    before.advance(later + TICK);
    assert!(before.poll(sleep.as_mut()).is_ready());
    assert_eq!(after.registered(), 0);
}

#[test]
fn a_sleep_dropped_after_its_core_ended_is_inert() {
    let core = core(0);
    let mut sleep = Box::pin(sleep(HOUR));
    assert!(Hand::new(&core).poll(sleep.as_mut()).is_pending());
    drop(core);
    assert!(!sleep.is_elapsed());
    sleep.as_mut().reset(Instant::now() + 2 * HOUR);
    drop(sleep);
}

#[test]
#[should_panic(expected = "not a core of a runtime and not inside `block_on`")]
fn a_sleep_polled_on_a_strange_thread_panics() {
    let _ = pin!(sleep(HOUR)).poll(&mut Context::from_waker(Waker::noop()));
}

#[test]
fn cleared_timers_give_their_wakers_back() {
    let core = core(0);
    let hand = Hand::new(&core);
    let mut sleep = pin!(sleep(HOUR));
    assert!(hand.poll(sleep.as_mut()).is_pending());
    let wakers = core.timers.borrow_mut().clear();
    assert!(wakers.len() == 1 && wakers[0].will_wake(&hand.waker));
    assert!(hand.poll(sleep.as_mut()).is_pending(), "an hour has not passed");
    assert_eq!(hand.registered(), 1);
}

#[test]
fn a_guest_is_known_by_its_own_name() {
    let core = core(0);
    let hand = Hand::new(&core);
    let (now, id) = (Instant::now(), NonZeroU64::new(7).unwrap());
    let register = |deadline| core.timers.borrow_mut().register_guest(id, deadline, hand.waker.clone());
    assert!(register(now + HOUR).is_none());
    assert!(register(now + 2 * HOUR).is_some(), "in place of the first");
    hand.advance(now + HOUR + TICK);
    assert_eq!((hand.rings(), hand.registered()), (0, 1));
    hand.advance(now + 2 * HOUR + TICK);
    assert_eq!((hand.rings(), hand.registered()), (1, 0));
    assert!(core.timers.borrow_mut().cancel_guest(id).is_none(), "forgotten when it fired");
    assert!(register(now + 3 * HOUR).is_none());
    assert!(core.timers.borrow_mut().cancel_guest(id).is_some());
    assert_eq!((hand.registered(), hand.clones()), (0, 0));
}

/// Tells when a waker is dropped or woken while the timers of this core are borrowed.
struct Curious(Arc<AtomicUsize>);

impl Curious {
    fn look(&self) {
        context::with_core(|here| drop(here.expect("on a core").timers.borrow_mut()));
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wake for Curious {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Curious {
    fn drop(&mut self) {
        self.look();
    }
}

#[test]
fn no_waker_is_dropped_under_the_borrow() {
    let core = core(0);
    let dropped = Arc::new(AtomicUsize::new(0));
    context::enter(&core, || {
        let poll = |sleep: Pin<&mut Sleep>| {
            let waker = Waker::from(Arc::new(Curious(dropped.clone())));
            sleep.poll(&mut Context::from_waker(&waker))
        };
        let mut sleep = Box::pin(sleep(HOUR));
        assert!(poll(sleep.as_mut()).is_pending());
        assert!(poll(sleep.as_mut()).is_pending());
        assert_eq!(dropped.load(Ordering::Relaxed), 1, "replaced");
        drop(sleep);
        assert_eq!(dropped.load(Ordering::Relaxed), 2, "cancelled");
    });
}

#[test]
fn sleeps_are_small_and_go_anywhere() {
    fn anywhere<T: Send + Sync + Unpin>() {}
    anywhere::<Sleep>();
    anywhere::<Interval>();
    anywhere::<Timeout<()>>();
    assert!(size_of::<Sleep>() <= 56);
}

/// Runs as one poll on a thread of its own, with a poll's budget.
fn on_a_fresh_thread(test: impl FnOnce() + Send + 'static) {
    let poll = || {
        context::begin_poll();
        test();
    };
    std::thread::spawn(poll).join().unwrap();
}

/// A future that uses up the budget whenever it is polled, as a socket with much to read does.
fn greedy() -> impl Future<Output = ()> {
    std::future::poll_fn(|cx| {
        while let Poll::Ready(progress) = context::poll_proceed(cx) {
            progress.made();
        }
        Poll::Pending
    })
}

#[test]
fn a_sleep_uses_budget_when_it_ends() {
    on_a_fresh_thread(|| {
        let core = core(0);
        let hand = Hand::new(&core);
        let waiting = 10_000;
        let mut sleeps: Vec<_> = (0..waiting).map(|_| Box::pin(sleep(HOUR))).collect();
        assert!(sleeps.iter_mut().all(|sleep| hand.poll(sleep.as_mut()).is_pending()));
        assert_eq!((hand.registered(), hand.rings()), (waiting, 0), "waiting is free");
        hand.advance(Instant::now()); // as a turn does: how long the lines above took must not matter
        let ends = (0..waiting).take_while(|_| hand.poll(pin!(sleep(Duration::ZERO))).is_ready()).count();
        assert!(ends < waiting && hand.rings() == 1, "{ends} ended before the task had to yield");
    });
}

#[test]
fn a_timeout_holds_against_a_greedy_future() {
    on_a_fresh_thread(|| {
        let core = core(0);
        let hand = Hand::new(&core);
        assert_eq!(
            hand.poll(pin!(timeout(Duration::ZERO, greedy()))),
            Poll::Ready(Err(error::Elapsed::new()))
        );
        let rings = hand.rings();
        assert!(hand.poll(pin!(timeout(Duration::ZERO, pending::<()>()))).is_pending(), "no budget, no end");
        assert!(hand.rings() > rings);
    });
}

#[test]
fn a_timeout_polls_its_future_first() {
    let core = core(0);
    let hand = Hand::new(&core);
    assert_eq!(hand.poll(pin!(timeout(Duration::ZERO, ready(5)))), Poll::Ready(Ok(5)));
    assert_eq!(hand.poll(pin!(timeout_at(Instant::now(), ready(5)))), Poll::Ready(Ok(5)));
    assert_eq!(hand.registered(), 0);
}

#[test]
fn a_timeout_elapses() {
    let core = core(0);
    let hand = Hand::new(&core);
    let mut slow = Box::pin(timeout(HOUR, pending::<()>()));
    assert!(hand.poll(slow.as_mut()).is_pending());
    hand.advance(Instant::now() + HOUR + TICK);
    assert_eq!(hand.rings(), 1);
    let elapsed = hand.poll(slow.as_mut()).map(Result::unwrap_err);
    assert_eq!(elapsed.map(|elapsed| elapsed.to_string()), Poll::Ready("deadline has elapsed".to_owned()));
    let mut kept = timeout(HOUR, ready(5));
    assert_eq!((kept.get_ref().clone().into_inner(), kept.get_mut().clone().into_inner()), (5, 5));
    assert_eq!(kept.into_inner().into_inner(), 5);
}

#[test]
fn an_interval_ticks_at_once_and_then_every_period() {
    let core = core(0);
    let hand = Hand::new(&core);
    let mut beat = interval(HOUR);
    let tick = |beat: &mut Interval| hand.poll(pin!(beat.tick()));
    let Poll::Ready(start) = tick(&mut beat) else { panic!("the first tick comes at once") };
    assert!(tick(&mut beat).is_pending());
    hand.advance(start + HOUR + TICK);
    assert_eq!(hand.rings(), 1);
    assert_eq!(tick(&mut beat), Poll::Ready(start + HOUR));

    context::enter(&core, || beat.reset_immediately());
    assert!(tick(&mut beat).is_ready());
    context::enter(&core, || beat.reset_at(start + 5 * HOUR));
    assert!(tick(&mut beat).is_pending());
    hand.advance(start + 5 * HOUR + TICK);
    assert_eq!(tick(&mut beat), Poll::Ready(start + 5 * HOUR));
}

#[test]
fn an_interval_resets_to_a_span_from_now() {
    let core = core(0);
    let mut beat = interval(HOUR);
    let before = Instant::now();
    let due = |reset: &dyn Fn(&mut Interval), beat: &mut Interval| {
        context::enter(&core, || reset(beat));
        let hand = Hand::new(&core);
        let pending = hand.poll(pin!(beat.tick())).is_pending();
        let next = core.timers.borrow().next_deadline().unwrap();
        assert!(pending);
        next - before
    };
    assert!((HOUR..HOUR + HOUR / 2).contains(&due(&|beat| beat.reset(), &mut beat)));
    assert!((2 * HOUR..3 * HOUR).contains(&due(&|beat| beat.reset_after(2 * HOUR), &mut beat)));
}

#[test]
#[should_panic(expected = "`period` must not be zero")]
fn an_interval_without_a_period_panics() {
    let _ = interval(Duration::ZERO);
}

#[test]
fn missed_ticks_follow_the_behavior() {
    use MissedTickBehavior::{Burst, Delay, Skip};
    let start = Instant::now();
    let ms = Duration::from_millis;
    let next = |behavior: MissedTickBehavior, due, now, period| {
        behavior.next_tick(start + ms(due), start + ms(now), ms(period)) - start
    };
    for behavior in [Burst, Delay, Skip] {
        assert_eq!(next(behavior, 100, 100, 50), ms(150), "on time");
        assert_eq!(next(behavior, 100, 105, 50), ms(150), "late, but not missed");
        assert_eq!(next(behavior, 100, 90, 50), ms(150), "before its time");
    }
    assert_eq!(next(Burst, 100, 170, 50), ms(150));
    assert_eq!(next(Delay, 100, 170, 50), ms(220));
    assert_eq!(next(Skip, 100, 170, 50), ms(200));
    assert_eq!(next(Burst, 100, 106, 50), ms(150));
    assert_eq!(next(Delay, 100, 106, 50), ms(156));
    assert_eq!(next(Skip, 100, 106, 50), ms(150));
    assert_eq!(next(Skip, 100, 200, 50), ms(250), "on a later tick's time: that one is missed as well");
    // A period short of the tolerance, and a wait of centuries.
    assert_eq!(next(Skip, 100, 1_000_000_000_000, 7), ms(1_000_000_000_001));
    assert_eq!(MissedTickBehavior::default(), Burst);
}
