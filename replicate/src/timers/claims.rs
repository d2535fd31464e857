//! What of a timer has been started. All cores share this, and it outlives each of them.

use multikernel_channels::sync::{AtomicU64, Ordering, fence};

use crate::limits::MAX_CORES;
use crate::policy::Policy;
use crate::{CoreId, Time};

/// It has been started, and will not be again.
const STARTED: u64 = u64::MAX;

/// A bit for each core.
struct Bits(Box<[AtomicU64; MAX_CORES / 64]>);

impl Bits {
    fn none() -> Self {
        Self(Box::new(std::array::from_fn(|_| AtomicU64::new(0))))
    }

    fn word(&self, core: CoreId) -> (&AtomicU64, u64) {
        (&self.0[core.index() / 64], 1 << (core.index() % 64))
    }

    /// Whether it was not set before.
    fn set(&self, core: CoreId) -> bool {
        let (word, bit) = self.word(core);
        // Relaxed: the fences of `Claims::hold` and `Claims::claim` order it.
        word.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    fn clear(&self, core: CoreId) {
        let (word, bit) = self.word(core);
        // Relaxed: nothing hangs on its being seen soon.
        word.fetch_and(!bit, Ordering::Relaxed);
    }

    fn are_none(&self) -> bool {
        // Relaxed: as in `set`.
        self.0.iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }
}

/// How often a timer is started.
enum Starts {
    /// Once, on the owner.
    Once,
    /// Once on each core. Those that have started.
    Each(Bits),
    /// Again and again, on whoever is the owner at the time.
    Every,
}

/// Of one timer: when it is due, and who may still start what.
pub struct Claims {
    /// The timer, among all of the process.
    pub id: u64,
    starts: Starts,
    /// When it is due next, or [`STARTED`]. Whoever moves this on starts what was due then.
    due: AtomicU64,
    /// Who has agreed to cancel it, or has cancelled it.
    holds: Bits,
}

/// What came of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Claim {
    /// It is no business of this core any more.
    Over,
    /// A change is undecided that may end it, or move it to another core.
    Held,
    /// It is not due before then.
    Early(Time),
    /// Start it, if that is yours; then nothing more is to be done here.
    Last(bool),
    /// Start it, if that is yours; then wait until that time.
    Next(bool, Time),
}

impl Claims {
    /// Of a timer that is started once.
    pub fn once(id: u64, due: Time) -> Self {
        Self::new(id, due, Starts::Once)
    }

    /// Of one that is started once on each core.
    pub fn each(id: u64, due: Time) -> Self {
        Self::new(id, due, Starts::Each(Bits::none()))
    }

    /// Of one that is started again and again.
    pub fn every(id: u64, due: Time) -> Self {
        Self::new(id, due, Starts::Every)
    }

    fn new(id: u64, due: Time, starts: Starts) -> Self {
        Self { id, starts, due: AtomicU64::new(due.0.min(STARTED - 1)), holds: Bits::none() }
    }

    /// Whether each core has a part of its own.
    pub fn is_for_each(&self) -> bool {
        matches!(self.starts, Starts::Each(_))
    }

    /// When it is due. The past, if it has been started for good.
    pub fn due(&self) -> Time {
        // Acquire: pairs with `move_on`. What a core has claimed that is dead by now is seen.
        match self.due.load(Ordering::Acquire) {
            STARTED => Time(0),
            due => Time(due),
        }
    }

    /// Whether it is too late to say that it shall not run.
    fn has_started(&self) -> bool {
        match &self.starts {
            // Relaxed: the fence in `hold` orders it.
            Starts::Once => self.due.load(Ordering::Relaxed) == STARTED,
            Starts::Each(started) => !started.are_none(),
            Starts::Every => false,
        }
    }

    /// The core `me` agrees to cancel it: until that is [undone](Self::let_go) no core starts it, also one that has not been asked yet.
    /// That one may die before it answers, and then nobody else can say that it has not started. False if it has started.
    ///
    /// Who holds sets its bit and then looks whether it has started; who starts says so and then looks for bits. Between the two is a
    /// fence each, and one of these comes first, so one of the two sees the other. If both do, nothing has started, but will soon:
    /// who was refused lets go.
    pub(super) fn hold<P: Policy>(&self, me: CoreId) -> bool {
        let is_new = !P::HOLD_ALONE && self.holds.set(me);
        // SeqCst: pairs with the one in `is_held`.
        fence(Ordering::SeqCst);
        let has_started = self.has_started();
        if has_started && is_new {
            self.holds.clear(me);
        }
        !has_started
    }

    /// That core does not agree any more. What is cancelled stays held.
    pub(super) fn let_go(&self, core: CoreId) {
        self.holds.clear(core);
    }

    /// Claims what is due for the core `me`. Of all who do that for the same tick, it is one's. `next` says when it is due again.
    ///
    /// What is held after all is taken back. Nobody else claims it in between and hears that it is over: a core that leaves holds its
    /// gates before it has an heir, and one that dies does so before or after.
    pub(super) fn claim<P: Policy>(&self, me: CoreId, now: Time, next: impl FnOnce(Time) -> Time) -> Claim {
        let due = self.due();
        if due > now {
            return Claim::Early(due);
        }
        match &self.starts {
            Starts::Once | Starts::Each(_) if !self.holds.are_none() => Claim::Held,
            Starts::Once => {
                let is_mine = self.move_on(due, Time(STARTED));
                if is_mine && self.is_held() {
                    self.move_on(Time(STARTED), due);
                    return Claim::Held;
                }
                Claim::Last(is_mine || P::CLAIM_AGAIN)
            }
            Starts::Each(started) => {
                let is_mine = started.set(me);
                if is_mine && self.is_held() {
                    started.clear(me);
                    return Claim::Held;
                }
                Claim::Last(is_mine || P::CLAIM_AGAIN)
            }
            Starts::Every => {
                let next = Time(next(due).0.min(STARTED - 1));
                Claim::Next(self.move_on(due, next), self.due())
            }
        }
    }

    /// Whether anybody holds it, now that a claim has been made.
    fn is_held(&self) -> bool {
        // SeqCst: pairs with the one in `hold`.
        fence(Ordering::SeqCst);
        !self.holds.are_none()
    }

    fn move_on(&self, from: Time, to: Time) -> bool {
        // AcqRel, Acquire: pairs with itself and with `due`.
        self.due.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(all(test, loom))]
#[path = "claims_loom_tests.rs"]
mod loom_tests;
