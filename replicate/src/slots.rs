//! Where the replicas of one core are: found by name, or at once by a place that somebody has remembered.

use std::collections::BTreeMap;

use crate::replica::Replica;
use crate::replica::contain;
use crate::replicas::{Denial, ObjectId};
use crate::{StateMachine, Time, Version};

/// One replica and what is known of it.
pub(crate) struct Slot {
    pub(crate) id: ObjectId,
    pub(crate) replica: Option<Box<dyn Replica>>,
    /// Its code has panicked where it must not. Nothing is done to it any more.
    pub(crate) is_poisoned: bool,
    /// Its end is prepared.
    pub(crate) ends: bool,
    /// The round that changed it last.
    pub(crate) changed: Version,
}

impl Slot {
    pub(crate) fn new(id: ObjectId, replica: Option<Box<dyn Replica>>) -> Self {
        Self { id, is_poisoned: replica.is_none(), replica, ends: false, changed: Version::START }
    }

    /// Runs code that must not fail. Nothing, if it does.
    pub(crate) fn must<T>(&mut self, f: impl FnOnce(&mut dyn Replica) -> T) -> Option<T> {
        let replica = self.replica.as_deref_mut().filter(|_| !self.is_poisoned)?;
        let done = contain(|| f(replica));
        self.is_poisoned = done.is_none();
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
        match self.replica.as_deref_mut().filter(|_| !self.is_poisoned) {
            Some(replica) => contain(|| f(replica)).unwrap_or(Err(Denial::Panicked)),
            None => Ok(()),
        }
    }

    #[inline]
    fn get<S: StateMachine>(&self) -> Option<&S> {
        if self.is_poisoned {
            return None;
        }
        self.replica.as_ref()?.as_any().downcast_ref()
    }
}

/// All slots of one core. Those of a core that joins are where they are on the others.
#[derive(Default)]
pub(crate) struct Slots {
    slots: Vec<Option<Slot>>,
    places: BTreeMap<ObjectId, usize>,
}

impl Slots {
    pub(crate) fn place(&self, id: ObjectId) -> Option<usize> {
        self.places.get(&id).copied()
    }

    pub(crate) fn get(&self, id: ObjectId) -> Option<&Slot> {
        self.slots.get(self.place(id)?)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: ObjectId) -> Option<&mut Slot> {
        let place = self.place(id)?;
        self.slots.get_mut(place)?.as_mut()
    }

    /// The replica, if it is an `S`, is not poisoned, and is at that place.
    #[inline]
    pub(crate) fn at<S: StateMachine>(&self, place: usize, id: ObjectId) -> Option<&S> {
        self.slots.get(place)?.as_ref().filter(|slot| slot.id == id)?.get()
    }

    pub(crate) fn find<S: StateMachine>(&self, id: ObjectId) -> Option<&S> {
        self.get(id)?.get()
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
