//! The proposals that a core has made and not seen the end of.

use std::collections::VecDeque;

use crate::limits::PROPOSALS;
use crate::message::{Decision, Deed, Entry, Outcome, Refusal, Seq, Time};
use crate::{CoreId, Version};

/// How far a proposal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fate {
    /// It waits here for its turn.
    Waiting,
    /// The home has it.
    Sent,
    /// Committed in that round, which others may not have applied yet.
    Committed(Version),
    /// Refused in that round, likewise.
    Refused(Version),
}

impl Fate {
    fn is_decided(self) -> bool {
        matches!(self, Self::Committed(_) | Self::Refused(_))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Proposal<C, R> {
    entry: Entry<C>,
    fate: Fate,
    reason: Option<(CoreId, Refusal<R>)>,
}

/// Everything a core has proposed and not seen the end of, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin<C, R> {
    last: Seq,
    open: VecDeque<Proposal<C, R>>,
    /// How many of them do not wait for their turn any more.
    sent: usize,
    /// All before this one do not.
    unsent_from: usize,
    /// How many of them are decided.
    decided: usize,
    stable: Version,
}

impl<C: Clone, R: Clone> Origin<C, R> {
    pub(crate) fn new() -> Self {
        let open = VecDeque::new();
        Self { last: Seq::NONE, open, sent: 0, unsent_from: 0, decided: 0, stable: Version::START }
    }

    pub(crate) fn add(&mut self, origin: CoreId, deed: Deed<C>, deadline: Option<Time>) -> Seq {
        self.last = self.next_seq();
        let entry = Entry { origin, seq: self.last, deed, deadline };
        self.open.push_back(Proposal { entry, fate: Fate::Waiting, reason: None });
        self.last
    }

    /// The number that comes next.
    pub(crate) fn next_seq(&self) -> Seq {
        Seq(self.last.0 + 1)
    }

    /// The next proposal to send, if the home may have one more. It then counts as sent.
    pub(crate) fn next_to_send(&mut self) -> Option<Entry<C>> {
        if self.sent >= PROPOSALS {
            return None;
        }
        let waits = |proposal: &Proposal<C, R>| proposal.fate == Fate::Waiting;
        self.unsent_from += self.open.range(self.unsent_from..).position(waits)?;
        let next = &mut self.open[self.unsent_from];
        self.unsent_from += 1;
        next.fate = Fate::Sent;
        self.sent += 1;
        Some(next.entry.clone())
    }

    fn remove(&mut self, at: usize) -> Option<Proposal<C, R>> {
        let proposal = if at == 0 { self.open.pop_front()? } else { self.open.remove(at)? };
        self.sent -= usize::from(proposal.fate != Fate::Waiting);
        self.decided -= usize::from(proposal.fate.is_decided());
        self.unsent_from -= usize::from(at < self.unsent_from);
        Some(proposal)
    }

    /// There is a new home, which knows of nothing that is undecided.
    pub(crate) fn forget_sent(&mut self) {
        for proposal in self.open.iter_mut().filter(|proposal| proposal.fate == Fate::Sent) {
            proposal.fate = Fate::Waiting;
            proposal.reason = None;
            self.sent -= 1;
        }
        self.unsent_from = 0;
    }

    /// A round with these entries is decided here.
    pub(crate) fn decided(&mut self, me: CoreId, batch: &[Entry<C>], decision: Decision) {
        for (at, entry) in batch.iter().enumerate().filter(|(_, entry)| entry.origin == me) {
            let Some(index) = self.index(entry.seq) else { continue };
            let proposal = &mut self.open[index];
            let was = proposal.fate;
            if at < decision.cut as usize {
                proposal.fate = Fate::Committed(decision.round);
            } else if at == decision.cut as usize && decision.refused {
                proposal.fate = Fate::Refused(decision.round);
            }
            let is_decided = !was.is_decided() && proposal.fate.is_decided();
            self.decided += usize::from(is_decided);
            self.sent += usize::from(is_decided && was == Fate::Waiting);
            let is_over = matches!(proposal.fate, Fate::Committed(_))
                && matches!(proposal.entry.deed, Deed::Announcement(_));
            if is_over {
                self.remove(index);
            }
        }
    }

    pub(crate) fn give_reason(&mut self, seq: Seq, by: CoreId, refusal: Refusal<R>) {
        if let Some(at) = self.index(seq) {
            self.open[at].reason = Some((by, refusal));
        }
    }

    /// Every live core has these rounds. What they decided can be answered.
    pub(crate) fn stable(&mut self, version: Version) {
        self.stable = self.stable.max(version);
    }

    /// Takes out a proposal that can be answered.
    pub(crate) fn next_answer(&mut self) -> Option<(Seq, Outcome<R>)> {
        if self.decided == 0 {
            return None;
        }
        let stable = self.stable;
        let at = self.open.iter().position(|proposal| match proposal.fate {
            Fate::Waiting | Fate::Sent => false,
            Fate::Committed(version) => version <= stable,
            Fate::Refused(version) => version <= stable && proposal.reason.is_some(),
        })?;
        let proposal = &mut self.open[at];
        let seq = proposal.entry.seq;
        let outcome = match (proposal.fate, proposal.reason.take()) {
            (Fate::Refused(_), Some((by, refusal))) => Outcome::Refused { by, refusal },
            (Fate::Committed(version) | Fate::Refused(version), _) => Outcome::Committed(version),
            (Fate::Waiting | Fate::Sent, _) => unreachable!("it is decided"),
        };
        self.remove(at);
        Some((seq, outcome))
    }

    /// Takes out a proposal that the home gives up. Says whether somebody waits for it.
    pub(crate) fn finish(&mut self, seq: Seq) -> bool {
        let proposal = self.index(seq).and_then(|at| self.remove(at));
        proposal.is_some_and(|proposal| !matches!(proposal.entry.deed, Deed::Announcement(_)))
    }

    /// Takes out a proposal that is still here although its deadline has passed.
    pub(crate) fn next_expired(&mut self, now: Time) -> Option<Seq> {
        let due =
            |p: &Proposal<C, R>| p.fate == Fate::Waiting && p.entry.deadline.is_some_and(|at| at <= now);
        let at = self.open.iter().position(due)?;
        self.remove(at).map(|proposal| proposal.entry.seq)
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let waiting = self.open.iter().filter(|proposal| proposal.fate == Fate::Waiting);
        waiting.filter_map(|proposal| proposal.entry.deadline).min()
    }

    /// How many proposals are not answered.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    fn index(&self, seq: Seq) -> Option<usize> {
        // Where it is if none is missing between.
        let guess = seq.0.checked_sub(self.open.front()?.entry.seq.0)? as usize;
        if self.open.get(guess).is_some_and(|proposal| proposal.entry.seq == seq) {
            return Some(guess);
        }
        self.open.binary_search_by_key(&seq, |proposal| proposal.entry.seq).ok()
    }
}
