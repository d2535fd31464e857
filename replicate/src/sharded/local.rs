//! What one core has of a sharded object: its parts, and what waits for them.
//!
//! Nothing of a user's runs while any of this is borrowed: a part is taken out of its seat for as long as a closure has it.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::host;
use crate::replica::contain;
use crate::sharded::error::ShardError;
use crate::sharded::mail::{Common, Mail, Parcel, Request, Token, discard};
use crate::sharded::owners::{Arrived, Owners};
use crate::sharded::state::{Outgoing, Seat, State, Taken, Verdict};
use crate::sharded::table::Table;
use crate::{Change, Command, CoreId, ObjectId};

thread_local! {
    /// What the cores of this thread have; more than one core only where a test runs several on one thread.
    static LOCALS: RefCell<BTreeMap<(ObjectId, CoreId), Rc<dyn Any>>> = const { RefCell::new(BTreeMap::new()) };
}

/// What the calling core has of an object.
pub(crate) fn find<T: Send + 'static>(object: ObjectId) -> Option<Rc<Local<T>>> {
    let core = CoreId::try_current()?;
    let local = LOCALS.try_with(|locals| locals.borrow().get(&(object, core)).cloned()).ok()??;
    local.downcast().ok()
}

/// What one core has of a sharded object. It belongs to the replica of the assignment there.
pub(crate) struct Local<T: Send + 'static> {
    common: Arc<Common<T>>,
    me: CoreId,
    state: RefCell<State<T>>,
}

impl<T: Send + 'static> Local<T> {
    /// Makes what the calling core has, and lets mail find it. `makes_parts`: what this core owns, it makes now.
    pub(crate) fn new(common: Arc<Common<T>>, table: Table, makes_parts: bool) -> Rc<Self> {
        let me = CoreId::current();
        let mut seats: Box<[Seat<T>]> = (0..table.len()).map(|_| Seat::empty()).collect();
        if makes_parts {
            for (slot, seat) in seats.iter_mut().enumerate().filter(|(slot, _)| table.owner(*slot) == me) {
                seat.part = Some(Box::new((common.factory)(slot)));
                seat.is_here = true;
            }
        }
        let object = common.object;
        let (parked, owed, stranded) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let bound = common.queue;
        let state = State { table, bound, is_closed: false, seats, parked, owed, stranded };
        let local = Rc::new(Self { common, me, state: RefCell::new(state) });
        let entry: Rc<dyn Any> = local.clone();
        LOCALS.with(|locals| locals.borrow_mut().insert((object, me), entry));
        local
    }

    pub(crate) fn owner(&self, slot: usize) -> CoreId {
        self.state.borrow().table.owner(slot)
    }

    /// The assignment, for a core that joins.
    pub(crate) fn table(&self) -> Table {
        self.state.borrow().table.committed()
    }

    pub(crate) fn with_table<R>(&self, f: impl FnOnce(&mut Table) -> R) -> R {
        f(&mut self.state.borrow_mut().table)
    }

    pub(crate) fn common(&self) -> &Arc<Common<T>> {
        &self.common
    }

    fn send(&self, to: CoreId, mail: Mail<T>) {
        Parcel::send(&self.common, self.me, self.state.borrow().table.views(), to, mail);
    }

    fn send_all(&self, outgoing: Outgoing<T>) {
        // Tokens first, so that who gets both has the part before the requests.
        outgoing.tokens.into_iter().for_each(|(to, tokens)| self.send(to, Mail::Tokens(tokens)));
        outgoing.requests.into_iter().for_each(|(to, requests)| self.send(to, Mail::Requests(requests)));
        for (slot, cores) in outgoing.open {
            cores.iter().for_each(|core| self.send(core, Mail::Open(slot)));
        }
    }

    /// Has [`Mail::Settle`] come when nothing is borrowed.
    pub(crate) fn settle_soon(&self) {
        self.send(self.me, Mail::Settle);
    }

    // Running closures.

    /// Takes the part for a closure that is to run now, if it can and nothing waits before it.
    pub(crate) fn begin(&self, slot: usize) -> Option<Taken<T>> {
        let mut state = self.state.borrow_mut();
        let waits = !state.seats[slot].queue.is_empty() || state.parked.contains_key(&slot);
        (!waits && state.is_ready(self.me, slot)).then(|| state.take(slot))
    }

    /// Runs a closure with a part that was taken for it.
    pub(crate) fn run<R>(
        &self,
        slot: usize,
        taken: Taken<T>,
        f: impl FnOnce(&mut T) -> R,
    ) -> Result<R, ShardError> {
        let life = taken.life;
        let mut part = self.made(slot, taken);
        let result = match &mut part {
            Some(part) => contain(|| f(part)),
            None => {
                discard(f);
                None
            }
        };
        if self.put_back(slot, part, life) {
            self.work(slot);
        }
        result.ok_or(ShardError::Panicked)
    }

    /// The part, made if it is not there. Nothing if the factory panics: the next closure has it try again.
    fn made(&self, slot: usize, taken: Taken<T>) -> Option<Box<T>> {
        taken.part.or_else(|| contain(|| Box::new((self.common.factory)(slot))))
    }

    /// Says whether something waits for the slot here.
    fn put_back(&self, slot: usize, part: Option<Box<T>>, life: u32) -> bool {
        let mut state = self.state.borrow_mut();
        let waits_here = state.is_place_to_wait(self.me, slot);
        let has_to_tell = state.owed.contains_key(&slot);
        let is_closed = state.is_closed;
        let seat = &mut state.seats[slot];
        seat.is_out = false;
        // Otherwise it was lost, as far as anybody knows, while the closure had it.
        let garbage = if life == seat.life && !is_closed {
            seat.part = part;
            None
        } else {
            part
        };
        let waits = has_to_tell || !seat.queue.is_empty();
        drop(state);
        discard(garbage);
        if !waits_here && !is_closed {
            // The slot has moved meanwhile.
            self.settle_soon();
        }
        waits && waits_here
    }

    /// Has parts dropped when nothing is borrowed.
    fn discard_soon(&self, parts: Vec<Box<T>>) {
        if !parts.is_empty() {
            self.send(self.me, Mail::Discard(parts));
        }
    }

    /// Does what waits for the slot, as far as it can be done now.
    fn work(&self, slot: usize) {
        loop {
            let (taken, request) = {
                let mut state = self.state.borrow_mut();
                if !state.is_ready(self.me, slot) {
                    return;
                }
                let Some(request) = state.seats[slot].queue.pop_front() else {
                    let owed = state.owed.remove(&slot);
                    drop(state);
                    let open = owed.into_iter().map(|cores| (slot, cores)).collect();
                    return self.send_all(Outgoing { open, ..Outgoing::new() });
                };
                (state.take(slot), request)
            };
            let life = taken.life;
            let mut part = self.made(slot, taken);
            match &mut part {
                Some(part) => request.errand.run(part),
                None => request.errand.fail(ShardError::Panicked),
            }
            self.put_back(slot, part, life);
        }
    }

    // Mail.

    /// Something was sent here, by whatever core or thread.
    pub(crate) fn receive(&self, mail: Mail<T>) {
        match mail {
            Mail::Request(request) => self.deliver(vec![request]),
            Mail::Requests(requests) => self.deliver(requests),
            Mail::Tokens(tokens) => self.arrive(tokens),
            Mail::Full(request) => {
                let mut garbage = Vec::new();
                self.state.borrow_mut().park(request, &mut garbage);
                garbage.into_iter().for_each(discard);
            }
            Mail::Open(slot) => {
                let parked = self.state.borrow_mut().parked.remove(&slot);
                self.deliver(parked.into_iter().flatten().collect());
            }
            Mail::Settle => self.settle(),
            Mail::Discard(parts) => parts.into_iter().for_each(discard),
        }
    }

    /// Mail of this core that its receiver has not taken. If that was the owner when the view had changed so often, and it has not
    /// since, it will, and until then nobody can take it.
    pub(crate) fn take_back(&self, mail: Mail<T>, views: Option<u64>) {
        let mut state = self.state.borrow_mut();
        if Some(state.table.views()) == views {
            state.stranded.push(mail);
        } else {
            drop(state);
            self.receive(mail);
        }
    }

    fn deliver(&self, requests: Vec<Request<T>>) {
        let (mut outgoing, mut garbage) = (Outgoing::new(), Vec::new());
        let (mut full, mut slots) = (Vec::new(), Vec::new());
        {
            let mut state = self.state.borrow_mut();
            for request in requests {
                let slot = request.slot;
                match state.place(self.me, request, &mut garbage) {
                    Verdict::Queued => slots.push(slot),
                    Verdict::Forward(to, request) => outgoing.requests.entry(to).or_default().push(request),
                    Verdict::Full(to, request) => full.push((to, request)),
                    Verdict::Parked => {}
                }
            }
        }
        // What others do, they can begin with.
        self.send_all(outgoing);
        full.into_iter().for_each(|(to, request)| self.send(to, Mail::Full(request)));
        garbage.into_iter().for_each(discard);
        slots.into_iter().for_each(|slot| self.work(slot));
    }

    fn arrive(&self, tokens: Vec<Token<T>>) {
        let (mut outgoing, mut garbage) = (Outgoing::new(), Vec::new());
        let (mut arrived, mut slots) = (Vec::new(), Vec::new());
        {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            for token in tokens {
                let slot = token.slot;
                let waits_here = state.is_place_to_wait(self.me, slot);
                let (spot, seat) = (state.table.spot(slot), &mut state.seats[slot]);
                if token.life < spot.life || (waits_here && seat.is_here) {
                    garbage.push(token);
                } else if waits_here {
                    seat.part = token.part;
                    seat.is_here = true;
                    seat.life = token.life;
                    if spot.owner == self.me {
                        arrived.push((slot, spot.turn));
                        slots.push(slot);
                    }
                } else {
                    outgoing.tokens.entry(spot.owner).or_default().push(token);
                }
            }
        }
        self.send_all(outgoing);
        garbage.into_iter().for_each(discard);
        self.tell_arrived(arrived);
        slots.into_iter().for_each(|slot| self.work(slot));
    }

    /// Tells all cores that parts are where they belong, so that they are not taken for lost when an earlier owner dies.
    fn tell_arrived(&self, arrived: Vec<(usize, u32)>) {
        if arrived.is_empty() {
            return;
        }
        let told = Command::change::<Owners<T>>(self.common.object, Arrived(arrived));
        host::with(|host| {
            if let Some(host) = host {
                host.announce(told);
            }
        });
    }

    // Changes of the view.

    /// The view has changed, and the agreement is at work: nothing of users may run.
    pub(crate) fn view_changed(&self, change: &Change) {
        let mut outgoing = Outgoing::new();
        let mut lost = Vec::new();
        {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            for moved in state.table.commit(change) {
                let (slot, spot) = (moved.slot, state.table.spot(moved.slot));
                let seat = &mut state.seats[slot];
                if moved.is_lost {
                    lost.extend(seat.part.take());
                    seat.life = spot.life;
                    // The owner makes it when it is asked for it.
                    seat.is_here = spot.owner == self.me;
                }
                if spot.owner != self.me {
                    state.leave(slot, &mut outgoing);
                }
            }
        }
        self.send_all(outgoing);
        self.discard_soon(lost);
        self.settle_soon();
    }

    /// Looks at everything again, now that nothing is borrowed.
    fn settle(&self) {
        let (mut outgoing, mut again) = (Outgoing::new(), Vec::new());
        let (mut arrived, mut slots) = (Vec::new(), Vec::new());
        {
            let mut state = self.state.borrow_mut();
            again.append(&mut state.stranded);
            let parked = std::mem::take(&mut state.parked);
            again.extend(parked.into_values().map(|requests| Mail::Requests(requests.into())));
            for slot in 0..state.table.len() {
                let spot = state.table.spot(slot);
                if spot.owner == self.me {
                    if state.seats[slot].is_here && !spot.trail.is_empty() {
                        arrived.push((slot, spot.turn));
                    }
                    slots.push(slot);
                } else if !state.is_place_to_wait(self.me, slot) {
                    state.leave(slot, &mut outgoing);
                }
            }
        }
        self.send_all(outgoing);
        self.tell_arrived(arrived);
        again.into_iter().for_each(|mail| self.receive(mail));
        slots.into_iter().for_each(|slot| self.work(slot));
    }

    /// The replica goes, and with it all that this core has: the object is closed, or the core ends. The agreement is at work.
    pub(crate) fn close(&self) {
        let _ = LOCALS.try_with(|locals| locals.borrow_mut().remove(&(self.common.object, self.me)));
        let (mut parts, mut mail) = (Vec::new(), Vec::new());
        {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            state.is_closed = true;
            mail.append(&mut state.stranded);
            for seat in &mut state.seats {
                parts.extend(seat.part.take());
                mail.extend(seat.queue.drain(..).map(Mail::Request));
            }
            let parked = std::mem::take(&mut state.parked);
            mail.extend(parked.into_values().flatten().map(Mail::Request));
        }
        self.discard_soon(parts);
        // If it is the core that ends, others still can do this. If it is the object, they will find that out.
        mail.into_iter().for_each(|mail| Parcel::send_to_any(&self.common, mail));
    }
}

#[cfg(test)]
impl<T: Send + 'static> Local<T> {
    pub(crate) fn planned(&self, slot: usize) -> Option<CoreId> {
        self.state.borrow().table.planned(slot)
    }

    /// Whether what the slot holds is here, how many requests wait for it, and how many for room elsewhere.
    pub(crate) fn look(&self, slot: usize) -> (bool, usize, usize) {
        let state = self.state.borrow();
        let seat = &state.seats[slot];
        (seat.is_here, seat.queue.len(), state.parked.get(&slot).map_or(0, std::collections::VecDeque::len))
    }
}

/// A part that comes late.
#[cfg(test)]
pub(crate) fn late<T>(slot: usize, life: u32, part: T) -> Mail<T> {
    Mail::Tokens(vec![Token { slot, life, part: Some(Box::new(part)) }])
}
