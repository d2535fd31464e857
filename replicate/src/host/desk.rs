//! What the protocol asks for while it is at work.

use crate::host::Links;
use crate::{CoreId, Denial, Effects, Outcome, Replicas, Seq, Version, Wire};

/// Passes messages on at once and keeps the rest for when the agreement is not borrowed any more.
pub(crate) struct Desk<'a> {
    links: &'a dyn Links,
    pub(crate) answers: Vec<(Seq, Outcome<Denial>)>,
    pub(crate) has_advanced: bool,
    pub(crate) has_left: bool,
}

impl<'a> Desk<'a> {
    /// `answers` is empty memory for them.
    pub(crate) fn new(links: &'a dyn Links, answers: Vec<(Seq, Outcome<Denial>)>) -> Self {
        Self { links, answers, has_advanced: false, has_left: false }
    }
}

impl Effects<Replicas> for Desk<'_> {
    fn post(&mut self, to: CoreId, message: Wire<Replicas>) {
        self.links.post(to, message);
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

    fn diverged(&mut self, core: CoreId, version: Version) {
        self.links.diverged(core, version);
    }
}
