//! What happens in a run besides the protocol: a seed makes a plan.

use multikernel_replicate::{CoreId, CoreSet};

use crate::check::CORES;
use crate::costs::Costs;
use crate::journal::Repeat;
use crate::rng::Rng;

/// One thing that happens to a core.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// A task proposes so many commands to the ledger.
    Propose { burst: u32, deadline: Option<u64>, veto: CoreSet },
    /// A task proposes so many commands to the tally.
    Count { burst: u32, deadline: Option<u64> },
    /// A task announces.
    Announce,
    /// A task creates an object, or destroys or uses one made before.
    Object,
    /// A command that panics as it commits, at these cores.
    Boom(CoreSet),
    /// A task sends a letter to that core.
    Send(CoreId),
    /// A thread that is no core reads here and sends a letter to that core.
    Foreign(CoreId),
    /// A task arms a timer of the Machine, due after so long. One that repeats does so for so long.
    Arm { repeat: Repeat, after: u64, veto: CoreSet },
    /// A task cancels a timer.
    Cancel { deadline: Option<u64>, veto: CoreSet },
    /// A task reads what is settled.
    Read,
    /// The core parks for so long, if it may.
    Sleep(u64),
    /// A poll takes so long.
    Stall(u64),
    /// The core leaves.
    Leave,
    /// The core dies after so many pushes, or after so long.
    Doom { pushes: u32, within: u64 },
    /// The core starts, if it is not there.
    Join { stubborn: bool },
}

/// A core of the plan, or whoever is home then.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whom {
    Core(CoreId),
    Home,
}

/// The plan of a run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Cores are below this.
    pub(crate) cores: usize,
    pub(crate) founders: usize,
    pub(crate) costs: Costs,
    pub(crate) slow: Vec<(CoreId, u64)>,
    pub(crate) acts: Vec<(u64, Whom, Act)>,
}

/// How often things happen, in parts of a hundred of all acts.
struct Mix {
    spread: u64,
    cores: usize,
    vetoes: u64,
    deadlines: u64,
    long: u64,
}

impl Mix {
    fn some_cores(&self, rng: &mut Rng) -> CoreSet {
        (0..1 + rng.index(2)).map(|_| CoreId::new(rng.index(self.cores))).collect()
    }

    fn veto(&self, rng: &mut Rng) -> CoreSet {
        if rng.percent(self.vetoes) { self.some_cores(rng) } else { CoreSet::EMPTY }
    }

    fn deadline(&self, rng: &mut Rng) -> Option<u64> {
        rng.percent(self.deadlines).then(|| 200 + rng.below(self.spread * 4))
    }

    fn act(&self, rng: &mut Rng) -> Act {
        let core = CoreId::new(rng.index(self.cores));
        match rng.below(115) {
            0..30 => {
                let veto = self.veto(rng);
                Act::Propose { burst: 1 + u32::from(rng.percent(40)) * 4, deadline: self.deadline(rng), veto }
            }
            30..48 => {
                let burst = if rng.percent(3) { 150 } else { 1 + u32::from(rng.percent(30)) * 9 };
                Act::Count { burst, deadline: self.deadline(rng) }
            }
            48..54 => Act::Announce,
            54..60 => Act::Object,
            60..61 => Act::Boom(self.some_cores(rng)),
            61..73 => Act::Send(core),
            73..77 => Act::Foreign(core),
            77..82 => Act::Read,
            82..95 => Act::Sleep(1 + rng.below(self.spread * 6)),
            95..105 => {
                let (period, until) =
                    (1 + self.spread / 2 + rng.below(self.spread), rng.below(self.spread * 10));
                let repeat = rng.one_of(&[Repeat::Once, Repeat::Each, Repeat::Every { period, until }]);
                Act::Arm { repeat, after: rng.below(self.spread * 4), veto: self.veto(rng) }
            }
            105..110 => Act::Cancel { deadline: self.deadline(rng), veto: self.veto(rng) },
            _ => Act::Stall(1 + rng.below(self.long)),
        }
    }
}

impl Plan {
    /// The plan of that seed. At least one core is left in the end.
    pub(crate) fn new(rng: &mut Rng) -> Self {
        // Nearly all that goes wrong among many goes wrong among few, in less time. Not all: sets of cores are words of 64 bits.
        let founders = if rng.percent(2) { 6 + rng.index(CORES - 9) } else { 1 + rng.index(5) };
        let spares = if rng.percent(40) { 1 + rng.index(3) } else { 0 };
        let cores = founders + spares;
        let costs = rng.one_of(&[Costs::HotOs, Costs::TwoSockets, Costs::Wild, Costs::Wild]);
        let spread = rng.one_of(&[300, 2_000, 10_000, 50_000]);
        let mix = Mix {
            spread,
            cores,
            vetoes: rng.one_of(&[0, 10, 50]),
            deadlines: rng.one_of(&[0, 0, 30]),
            // Seconds, at three thousand million cycles each.
            long: rng.one_of(&[spread * 3, spread * 30, 9_000_000_000]),
        };
        let length = 3 + rng.index(40);
        let mut acts = Vec::new();
        let mut time = 0;
        for _ in 0..length {
            time += rng.below(spread);
            acts.push((time, Whom::Core(CoreId::new(rng.index(cores))), mix.act(rng)));
        }
        let somewhen = |rng: &mut Rng| rng.below(time + spread);
        let whom = |rng: &mut Rng| match rng.percent(50) {
            true => Whom::Home,
            false => Whom::Core(CoreId::new(rng.index(cores))),
        };
        let deaths = if rng.percent(65) { rng.index(founders + 1) } else { 0 };
        for _ in 0..deaths {
            let doom = Act::Doom {
                pushes: u32::try_from(rng.index(cores.max(10))).expect("small"),
                within: spread * 20,
            };
            acts.push((somewhen(rng), whom(rng), doom));
        }
        let leaves = if rng.percent(40) { 1 + rng.index(2) } else { 0 };
        for _ in 0..leaves {
            acts.push((somewhen(rng), whom(rng), Act::Leave));
        }
        for core in founders..cores {
            acts.push((somewhen(rng), Whom::Core(CoreId::new(core)), Act::Join { stubborn: rng.percent(5) }));
        }
        if rng.percent(30) {
            let core = CoreId::new(rng.index(cores));
            acts.push((time + somewhen(rng), Whom::Core(core), Act::Join { stubborn: false }));
        }
        acts.sort_by_key(|(time, ..)| *time);
        let slow = (0..cores).filter(|_| rng.percent(15)).map(CoreId::new).collect::<Vec<_>>();
        let slow = slow.into_iter().map(|core| (core, 2 + rng.below(30))).collect();
        Self { cores, founders, costs, slow, acts }
    }
}
