//! What waits where for the parts of a sharded object on one core. Plain state: nothing is sent and nothing of a user's runs here.

use std::collections::{BTreeMap, VecDeque};

use crate::sharded::mail::{Mail, Request, Token};
use crate::sharded::table::Table;
use crate::{CoreId, CoreSet};

/// The place of one slot on one core.
pub(super) struct Seat<T> {
    pub(super) part: Option<Box<T>>,
    /// What the slot holds is here. If it is neither in `part` nor out, it is to be made.
    pub(super) is_here: bool,
    /// A closure has the part.
    pub(super) is_out: bool,
    /// The life of what is here, or was last.
    pub(super) life: u32,
    pub(super) queue: VecDeque<Request<T>>,
}

impl<T> Seat<T> {
    pub(super) fn empty() -> Self {
        Self { part: None, is_here: false, is_out: false, life: 0, queue: VecDeque::new() }
    }
}

/// A part that a closure has, or that is to be made for it.
pub(crate) struct Taken<T> {
    pub(super) part: Option<Box<T>>,
    pub(super) life: u32,
}

pub(super) struct State<T> {
    pub(super) table: Table,
    /// How many requests wait for one slot.
    pub(super) bound: usize,
    /// The replica is gone.
    pub(super) is_closed: bool,
    pub(super) seats: Box<[Seat<T>]>,
    /// Requests of this core for which their owner had no room. They wait for `Open`, or for the view to change.
    pub(super) parked: BTreeMap<usize, VecDeque<Request<T>>>,
    /// Who has to hear when there is room.
    pub(super) owed: BTreeMap<usize, CoreSet>,
    /// Mail that an owner has not taken, which will therefore not be the owner for long.
    pub(super) stranded: Vec<Mail<T>>,
}

/// What becomes of a request.
pub(super) enum Verdict<T> {
    Queued,
    Forward(CoreId, Request<T>),
    Full(CoreId, Request<T>),
    Parked,
}

impl<T> State<T> {
    /// Whether a closure may have the part now.
    pub(super) fn is_ready(&self, me: CoreId, slot: usize) -> bool {
        let is_mine = self.table.owner(slot) == me && self.table.planned(slot).is_none_or(|next| next == me);
        let seat = &self.seats[slot];
        is_mine && seat.is_here && !seat.is_out && !self.is_closed
    }

    /// Whether requests for the slot are to wait here, if they have to wait.
    pub(super) fn is_place_to_wait(&self, me: CoreId, slot: usize) -> bool {
        self.table.owner(slot) == me || self.table.planned(slot) == Some(me)
    }

    pub(super) fn take(&mut self, slot: usize) -> Taken<T> {
        let seat = &mut self.seats[slot];
        seat.is_out = true;
        Taken { part: seat.part.take(), life: seat.life }
    }

    /// Takes in a request, or says whose it is. Abandoned ones that had to make room are put into `garbage`.
    pub(super) fn place(
        &mut self,
        me: CoreId,
        mut request: Request<T>,
        garbage: &mut Vec<Request<T>>,
    ) -> Verdict<T> {
        let slot = request.slot;
        if request.origin.is_none() && self.parked.contains_key(&slot) {
            // Earlier ones of this core wait.
            self.park(Request { origin: Some(me), ..request }, garbage);
            return Verdict::Parked;
        }
        let origin = *request.origin.get_or_insert(me);
        if !self.is_place_to_wait(me, slot) {
            return Verdict::Forward(self.table.owner(slot), request);
        }
        let queue = &mut self.seats[slot].queue;
        if queue.len() >= self.bound {
            prune(queue, garbage);
        }
        if queue.len() < self.bound {
            queue.push_back(request);
            return Verdict::Queued;
        }
        let owed = self.owed.entry(slot).or_default();
        owed.insert(origin);
        if origin != me {
            return Verdict::Full(origin, request);
        }
        self.park(request, garbage);
        Verdict::Parked
    }

    pub(super) fn park(&mut self, request: Request<T>, garbage: &mut Vec<Request<T>>) {
        let parked = self.parked.entry(request.slot).or_default();
        // As many as tasks wait: what nobody waits for is looked for whenever there may be twice as many.
        if parked.len() >= self.bound && parked.len().is_power_of_two() {
            prune(parked, garbage);
        }
        parked.push_back(request);
    }
}

pub(super) fn prune<T>(requests: &mut VecDeque<Request<T>>, garbage: &mut Vec<Request<T>>) {
    let (abandoned, waited_for): (Vec<_>, Vec<_>) =
        requests.drain(..).partition(|request| request.errand.is_abandoned());
    garbage.extend(abandoned);
    requests.extend(waited_for);
}

/// What is to be sent once nothing is borrowed, by whom it is for. Sent, it runs no code of users.
pub(super) struct Outgoing<T> {
    pub(super) tokens: BTreeMap<CoreId, Vec<Token<T>>>,
    pub(super) requests: BTreeMap<CoreId, Vec<Request<T>>>,
    /// Slots of which these cores have to hear that there may be room.
    pub(super) open: Vec<(usize, CoreSet)>,
}

impl<T> Outgoing<T> {
    pub(super) fn new() -> Self {
        Self { tokens: BTreeMap::new(), requests: BTreeMap::new(), open: Vec::new() }
    }
}

impl<T> State<T> {
    /// Sends on what is here of a slot that belongs elsewhere.
    pub(super) fn leave(&mut self, slot: usize, outgoing: &mut Outgoing<T>) {
        let owner = self.table.owner(slot);
        let seat = &mut self.seats[slot];
        if seat.is_out {
            // When it comes back.
            return;
        }
        if std::mem::take(&mut seat.is_here) {
            let token = Token { slot, life: seat.life, part: seat.part.take() };
            outgoing.tokens.entry(owner).or_default().push(token);
        }
        if !seat.queue.is_empty() {
            outgoing.requests.entry(owner).or_default().extend(seat.queue.drain(..));
        }
        outgoing.open.extend(self.owed.remove(&slot).map(|cores| (slot, cores)));
    }
}
