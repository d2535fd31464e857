//! The participant.

use std::sync::Arc;

use crate::agreement::{Agreement, Round, Standing, Taken};
use crate::effects::Effects;
use crate::home::Home;
use crate::message::{Change, Decision, Deed, Entry, Message, Outcome, Refusal, Seq, Welcome, Wire};
use crate::objects::{Asker, Objects};
use crate::policy::Policy;
use crate::{CoreId, CoreSet, Lead, Reign, Version};

impl<O: Objects, P: Policy> Agreement<O, P> {
    pub(crate) fn on_prepare(
        &mut self,
        from: CoreId,
        round: Version,
        batch: Arc<[Entry<O::Command>]>,
        welcome: Option<Arc<Welcome<O::Snapshot>>>,
        fx: &mut impl Effects<O>,
    ) -> Taken<Wire<O>> {
        let (prepared, refusal) = match (self.standing, welcome) {
            (Standing::Joiner, Some(welcome)) => {
                if self.prepared.is_some() {
                    return Taken::Done;
                }
                self.enter(round, &batch, &welcome)
            }
            (Standing::Member, welcome) => {
                let next = self.version().next();
                let is_due = round == next && self.prepared.is_none();
                if from != self.lead.home || (!is_due && round <= next) {
                    return Taken::Done;
                }
                let unread = match batch[0].change() {
                    // R3: a death is voted on when nothing more can come from the dead.
                    Some(Change::Dead(core)) => !self.gone.contains(core) && !P::NO_DRAIN,
                    // An earlier life of that core is gone, and its Knock is on the way; or it is gone again, then the home
                    // gives up.
                    Some(Change::Join(core)) => self.gone.contains(core),
                    _ => false,
                };
                if !is_due || unread {
                    return Taken::Later(Message::Prepare { round, batch, welcome });
                }
                self.prepare(&batch)
            }
            _ => return Taken::Done,
        };
        self.prepared = Some(Round { batch, prepared });
        self.observe(fx);
        fx.send(from, Message::Vote { round, prepared, refusal });
        Taken::Done
    }

    /// Prepares entries in order, up to the first own refusal.
    fn prepare(&mut self, batch: &[Entry<O::Command>]) -> (u32, Option<Refusal<O::Refusal>>) {
        let mut prepared = 0;
        for entry in batch {
            let outcome = match &entry.deed {
                Deed::Command(command) => self.objects.prepare(command, Asker::Member),
                Deed::Announcement(_) => Ok(()),
                Deed::View(change) => self.objects.prepare_view(change),
            };
            if let Err(refusal) = outcome {
                return (prepared, Some(Refusal::Object(refusal)));
            }
            prepared += 1;
        }
        (prepared, None)
    }

    /// Becomes what the snapshot says, to vote on its own join.
    fn enter(
        &mut self,
        round: Version,
        batch: &[Entry<O::Command>],
        welcome: &Welcome<O::Snapshot>,
    ) -> (u32, Option<Refusal<O::Refusal>>) {
        self.decided = Decision { round: round.previous(), cut: 0, refused: false };
        self.members = welcome.members;
        self.lead = welcome.lead;
        self.promised = self.promised.max(welcome.lead.reign.term);
        match self.objects.restore(&welcome.snapshot) {
            Ok(()) => self.prepare(batch),
            Err(refusal) => (0, Some(Refusal::Object(refusal))),
        }
    }

    pub(crate) fn on_decide(
        &mut self,
        from: CoreId,
        decision: Decision,
        stable: Version,
        fx: &mut impl Effects<O>,
    ) {
        let is_next = decision.round == self.version().next();
        let votes = match self.standing {
            Standing::Member => true,
            Standing::Joiner => self.prepared.is_some(),
            Standing::Left | Standing::Ended => false,
        };
        if from != self.lead.home || !votes || !is_next {
            return;
        }
        self.stable(stable, fx);
        self.apply(decision, fx);
        self.say_done(fx);
        self.end_if_fenced(fx);
    }

    pub(crate) fn say_done(&mut self, fx: &mut impl Effects<O>) {
        if self.lead.home == self.me {
            return;
        }
        let digests = if P::COMPARE { self.objects.digests() } else { None };
        let close = self.objects.poisoned();
        let (reign, version) = (self.lead.reign, self.version());
        fx.send(self.lead.home, Message::Done { reign, version, close, digests });
    }

    /// Ends the next round here: undoes what is not committed, latest first, then commits.
    pub(crate) fn apply(&mut self, decision: Decision, fx: &mut impl Effects<O>) {
        assert_eq!(decision.round, self.version().next(), "R2: rounds are decided one by one");
        let round = self.prepared.take();
        assert!(round.is_some() || decision.cut == 0, "what commits was prepared here");
        self.decided = decision;
        let Some(Round { batch, prepared }) = round else { return fx.advanced(decision.round) };
        let (committed, rest) = batch.split_at(decision.cut as usize);
        let undone = if P::FORGET_ABORT { 0 } else { prepared.saturating_sub(decision.cut) as usize };
        for entry in rest[..undone].iter().rev() {
            match &entry.deed {
                Deed::Command(command) => self.objects.abort(command),
                Deed::Announcement(_) => {}
                Deed::View(change) => self.objects.abort_view(change),
            }
        }
        if let (Some(Deed::View(Change::Join(core))), true) =
            (rest.first().map(|e| &e.deed), decision.refused)
        {
            self.joiners.remove(*core);
        }
        for entry in committed {
            match &entry.deed {
                Deed::Command(command) => self.objects.commit(command),
                Deed::Announcement(command) => self.objects.commit_announced(command),
                Deed::View(change) => self.objects.commit_view(change),
            }
        }
        self.origin.decided(self.me, &batch, decision);
        if self.standing == Standing::Joiner && committed.is_empty() {
            self.stay_outside();
        }
        fx.advanced(decision.round);
        if let Some(change) = committed.first().and_then(Entry::change) {
            self.change_view(change, fx);
        }
        self.send_proposals(fx);
    }

    /// The join did not come about. The next home asks again, unless somebody refused.
    fn stay_outside(&mut self) {
        self.objects.clear();
        self.members = CoreSet::EMPTY;
        self.decided = Decision { round: Version::START, cut: 0, refused: false };
    }

    fn change_view(&mut self, change: Change, fx: &mut impl Effects<O>) {
        match change {
            Change::Join(core) => {
                self.joiners.remove(core);
                if !(P::STALE_VIEW && self.home.is_some()) {
                    self.members.insert(core);
                }
                if core == self.me {
                    self.standing = Standing::Member;
                    fx.answer(Seq::NONE, Outcome::Committed(self.version()));
                }
            }
            Change::Dead(core) => {
                self.members.remove(core);
                if let Some(home) = &mut self.home {
                    home.queue.retain(|entry| entry.origin != core);
                }
            }
            Change::Leave { core, next } => {
                self.members.remove(core);
                if core == self.me {
                    self.standing = Standing::Left;
                }
                if !self.gone.contains(core) {
                    self.leaving.insert(core);
                }
                if let Some(home) = next {
                    let reign = Reign { since: self.version(), ..self.lead.reign };
                    self.follow(Lead { reign, home });
                }
                if core != self.me {
                    fx.send(core, Message::Fence);
                }
            }
        }
    }

    /// Ends, if this core has left and every member that lives knows it.
    pub(crate) fn end_if_fenced(&mut self, fx: &mut impl Effects<O>) {
        if self.standing == Standing::Left && self.members.minus(self.gone).minus(self.fenced).is_empty() {
            self.observe(fx);
            self.standing = Standing::Ended;
            fx.left();
        }
    }

    /// There is another home, or another reign of the same.
    pub(crate) fn follow(&mut self, lead: Lead) {
        self.lead = lead;
        self.origin.forget_sent();
        self.home = None;
        if lead.home == self.me {
            let mut home =
                Home::waiting_for(self.members.union(self.leaving).minus(self.gone).without(self.me));
            for core in self.joiners.iter() {
                home.want_join(self.me, core);
            }
            for core in self.members.intersection(self.gone).iter() {
                home.want_dead(self.me, core);
            }
            if let Some(command) = self.objects.poisoned() {
                home.queue.push_back(Entry::of_the_protocol(self.me, Deed::Command(command)));
            }
            self.home = Some(home);
        }
    }
}
