//! What happens when the home dies.

use std::collections::BTreeMap;

use crate::agreement::{Agreement, Standing, Taken};
use crate::effects::Effects;
use crate::message::{Change, Decision, Message, Report, Wire};
use crate::objects::Objects;
use crate::policy::Policy;
use crate::{CoreId, CoreSet, Lead, Reign, Term};

/// What the core that takes over knows of the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Taking {
    missing: CoreSet,
    reports: BTreeMap<CoreId, Report>,
}

impl<O: Objects, P: Policy> Agreement<O, P> {
    /// All that may have prepared or decided something: members, whoever joins, and whoever has left and may not know.
    fn concerned(&self) -> CoreSet {
        let mut all = self.members.union(self.joiners).union(self.leaving);
        if let Some(change) = self.prepared.as_ref().and_then(|round| round.change()) {
            all.insert(change.core());
        }
        all
    }

    /// Some core is gone. If nobody leads and nobody is about to, sees to it that somebody does.
    pub(crate) fn taker_lost(&mut self, fx: &mut impl Effects<O>) {
        if self.is_outside() || self.is_led() {
            return;
        }
        let lowest = self.members.union(self.leaving).minus(self.gone).first().unwrap_or(self.me);
        if self.taking.is_some() || lowest == self.me {
            self.take_over(fx);
        } else if !P::NO_ALARM {
            // R6: by its own view that core may not be the lowest, or not see that anything is wrong.
            fx.send(lowest, Message::Alarm(self.promised));
        }
    }

    /// Whether a live core leads, or is about to. After a promise only an Install makes a lead.
    pub(crate) fn is_led(&self) -> bool {
        let is_promised = self.promised > self.lead.reign.term;
        let leader = if is_promised { self.promised.taker } else { self.lead.home };
        self.taking.is_none() && !self.gone.contains(leader)
    }

    pub(crate) fn on_alarm(&mut self, heard: Term, fx: &mut impl Effects<O>) {
        // An Install that whoever raised the alarm had not heard of is on its way to it, and so is a later Flush.
        let is_over = self.lead.reign.term > heard;
        let is_later = self.promised > heard && (self.taking.is_some() || self.is_led());
        if !is_over && !is_later {
            self.promised = self.promised.max(heard);
            self.take_over(fx);
        }
    }

    /// Begins a takeover, or begins it again because one more is gone.
    fn take_over(&mut self, fx: &mut impl Effects<O>) {
        let term = Term { number: self.promised.number + 1, taker: self.me };
        let concerned = self.concerned().without(self.me);
        let missing = concerned.minus(self.gone);
        self.promised = term;
        self.home = None;
        self.taking = Some(Taking { missing, reports: BTreeMap::new() });
        self.observe(fx);
        for core in missing.iter() {
            fx.send(core, Message::Flush { term, dead: Box::new(concerned.intersection(self.gone)) });
        }
        self.reports_in(fx);
    }

    pub(crate) fn on_flush(
        &mut self,
        from: CoreId,
        term: Term,
        dead: Box<CoreSet>,
        fx: &mut impl Effects<O>,
    ) -> Taken<Wire<O>> {
        if term <= self.promised {
            return Taken::Done;
        }
        // R3: what the dead have sent comes first.
        if P::NO_DRAIN {
            self.gone = self.gone.union(*dead);
        }
        if !dead.minus(self.gone).is_empty() {
            return Taken::Later(Message::Flush { term, dead });
        }
        self.promised = term;
        self.taking = None;
        self.home = None;
        self.observe(fx);
        fx.send(from, Message::State { term, report: self.report() });
        Taken::Done
    }

    fn report(&self) -> Report {
        Report {
            is_member: self.standing == Standing::Member,
            decided: self.decided,
            prepared: self.prepared.as_ref().map(|round| round.prepared),
        }
    }

    pub(crate) fn on_state(&mut self, from: CoreId, term: Term, report: Report, fx: &mut impl Effects<O>) {
        if term != self.promised {
            return;
        }
        let Some(taking) = &mut self.taking else { return };
        if taking.missing.remove(from) {
            taking.reports.insert(from, report);
            self.reports_in(fx);
        }
    }

    /// Ends the takeover, if no report is missing.
    fn reports_in(&mut self, fx: &mut impl Effects<O>) {
        let Some(taking) = &self.taking else { return };
        if !taking.missing.is_empty() {
            return;
        }
        let mut reports = taking.reports.clone();
        reports.insert(self.me, self.report());
        let term = self.promised;
        let joins = match self.prepared.as_ref().and_then(|round| round.change()) {
            Some(Change::Join(core)) if !self.gone.contains(core) => Some(core),
            _ => None,
        };
        let (settled, doubt) = verdict::<P>(&reports, joins);
        let home = self.next_home(settled, doubt);
        fx.deciding(doubt.map_or(settled.round, |_| settled.round.next()));
        for core in self.concerned().minus(self.gone).without(self.me).iter() {
            fx.send(core, Message::Install { term, settled, doubt, home });
        }
        self.install(term, settled, doubt, home, fx);
    }

    /// This core, unless it has left or is about to.
    fn next_home(&self, settled: Decision, doubt: Option<u32>) -> CoreId {
        let leaves = match self.prepared.as_ref().and_then(|round| round.change()) {
            Some(Change::Leave { core, .. }) => Some(core),
            _ => None,
        };
        let is_settled = settled.round == self.version().next() && settled.cut == 1;
        let is_doubt = settled.round == self.version() && doubt == Some(1);
        let mut members = self.members;
        if let Some(core) = leaves
            && (is_settled || is_doubt)
        {
            members.remove(core);
        }
        let live = members.minus(self.gone);
        if live.contains(self.me) { self.me } else { live.first().unwrap_or(self.me) }
    }

    pub(crate) fn on_install(
        &mut self,
        term: Term,
        settled: Decision,
        doubt: Option<u32>,
        home: CoreId,
        fx: &mut impl Effects<O>,
    ) {
        if term >= self.promised {
            self.install(term, settled, doubt, home, fx);
        }
    }

    fn install(
        &mut self,
        term: Term,
        settled: Decision,
        doubt: Option<u32>,
        home: CoreId,
        fx: &mut impl Effects<O>,
    ) {
        self.promised = term;
        self.taking = None;
        if self.is_outside() {
            return;
        }
        let doubtful = doubt.map(|cut| Decision { round: settled.round.next(), cut, refused: false });
        let last = doubtful.unwrap_or(settled);
        for decision in [Some(settled), doubtful].into_iter().flatten() {
            let is_open = matches!(self.standing, Standing::Member | Standing::Joiner);
            if is_open && decision.round == self.version().next() {
                self.apply(decision, fx);
            }
        }
        if self.standing == Standing::Joiner {
            return;
        }
        self.follow(Lead { reign: Reign { term, since: last.round }, home });
        self.observe(fx);
        self.say_done(fx);
        self.send_proposals(fx);
        self.all_done(fx);
        self.taker_lost(fx);
        self.end_if_fenced(fx);
    }
}

/// How the rounds in doubt end: the last that anybody has decided, and the one after it if anybody has prepared that. `joins` is
/// the core that joins in the round that the core which takes over has prepared.
fn verdict<P: Policy>(reports: &BTreeMap<CoreId, Report>, joins: Option<CoreId>) -> (Decision, Option<u32>) {
    let settled = reports.values().map(|report| report.decided).max_by_key(|decision| decision.round);
    let settled = settled.expect("there is the report of the core that takes over");
    let next = |report: &Report| report.prepared.filter(|_| report.decided.round == settled.round);
    if reports.values().all(|report| next(report).is_none()) {
        return (settled, None);
    }
    let voters = reports.iter().filter(|(core, report)| report.is_member || joins == Some(**core));
    let prepared = voters.map(|(_, report)| next(report)).min().flatten();
    let heard_joiner = joins.is_none_or(|core| reports.contains_key(&core));
    let cut = prepared.filter(|_| heard_joiner && !P::ANY_SURVIVOR).unwrap_or(0);
    (settled, Some(cut))
}
