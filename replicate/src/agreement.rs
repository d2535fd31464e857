//! One core's part in the agreement: what it knows, and what may happen to it.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::effects::Effects;
use crate::home::Home;
use crate::message::{Decision, Entry, Message, Outcome, Refusal, Seq, Time, Wire};
use crate::objects::Objects;
use crate::origin::Origin;
use crate::policy::{Policy, Sound};
use crate::table::{HomePhase, LeadPhase, MemberPhase, Step};
use crate::takeover::Taking;
use crate::{CoreId, CoreSet, Lead, Reign, Term, Version};

/// What this core is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Standing {
    Joiner,
    Member,
    Left,
    Ended,
}

/// A round that is prepared here: the one after the last decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Round<C> {
    pub(crate) batch: Arc<[Entry<C>]>,
    /// How many of its entries.
    pub(crate) prepared: u32,
}

impl<C> Round<C> {
    /// The change of the view that this round is about.
    pub(crate) fn change(&self) -> Option<crate::Change> {
        self.batch.first().and_then(Entry::change)
    }
}

/// What a message has come to.
#[must_use]
pub(crate) enum Taken<M> {
    Done,
    /// Something else has to come first.
    Later(M),
}

/// Messages for which something else has to come first, and who sent them.
type Held<C, R, S> = VecDeque<(CoreId, Message<C, R, S>)>;

/// One core's part in the agreement. Home, member and origin at once, as README.md says.
///
/// It is told what happens and says what to do, through [`Effects`]; it reads no clock and waits for nothing.
///
/// ```
#[doc = include_str!("../doc/alone.md")]
/// let [mut home, mut member]: [Agreement<Replicas>; 2] = pair();
/// home.propose(Command::create(ObjectId(7), Counter::new), None, &mut world).unwrap();
/// while let Some((to, message)) = (!world.posted.is_empty()).then(|| world.posted.remove(0)) {
///     if to == a { home.receive(b, message, &mut world) } else { member.receive(a, message, &mut world) }
/// }
/// assert_eq!((home.version(), member.version()), (Version(1), Version(1)));
/// assert!(matches!(world.answers[0].1, Outcome::Committed(Version(1))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Agreement<O: Objects, P: Policy = Sound> {
    pub(crate) me: CoreId,
    pub(crate) objects: O,
    pub(crate) standing: Standing,
    /// How the last round ended that is decided here; its number is this core's version.
    pub(crate) decided: Decision,
    pub(crate) prepared: Option<Round<O::Command>>,
    pub(crate) members: CoreSet,
    /// Cores that have asked to join.
    pub(crate) joiners: CoreSet,
    /// Cores that have left and may not know it yet.
    pub(crate) leaving: CoreSet,
    /// Cores whose rings have ended here.
    pub(crate) gone: CoreSet,
    /// Cores that know that this one leaves, perhaps before it does itself.
    pub(crate) fenced: CoreSet,
    pub(crate) lead: Lead,
    /// The latest takeover this core takes part in. Not over if it is later than the one that made the lead.
    pub(crate) promised: Term,
    pub(crate) taking: Option<Taking>,
    /// Some proposal that is open here may have a deadline.
    pub(crate) may_expire: bool,
    pub(crate) home: Option<Home<O::Command, O::Refusal>>,
    pub(crate) origin: Origin<O::Command, O::Refusal>,
    held: Held<O::Command, O::Refusal, O::Snapshot>,
    phases: (HomePhase, MemberPhase, LeadPhase),
    policy: PhantomData<P>,
}

impl<O: Objects, P: Policy> Agreement<O, P> {
    fn new(me: CoreId, standing: Standing, members: CoreSet, home: CoreId, objects: O) -> Self {
        let term = Term { number: 0, taker: CoreId::new(0) };
        let reign = Reign { term, since: Version::START };
        let mut agreement = Self {
            me,
            objects,
            standing,
            decided: Decision { round: Version::START, cut: 0, refused: false },
            prepared: None,
            members,
            joiners: CoreSet::EMPTY,
            leaving: CoreSet::EMPTY,
            gone: CoreSet::EMPTY,
            fenced: CoreSet::EMPTY,
            lead: Lead { reign, home },
            promised: term,
            taking: None,
            may_expire: false,
            home: (home == me && standing == Standing::Member).then(Home::new),
            origin: Origin::new(),
            held: VecDeque::new(),
            phases: (HomePhase::Away, MemberPhase::Joining, LeadPhase::Led),
            policy: PhantomData,
        };
        agreement.phases = agreement.phases_now();
        agreement
    }

    /// The part of a core that is there from the start. The lowest of the founders is home.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// let founders = CoreSet::below(3);
    /// let part = Agreement::<Replicas, Sound>::founder(b, founders, Replicas::among(founders));
    /// assert_eq!((part.core(), part.lead().home), (b, a));
    /// ```
    ///
    /// # Panics
    ///
    /// If this core is not one of them.
    pub fn founder(me: CoreId, founders: CoreSet, objects: O) -> Self {
        assert!(founders.contains(me), "a founder is one of the founders");
        let home = founders.first().expect("there is at least this one");
        Self::new(me, Standing::Member, founders, home, objects)
    }

    /// The part of a core that joins later; it has to [`knock`](Self::knock).
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// let part = Agreement::<Replicas, Sound>::joiner(b, Replicas::default());
    /// assert!(!part.is_member());
    /// ```
    pub fn joiner(me: CoreId, objects: O) -> Self {
        Self::new(me, Standing::Joiner, CoreSet::EMPTY, me, objects)
    }

    /// A message has been read from the ring of that core.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// let [mut home, mut member] = pair();
    /// let _ = member.propose(Command::create(ObjectId(7), Counter::new), None, &mut world);
    /// let (_, wish) = world.posted.remove(0);
    /// home.receive(b, wish, &mut world);
    /// assert!(home.is_prepared(), "it has asked for votes");
    /// ```
    pub fn receive(&mut self, from: CoreId, message: Wire<O>, fx: &mut impl Effects<O>) {
        let is_unread = P::NO_DRAIN && self.gone.contains(from) && !matches!(message, Message::Knock);
        if self.standing == Standing::Ended || is_unread {
            return;
        }
        if let Taken::Later(message) = self.take(from, message, fx) {
            self.held.push_back((from, message));
        }
        self.rest(fx);
    }

    /// That core is dead or has left for good, and its ring has been read to the end (R3).
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// let [mut home, _] = pair();
    /// home.gone(b, &mut world);
    /// assert_eq!(home.members(), CoreSet::only(a)); // nobody else had to agree
    /// ```
    pub fn gone(&mut self, core: CoreId, fx: &mut impl Effects<O>) {
        if self.standing == Standing::Ended {
            return;
        }
        self.gone.insert(core);
        self.joiners.remove(core);
        self.leaving.remove(core);
        self.held.retain(|(from, _)| *from != core);
        self.end_if_fenced(fx);
        self.home_lost(core, fx);
        self.taker_lost(fx);
        self.rest(fx);
    }

    /// It is now this late.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// let [mut home, _] = pair();
    /// home.propose(Command::create(ObjectId(7), Counter::new), Some(Time(50)), &mut world).unwrap();
    /// home.tick(Time(50), &mut world);
    /// home.tick(Time(51), &mut world);
    /// assert!(matches!(world.answers[0].1, Outcome::Stalled(core) if core == b), "it has not voted");
    /// ```
    pub fn tick(&mut self, now: Time, fx: &mut impl Effects<O>) {
        // Before a round is undone, for then everyone is waited for.
        let stalled = self.waiting_for().first().unwrap_or(self.lead.home);
        self.expire_at_home(now, fx);
        while let Some(seq) = self.origin.next_expired(now) {
            fx.answer(seq, Outcome::Stalled(stalled));
        }
        self.rest(fx);
    }

    /// When [`tick`](Self::tick) has something to do.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// let [mut home, _] = pair();
    /// assert_eq!(home.next_deadline(), None);
    /// home.propose(Command::create(ObjectId(7), Counter::new), Some(Time(50)), &mut world).unwrap();
    /// assert!(home.next_deadline().is_some());
    /// ```
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        if !self.may_expire {
            return None;
        }
        let at_home = self.home.as_ref().and_then(|home| home.next_deadline(self.prepared.as_ref()));
        [at_home, self.origin.next_deadline()].into_iter().flatten().min()
    }

    fn take(&mut self, from: CoreId, message: Wire<O>, fx: &mut impl Effects<O>) -> Taken<Wire<O>> {
        match message {
            Message::Knock => self.on_knock(from, fx),
            Message::Propose { reign, .. } | Message::Done { reign, .. } if reign > self.lead.reign => {
                return Taken::Later(message);
            }
            Message::Propose { reign, entry } => {
                if reign == self.lead.reign {
                    self.on_propose(entry, fx);
                }
            }
            Message::Done { reign, version, close, digests } => {
                if reign == self.lead.reign {
                    self.on_done(from, version, close, digests, fx);
                }
            }
            Message::Prepare { round, batch, welcome } => {
                return self.on_prepare(from, round, batch, welcome, fx);
            }
            Message::Vote { round, prepared, refusal } => self.on_vote(from, round, prepared, refusal, fx),
            Message::Reason { seq, by, refusal } => self.on_reason(seq, by, refusal, fx),
            Message::Refused { seq, refusal } => self.finish(seq, Outcome::Refused { by: from, refusal }, fx),
            Message::Decide { decision, stable } => self.on_decide(from, decision, stable, fx),
            Message::Stable(version) => self.stable(version, fx),
            Message::Expired { seq, stalled } => self.finish(seq, Outcome::Stalled(stalled), fx),
            Message::Alarm(heard) => self.on_alarm(heard, fx),
            Message::Flush { term, dead } => return self.on_flush(from, term, dead, fx),
            Message::State { term, report } => self.on_state(from, term, report, fx),
            Message::Install { term, settled, doubt, home } => {
                self.on_install(term, settled, doubt, home, fx);
            }
            Message::Fence => {
                self.fenced.insert(from);
                self.end_if_fenced(fx);
            }
        }
        Taken::Done
    }

    /// After every event: what was held and can go on, and the next round.
    pub(crate) fn rest(&mut self, fx: &mut impl Effects<O>) {
        self.observe(fx);
        loop {
            let mut at = 0;
            while let Some((from, message)) = self.held.remove(at) {
                match self.take(from, message, fx) {
                    Taken::Done => at = 0,
                    Taken::Later(message) => {
                        self.held.insert(at, (from, message));
                        at += 1;
                    }
                }
                self.observe(fx);
            }
            if !self.begin(fx) {
                break;
            }
            self.observe(fx);
        }
        let is_busy = self.home.as_ref().is_some_and(|home| !home.queue.is_empty());
        if self.may_expire && !is_busy && self.prepared.is_none() && self.origin.open() == 0 {
            self.may_expire = false;
        }
    }

    fn on_knock(&mut self, from: CoreId, fx: &mut impl Effects<O>) {
        self.gone.remove(from);
        if !self.joiners.insert(from) {
            return;
        }
        if self.standing == Standing::Joiner {
            // It was not there yet when this core knocked, and may be home before this one is in.
            fx.send(from, Message::Knock);
        }
        if let Some(home) = &mut self.home {
            home.want_join(self.me, from);
        }
    }

    fn on_reason(&mut self, seq: Seq, by: CoreId, refusal: Refusal<O::Refusal>, fx: &mut impl Effects<O>) {
        if seq == Seq::NONE {
            self.finish(seq, Outcome::Refused { by, refusal }, fx);
        } else {
            self.origin.give_reason(seq, by, refusal);
            self.answer(fx);
        }
    }

    /// A proposal of this core's comes to its end without a round.
    pub(crate) fn finish(&mut self, seq: Seq, outcome: Outcome<O::Refusal>, fx: &mut impl Effects<O>) {
        let waited_for = match seq {
            Seq::NONE => self.standing == Standing::Joiner,
            _ => self.origin.finish(seq),
        };
        if waited_for {
            fx.answer(seq, outcome);
        }
        self.send_proposals(fx);
    }

    /// Every live core has all rounds up to this.
    pub(crate) fn stable(&mut self, version: Version, fx: &mut impl Effects<O>) {
        self.origin.stable(version);
        self.answer(fx);
    }

    fn answer(&mut self, fx: &mut impl Effects<O>) {
        while let Some((seq, outcome)) = self.origin.next_answer() {
            fx.answer(seq, outcome);
        }
        self.send_proposals(fx);
    }

    pub(crate) fn send_proposals(&mut self, fx: &mut impl Effects<O>) {
        if self.gone.contains(self.lead.home) {
            return;
        }
        while let Some(entry) = self.origin.next_to_send() {
            match &mut self.home {
                Some(home) => home.queue.push_back(entry),
                None => fx.send(self.lead.home, Message::Propose { reign: self.lead.reign, entry }),
            }
        }
    }

    /// Whether this core has nothing to do with any round yet.
    pub(crate) fn is_outside(&self) -> bool {
        self.standing == Standing::Joiner && self.prepared.is_none()
    }

    fn phases_now(&self) -> (HomePhase, MemberPhase, LeadPhase) {
        let home = self.home.as_ref().map_or(HomePhase::Away, |home| home.phase);
        let member = match (self.standing, &self.prepared) {
            (Standing::Joiner, None) => MemberPhase::Joining,
            (Standing::Joiner, Some(_)) => MemberPhase::Restored,
            (Standing::Member, None) => MemberPhase::Settled,
            (Standing::Member, Some(_)) => MemberPhase::Prepared,
            (Standing::Left, _) => MemberPhase::Leaving,
            (Standing::Ended, _) => MemberPhase::Ended,
        };
        let lead = if self.is_outside() {
            LeadPhase::Led
        } else if self.taking.is_some() {
            LeadPhase::Taking
        } else if !self.is_led() {
            LeadPhase::Orphaned
        } else if self.promised > self.lead.reign.term {
            LeadPhase::Promised
        } else {
            LeadPhase::Led
        };
        (home, member, lead)
    }

    /// Reports the steps taken since the last time.
    pub(crate) fn observe(&mut self, fx: &mut impl Effects<O>) {
        if !P::OBSERVE {
            return;
        }
        let (was, is) = (self.phases, self.phases_now());
        self.phases = is;
        let steps = [
            (was.0 != is.0).then_some(Step::Home(was.0, is.0)),
            (was.1 != is.1).then_some(Step::Member(was.1, is.1)),
            (was.2 != is.2).then_some(Step::Lead(was.2, is.2)),
        ];
        steps.into_iter().flatten().for_each(|step| fx.step(step));
    }
}
