//! What the protocol asks for while it is at work.

use std::cell::RefCell;

use crate::host::Links;
use crate::{CoreId, Denial, Effects, Message, ObjectId, Outcome, Replicas, Seq, Version, Wire};

/// A Vote or a Done that has not been sent: perhaps the next one says all that it says.
pub(crate) type Reply = Option<(CoreId, Wire<Replicas>)>;

/// Passes messages on at once, but for a [`Reply`] while messages are read: a core that has slept has many rounds to read, and the home
/// wants to hear of the last. Keeps the rest for when the agreement is not borrowed any more.
pub(crate) struct Desk<'a> {
    links: &'a dyn Links,
    reply: &'a RefCell<Reply>,
    reads: bool,
    pub(crate) answers: Vec<(Seq, Outcome<Denial>)>,
    pub(crate) has_advanced: bool,
    pub(crate) has_left: bool,
}

impl<'a> Desk<'a> {
    /// `answers` is empty memory for them.
    pub(crate) fn new(
        links: &'a dyn Links,
        reply: &'a RefCell<Reply>,
        reads: bool,
        answers: Vec<(Seq, Outcome<Denial>)>,
    ) -> Self {
        Self { links, reply, reads, answers, has_advanced: false, has_left: false }
    }
}

/// Sends what has waited, before anything else goes to that core.
pub(crate) fn flush(reply: &RefCell<Reply>, links: &dyn Links) {
    if let Some((to, message)) = reply.take() {
        links.post(to, message);
        links.ring(to);
    }
}

impl Effects<Replicas> for Desk<'_> {
    fn post(&mut self, to: CoreId, message: Wire<Replicas>) {
        flush(self.reply, self.links);
        self.links.post(to, message);
    }

    fn send(&mut self, to: CoreId, message: Wire<Replicas>) {
        if !self.reads || !matches!(message, Message::Vote { .. } | Message::Done { .. }) {
            self.post(to, message);
            return self.ring(to);
        }
        let is_told = |(at, reply): &mut (CoreId, Wire<Replicas>)| *at == to && reply.is_told_by(&message);
        drop(self.reply.borrow_mut().take_if(is_told));
        flush(self.reply, self.links);
        self.reply.replace(Some((to, message)));
    }

    fn ring(&mut self, to: CoreId) {
        self.links.ring(to);
    }

    fn is_asleep(&mut self, core: CoreId) -> bool {
        self.links.is_asleep(core)
    }

    fn deciding(&mut self, version: Version) {
        self.links.deciding(version);
    }

    fn advanced(&mut self, _: Version) {
        self.has_advanced = true;
    }

    fn answer(&mut self, seq: Seq, outcome: Outcome<Denial>) {
        self.answers.push((seq, outcome));
    }

    fn left(&mut self) {
        self.has_left = true;
    }

    fn diverged(&mut self, core: CoreId, version: Version, object: ObjectId, kind: &'static str) {
        self.links.diverged(core, version, object, kind);
    }
}
