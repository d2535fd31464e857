//! Where the replicas of one core are: found by name, or at once by a place that somebody has remembered.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::command::{Denial, ObjectId};
use crate::replica::Replica;
use crate::replica::contain;
use crate::{StateMachine, Time, Version};

/// One creation of an object. All its replicas, on whatever core, are of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Birth(NonZeroU64);

impl Birth {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Relaxed: only uniqueness matters.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(NonZeroU64::new(number).expect("nobody counts that far"))
    }
}

/// Where the replicas of an object are, which are `S`s: the same on every core. Only [`Slots`] makes one, having asked a replica.
pub(crate) struct Spot<S> {
    place: usize,
    birth: Birth,
    state: PhantomData<fn() -> S>,
}

impl<S> Spot<S> {
    /// Where there is nothing.
    pub(crate) const NOWHERE: Self =
        Self { place: usize::MAX, birth: Birth(NonZeroU64::MAX), state: PhantomData };
}

impl<S> Clone for Spot<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Spot<S> {}

impl<S> fmt::Debug for Spot<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

/// One replica and what is known of it. In a line of its own: one line is read with a replica, and is found by a shift.
#[repr(align(64))]
pub(crate) struct Slot {
    pub(crate) id: ObjectId,
    /// Never replaced.
    replica: Option<Box<dyn Replica>>,
    birth: Birth,
    /// The birth; nothing, if the replica is poisoned.
    readable: Option<Birth>,
    /// Its end is prepared.
    pub(crate) ends: bool,
    /// The round that changed it last.
    pub(crate) changed: Version,
}

impl Slot {
    /// The replica is what the factory of that birth has made, or was restored from one. Poisoned, if there is none.
    pub(crate) fn new(id: ObjectId, birth: Birth, replica: Option<Box<dyn Replica>>) -> Self {
        let readable = replica.is_some().then_some(birth);
        Self { id, replica, birth, readable, ends: false, changed: Version::START }
    }

    pub(crate) fn birth(&self) -> Birth {
        self.birth
    }

    /// Its code has panicked where it must not, or refused what all have accepted. Nothing is done to it any more.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.readable.is_none()
    }

    pub(crate) fn poison(&mut self) {
        self.readable = None;
    }

    pub(crate) fn replica(&self) -> Option<&dyn Replica> {
        self.replica.as_deref()
    }

    pub(crate) fn into_replica(self) -> Option<Box<dyn Replica>> {
        self.replica
    }

    fn sound(&mut self) -> Option<&mut (dyn Replica + 'static)> {
        let is_poisoned = self.is_poisoned();
        self.replica.as_deref_mut().filter(|_| !is_poisoned)
    }

    /// Runs code that must not fail. Nothing, if it does.
    pub(crate) fn must<T>(&mut self, f: impl FnOnce(&mut dyn Replica) -> T) -> Option<T> {
        let replica = self.sound()?;
        let done = contain(|| f(replica));
        if done.is_none() {
            self.poison();
        }
        done
    }

    /// Runs code that must not fail, and asks when something is due after it.
    pub(crate) fn change(&mut self, f: impl FnOnce(&mut dyn Replica)) -> Option<Time> {
        let due = self.must(|replica| {
            f(replica);
            replica.next_due()
        });
        due.flatten()
    }

    /// Runs code that may refuse.
    pub(crate) fn may(
        &mut self,
        f: impl FnOnce(&mut dyn Replica) -> Result<(), Denial>,
    ) -> Result<(), Denial> {
        match self.sound() {
            Some(replica) => contain(|| f(replica)).unwrap_or(Err(Denial::Panicked)),
            None => Ok(()),
        }
    }
}

/// All slots of one core. Those of a core that joins are where they are on the others.
#[derive(Default)]
pub(crate) struct Slots {
    slots: Vec<Option<Slot>>,
    places: BTreeMap<ObjectId, usize>,
    /// Where the last one was found: commands to one object come together.
    last: Cell<usize>,
}

impl Slots {
    pub(crate) fn place(&self, id: ObjectId) -> Option<usize> {
        let last = self.last.get();
        if let Some(Some(slot)) = self.slots.get(last)
            && slot.id == id
        {
            return Some(last);
        }
        let place = self.places.get(&id).copied()?;
        self.last.set(place);
        Some(place)
    }

    pub(crate) fn get(&self, id: ObjectId) -> Option<&Slot> {
        self.slots.get(self.place(id)?)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: ObjectId) -> Option<&mut Slot> {
        let place = self.place(id)?;
        self.slots.get_mut(place)?.as_mut()
    }

    /// What reads of an object need, if it is there, and an `S`.
    pub(crate) fn spot<S: StateMachine>(&self, id: ObjectId) -> Option<Spot<S>> {
        let place = self.place(id)?;
        let slot = self.slots[place].as_ref()?;
        let is_one = slot.replica()?.as_any().is::<S>();
        is_one.then_some(Spot { place, birth: slot.birth, state: PhantomData })
    }

    /// The replica, unless it is poisoned or gone.
    #[inline]
    pub(crate) fn at<S: StateMachine>(&self, spot: Spot<S>) -> Option<&S> {
        match self.slots.get(spot.place) {
            Some(Some(slot)) if slot.readable == Some(spot.birth) => {
                let replica = slot.replica.as_deref()?;
                // SAFETY: all replicas of one birth are of one type, and one of them has said, when the spot was made, that
                // it is an `S`. A birth is never given out twice.
                Some(unsafe { &*ptr::from_ref(replica).cast::<S>() })
            }
            _ => None,
        }
    }

    /// Adds a slot at the lowest free place, which is the same on every core, as all add and remove in one order.
    pub(crate) fn add(&mut self, slot: Slot) {
        let place = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        self.add_at(place, slot);
    }

    pub(crate) fn add_at(&mut self, place: usize, slot: Slot) {
        if self.slots.len() <= place {
            self.slots.resize_with(place + 1, || None);
        }
        self.places.insert(slot.id, place);
        self.slots[place] = Some(slot);
    }

    pub(crate) fn remove(&mut self, id: ObjectId) -> Option<Slot> {
        self.places.remove(&id).and_then(|place| self.slots[place].take())
    }

    /// All of them, in the order of their places.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (usize, ObjectId, &Slot)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(place, slot)| slot.as_ref().map(|slot| (place, slot.id, slot)))
    }

    /// All of them, in the order of their places.
    pub(crate) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (ObjectId, &mut Slot)> {
        self.slots.iter_mut().flatten().map(|slot| (slot.id, slot))
    }

    pub(crate) fn into_slots(self) -> impl Iterator<Item = Slot> {
        self.slots.into_iter().flatten()
    }
}
