//! One core's agreement and those of its tasks that wait for it. Lives on its core's thread.
//!
//! The protocol is pure; what it does to the world goes through [`Links`], which the runtime provides. Whoever runs a core makes
//! it the thread's [`Host`] for as long as the core lives ([`Host::enter`]), and hands it what comes from other cores
//! ([`Host::receive`], [`Host::gone`]), the time ([`Host::tick`]), and what threads that are no cores want ([`Job`]).
//!
//! Code of users runs under the borrow of the agreement only as a state machine's own `prepare`, `commit` and the like. Wakers and
//! answers wait until it has ended.

mod coming;
mod current;
mod desk;
mod held;
mod links;
mod look;
mod waiters;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub use current::with;
pub use links::{Gateway, Job, Links, NoHost};

pub(crate) use waiters::{Answer, Failure};

use multikernel_channels::oneshot;

use crate::limits::STALL;
use crate::replica::contain;
use crate::slots::Spot;
use crate::{
    Agreement, Command, CoreId, CoreSet, Denial, ObjectId, Outcome, Policy, Replicas, Seq, StateMachine,
    Time, Version, Wire,
};
use desk::{Desk, Reply};
use held::Held;
use waiters::{Waiters, Watchers};

/// Something to do when the agreement is not at work.
type Later = Box<dyn FnOnce(&Host)>;

/// Called with whether what was asked for came about.
type Tell = Box<dyn FnOnce(bool)>;

/// The proposal to leave, and who hears of its end.
type Leaving = (Seq, Tell);

/// A home waits for members since then, with that version.
#[derive(Clone, Copy)]
struct Wait {
    version: Version,
    since: Time,
    is_told: bool,
}

impl Wait {
    /// When it is to be told of.
    fn due(self) -> Option<Time> {
        let patience = u64::try_from(STALL.as_nanos()).expect("a short time");
        (!self.is_told).then(|| Time(self.since.0.saturating_add(patience)))
    }
}

/// The protocol as it runs: in debug builds replicas are compared.
///
/// ```
/// use multikernel_replicate::{Policy, host::InUse};
///
/// assert_eq!(InUse::COMPARE, cfg!(debug_assertions));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct InUse;

impl Policy for InUse {
    const COMPARE: bool = cfg!(debug_assertions);
    const OBSERVE: bool = false;
}

/// One core's part.
pub type Part = Agreement<Replicas, InUse>;

/// One core's agreement, with what its tasks wait for.
///
/// ```
#[doc = include_str!("../../doc/host.md")]
/// let host: Host = Host::founder(a, CoreSet::only(a), Rc::new(Nowhere), Arc::new(Nowhere));
/// let value = host.enter(|| {
///     let limit = futures::executor::block_on(ReplicatedCell::new(7)).unwrap();
///     *limit.get()
/// });
/// assert_eq!(value, 7);
/// ```
pub struct Host {
    me: CoreId,
    part: Held<Part>,
    links: Rc<dyn Links>,
    gateway: Arc<dyn Gateway>,
    waiters: RefCell<Waiters>,
    /// Empty; kept for its memory.
    answers: Cell<Vec<(Seq, Outcome<Denial>)>>,
    /// What is to be said to the home when all has been read.
    reply: RefCell<Reply>,
    watchers: RefCell<Watchers>,
    /// What was asked for by code that the agreement itself was running.
    later: RefCell<VecDeque<Later>>,
    /// The version, for readers that would find the agreement borrowed.
    version: Cell<Version>,
    /// Since when this home has waited for the same round; nothing when it does not, or has said so.
    waits: Cell<Option<Wait>>,
    /// This core wants to leave.
    leaving: RefCell<Option<Leaving>>,
    /// This core wants to join.
    joining: RefCell<Option<Tell>>,
}

impl Host {
    /// The host of a core that is there from the start.
    ///
    /// ```
    #[doc = include_str!("../../doc/host.md")]
    /// let host = Host::founder(b, CoreSet::below(2), Rc::new(Nowhere), Arc::new(Nowhere));
    /// assert_eq!(host.members(), CoreSet::below(2));
    /// ```
    ///
    /// # Panics
    ///
    /// If it is none of the founders.
    #[must_use]
    pub fn founder(me: CoreId, founders: CoreSet, links: Rc<dyn Links>, gateway: Arc<dyn Gateway>) -> Self {
        Self::new(Part::founder(me, founders, Replicas::among(founders)), links, gateway)
    }

    /// The host of a core that comes later; it has to [`join`](Self::join).
    ///
    /// ```
    #[doc = include_str!("../../doc/host.md")]
    /// let host = Host::joiner(b, Rc::new(Nowhere), Arc::new(Nowhere));
    /// assert!(!host.ask(Part::is_member));
    /// ```
    #[must_use]
    pub fn joiner(me: CoreId, links: Rc<dyn Links>, gateway: Arc<dyn Gateway>) -> Self {
        Self::new(Part::joiner(me, Replicas::default()), links, gateway)
    }

    fn new(part: Part, links: Rc<dyn Links>, gateway: Arc<dyn Gateway>) -> Self {
        Self {
            me: part.core(),
            version: Cell::new(part.version()),
            waits: Cell::new(None),
            part: Held::new(part),
            links,
            gateway,
            waiters: RefCell::default(),
            answers: Cell::default(),
            reply: RefCell::default(),
            watchers: RefCell::default(),
            later: RefCell::default(),
            leaving: RefCell::default(),
            joining: RefCell::default(),
        }
    }

    pub(crate) fn gateway(&self) -> &Arc<dyn Gateway> {
        &self.gateway
    }

    /// Lets the protocol act, then tells whoever waits. What is asked for meanwhile comes after it.
    fn act<R>(&self, f: impl FnOnce(&mut Part, &mut Desk<'_>) -> R) -> R {
        self.act_on(false, f)
    }

    /// `reads`: on a message, and more may be there.
    fn act_on<R>(&self, reads: bool, f: impl FnOnce(&mut Part, &mut Desk<'_>) -> R) -> R {
        let mut desk = Desk::new(&*self.links, &self.reply, reads, self.answers.take());
        let result = self.part.change(|part| {
            let result = f(part, &mut desk);
            if desk.has_advanced {
                let version = part.version();
                part.objects_mut().stamp(version);
                self.version.set(version);
            }
            self.note_wait(part);
            self.links.prepared(part.is_prepared(), part.version());
            result
        });
        for (seq, outcome) in desk.answers.drain(..) {
            let is_refused = matches!(outcome, Outcome::Refused { .. });
            if is_refused {
                self.end_leave(Some(seq), false);
            }
            if seq == Seq::NONE {
                self.joining.take().into_iter().for_each(|tell| tell(!is_refused));
            }
            let answer = Failure::of(outcome, &*self.links);
            let complete = self.waiters.borrow_mut().answer(seq, answer);
            if let Some(complete) = complete {
                contain(|| complete.send());
            }
        }
        if desk.has_left {
            self.end_leave(None, true);
        }
        if desk.has_advanced {
            self.tell_watchers();
        }
        self.answers.set(desk.answers);
        result
    }

    /// Remembers since when this home has waited for the same thing.
    fn note_wait(&self, part: &Part) {
        if !part.is_waiting() {
            return self.waits.set(None);
        }
        let version = part.version();
        if self.waits.get().is_none_or(|wait| wait.version != version) {
            self.waits.set(Some(Wait { version, since: self.links.now(), is_told: false }));
        }
    }

    /// Tells of the cores that have kept this home waiting for too long.
    fn tell_of_stalls(&self, now: Time) {
        let Some(wait) = self.waits.get().filter(|wait| wait.due().is_some_and(|due| due <= now)) else {
            return;
        };
        self.waits.set(Some(Wait { is_told: true, ..wait }));
        let stalled = self.ask(Part::waiting_for);
        for core in stalled.iter() {
            self.links.stalled(core, Duration::from_nanos(now.0.saturating_sub(wait.since.0)));
        }
    }

    fn tell_watchers(&self) {
        if self.watchers.borrow().is_empty() {
            return;
        }
        let due = self.ask(|part| {
            let changed = |object| part.objects().changed(object);
            self.watchers.borrow_mut().take_due(part.version(), changed)
        });
        due.into_iter().for_each(|waker| {
            contain(|| waker.wake());
        });
    }

    /// Does now what was asked for while the agreement was at work.
    fn catch_up(&self) {
        while let Some(job) = self.next_later() {
            job(self);
        }
    }

    /// Apart, so that nothing is borrowed while the job runs: it may ask for more.
    fn next_later(&self) -> Option<Later> {
        if !self.part.is_free() {
            return None;
        }
        self.later.borrow_mut().pop_front()
    }

    /// A message from that core. After the last that is there comes [`after_reading`](Self::after_reading).
    ///
    /// ```
    #[doc = include_str!("../../doc/host.md")]
    /// host.receive(b, Message::Knock); // it wants to join
    /// host.after_reading();
    /// assert!(host.ask(|part| part.knows(b)));
    /// ```
    pub fn receive(&self, from: CoreId, message: Wire<Replicas>) {
        self.act_on(true, |part, desk| part.receive(from, message, desk));
    }

    /// All that had been sent has been read, or as much as is read at once.
    ///
    /// ```
    #[doc = include_str!("../../doc/host.md")]
    /// host.receive(b, Message::Knock);
    /// host.after_reading(); // what there is to say to the home, is said
    /// assert!(!host.has_work());
    /// ```
    pub fn after_reading(&self) {
        desk::flush(&self.reply, &*self.links);
        self.catch_up();
    }

    /// Whether something waits for [`after_reading`](Self::after_reading): a task asked for it while it was reading.
    ///
    /// ```
    #[doc = include_str!("../../doc/host.md")]
    /// assert!(!host.has_work());
    /// ```
    #[must_use]
    #[inline]
    pub fn has_work(&self) -> bool {
        !self.later.borrow().is_empty()
    }

    /// It is now this late.
    ///
    /// ```
    #[doc = include_str!("../../doc/host.md")]
    /// host.tick(Time(1_000_000)); // nothing is late
    /// assert_eq!(host.version(), Version::START);
    /// ```
    pub fn tick(&self, now: Time) {
        self.tell_of_stalls(now);
        self.act(|part, desk| {
            while let Some(command) = part.take_due(now) {
                let proposed = part.propose(command, None, desk);
                debug_assert!(proposed.is_ok(), "the home is a member");
            }
            part.tick(now, desk);
        });
        self.catch_up();
    }

    /// When [`tick`](Self::tick) has something to do.
    ///
    /// ```
    #[doc = include_str!("../../doc/host.md")]
    /// assert_eq!(host.next_deadline(), None);
    /// ```
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let wait = self.waits.get().and_then(Wait::due);
        let [deadline, due] = self.ask(|part| [part.next_deadline(), part.next_due()]);
        [deadline, due, wait].into_iter().flatten().min()
    }

    /// Asks the agreement something. It must not be at work.
    ///
    /// ```
    #[doc = include_str!("../../doc/host.md")]
    /// assert!(host.ask(|part| part.is_member() && !part.is_prepared()));
    /// ```
    pub fn ask<R>(&self, f: impl FnOnce(&Part) -> R) -> R {
        self.part.read(f).expect("the agreement is not at work")
    }

    /// Proposes a command; where this core may not, has another core do it. If that cannot be, `reply` is dropped.
    pub(crate) fn propose(&self, command: Command, deadline: Option<Time>, reply: oneshot::Sender<Answer>) {
        self.enter_order(move |host| {
            host.act(|part, desk| {
                // In place before the proposal is made: a core alone decides at once.
                host.waiters.borrow_mut().put(part.next_seq(), reply);
                let proposed = part.propose(command, deadline, desk);
                debug_assert!(proposed.is_ok(), "it is a member");
            });
        });
    }

    /// Proposes commands, which become one answer together.
    pub(crate) fn propose_all(&self, commands: Vec<Command>, reply: oneshot::Sender<Vec<Answer>>) {
        self.enter_order(move |host| {
            host.act(|part, desk| {
                // In place before the proposals are made, as above.
                host.waiters.borrow_mut().put_all(part.next_seq(), commands.len(), reply);
                let proposed = part.propose_all(commands, desk);
                debug_assert!(proposed.is_ok(), "it is a member");
            });
        });
    }

    /// Announces a command: nobody votes on it, and nobody waits.
    pub(crate) fn announce(&self, command: Command) {
        self.enter_order(move |host| {
            host.act(|part, desk| part.announce(command, desk).is_ok());
        });
    }

    /// Has `order` run here when the agreement is not at work, or on another core if this is no member.
    fn enter_order(&self, order: impl FnOnce(&Self) + Send + 'static) {
        if !self.part.is_free() {
            self.later.borrow_mut().push_back(Box::new(move |host| host.enter_order(order)));
        } else if self.ask(Part::is_member) {
            order(self);
            self.catch_up();
        } else {
            let _has_ended = !self.gateway.run(Job::new(move |host| host.enter_order(order)));
        }
    }

    /// How many proposals of this core are not answered.
    pub(crate) fn unanswered(&self) -> usize {
        self.part.read(Part::unanswered).unwrap_or(0)
    }

    pub(crate) fn now(&self) -> Time {
        self.links.now()
    }

    /// Reads a replica, or does the other thing if it is not there.
    ///
    /// # Panics
    ///
    /// Inside a `prepare`, a `commit` or the like, of whatever object.
    #[inline]
    pub(crate) fn read_or<S: StateMachine, R>(
        &self,
        spot: Spot<S>,
        f: impl FnOnce(&S) -> R,
        gone: impl FnOnce() -> R,
    ) -> R {
        let read = self.part.read(|part| match part.objects().at(spot) {
            Some(replica) => f(replica),
            None => gone(),
        });
        read.unwrap_or_else(|| within_its_own_change())
    }

    /// Where an object is, whose replicas are `S`s.
    pub(crate) fn spot<S: StateMachine>(&self, object: ObjectId) -> Option<Spot<S>> {
        self.part.read(|part| part.objects().spot(object))?
    }
}

#[cold]
#[inline(never)]
fn within_its_own_change() -> ! {
    panic!(
        "a replicated object must not be read inside a prepare, commit or abort: use the `self` that is given"
    )
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("core", &self.me)
            .field("version", &self.version.get())
            .finish_non_exhaustive()
    }
}
