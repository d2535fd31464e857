//! Who waits for what.

use std::collections::VecDeque;
use std::panic::Location;
use std::task::Waker;

use multikernel_channels::oneshot;

use crate::host::Links;
use crate::{CoreId, Denial, ObjectId, Outcome, Refusal, Seq, Version};

/// Why a proposal came to nothing, or nobody knows what it came to.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Refused {
        by: CoreId,
        denial: Denial,
    },
    Stalled {
        core: CoreId,
        task: Option<&'static Location<'static>>,
    },
    Closed,
    /// The core that had taken it has ended.
    Unknown,
}

/// What becomes of a proposal.
pub(crate) type Answer = Result<Version, Failure>;

impl Failure {
    pub(crate) fn of(outcome: Outcome<Denial>, links: &dyn Links) -> Answer {
        match outcome {
            Outcome::Committed(version) => Ok(version),
            Outcome::Refused { by, refusal: Refusal::Object(denial) } => Err(Self::Refused { by, denial }),
            Outcome::Refused { refusal: Refusal::LastCore, .. } => Err(Self::Closed),
            Outcome::Stalled(core) => Err(Self::Stalled { core, task: links.busy_with(core) }),
        }
    }
}

/// Who waits for proposals that were made together, and what they have come to.
enum Reply {
    One(oneshot::Sender<Answer>),
    Many { answers: Vec<Option<Answer>>, missing: usize, reply: oneshot::Sender<Vec<Answer>> },
}

/// What somebody has waited for. To be sent when nothing is borrowed, because it wakes.
#[must_use]
pub(crate) enum Complete {
    One(oneshot::Sender<Answer>, Answer),
    Many(oneshot::Sender<Vec<Answer>>, Vec<Answer>),
}

impl Complete {
    pub(crate) fn send(self) {
        // Nobody may wait any more: then the answer is dropped.
        match self {
            Self::One(reply, answer) => drop(reply.send(answer)),
            Self::Many(reply, answers) => drop(reply.send(answers)),
        }
    }
}

struct Waiting {
    /// The number of the first proposal, and how many there are.
    first: u64,
    count: u64,
    reply: Reply,
}

/// Those who wait for proposals of this core, in the order of their numbers, which is about that of the answers.
#[derive(Default)]
pub(crate) struct Waiters(VecDeque<Waiting>);

impl Waiters {
    pub(crate) fn put(&mut self, seq: Seq, reply: oneshot::Sender<Answer>) {
        self.0.push_back(Waiting { first: seq.0, count: 1, reply: Reply::One(reply) });
    }

    /// As many proposals, with numbers from this one on, that are answered together.
    pub(crate) fn put_all(&mut self, first: Seq, count: usize, reply: oneshot::Sender<Vec<Answer>>) {
        let answers = (0..count).map(|_| None).collect();
        let reply = Reply::Many { answers, missing: count, reply };
        self.0.push_back(Waiting { first: first.0, count: count as u64, reply });
    }

    /// What a proposal has come to. If it was the last that somebody waits for, all of it comes back.
    pub(crate) fn answer(&mut self, seq: Seq, answer: Answer) -> Option<Complete> {
        // Announcements have numbers and nobody who waits.
        let at = match self.0.front() {
            Some(front) if seq.0 < front.first + front.count => 0,
            _ => self.0.partition_point(|waiting| waiting.first + waiting.count <= seq.0),
        };
        let waiting = self.0.get_mut(at).filter(|waiting| waiting.first <= seq.0)?;
        if let Reply::Many { answers, missing, .. } = &mut waiting.reply {
            let answered = answers[(seq.0 - waiting.first) as usize].replace(answer);
            debug_assert!(answered.is_none(), "a proposal ends once");
            *missing -= 1;
            if *missing > 0 {
                return None;
            }
            let Some(Waiting { reply: Reply::Many { answers, reply, .. }, .. }) = self.0.remove(at) else {
                unreachable!("it is still there")
            };
            let answers = answers.into_iter().map(|answer| answer.expect("none is missing")).collect();
            return Some(Complete::Many(reply, answers));
        }
        match self.0.remove(at)?.reply {
            Reply::One(reply) => Some(Complete::One(reply, answer)),
            Reply::Many { .. } => unreachable!("it is one"),
        }
    }
}

/// Somebody who waits for a version, or for an object to change after a version.
struct Watcher {
    object: Option<ObjectId>,
    version: Version,
    waker: Waker,
}

/// Those who wait for rounds to be decided here.
#[derive(Default)]
pub(crate) struct Watchers(Vec<Watcher>);

impl Watchers {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn watch(&mut self, object: Option<ObjectId>, version: Version, waker: &Waker) {
        let is_known = |watcher: &Watcher| {
            (watcher.object, watcher.version) == (object, version) && watcher.waker.will_wake(waker)
        };
        if !self.0.iter().any(is_known) {
            self.0.push(Watcher { object, version, waker: waker.clone() });
        }
    }

    /// Takes out who has reason to look again. `changed` says when an object was changed last, if it is still there.
    pub(crate) fn take_due(
        &mut self,
        version: Version,
        changed: impl Fn(ObjectId) -> Option<Version>,
    ) -> Vec<Waker> {
        let is_due = |watcher: &mut Watcher| match watcher.object {
            Some(object) => changed(object).is_none_or(|changed| changed > watcher.version),
            None => version >= watcher.version,
        };
        self.0.extract_if(.., is_due).map(|watcher| watcher.waker).collect()
    }
}
