//! Who waits for what.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::Location;
use std::rc::Rc;
use std::task::Waker;

use multikernel_channels::oneshot;

use crate::host::Links;
use crate::{CoreId, Denial, ObjectId, Outcome, Refusal, Seq, Version};

/// Why a proposal came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused { by: CoreId, denial: Denial },
    Stalled { core: CoreId, task: Option<&'static Location<'static>> },
    Closed,
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

/// Proposals that are answered together.
pub(crate) struct Batch {
    answers: Vec<Option<Answer>>,
    missing: usize,
    reply: Option<oneshot::Sender<Vec<Answer>>>,
}

impl Batch {
    pub(crate) fn new(size: usize, reply: oneshot::Sender<Vec<Answer>>) -> Rc<RefCell<Self>> {
        let answers = (0..size).map(|_| None).collect();
        Rc::new(RefCell::new(Self { answers, missing: size, reply: Some(reply) }))
    }

    /// What to send to whom, if this was the last.
    fn answer(&mut self, at: usize, answer: Answer) -> Option<(oneshot::Sender<Vec<Answer>>, Vec<Answer>)> {
        self.answers[at] = Some(answer);
        self.missing -= 1;
        let reply = self.reply.take_if(|_| self.missing == 0)?;
        Some((reply, self.answers.drain(..).flatten().collect()))
    }
}

/// Who waits for the answer to a proposal.
pub(crate) enum Waiter {
    One(oneshot::Sender<Answer>),
    Many(Rc<RefCell<Batch>>, usize),
}

impl Waiter {
    pub(crate) fn answer(self, answer: Answer) {
        match self {
            // Nobody may wait any more: then the answer is dropped.
            Self::One(reply) => drop(reply.send(answer)),
            Self::Many(batch, at) => {
                let last = batch.borrow_mut().answer(at, answer);
                last.into_iter().for_each(|(reply, answers)| drop(reply.send(answers)));
            }
        }
    }
}

/// Those who wait for proposals of this core, by number. Numbers are given out in order and answered about so.
#[derive(Default)]
pub(crate) struct Waiters {
    /// The number of the first.
    first: u64,
    waiters: VecDeque<Option<Waiter>>,
}

impl Waiters {
    pub(crate) fn put(&mut self, seq: Seq, waiter: Waiter) {
        if self.waiters.is_empty() {
            self.first = seq.0;
        }
        // Announcements have numbers and nobody who waits.
        let at = self.index(seq).expect("numbers only grow");
        self.waiters.resize_with(at, || None);
        self.waiters.push_back(Some(waiter));
    }

    pub(crate) fn take(&mut self, seq: Seq) -> Option<Waiter> {
        let at = self.index(seq)?;
        let waiter = self.waiters.get_mut(at)?.take();
        while let Some(None) = self.waiters.front() {
            self.waiters.pop_front();
            self.first += 1;
        }
        waiter
    }

    fn index(&self, seq: Seq) -> Option<usize> {
        usize::try_from(seq.0.checked_sub(self.first)?).ok()
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
