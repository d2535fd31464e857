//! What must hold, said without the protocol: the checkers know what tasks and replicas see, and the names of messages, but
//! nothing of who is home or how rounds work.

mod atomic;
mod epoch;
mod log;
mod outcomes;
mod timers;
mod wire;

use multikernel_replicate::CoreId;

use crate::journal::What;
use atomic::Atomic;
use epoch::Epoch;
use log::Log;
use outcomes::Outcomes;
use timers::Timers;
use wire::WireRules;

/// Cores are below this in a run.
pub(crate) const CORES: usize = 72;

/// All checkers.
pub(crate) struct Checks {
    log: Log,
    atomic: Atomic,
    outcomes: Outcomes,
    epoch: Epoch,
    timers: Timers,
    wire: WireRules,
}

impl Checks {
    pub(crate) fn new() -> Self {
        Self {
            log: Log::new(),
            atomic: Atomic::new(),
            outcomes: Outcomes::default(),
            epoch: Epoch::default(),
            timers: Timers::default(),
            wire: WireRules::default(),
        }
    }

    pub(crate) fn see(&mut self, now: u64, core: CoreId, what: &What) -> Result<(), String> {
        self.log.see(core, what)?;
        self.atomic.see(core, what, &self.log)?;
        self.outcomes.see(core, what, &self.log)?;
        self.epoch.see(core, what, &self.log)?;
        self.timers.see(now, core, what, &self.log)?;
        self.wire.see(core, what, &self.log)
    }

    pub(crate) fn end(&self) -> Result<(), String> {
        self.log.end()?;
        self.atomic.end(&self.log)?;
        self.timers.end(&self.log)?;
        self.outcomes.end(&self.log)
    }
}
