//! What can be seen of the messages: rings do not overflow, no Prepare overtakes the Decide before it, declared steps only, and
//! who ends has been let go by everybody.

use std::collections::BTreeMap;

use multikernel_replicate::limits::RING;
use multikernel_replicate::{Change, CoreId, CoreSet, Version};

use super::log::Log;
use crate::journal::What;

#[derive(Default)]
pub(crate) struct WireRules {
    /// The last round that a Prepare on that ring was about, if no Decide has followed.
    open: BTreeMap<(CoreId, CoreId), Version>,
    /// Who has committed the leave of a core.
    let_go: BTreeMap<CoreId, CoreSet>,
}

impl WireRules {
    pub(crate) fn see(&mut self, core: CoreId, what: &What, log: &Log) -> Result<(), String> {
        match what {
            What::Pushed(to, kind, round, length) => {
                if *length > RING {
                    return Err(format!("RING: {length} messages wait"));
                }
                self.pushed((core, *to), kind, *round)
            }
            What::Step(step) if !step.is_declared() => Err("TABLE: no table has this step".to_owned()),
            What::ViewCommitted(Change::Leave { core: leaver, .. }) => {
                self.let_go.entry(*leaver).or_default().insert(core);
                Ok(())
            }
            What::Started => {
                self.silent(core);
                self.let_go.remove(&core);
                Ok(())
            }
            // Its snapshot is of after the leaves before.
            What::ViewCommitted(Change::Join(joiner)) if *joiner == core => {
                self.let_go.values_mut().for_each(|knowing| {
                    knowing.insert(core);
                });
                Ok(())
            }
            What::Died => {
                self.silent(core);
                Ok(())
            }
            What::Ended => {
                self.silent(core);
                let knowing = self.let_go.get(&core).copied().unwrap_or_default();
                match log.members.minus(knowing).first() {
                    Some(member) => Err(format!("LEAVE: {member} does not know that it has left")),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Its rings have ended. It may come again.
    fn silent(&mut self, core: CoreId) {
        self.open.retain(|(from, to), _| *from != core && *to != core);
    }

    fn pushed(&mut self, ring: (CoreId, CoreId), kind: &str, round: Option<Version>) -> Result<(), String> {
        let Some(round) = round else { return Ok(()) };
        match kind {
            "Prepare" => match self.open.insert(ring, round) {
                Some(before) => Err(format!("R2: {before} is not decided on this ring")),
                None => Ok(()),
            },
            "Decide" => {
                self.open.remove(&ring);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
