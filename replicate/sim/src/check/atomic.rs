//! Each prepare ends in exactly one commit or abort; the latest is undone first; nothing commits that was not prepared.

use multikernel_replicate::{Change, CoreId};

use super::CORES;
use super::log::Log;
use crate::journal::What;
use crate::objects::Id;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prepared {
    Command(Id),
    View(Change),
}

pub(crate) struct Atomic {
    open: [Vec<Prepared>; CORES],
    announced: std::collections::BTreeSet<Id>,
}

impl Atomic {
    pub(crate) fn new() -> Self {
        Self { open: [const { Vec::new() }; CORES], announced: std::collections::BTreeSet::new() }
    }

    pub(crate) fn see(&mut self, core: CoreId, what: &What, log: &Log) -> Result<(), String> {
        match what {
            What::Announced(id) => {
                self.announced.insert(*id);
            }
            What::Prepared(id) => self.open[core.index()].push(Prepared::Command(*id)),
            What::ViewPrepared(change) => self.open[core.index()].push(Prepared::View(*change)),
            What::Committed(id) if self.announced.contains(id) => {}
            What::Committed(id) => return self.commit(core, Prepared::Command(*id)),
            What::ViewCommitted(change) => return self.commit(core, Prepared::View(*change)),
            What::Aborted(id) => return self.abort(core, Prepared::Command(*id)),
            What::ViewAborted(change) => return self.abort(core, Prepared::View(*change)),
            What::Decided(_) if !self.open[core.index()].is_empty() => {
                return Err(format!("ATOMIC: {:?} ends in neither", self.open[core.index()]));
            }
            What::Restored => self.restore(core, log)?,
            What::Died | What::Ended | What::Cleared => self.open[core.index()].clear(),
            _ => {}
        }
        Ok(())
    }

    /// Nobody restores a snapshot before all members have agreed to the join.
    fn restore(&self, core: CoreId, log: &Log) -> Result<(), String> {
        let join = Prepared::View(Change::Join(core));
        let agreed = |member: &CoreId| self.open[member.index()].contains(&join);
        match log.members.without(core).iter().find(|member| !agreed(member)) {
            Some(member) => Err(format!("JOIN: {member} has not voted yet")),
            None => Ok(()),
        }
    }

    fn commit(&mut self, core: CoreId, what: Prepared) -> Result<(), String> {
        let open = &mut self.open[core.index()];
        match open.first() {
            Some(first) if *first == what => {
                open.remove(0);
                Ok(())
            }
            _ => Err(format!("ATOMIC: not what is prepared first, of {open:?}")),
        }
    }

    fn abort(&mut self, core: CoreId, what: Prepared) -> Result<(), String> {
        match self.open[core.index()].pop() {
            Some(last) if last == what => Ok(()),
            last => Err(format!("ATOMIC: the latest prepare is {last:?}")),
        }
    }

    pub(crate) fn end(&self, log: &Log) -> Result<(), String> {
        let left = log.members.iter().find(|core| !self.open[core.index()].is_empty());
        left.map_or(Ok(()), |core| Err(format!("ATOMIC: {core} is left with {:?}", self.open[core.index()])))
    }
}
