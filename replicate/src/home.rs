//! The coordinator.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::agreement::{Agreement, Round};
use crate::effects::Effects;
use crate::limits::{BATCH, ROUNDS_ASLEEP};
use crate::message::{Change, Decision, Deed, Entry, Message, Outcome, Refusal, Seq, Time, Welcome};
use crate::objects::{Asker, Digests, Objects};
use crate::policy::Policy;
use crate::table::HomePhase;
use crate::{CoreId, CoreSet, Version};

/// What only the home knows. Its round is the one that it has prepared itself, as any member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Home<C, R> {
    pub(crate) phase: HomePhase,
    pub(crate) queue: VecDeque<Entry<C>>,
    /// Whose votes are missing.
    pub(crate) missing: CoreSet,
    /// Who has not applied the last decided round.
    pub(crate) undone: CoreSet,
    /// The least that a core has prepared of the round.
    cut: u32,
    /// Who refused the entry there, and why.
    refusal: Option<(CoreId, Refusal<R>)>,
    /// Who has proposals in rounds that not everyone has applied.
    owed: CoreSet,
    /// The core that joins in this round has its snapshot.
    welcomed: bool,
    /// Cores that are taken for asleep, and the last round that each is known to have applied.
    asleep: BTreeMap<CoreId, Version>,
}

impl<C, R> Home<C, R> {
    pub(crate) fn new() -> Self {
        Self {
            phase: HomePhase::Idle,
            queue: VecDeque::new(),
            missing: CoreSet::EMPTY,
            undone: CoreSet::EMPTY,
            cut: 0,
            refusal: None,
            owed: CoreSet::EMPTY,
            welcomed: false,
            asleep: BTreeMap::new(),
        }
    }

    /// A home that begins when all of these have applied what made it one. It does not know whom its predecessor owed an answer.
    pub(crate) fn waiting_for(undone: CoreSet) -> Self {
        Self { phase: HomePhase::Blocked, undone, owed: undone, ..Self::new() }
    }

    pub(crate) fn want_join(&mut self, me: CoreId, core: CoreId) {
        self.queue
            .push_back(Entry { origin: core, ..Entry::of_the_protocol(me, Deed::View(Change::Join(core))) });
    }

    pub(crate) fn want_dead(&mut self, me: CoreId, core: CoreId) {
        self.queue.push_front(Entry::of_the_protocol(me, Deed::View(Change::Dead(core))));
    }

    pub(crate) fn next_deadline(&self, round: Option<&Round<C>>) -> Option<Time> {
        let voted_on =
            round.filter(|_| self.phase == HomePhase::Voting).into_iter().flat_map(|r| r.batch.iter());
        self.queue.iter().chain(voted_on).filter_map(|entry| entry.deadline).min()
    }
}

impl<O: Objects, P: Policy> Agreement<O, P> {
    /// The members that a round is about, but for this core.
    fn others(&self) -> CoreSet {
        let mut others = self.members;
        others.subtract(&self.gone);
        others.remove(self.me);
        others
    }

    pub(crate) fn on_propose(&mut self, entry: Entry<O::Command>, fx: &mut impl Effects<O>) {
        self.may_expire |= entry.deadline.is_some();
        let (others, round) = (self.others(), self.version().next().next());
        let Some(home) = &mut self.home else { return };
        if P::OVERLAP && home.phase == HomePhase::Voting && entry.change().is_none() {
            for core in others.iter() {
                fx.send(core, Message::Prepare { round, batch: [entry.clone()].into(), welcome: None });
            }
        }
        home.queue.push_back(entry);
    }

    /// Begins the next round if none is undecided (R2). Says whether it did.
    pub(crate) fn begin(&mut self, fx: &mut impl Effects<O>) -> bool {
        if self.home.as_ref().is_none_or(|home| home.phase != HomePhase::Idle) {
            return false;
        }
        let batch: Arc<[_]> = self.next_batch(fx).into();
        let others = self.others();
        let Some(home) = &mut self.home else { return false };
        if batch.is_empty() {
            return false;
        }
        let prepared = u32::try_from(batch.len()).expect("a batch is small");
        home.phase = HomePhase::Voting;
        home.missing = others;
        home.cut = prepared;
        home.refusal = None;
        home.welcomed = false;
        let (before, round) = (self.decided.round, self.decided.round.next());
        for core in others.iter() {
            fx.post(core, Message::Prepare { round, batch: batch.clone(), welcome: None });
        }
        // R5: a change of the view asks everybody. R8: and so does whatever may be refused elsewhere.
        let may_skip = batch.iter().all(|entry| match &entry.deed {
            Deed::Command(command) => !self.objects.may_veto(command),
            Deed::Announcement(_) => true,
            Deed::View(_) => false,
        });
        for core in others.iter() {
            if may_skip && home.sleeps(core, before, fx) {
                home.missing.remove(core);
                home.undone.remove(core);
            } else {
                fx.ring(core);
            }
        }
        self.prepared = Some(Round { batch, prepared });
        self.observe(fx);
        if P::RESTORE_FIRST && self.welcome(fx) {
            return true;
        }
        self.votes_in(fx);
        true
    }

    /// Takes from the queue what the next round decides, and prepares it here.
    fn next_batch(&mut self, fx: &mut impl Effects<O>) -> Vec<Entry<O::Command>> {
        let waiting = self.home.as_ref().map_or(0, |home| home.queue.len());
        let mut batch: Vec<Entry<O::Command>> = Vec::with_capacity(waiting.min(BATCH));
        while batch.len() < BATCH
            && let Some(mut entry) = self.home.as_mut().and_then(|home| home.queue.pop_front())
        {
            let refusal = match &mut entry.deed {
                Deed::View(_) if !batch.is_empty() => None,
                Deed::View(change) => {
                    if !self.completes(change) {
                        continue;
                    }
                    match change {
                        Change::Leave { core, next: None } if *core == self.me => {
                            if self.members.len() > 1 {
                                // All others are dead, and the rounds that say so are behind this.
                                self.home.as_mut().expect("still home").queue.push_back(entry);
                                continue;
                            }
                            Some(Refusal::LastCore)
                        }
                        _ => match self.objects.prepare_view(change) {
                            Ok(()) => return vec![entry],
                            Err(refusal) => Some(Refusal::Object(refusal)),
                        },
                    }
                }
                Deed::Command(command) => match self.objects.prepare(command, Asker::Home) {
                    Ok(()) => {
                        batch.push(entry);
                        continue;
                    }
                    Err(refusal) => Some(Refusal::Object(refusal)),
                },
                Deed::Announcement(_) => {
                    batch.push(entry);
                    continue;
                }
            };
            // R7: a refusal may come from what the batch has reserved, and that is undecided.
            if let Some(refusal) = refusal
                && (batch.is_empty() || P::REFUSE_EARLY)
            {
                self.tell(entry.origin, entry.seq, Outcome::Refused { by: self.me, refusal }, fx);
                continue;
            }
            self.home.as_mut().expect("still home").queue.push_front(entry);
            break;
        }
        batch
    }

    /// Whether a change of the view still makes sense. Names the next home of a home that leaves.
    fn completes(&self, change: &mut Change) -> bool {
        match change {
            Change::Join(core) => self.joiners.contains(*core) && !self.members.contains(*core),
            Change::Dead(core) => self.members.contains(*core),
            Change::Leave { core, next } => {
                *next = (*core == self.me).then(|| self.others().first()).flatten();
                self.members.contains(*core) && !self.gone.contains(*core)
            }
        }
    }

    /// Tells an origin what became of a proposal without a round.
    fn tell(&mut self, to: CoreId, seq: Seq, outcome: Outcome<O::Refusal>, fx: &mut impl Effects<O>) {
        if to == self.me {
            return self.finish(seq, outcome, fx);
        }
        match outcome {
            Outcome::Refused { refusal, .. } => fx.send(to, Message::Refused { seq, refusal }),
            Outcome::Stalled(stalled) => fx.send(to, Message::Expired { seq, stalled }),
            Outcome::Committed(_) => unreachable!("a commit is a matter of a round"),
        }
    }

    pub(crate) fn on_vote(
        &mut self,
        from: CoreId,
        round: Version,
        prepared: u32,
        refusal: Option<Refusal<O::Refusal>>,
        fx: &mut impl Effects<O>,
    ) {
        let current = self.version().next();
        let Some(home) = &mut self.home else { return };
        let is_asked = matches!(home.phase, HomePhase::Voting | HomePhase::Welcoming);
        if !is_asked || round != current || !home.missing.remove(from) {
            return;
        }
        home.undone.remove(from);
        home.asleep.remove(&from);
        if prepared < home.cut {
            home.cut = prepared;
            home.refusal = refusal.map(|refusal| (from, refusal));
        }
        self.votes_in(fx);
        self.all_done(fx);
    }

    /// Decides, if no vote is missing.
    fn votes_in(&mut self, fx: &mut impl Effects<O>) {
        let Some(home) = &self.home else { return };
        let is_enough =
            home.missing.is_empty() || P::DECIDE_EARLY && home.missing.len() * 2 <= self.others().len();
        if !matches!(home.phase, HomePhase::Voting | HomePhase::Welcoming) || !is_enough {
            return;
        }
        if home.refusal.is_none() && self.welcome(fx) {
            return;
        }
        let Some(home) = &mut self.home else { return };
        let (cut, refusal) = (home.cut, home.refusal.take());
        // Everyone has voted, so everyone has the round before.
        let stable = self.decided.round;
        self.stable(stable, fx);
        self.decide(cut, refusal, Some(stable), fx);
    }

    /// Sends the snapshot to the core that joins in this round, if it does not have it. Says whether it did.
    fn welcome(&mut self, fx: &mut impl Effects<O>) -> bool {
        let Some(Round { batch, .. }) = &self.prepared else { return false };
        let Some(Change::Join(core)) = batch[0].change() else { return false };
        let Some(home) = &mut self.home else { return false };
        if home.welcomed {
            return false;
        }
        home.welcomed = true;
        home.missing.insert(core);
        if !P::RESTORE_FIRST {
            home.phase = HomePhase::Welcoming;
        }
        let welcome = Welcome { snapshot: self.objects.snapshot(), members: self.members, lead: self.lead };
        let (round, batch) = (self.decided.round.next(), batch.clone());
        fx.send(core, Message::Prepare { round, batch, welcome: Some(Arc::new(welcome)) });
        self.observe(fx);
        true
    }

    /// Ends the round (R1). `stable`: every live core has all rounds up to this.
    fn decide(
        &mut self,
        cut: u32,
        refusal: Option<(CoreId, Refusal<O::Refusal>)>,
        stable: Option<Version>,
        fx: &mut impl Effects<O>,
    ) {
        let Some(Round { batch, .. }) = &self.prepared else { unreachable!("a home decides its round") };
        let batch = batch.clone();
        let others = self.others();
        let before = self.decided.round;
        let decision = Decision { round: before.next(), cut, refused: refusal.is_some() };
        if !P::PUBLISH_LATE {
            fx.deciding(decision.round);
        }
        if let Some((by, refusal)) = refusal {
            let Entry { origin, seq, .. } = batch[cut as usize];
            if origin == self.me {
                self.origin.give_reason(seq, by, refusal);
            } else {
                fx.post(origin, Message::Reason { seq, by, refusal });
            }
        }
        if P::ANSWER_FIRST {
            self.apply(decision, fx);
            self.stable(decision.round, fx);
        }
        let change = batch[0].change();
        let Some(home) = &mut self.home else { return };
        let mut audience = others;
        if let Some(Change::Join(core)) = change
            && home.welcomed
            && !self.gone.contains(core)
        {
            audience.insert(core);
        }
        for core in audience.iter() {
            let stable = stable.unwrap_or(Version::START);
            fx.post(core, Message::Decide { decision, stable });
        }
        if P::PUBLISH_LATE {
            fx.deciding(decision.round);
        }
        for core in audience.iter() {
            // R5, R8. A core that waits for an answer has to hear what rides on this.
            if change.is_some() || home.owed.contains(core) || !home.sleeps(core, before, fx) {
                home.undone.insert(core);
                fx.ring(core);
            } else {
                home.undone.remove(core);
            }
        }
        if stable.is_some() {
            home.owed.clear();
        }
        home.missing.clear();
        home.settle(&batch, decision);
        // R5. After a deadline the next round would meet members that have not voted on this one.
        let is_barrier = change.is_some() || stable.is_none();
        home.phase = if is_barrier { HomePhase::Blocked } else { HomePhase::Idle };
        if !P::ANSWER_FIRST {
            self.apply(decision, fx);
        }
        if let (Some(command), Some(home)) = (self.objects.poisoned(), &mut self.home) {
            home.queue.push_back(Entry::of_the_protocol(self.me, Deed::Command(command)));
        }
        self.observe(fx);
        if P::NO_BARRIER
            && let Some(home) = &mut self.home
        {
            home.phase = HomePhase::Idle;
        }
        self.all_done(fx);
        self.end_if_fenced(fx);
    }

    /// If everyone has applied the last round: tells the origins, and goes on.
    pub(crate) fn all_done(&mut self, fx: &mut impl Effects<O>) {
        let version = self.version();
        let Some(home) = &mut self.home else { return };
        if !home.undone.is_empty() {
            return;
        }
        home.owed.remove(self.me);
        home.owed.subtract(&self.gone);
        for core in home.owed.iter() {
            fx.send(core, Message::Stable(version));
        }
        home.owed.clear();
        if home.phase == HomePhase::Blocked {
            home.phase = HomePhase::Idle;
        }
        self.stable(version, fx);
    }

    pub(crate) fn on_done(
        &mut self,
        from: CoreId,
        version: Version,
        close: Option<O::Command>,
        digests: Option<Digests>,
        fx: &mut impl Effects<O>,
    ) {
        let is_latest = version == self.version();
        let me = self.me;
        let Some(home) = &mut self.home else { return };
        if let Some(command) = close {
            home.queue.push_back(Entry::of_the_protocol(me, Deed::Command(command)));
        }
        if let Some(applied) = home.asleep.get_mut(&from) {
            *applied = version.max(*applied);
        }
        if is_latest {
            home.asleep.remove(&from);
            if P::COMPARE
                && let (Some(theirs), Some(ours)) = (digests, self.objects.digests())
                && let Some(object) = ours.differs_in(&theirs)
            {
                fx.diverged(from, version, object, self.objects.kind(object));
            }
            if home.undone.remove(from) {
                self.all_done(fx);
            }
        }
    }

    /// The home's part of a death.
    pub(crate) fn home_lost(&mut self, core: CoreId, fx: &mut impl Effects<O>) {
        let Some(home) = &mut self.home else { return };
        home.missing.remove(core);
        home.undone.remove(core);
        home.asleep.remove(&core);
        home.owed.remove(core);
        if self.members.contains(core) {
            home.want_dead(self.me, core);
        }
        let is_open = matches!(home.phase, HomePhase::Voting | HomePhase::Welcoming);
        let joins = self.prepared.as_ref().and_then(Round::change) == Some(Change::Join(core));
        if is_open && joins {
            self.decide(0, None, None, fx);
        } else {
            self.votes_in(fx);
            self.all_done(fx);
        }
    }

    /// The home's part of a point in time.
    pub(crate) fn expire_at_home(&mut self, now: Time, fx: &mut impl Effects<O>) {
        let is_due = |entry: &Entry<O::Command>| entry.deadline.is_some_and(|at| at <= now);
        let Some(home) = &mut self.home else { return };
        let Some(stalled) = home.missing.first().or(home.undone.first()) else { return };
        let round = self.prepared.as_ref().filter(|_| home.phase == HomePhase::Voting);
        if round.is_some_and(|round| round.batch.iter().any(is_due)) {
            // Undone by all, and tried again: strangers in one batch do not fail for each other.
            self.decide(0, None, None, fx);
        }
        while let Some(home) = &mut self.home
            && let Some(at) = home.queue.iter().position(is_due)
            && let Some(entry) = home.queue.remove(at)
        {
            self.tell(entry.origin, entry.seq, Outcome::Stalled(stalled), fx);
        }
    }
}

impl<C: Clone, R> Home<C, R> {
    /// Whether a core may be taken to have done what was posted to it: it is asleep, and does not lag too far behind `decided`, the last
    /// decided round (R8). Half way it is woken, without waiting for it.
    fn sleeps<O: Objects>(&mut self, core: CoreId, decided: Version, fx: &mut impl Effects<O>) -> bool {
        if !fx.is_asleep(core) {
            return false;
        }
        let lag = decided.0.saturating_sub(self.asleep.entry(core).or_insert(decided).0);
        if lag == ROUNDS_ASLEEP / 2 {
            fx.ring(core);
        }
        lag < ROUNDS_ASLEEP
    }

    /// Remembers who waits for this round, and takes back what it leaves undecided, in order.
    fn settle(&mut self, batch: &[Entry<C>], decision: Decision) {
        let cut = decision.cut as usize;
        let ended = cut + usize::from(decision.refused);
        let waiting =
            batch[..ended].iter().filter(|e| e.seq != Seq::NONE && !matches!(e.deed, Deed::Announcement(_)));
        for entry in waiting {
            self.owed.insert(entry.origin);
        }
        for entry in batch[ended..].iter().rev() {
            self.queue.push_front(entry.clone());
        }
    }
}
