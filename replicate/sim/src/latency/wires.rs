//! Cores that do one thing at a time, and what is on its way between them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use multikernel_replicate::CoreId;

use super::Machine;

/// When something arrives, which of all messages it is, from where and to where.
type Arrival = (u64, u64, CoreId, CoreId);

pub(crate) struct Wires<'a, M> {
    machine: &'a Machine,
    arrivals: BinaryHeap<Reverse<Arrival>>,
    messages: BTreeMap<u64, M>,
    sent: u64,
    /// Until when each core is busy.
    busy: Vec<u64>,
}

impl<'a, M> Wires<'a, M> {
    pub(crate) fn new(machine: &'a Machine) -> Self {
        let busy = vec![0; machine.topology().cores().len()];
        Self { machine, arrivals: BinaryHeap::new(), messages: BTreeMap::new(), sent: 0, busy }
    }

    /// What time it is at that core.
    pub(crate) fn now(&self, core: CoreId) -> u64 {
        self.busy[core.index()]
    }

    /// A core sends, which takes it until it is done.
    pub(crate) fn send(&mut self, from: CoreId, to: CoreId, message: M) {
        let hop = self.machine.hop(from, to);
        self.busy[from.index()] += hop.send;
        self.sent += 1;
        self.arrivals.push(Reverse((self.now(from) + hop.flight, self.sent, from, to)));
        self.messages.insert(self.sent, message);
    }

    /// The next message has been read: from whom, by whom. Each core reads in the order of arrival, when it is free.
    ///
    /// What a core does comes of what it reads, so nothing can arrive earlier than what is read here.
    pub(crate) fn read(&mut self) -> Option<(CoreId, CoreId, M)> {
        let Reverse((arrival, number, from, to)) = self.arrivals.pop()?;
        let busy = &mut self.busy[to.index()];
        *busy = (*busy).max(arrival) + self.machine.hop(from, to).receive;
        let message = self.messages.remove(&number).expect("each arrives once");
        Some((from, to, message))
    }
}
