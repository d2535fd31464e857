//! Which core owns which slot. Pure: the same on every core at the same version.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Change, CoreId, CoreSet};

/// What all cores know of one slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Spot {
    pub(crate) owner: CoreId,
    /// How often what the slot held was lost. A part of an earlier life is worth nothing.
    pub(crate) life: u32,
    /// How often the slot has got an owner, so that nobody reports the arrival of an earlier time.
    pub(crate) turn: u32,
    /// Earlier owners that may have the part still, or again: it is not known yet that it has arrived.
    pub(crate) trail: Vec<CoreId>,
}

/// A slot that has a new owner, or lost what it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) slot: usize,
    pub(crate) is_lost: bool,
}

/// The assignment of slots to cores.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Table {
    members: CoreSet,
    /// How often the view has changed since the object was made. A core that comes again goes on from there: two of its lives never
    /// take one view for another.
    views: u64,
    spots: Box<[Spot]>,
    /// The owners after a change of the view that is prepared.
    next: Option<Box<[CoreId]>>,
}

impl Table {
    /// The first assignment: every core has about as many slots.
    pub(crate) fn new(slots: usize, members: CoreSet) -> Self {
        let owners = assign(std::iter::repeat_n(None, slots), members);
        let spots = owners.iter().map(|owner| Spot { owner: *owner, life: 0, turn: 0, trail: Vec::new() });
        Self { members, views: 0, spots: spots.collect(), next: None }
    }

    /// This without what is only prepared.
    pub(crate) fn committed(&self) -> Self {
        Self { next: None, ..self.clone() }
    }

    pub(crate) fn views(&self) -> u64 {
        self.views
    }

    pub(crate) fn len(&self) -> usize {
        self.spots.len()
    }

    pub(crate) fn spot(&self, slot: usize) -> &Spot {
        &self.spots[slot]
    }

    pub(crate) fn owner(&self, slot: usize) -> CoreId {
        self.spots[slot].owner
    }

    /// The owner after the change that is prepared, if one is.
    pub(crate) fn planned(&self, slot: usize) -> Option<CoreId> {
        self.next.as_ref().map(|next| next[slot])
    }

    fn members_after(&self, change: &Change) -> CoreSet {
        match *change {
            Change::Join(core) => self.members.with(core),
            Change::Leave { core, .. } | Change::Dead(core) => self.members.without(core),
        }
    }

    fn plan(&self, change: &Change) -> Box<[CoreId]> {
        assign(self.spots.iter().map(|spot| Some(spot.owner)), self.members_after(change))
    }

    pub(crate) fn prepare(&mut self, change: &Change) {
        self.next = Some(self.plan(change));
    }

    pub(crate) fn abort(&mut self) {
        self.next = None;
    }

    /// The view has changed: what that moves.
    pub(crate) fn commit(&mut self, change: &Change) -> Vec<Moved> {
        let next = self.next.take().unwrap_or_else(|| self.plan(change));
        self.members = self.members_after(change);
        self.views += 1;
        let mut moved = Vec::new();
        for (slot, (spot, owner)) in self.spots.iter_mut().zip(next).enumerate() {
            // What was on its way from a dead core, or through one, may have died with it.
            let had_it = |core| spot.owner == core || spot.trail.contains(&core);
            let is_lost = matches!(*change, Change::Dead(core) if had_it(core));
            if !is_lost && owner == spot.owner {
                continue;
            }
            spot.turn += 1;
            if is_lost {
                spot.life += 1;
                spot.trail.clear();
            } else {
                spot.trail.push(spot.owner);
            }
            spot.owner = owner;
            moved.push(Moved { slot, is_lost });
        }
        moved
    }

    /// The owner of that turn has the part. Later ones will say so themselves.
    pub(crate) fn arrived(&mut self, slot: usize, turn: u32) {
        if let Some(spot) = self.spots.get_mut(slot).filter(|spot| spot.turn == turn) {
            spot.trail.clear();
        }
    }
}

/// Gives each slot an owner among the members. A slot moves only if its owner is none of them or has too many; afterwards no
/// two cores differ by more than one slot.
fn assign(owners: impl Iterator<Item = Option<CoreId>>, members: CoreSet) -> Box<[CoreId]> {
    let mut held: BTreeMap<CoreId, Vec<usize>> = members.iter().map(|core| (core, Vec::new())).collect();
    let owners: Vec<_> = owners.collect();
    let mut orphans = Vec::new();
    for (slot, owner) in owners.iter().enumerate() {
        owner.and_then(|owner| held.get_mut(&owner)).unwrap_or(&mut orphans).push(slot);
    }
    let mut loads: BTreeSet<_> = held.iter().map(|(core, slots)| (slots.len(), *core)).collect();
    for slot in orphans {
        let (load, core) = loads.pop_first().expect("a Machine has a core");
        held.get_mut(&core).expect("a member").push(slot);
        loads.insert((load + 1, core));
    }
    while let (Some(&(least, to)), Some(&(most, from))) = (loads.first(), loads.last())
        && most - least > 1
    {
        let slot = held.get_mut(&from).and_then(Vec::pop).expect("it has the most");
        held.get_mut(&to).expect("a member").push(slot);
        loads.remove(&(least, to));
        loads.remove(&(most, from));
        loads.extend([(least + 1, to), (most - 1, from)]);
    }
    let mut assigned = vec![CoreId::new(0); owners.len()];
    held.into_iter().for_each(|(core, slots)| slots.into_iter().for_each(|slot| assigned[slot] = core));
    assigned.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn counts(table: &Table) -> BTreeMap<CoreId, usize> {
        let mut counts: BTreeMap<_, _> = table.members.iter().map(|core| (core, 0)).collect();
        for spot in &table.spots {
            *counts.get_mut(&spot.owner).expect("owners are members") += 1;
        }
        counts
    }

    /// No more slots move than must: those of a core that goes, or the share of one that comes.
    fn most_that_may_move(before: &Table, change: &Change) -> usize {
        match *change {
            Change::Join(_) => before.len() / (before.members.len() + 1),
            Change::Leave { core, .. } | Change::Dead(core) => counts(before)[&core],
        }
    }

    proptest! {
        #[test]
        fn slots_are_shared_out_evenly_and_only_what_must_move_moves(
            slots in 1usize..200,
            founders in 1usize..9,
            changes in proptest::collection::vec((0usize..9, any::<bool>()), 0..30),
        ) {
            let mut table = Table::new(slots, CoreSet::below(founders));
            for (core, dies) in changes {
                let core = CoreId::new(core);
                let change = match (table.members.contains(core), dies) {
                    (false, _) => Change::Join(core),
                    (true, true) => Change::Dead(core),
                    (true, false) => Change::Leave { core, next: None },
                };
                if table.members.without(core).is_empty() {
                    continue;
                }
                let before = table.clone();
                table.prepare(&change);
                prop_assert_eq!(&table.committed(), &before);
                let planned: Vec<_> = (0..slots).map(|slot| table.planned(slot).unwrap()).collect();
                let mut aborted = table.clone();
                aborted.abort();
                prop_assert_eq!(&aborted, &before);
                let moved = table.commit(&change);
                prop_assert!(moved.len() <= most_that_may_move(&before, &change));
                prop_assert_eq!(&planned, &(0..slots).map(|slot| table.owner(slot)).collect::<Vec<_>>());
                let mut other = before.clone();
                other.commit(&change);
                prop_assert_eq!(&other, &table, "who has not prepared comes to the same");
                for (slot, (was, is)) in before.spots.iter().zip(&table.spots).enumerate() {
                    let told = moved.iter().any(|moved| moved.slot == slot);
                    prop_assert_eq!(told, was.owner != is.owner);
                }
                let counts = counts(&table);
                let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
                prop_assert!(most - least <= 1, "{counts:?}");
                // Everything arrives before the view changes again.
                (0..slots).for_each(|slot| table.arrived(slot, table.spot(slot).turn));
            }
        }
    }

    #[test]
    fn what_may_be_on_its_way_from_a_dead_core_is_lost() {
        let [zero, one, two] = [0, 1, 2].map(CoreId::new);
        let mut table = Table::new(2, CoreSet::below(2));
        assert_eq!((table.owner(0), table.owner(1)), (zero, one));
        table.commit(&Change::Leave { core: one, next: None });
        table.commit(&Change::Join(two));
        let moving = table.spot(1).clone();
        assert_eq!((moving.owner, moving.trail), (two, vec![one, zero]), "from core 1, through core 0");
        let mut arrived = table.clone();
        arrived.arrived(1, moving.turn - 1);
        assert_eq!(arrived.spot(1).trail.len(), 2, "that was told by core 0, of its own turn");
        arrived.arrived(1, moving.turn);
        let lost = |mut table: Table| table.commit(&Change::Dead(zero)).iter().filter(|m| m.is_lost).count();
        assert_eq!((lost(table), lost(arrived)), (2, 1));
    }
}
