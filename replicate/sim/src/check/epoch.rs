//! Who handles a message has committed all that its sender had, and a settled read sees all that anybody had read before.

use std::collections::BTreeMap;

use multikernel_replicate::CoreId;

use super::log::Log;
use crate::journal::What;

#[derive(Default)]
pub(crate) struct Epoch {
    /// How many lines the sender of a message had, and the beginning of a settled read found anywhere.
    seen: BTreeMap<u64, usize>,
}

impl Epoch {
    pub(crate) fn see(&mut self, core: CoreId, what: &What, log: &Log) -> Result<(), String> {
        match what {
            What::Sent(number) | What::SeenBy(number) => {
                self.seen.insert(*number, log.at(core));
            }
            What::ReadBegun(number) => {
                self.seen.insert(*number, log.len());
            }
            What::Handled(number) | What::ReadEnded(number) => {
                let needed = self.seen.remove(number).unwrap_or(0);
                if log.at(core) < needed {
                    return Err(format!("EPOCH: it has {} lines, and should have {needed}", log.at(core)));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
