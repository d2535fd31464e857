//! When which object wants something done.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::PROPOSE_AGAIN;
use crate::policy::Policy;
use crate::{Agreement, Command, ObjectId, Replicas, Time};

/// What one object is known to want.
struct Due {
    /// When its replica says that something is due.
    told: Time,
    /// When it is asked for it: then, or some time after what it wanted has been proposed.
    ask: Time,
}

/// The objects of one core that want something done at some time. Empty, and then free, if none does.
#[derive(Default)]
pub(crate) struct Dues {
    objects: BTreeMap<ObjectId, Due>,
    order: BTreeSet<(Time, ObjectId)>,
}

impl Dues {
    /// Something is due at an object at that time. What was taken is not due again while the object says the same as then.
    pub(crate) fn set(&mut self, object: ObjectId, due: Option<Time>) {
        let is_idle = due.is_none() && self.objects.is_empty();
        if is_idle || self.objects.get(&object).map(|due| due.told) == due {
            return;
        }
        if let Some(due) = self.objects.remove(&object) {
            self.order.remove(&(due.ask, object));
        }
        if let Some(told) = due {
            self.objects.insert(object, Due { told, ask: told });
            self.order.insert((told, object));
        }
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.order.first().map(|(time, _)| *time)
    }

    /// The first object at which something is due. It is not due again before it says something else, or for a time.
    pub(crate) fn take(&mut self, now: Time) -> Option<ObjectId> {
        let (_, object) = self.order.first().copied().filter(|(time, _)| *time <= now)?;
        self.order.pop_first();
        let later = Time(now.0.saturating_add(PROPOSE_AGAIN));
        // At the end of time there is no later.
        if let Some(due) = self.objects.get_mut(&object).filter(|_| later > now) {
            due.ask = later;
            self.order.insert((later, object));
        }
        Some(object)
    }
}

impl<P: Policy> Agreement<Replicas, P> {
    /// When this core, if it is the home, has to propose what [`take_due`](Self::take_due) gives. Cheap: ask once per turn.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// use multikernel_replicate::ready::Map;
    ///
    /// part.propose(Command::create(ObjectId(7), Map::<u32, u32>::new), None, &mut world).unwrap();
    /// let lent = Map::insert_until(1, 2, Time(50));
    /// part.propose(Command::change::<Map<u32, u32>>(ObjectId(7), lent), None, &mut world).unwrap();
    /// assert_eq!(part.next_due(), Some(Time(50)));
    /// ```
    #[must_use]
    pub fn next_due(&self) -> Option<Time> {
        self.home.as_ref().and_then(|_| self.objects.next_due())
    }

    /// What the first object that is due wants done, if this core is the home. To be proposed; call it until there is nothing.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// assert!(part.take_due(Time(50)).is_none()); // no object wants anything done
    /// ```
    pub fn take_due(&mut self, now: Time) -> Option<Command> {
        self.home.as_ref()?;
        self.objects.take_due(now)
    }
}
