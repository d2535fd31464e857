//! A model of the same round with relays: each forwards before it acts, and passes on one vote and one Done for all below it.

use multikernel_replicate::{CoreId, Tree};

use super::wires::Wires;
use super::{Machine, Took};

#[derive(Clone, Copy)]
enum Message {
    Propose,
    Prepare,
    Vote,
    Decide,
    Done,
    Stable,
}

struct Relays<'a> {
    tree: &'a Tree,
    origin: CoreId,
    wires: Wires<'a, Message>,
    /// How many are missing at each core before it speaks for all below it and for itself: of the votes, and of the Dones.
    votes: Vec<usize>,
    dones: Vec<usize>,
    took: Took,
}

pub(crate) fn run(machine: &Machine, tree: &Tree, origin: CoreId) -> Took {
    let missing: Vec<_> = tree.cores().iter().map(|core| tree.children(core).len() + 1).collect();
    let wires = Wires::new(machine);
    let mut relays =
        Relays { tree, origin, wires, votes: missing.clone(), dones: missing, took: Took::default() };
    let home = tree.root();
    if origin == home {
        relays.handle(home, Message::Propose);
    } else {
        relays.wires.send(origin, home, Message::Propose);
    }
    while let Some((_, me, message)) = relays.wires.read() {
        relays.handle(me, message);
    }
    assert!(relays.dones.iter().all(|missing| *missing == 0), "everyone has the round");
    relays.took
}

impl Relays<'_> {
    fn handle(&mut self, me: CoreId, message: Message) {
        match message {
            Message::Propose | Message::Prepare => {
                self.forward(me, Message::Prepare);
                self.vote(me);
            }
            Message::Vote => self.vote(me),
            Message::Decide => self.decide(me),
            Message::Done => self.done(me),
            Message::Stable => self.took.answered = self.wires.now(me),
        }
    }

    fn forward(&mut self, me: CoreId, message: Message) {
        for child in self.tree.children(me) {
            self.wires.send(me, *child, message);
        }
    }

    /// One vote more is here.
    fn vote(&mut self, me: CoreId) {
        self.votes[me.index()] -= 1;
        if self.votes[me.index()] > 0 {
            return;
        }
        match self.tree.parent(me) {
            Some(parent) => self.wires.send(me, parent, Message::Vote),
            None => self.decide(me),
        }
    }

    fn decide(&mut self, me: CoreId) {
        self.forward(me, Message::Decide);
        self.took.committed = self.took.committed.max(self.wires.now(me));
        self.done(me);
    }

    /// One more is done.
    fn done(&mut self, me: CoreId) {
        self.dones[me.index()] -= 1;
        if self.dones[me.index()] > 0 {
            return;
        }
        match self.tree.parent(me) {
            Some(parent) => self.wires.send(me, parent, Message::Done),
            None if self.origin == me => self.took.answered = self.wires.now(me),
            None => self.wires.send(me, self.origin, Message::Stable),
        }
    }
}
