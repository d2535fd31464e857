//! What [`broadcast`](crate::broadcast) and [`watch`](crate::watch) have in common: every receiver has a lane of its
//! own, and senders, who take turns, put each message into all of them (R40 to R48).

mod lane;

use std::future::poll_fn;
use std::sync::PoisonError;
use std::task::Waker;

use crossbeam_utils::CachePadded;

pub(crate) use self::lane::{LanePort, LaneReader, Miss};
use self::lane::{LaneWriter, Position, lane};
use crate::gate::Gate;
use crate::hub::{self, Port, Side, poll_port};
use crate::limits::NOTED_RECEIVERS;
use crate::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering, SharedArc, fence};

/// How many there are.
pub(crate) struct Counts {
    /// Messages posted so far. Written in a turn; on a line of its own, because that is often.
    posted: CachePadded<AtomicU64>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    /// There are lanes whose receivers are gone.
    stale: AtomicBool,
}

impl Counts {
    /// How many messages have been posted. Those are in the lanes.
    #[inline]
    pub(crate) fn posted(&self) -> u64 {
        self.posted.load(Ordering::Acquire) // pairs with the Release in `Turn::post`
    }

    pub(crate) fn receivers(&self) -> usize {
        self.receivers.load(Ordering::Acquire) // pairs with the Release of a receiver that went
    }

    /// Whether all senders are gone, for good. What they posted is in the lanes.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.senders.load(Ordering::Acquire) == 0 // pairs with the Release of each sender that went (R46)
    }
}

/// All lanes of a channel. `S` is what the senders have in common beside the lanes.
pub(crate) struct Lanes<M, S> {
    counts: Arc<Counts>,
    turn: Mutex<Turn<M, S>>,
}

impl<M, S> Lanes<M, S> {
    /// For one sender and no receiver. Each lane holds at most `capacity` messages.
    pub(crate) fn new(capacity: usize, common: S) -> Self {
        let counts = Arc::new(Counts {
            posted: CachePadded::new(AtomicU64::new(0)),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(0),
            stale: AtomicBool::new(false),
        });
        let turn = Turn {
            common,
            capacity,
            next: Position::of(0, capacity),
            counts: Arc::clone(&counts),
            writers: Vec::new(),
            ports: SharedArc::default(),
            farewells: Vec::new(),
        };
        Self { counts, turn: Mutex::new(turn) }
    }

    #[inline]
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Waits for the caller's turn among the senders.
    #[inline]
    pub(crate) fn turn(&self) -> MutexGuard<'_, Turn<M, S>> {
        // A turn is left in order also by a panic: see `Turn::post`.
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is one more sender.
    pub(crate) fn add_sender(&self) {
        self.counts.senders.fetch_add(1, Ordering::Relaxed); // the caller is one, so it is not zero
    }

    /// There is one sender less. The last one closes the channel.
    pub(crate) fn remove_sender(&self) {
        // Release: what this one posted, to who finds the channel closed. Acquire: what the others did, for the same.
        if self.counts.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            let ports = SharedArc::clone(&self.turn().ports);
            notify_all(&ports);
        }
    }

    /// The receiver of the lane goes.
    pub(crate) fn remove_receiver(&self, port: &LanePort) {
        port.go();
        // Release: pairs with the Acquire in `prune`, which looks for it (R45). An exchange, so that two of them both do.
        self.counts.stale.swap(true, Ordering::Release);
        // Release: all that it did, to who waits for that. Acquire: what the others did, for the same.
        if self.counts.receivers.fetch_sub(1, Ordering::AcqRel) == 1 {
            // The list first: to wake runs code of users, which may want a turn.
            let farewells = self.turn().farewells.clone();
            farewells.iter().for_each(|farewell| hub::notify(farewell, Side::Sender));
        }
    }

    /// Waits until there is no receiver.
    pub(crate) async fn all_gone(&self) {
        let gate = Gate::new();
        let farewell = SharedArc::new(Farewell { gate, counts: Arc::clone(&self.counts) });
        self.turn().farewells.push(SharedArc::clone(&farewell));
        let waiting = Waiting { lanes: self, farewell };
        let attempt = || (self.counts.receivers() == 0).then_some(());
        poll_fn(|cx| poll_port(&waiting.farewell, Side::Sender, cx, attempt)).await;
    }
}

/// Where a sender waits for the last receiver to go.
struct Farewell {
    gate: Gate,
    counts: Arc<Counts>,
}

impl Port for Farewell {
    fn gate(&self, _: Side) -> &Gate {
        &self.gate
    }

    fn is_ready(&self, _: Side) -> bool {
        self.counts.receivers() == 0
    }
}

/// Takes a farewell off the list when the wait is over or given up.
struct Waiting<'a, M, S> {
    lanes: &'a Lanes<M, S>,
    farewell: SharedArc<Farewell>,
}

impl<M, S> Drop for Waiting<'_, M, S> {
    fn drop(&mut self) {
        self.lanes.turn().farewells.retain(|other| !SharedArc::ptr_eq(other, &self.farewell));
        drop(self.farewell.gate.forget());
    }
}

/// What belongs to the sender whose turn it is. No waker is woken in a turn and, but for clones, no code of users is
/// run that they did not ask for (R44).
pub(crate) struct Turn<M, S> {
    pub(crate) common: S,
    capacity: usize,
    /// Where the next message goes.
    next: Position,
    counts: Arc<Counts>,
    /// In the order of subscription. Those of receivers that are gone stay until the next message, or until there are
    /// as many lanes as there is memory for.
    writers: Vec<LaneWriter<M>>,
    /// Those of the writers, for after the turn.
    ports: SharedArc<Vec<SharedArc<LanePort>>>,
    farewells: Vec<SharedArc<Farewell>>,
}

impl<M, S> Turn<M, S> {
    /// A lane for one more receiver, which gets what is posted from now on.
    pub(crate) fn subscribe(&mut self) -> LaneReader<M> {
        if self.writers.len() == self.writers.capacity() {
            self.prune();
        }
        let (writer, reader) = lane(self.capacity, self.next, &self.counts);
        SharedArc::make_mut(&mut self.ports).push(SharedArc::clone(writer.port()));
        self.writers.push(writer);
        self.counts.receivers.fetch_add(1, Ordering::Relaxed); // this number changes the other way outside of turns
        reader
    }

    /// How many receivers get the next message.
    pub(crate) fn receivers(&mut self) -> usize {
        // Relaxed: to see it late is as if they had gone later. `prune` acquires.
        if self.counts.stale.load(Ordering::Relaxed) {
            self.prune();
        }
        self.writers.len()
    }

    /// Forgets the lanes of receivers that are gone.
    #[cold]
    fn prune(&mut self) {
        self.counts.stale.swap(false, Ordering::Acquire); // first, and pairs with the Release in `remove_receiver`
        self.writers.retain(|writer| !writer.port().is_gone());
        // Second: a receiver that goes between the two keeps its writer until the next time, and needs no wake.
        SharedArc::make_mut(&mut self.ports).retain(|port| !port.is_gone());
    }

    /// How many messages have been posted.
    pub(crate) fn posted(&self) -> u64 {
        self.counts.posted.load(Ordering::Relaxed) // changes in turns only
    }
}

impl<M: Clone, S> Turn<M, S> {
    /// Puts `message` into every lane. What it returns is for after the turn.
    #[inline]
    pub(crate) fn post(&mut self, message: M) -> Posted<M> {
        // All clones first: if one panics, then no receiver has got the message, rather than some (R44).
        if let Some((last, others)) = self.writers.split_last_mut() {
            others.iter_mut().for_each(|writer| writer.fill(message.clone()));
            last.fill(message);
        }
        let lost = self.writers.iter_mut().filter_map(|writer| writer.post(self.next)).collect();
        self.next = self.next.next(self.capacity);
        // Release: pairs with the Acquire of receivers; the slots come first (R43).
        self.counts.posted.store(self.posted() + 1, Ordering::Release);
        Posted { ports: SharedArc::clone(&self.ports), lost }
    }
}

/// What is left to do for a message when the turn is over.
#[must_use]
pub(crate) struct Posted<M> {
    ports: SharedArc<Vec<SharedArc<LanePort>>>,
    /// The messages in whose place it came.
    lost: Vec<M>,
}

impl<M> Posted<M> {
    /// Tells the receivers, and drops what was lost.
    #[inline]
    pub(crate) fn announce(self) {
        notify_all(&self.ports);
        drop(self.lost);
    }
}

/// Sees to it that every receiver that waits is woken (R48).
fn notify_all(ports: &[SharedArc<LanePort>]) {
    if ports.len() <= NOTED_RECEIVERS {
        return ports.iter().for_each(|port| hub::notify(port, Side::Receiver));
    }
    // SeqCst: pairs with the fence of whoever put a waker into one of the gates (R17).
    fence(Ordering::SeqCst);
    ports.iter().filter_map(|port| port.gate(Side::Receiver).knock()).for_each(Waker::wake);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn leave(lanes: &Lanes<u8, ()>, reader: LaneReader<u8>) {
        lanes.remove_receiver(reader.port());
        drop(reader);
    }

    #[test]
    fn lanes_of_those_who_went_do_not_pile_up() {
        let lanes = Lanes::<u8, ()>::new(1, ());
        let stays = lanes.turn().subscribe();
        for _ in 0..1_000 {
            let reader = lanes.turn().subscribe();
            leave(&lanes, reader);
        }
        assert!(lanes.turn().writers.len() <= 8, "nothing was sent, but others came");
        assert_eq!(lanes.turn().receivers(), 1);
        let turn = lanes.turn();
        assert_eq!((turn.writers.len(), turn.ports.len()), (1, 1));
        drop(turn);
        leave(&lanes, stays);
        assert_eq!(lanes.turn().receivers(), 0);
    }

    #[test]
    fn a_farewell_given_up_leaves_no_trace() {
        let lanes = Lanes::<u8, ()>::new(1, ());
        let reader = lanes.turn().subscribe();
        let mut waiting = Box::pin(lanes.all_gone());
        let mut cx = std::task::Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        assert_eq!(lanes.turn().farewells.len(), 1);
        drop(waiting);
        assert!(lanes.turn().farewells.is_empty());
        leave(&lanes, reader);
    }

    #[test]
    fn positions_go_round_and_count_laps() {
        for capacity in 1..5 {
            let mut position = Position::of(0, capacity);
            for sequence in 0..20_u64 {
                assert_eq!(position, Position::of(sequence, capacity));
                assert_eq!(position.sequence(capacity), sequence);
                position = position.next(capacity);
            }
        }
    }
}
