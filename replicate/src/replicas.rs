//! All replicas of one core.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::command::{Command, Denial, Factory, ObjectId, Order};
use crate::dues::Dues;
use crate::objects::{Asker, Digests, Objects};
use crate::replica::{Erased, Replica, Restore, Saving, contain};
use crate::slots::{Birth, Slot, Slots, Spot};
use crate::{Change, CoreSet, StateMachine, Time, Version};

/// All objects, as a core that joins gets them.
///
/// ```
/// use multikernel_replicate::{Objects, Replicas, Saved};
///
/// let saved: Saved = Replicas::default().snapshot();
/// assert!(Replicas::default().restore(&saved).is_ok());
/// ```
#[derive(Clone)]
pub struct Saved {
    members: CoreSet,
    objects: Arc<BTreeMap<ObjectId, SavedObject>>,
}

struct SavedObject {
    place: usize,
    birth: Birth,
    changed: Version,
    /// Nothing, if the replica is poisoned.
    state: Option<(Box<Saving>, Restore)>,
}

impl fmt::Debug for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.objects.keys()).finish()
    }
}

/// All replicas of one core, of whatever types.
///
/// ```
/// use multikernel_replicate::{Asker, Command, ObjectId, Objects, Replicas, StateMachine};
///
/// struct Names(Vec<String>);
///
/// impl StateMachine for Names {
///     type Command = String;
///     type Refusal = ();
///     type Snapshot = Vec<String>;
///     const VETO: bool = false;
///     fn prepare(&mut self, name: &String) -> Result<(), ()> {
///         if self.0.contains(name) { Err(()) } else { Ok(()) }
///     }
///     fn commit(&mut self, name: &String) {
///         self.0.push(name.clone());
///     }
///     fn abort(&mut self, _: &String) {}
///     fn snapshot(&self) -> Vec<String> {
///         self.0.clone()
///     }
///     fn restore(names: &Vec<String>) -> Result<Self, ()> {
///         Ok(Self(names.clone()))
///     }
/// }
///
/// let mut replicas = Replicas::default();
/// let id = ObjectId(1);
/// for command in [Command::create(id, || Names(Vec::new())), Command::change::<Names>(id, "ada".to_owned())] {
///     replicas.prepare(&command, Asker::Home).unwrap();
///     replicas.commit(&command);
/// }
/// assert_eq!(replicas.read(id, |names: &Names| names.0.len()), Some(1));
/// ```
#[derive(Default)]
pub struct Replicas {
    /// Who has them.
    members: CoreSet,
    slots: Slots,
    /// Objects whose creation is prepared.
    born: BTreeMap<ObjectId, Box<dyn Replica>>,
    /// Objects that have been changed since the last [`stamp`](Self::stamp).
    touched: Vec<ObjectId>,
    dues: Dues,
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.slots.iter().map(|(_, id, _)| id)).finish()
    }
}

impl Replicas {
    /// No objects yet, of a core among these.
    ///
    /// ```
    /// use multikernel_replicate::{CoreSet, Objects, Replicas};
    ///
    /// let replicas = Replicas::among(CoreSet::below(4));
    /// assert!(replicas.poisoned().is_none());
    /// ```
    #[must_use]
    pub fn among(members: CoreSet) -> Self {
        Self { members, ..Self::default() }
    }

    /// A replica as the factory makes it. Nothing, if that panics.
    fn make(&self, factory: &Factory) -> Option<Box<dyn Replica>> {
        contain(|| {
            let mut replica = (factory.make)();
            replica.begin(self.members);
            replica
        })
    }

    /// Reads a replica. Nothing, if there is no such object, its replica here is poisoned, or it is no `S`.
    ///
    /// ```
    /// use multikernel_replicate::ready::Counter;
    /// use multikernel_replicate::{ObjectId, Replicas};
    ///
    /// assert_eq!(Replicas::default().read(ObjectId(7), Counter::value), None);
    /// ```
    pub fn read<S: StateMachine, T>(&self, object: ObjectId, f: impl FnOnce(&S) -> T) -> Option<T> {
        self.slots.spot(object).and_then(|spot| self.slots.at(spot)).map(f)
    }

    /// What [`at`](Self::at) needs. Nothing, if there is no such object, or it is no `S`.
    pub(crate) fn spot<S: StateMachine>(&self, object: ObjectId) -> Option<Spot<S>> {
        self.slots.spot(object)
    }

    /// The replica, unless it is gone or poisoned.
    #[inline]
    pub(crate) fn at<S: StateMachine>(&self, spot: Spot<S>) -> Option<&S> {
        self.slots.at(spot)
    }

    /// Whether the object is there and can be read.
    pub(crate) fn is_open(&self, object: ObjectId) -> bool {
        self.slots.get(object).is_some_and(|slot| !slot.is_poisoned())
    }

    /// The round that changed an object last, or created it.
    pub(crate) fn changed(&self, object: ObjectId) -> Option<Version> {
        self.slots.get(object).map(|slot| slot.changed)
    }

    /// What has been changed since the last stamp was changed in this round.
    pub(crate) fn stamp(&mut self, version: Version) {
        for id in self.touched.drain(..) {
            if let Some(slot) = self.slots.get_mut(id) {
                slot.changed = version;
            }
        }
    }

    /// When an object wants something done: then the home calls [`take_due`](Self::take_due). Cheap.
    ///
    /// ```
    /// use multikernel_replicate::{Replicas, Time};
    ///
    /// assert_eq!(Replicas::default().next_due(), None::<Time>);
    /// ```
    #[must_use]
    pub fn next_due(&self) -> Option<Time> {
        self.dues.next()
    }

    /// What the first object that is due wants done, for the home to propose. The object is asked again when it has been done, or
    /// after [`PROPOSE_AGAIN`](crate::limits::PROPOSE_AGAIN).
    ///
    /// ```
    /// use multikernel_replicate::ready::Map;
    /// use multikernel_replicate::{Asker, Command, ObjectId, Objects, Replicas, Time};
    ///
    /// let (mut replicas, id) = (Replicas::default(), ObjectId(7));
    /// let lent = Map::insert_until(1, 2, Time(50));
    /// for command in [Command::create(id, Map::<u32, u32>::new), Command::change::<Map<u32, u32>>(id, lent)] {
    ///     replicas.prepare(&command, Asker::Home).unwrap();
    ///     replicas.commit(&command);
    /// }
    /// let expire = replicas.take_due(Time(50)).unwrap();
    /// replicas.prepare(&expire, Asker::Home).unwrap();
    /// replicas.commit(&expire);
    /// assert_eq!(replicas.read(id, Map::<u32, u32>::len), Some(0));
    /// ```
    pub fn take_due(&mut self, now: Time) -> Option<Command> {
        while let Some(object) = self.dues.take(now) {
            let slot = self.slots.get_mut(object).filter(|slot| !slot.ends);
            let command = slot.and_then(|slot| slot.must(|replica| replica.on_due(object, now)));
            if let Some(Some(command)) = command {
                return Some(command);
            }
        }
        None
    }

    /// Commits to an object, and learns when something is due there.
    fn change(&mut self, object: ObjectId, f: impl FnOnce(&mut dyn Replica)) {
        if let Some(slot) = self.slots.get_mut(object) {
            self.dues.set(object, slot.change(f));
            if self.touched.last() != Some(&object) {
                self.touched.push(object);
            }
        }
    }

    fn prepare_change(&mut self, object: ObjectId, order: &Erased, asker: Asker) -> Result<(), Denial> {
        let slot = self.slots.get_mut(object).filter(|slot| !slot.ends).ok_or(Denial::Closed)?;
        if slot.is_poisoned() && asker == Asker::Home {
            return Err(Denial::Closed);
        }
        let may_veto = slot.replica().is_none_or(|replica| replica.may_veto());
        let answer = slot.may(|replica| replica.prepare(order));
        if answer.is_err() && asker == Asker::Member && !may_veto {
            // The home has decided for all, and may not have waited for this vote.
            slot.poison();
            return Ok(());
        }
        answer
    }
}

impl Objects for Replicas {
    type Command = Command;
    type Refusal = Denial;
    type Snapshot = Saved;

    fn may_veto(&self, command: &Command) -> bool {
        match command.order {
            Order::Create(_) => true,
            Order::Destroy => false,
            Order::Change(_) => {
                let replica = self.slots.get(command.object).and_then(Slot::replica);
                replica.is_none_or(|replica| replica.may_veto())
            }
        }
    }

    fn prepare(&mut self, command: &Command, asker: Asker) -> Result<(), Denial> {
        let object = command.object;
        match &command.order {
            Order::Create(factory) => {
                if self.slots.place(object).is_some() || self.born.contains_key(&object) {
                    return Err(Denial::Exists);
                }
                self.born.insert(object, self.make(factory).ok_or(Denial::Panicked)?);
                Ok(())
            }
            Order::Destroy => {
                let slot = self.slots.get_mut(object).filter(|slot| !slot.ends).ok_or(Denial::Closed)?;
                slot.ends = true;
                Ok(())
            }
            Order::Change(order) => self.prepare_change(object, order, asker),
        }
    }

    fn commit(&mut self, command: &Command) {
        let object = command.object;
        match &command.order {
            Order::Create(factory) => {
                let born = self.born.remove(&object).or_else(|| self.make(factory));
                if self.slots.place(object).is_none() {
                    self.slots.add(Slot::new(object, factory.birth, born));
                    self.change(object, |_| {});
                }
            }
            Order::Destroy => {
                self.dues.set(object, None);
                if let Some(slot) = self.slots.remove(object) {
                    contain(|| drop(slot.into_replica()));
                }
            }
            Order::Change(order) => self.change(object, |replica| replica.commit(order)),
        }
    }

    fn commit_announced(&mut self, command: &Command) {
        match &command.order {
            Order::Create(_) | Order::Destroy => self.commit(command),
            Order::Change(order) => self.change(command.object, |replica| replica.commit_announced(order)),
        }
    }

    fn abort(&mut self, command: &Command) {
        let object = command.object;
        match &command.order {
            Order::Create(_) => {
                let born = self.born.remove(&object);
                contain(|| drop(born));
            }
            Order::Destroy => {
                if let Some(slot) = self.slots.get_mut(object) {
                    slot.ends = false;
                }
            }
            Order::Change(order) => {
                if let Some(slot) = self.slots.get_mut(object) {
                    slot.must(|replica| replica.abort(order));
                }
            }
        }
    }

    fn prepare_view(&mut self, change: &Change) -> Result<(), Denial> {
        let mut asked = Vec::new();
        let mut refused = Ok(());
        for (id, slot) in self.slots.iter_mut() {
            match slot.may(|replica| replica.prepare_view(change)) {
                Ok(()) => asked.push(id),
                Err(_) if matches!(change, Change::Dead(_)) => slot.poison(),
                Err(denial) => {
                    refused = Err(denial);
                    break;
                }
            }
        }
        if refused.is_err() {
            for id in asked.into_iter().rev() {
                let slot = self.slots.get_mut(id).expect("it was just asked");
                slot.must(|replica| replica.abort_view(change));
            }
        }
        refused
    }

    fn commit_view(&mut self, change: &Change) {
        match *change {
            Change::Join(core) => self.members.insert(core),
            Change::Leave { core, .. } | Change::Dead(core) => self.members.remove(core),
        };
        for (id, slot) in self.slots.iter_mut() {
            self.dues.set(id, slot.change(|replica| replica.commit_view(change)));
            self.touched.push(id);
        }
    }

    fn abort_view(&mut self, change: &Change) {
        for (_, slot) in self.slots.iter_mut().rev() {
            slot.must(|replica| replica.abort_view(change));
        }
    }

    fn snapshot(&self) -> Saved {
        let save = |place, slot: &Slot| {
            let replica = slot.replica().filter(|_| !slot.is_poisoned());
            let state = replica.and_then(|replica| contain(|| replica.save()));
            SavedObject { place, birth: slot.birth(), changed: slot.changed, state }
        };
        let objects = self.slots.iter().map(|(place, id, slot)| (id, save(place, slot))).collect();
        Saved { members: self.members, objects: Arc::new(objects) }
    }

    fn restore(&mut self, snapshot: &Saved) -> Result<(), Denial> {
        self.clear();
        self.members = snapshot.members;
        for (id, saved) in &*snapshot.objects {
            let restored = match &saved.state {
                Some((state, restore)) => contain(|| restore(&**state)).unwrap_or(Err(Denial::Panicked)),
                None => Err(Denial::Panicked),
            };
            match restored {
                Ok(replica) => {
                    let mut slot = Slot::new(*id, saved.birth, Some(replica));
                    slot.changed = saved.changed;
                    self.slots.add_at(saved.place, slot);
                    let due = self.slots.get_mut(*id).and_then(|slot| slot.change(|_| {}));
                    self.dues.set(*id, due);
                }
                Err(denial) => {
                    self.clear();
                    return Err(denial);
                }
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        let all = std::mem::take(self);
        for slot in all.slots.into_slots() {
            contain(|| drop(slot.into_replica()));
        }
        contain(|| drop(all.born));
    }

    fn poisoned(&self) -> Option<Command> {
        let mut poisoned = self.slots.iter().filter(|(_, _, slot)| slot.is_poisoned() && !slot.ends);
        poisoned.next().map(|(_, id, _)| Command::destroy(id))
    }

    fn digests(&self) -> Option<Digests> {
        if self.slots.iter().any(|(_, _, slot)| slot.is_poisoned()) {
            return None;
        }
        let digests = self.slots.iter().filter_map(|(_, id, slot)| {
            let replica = slot.replica()?;
            contain(|| replica.digest()).flatten().map(|digest| (id, digest))
        });
        Some(digests.collect())
    }

    fn kind(&self, object: ObjectId) -> &'static str {
        let replica = self.slots.get(object).and_then(Slot::replica);
        replica.map_or("object that is closed", |replica| replica.kind())
    }
}
