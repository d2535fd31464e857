//! How long one agreement takes, from the proposal to the last commit, on machines of 2 to 1,024 cores.
//!
//! Virtual time, and nothing but messages: a core sends or receives one at a time, and every other step is free. All cores are
//! awake and poll. *Flat* is the protocol as it ships (`shipped.rs`). The trees are a model of relays, which it does not have
//! (`relays.rs`); on a flat tree the model and the protocol take the same time to the cycle, which a test says.

mod machine;
mod plot;
mod relays;
mod report;
mod shipped;
#[cfg(test)]
mod tests;
mod wires;

use multikernel_replicate::{CoreId, Hop, Tree};

pub use machine::{MODELS, Machine, Model};
pub use plot::draw;
pub use report::report;

/// The sizes of machines that are reported.
pub const SIZES: [usize; 11] = [2, 4, 8, 16, 20, 32, 64, 128, 256, 512, 1024];

/// The home, in all runs here.
const HOME: CoreId = CoreId::new(0);

/// When something was over, in cycles since a task proposed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// The last core has committed.
    pub committed: u64,
    /// Who proposed is told, which waits until everyone is done.
    pub answered: u64,
}

/// How messages get from the home to all cores and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Home tells everybody: the protocol as it ships.
    Flat,
    /// One core of each package relays.
    TwoLevel,
    /// Everybody relays to so many.
    KAry(usize),
    /// Smelt's tree, made for the topology.
    Greedy,
    /// The same, made for messages both ways.
    BothWays,
}

/// Those that are reported.
pub const SHAPES: [Shape; 7] = [
    Shape::Flat,
    Shape::TwoLevel,
    Shape::KAry(2),
    Shape::KAry(4),
    Shape::KAry(8),
    Shape::Greedy,
    Shape::BothWays,
];

impl Shape {
    /// What it is called.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Flat => "flat".to_owned(),
            Self::TwoLevel => "two-level".to_owned(),
            Self::KAry(k) => format!("{k}-ary"),
            Self::Greedy => "topology".to_owned(),
            Self::BothWays => "both ways".to_owned(),
        }
    }

    /// One agreement that a task on `origin` asks for. The lowest core is home.
    #[must_use]
    pub fn run(self, machine: &Machine, origin: CoreId) -> Took {
        self.tree(machine)
            .map_or_else(|| shipped::run(machine, origin), |tree| relays::run(machine, &tree, origin))
    }

    /// The same from the core at which it takes longest, the home left out.
    ///
    /// # Panics
    ///
    /// If there is only the home.
    #[must_use]
    pub fn run_from_the_worst(self, machine: &Machine) -> Took {
        let origins = machine.topology().cores().without(HOME);
        let runs = origins.iter().map(|origin| self.run(machine, origin));
        runs.max_by_key(|took| took.committed).expect("there is somebody else")
    }

    /// The relays; none of them where the home does it all.
    fn tree(self, machine: &Machine) -> Option<Tree> {
        let cores = machine.topology().cores();
        match self {
            Self::Flat => None,
            Self::TwoLevel => Some(Tree::two_level(machine.topology(), HOME)),
            Self::KAry(k) => Some(Tree::k_ary(cores, HOME, k)),
            Self::Greedy => Some(Tree::greedy(machine.topology(), HOME, |from, to| machine.hop(from, to))),
            Self::BothWays => {
                Some(Tree::greedy(machine.topology(), HOME, |from, to| both_ways(machine, from, to)))
            }
        }
    }
}

/// What it comes to that `to` has Prepare and Decide from `from`, and votes. Smelt's tree is made for one message down, so it has a
/// core send much while it is cheap to send; here that core has to read as many votes.
fn both_ways(machine: &Machine, from: CoreId, to: CoreId) -> Hop {
    let (down, up) = (machine.hop(from, to), machine.hop(to, from));
    let send = 2 * down.send + up.receive;
    Hop { send, flight: 2 * down.total() + up.total() - send, receive: 0 }
}
