//! One order for all: what each core commits is a prefix of one log, also of cores that are dead by now.

use std::collections::BTreeMap;

use multikernel_replicate::{Change, CoreId, CoreSet, Version};

use super::CORES;
use crate::journal::What;
use crate::objects::{Id, OF_THE_PROTOCOL};

/// What can be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Command(Id),
    View(Change),
}

/// The log, and how far each core is in it.
pub(crate) struct Log {
    lines: Vec<(Line, Option<Version>)>,
    places: BTreeMap<Id, usize>,
    at: [usize; CORES],
    /// How far each core was when it last said that a round is applied, and which.
    decided: [(usize, Version); CORES],
    welcomed: [usize; CORES],
    pub(crate) live: CoreSet,
    pub(crate) members: CoreSet,
    pub(crate) asleep: CoreSet,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self {
            lines: Vec::new(),
            places: BTreeMap::new(),
            at: [0; CORES],
            decided: [(0, Version::START); CORES],
            welcomed: [0; CORES],
            live: CoreSet::EMPTY,
            members: CoreSet::EMPTY,
            asleep: CoreSet::EMPTY,
        }
    }

    /// How many lines that core has committed.
    pub(crate) fn at(&self, core: CoreId) -> usize {
        self.at[core.index()]
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Where a command stands, and in which round it was committed.
    pub(crate) fn place(&self, id: Id) -> Option<(usize, Option<Version>)> {
        self.places.get(&id).map(|at| (*at, self.lines[*at].1))
    }

    pub(crate) fn see(&mut self, core: CoreId, what: &What) -> Result<(), String> {
        match what {
            What::Founded(founders) => {
                self.live = *founders;
                self.members = *founders;
            }
            What::Started => {
                self.live.insert(core);
            }
            What::Died | What::Ended => {
                self.live.remove(core);
                self.members.remove(core);
                self.asleep.remove(core);
            }
            What::Slept => {
                self.asleep.insert(core);
            }
            What::Woke => {
                self.asleep.remove(core);
            }
            What::Welcomed(to) => self.welcomed[to.index()] = self.at(core),
            What::Restored => {
                self.at[core.index()] = self.welcomed[core.index()];
                self.decided[core.index()] = (self.at(core), Version::START);
            }
            What::Committed(id) => return self.commit(core, Line::Command(*id)),
            What::ViewCommitted(change) => {
                self.commit(core, Line::View(*change))?;
                match change {
                    Change::Join(joiner) if *joiner == core => {
                        self.members.insert(core);
                    }
                    Change::Leave { core: leaver, .. } if *leaver == core => {
                        self.members.remove(core);
                    }
                    Change::Join(_) | Change::Leave { .. } | Change::Dead(_) => {}
                }
            }
            What::Decided(version) => return self.decide(core, *version),
            What::Diverged(other, object) => {
                return Err(format!("its {object:?} differs from that of {other}"));
            }
            _ => {}
        }
        Ok(())
    }

    fn commit(&mut self, core: CoreId, line: Line) -> Result<(), String> {
        let at = self.at(core);
        self.at[core.index()] += 1;
        if let Some((expected, _)) = self.lines.get(at) {
            return match *expected == line {
                true => Ok(()),
                false => Err(format!("ORDER: as line {at} others have committed {expected:?}")),
            };
        }
        if let Line::Command(id) = line
            && id < OF_THE_PROTOCOL
            && self.places.insert(id, at).is_some()
        {
            return Err("ORDER: it is committed twice".to_owned());
        }
        self.lines.push((line, None));
        Ok(())
    }

    fn decide(&mut self, core: CoreId, version: Version) -> Result<(), String> {
        let (from, before) = self.decided[core.index()];
        if version <= before {
            return Err(format!("ORDER: {before} was applied before"));
        }
        let to = self.at(core);
        self.decided[core.index()] = (to, version);
        for (line, round) in &mut self.lines[from..to] {
            if *round.get_or_insert(version) != version {
                return Err(format!("ORDER: {line:?} was committed in {round:?} elsewhere"));
            }
        }
        Ok(())
    }

    pub(crate) fn end(&self) -> Result<(), String> {
        for core in self.members.minus(self.asleep).iter() {
            if self.at(core) != self.len() && !self.members.is_empty() {
                return Err(format!(
                    "ORDER: {core} has {} of {} lines, and waits for nothing",
                    self.at(core),
                    self.len()
                ));
            }
        }
        Ok(())
    }
}
