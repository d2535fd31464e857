//! Each proposal of a core that lives gets exactly one answer, and the answer is true.

use std::collections::{BTreeMap, BTreeSet};

use multikernel_replicate::{CoreId, Seq};

use super::log::Log;
use crate::journal::{Told, What};
use crate::objects::Id;

#[derive(Default)]
pub(crate) struct Outcomes {
    open: BTreeMap<(CoreId, Seq), Id>,
    leaves: BTreeSet<(CoreId, Seq)>,
    /// Told to be committed nowhere.
    denied: BTreeSet<Id>,
    /// Lines of the log that somebody was told are committed everywhere.
    promised: usize,
}

impl Outcomes {
    pub(crate) fn see(&mut self, core: CoreId, what: &What, log: &Log) -> Result<(), String> {
        match what {
            What::Proposed(seq, id) => {
                self.open.insert((core, *seq), *id);
                self.runs(core, log)
            }
            What::Leaves(seq) => {
                self.leaves.insert((core, *seq));
                Ok(())
            }
            What::Announced(_) | What::Handled(_) | What::ReadEnded(_) | What::Fires { .. } => {
                self.runs(core, log)
            }
            What::Answered(seq, told) if *seq != Seq::NONE => self.answer(core, *seq, *told, log),
            What::Committed(id) if self.denied.contains(id) => {
                Err("OUTCOME: it was told to be committed nowhere".to_owned())
            }
            What::Died | What::Ended => {
                self.open.retain(|(origin, _), _| *origin != core);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A task runs: its core has all that anybody was told is everywhere.
    fn runs(&self, core: CoreId, log: &Log) -> Result<(), String> {
        if log.at(core) < self.promised {
            return Err(format!(
                "OUTCOME: it runs with {} lines, {} are promised",
                log.at(core),
                self.promised
            ));
        }
        Ok(())
    }

    fn answer(&mut self, core: CoreId, seq: Seq, told: Told, log: &Log) -> Result<(), String> {
        if self.leaves.remove(&(core, seq)) {
            return Ok(());
        }
        let id = self.open.remove(&(core, seq)).ok_or("OUTCOME: nobody waits for that answer")?;
        let place = log.place(id);
        match (told, place) {
            (Told::Committed(version), Some((line, round))) => {
                if round.is_some_and(|round| round != version) {
                    return Err(format!("OUTCOME: it was committed in {round:?}"));
                }
                self.promised = self.promised.max(line + 1);
                let behind = |member: &CoreId| log.at(*member) <= line;
                match log.members.minus(log.asleep).iter().find(behind) {
                    Some(member) => Err(format!("OUTCOME: {member} has not committed it")),
                    None => Ok(()),
                }
            }
            (Told::Committed(_), None) => Err("OUTCOME: no core has committed it".to_owned()),
            (_, Some(_)) => Err("OUTCOME: it is committed".to_owned()),
            (told, None) => {
                self.denied.insert(id);
                match told {
                    // Only what is there may stand in the way.
                    Told::Refused(_, Some(other)) if log.place(other).is_none() => {
                        Err(format!("OUTCOME: command {other}, which is not committed, was in the way"))
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    pub(crate) fn end(&self, log: &Log) -> Result<(), String> {
        let lost = self.open.iter().find(|((core, _), _)| log.live.contains(*core));
        lost.map_or(Ok(()), |(who, id)| Err(format!("OUTCOME: command {id} of {who:?} has no answer")))
    }
}
