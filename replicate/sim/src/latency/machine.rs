//! Machines of many sizes, as far as their messages are concerned.

use multikernel_replicate::{CoreId, Hop, Topology};

use crate::costs::{SMELT_FAR, SMELT_NEAR};

/// What machines of one kind have in common.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// What it is.
    pub name: &'static str,
    /// Cores of a package. Packages are filled one after the other.
    pub(super) each: usize,
    /// What a message costs from one package to another, by their numbers.
    pub(super) hop: fn(usize, usize) -> Hop,
}

/// Those that are reported. Nobody has measured the larger ones: they say what follows from the figures of the small ones.
pub const MODELS: [Model; 4] = [
    Model { name: "Sockets of 10 cores, Smelt's occupancies", each: 10, hop: smelt },
    Model { name: "Sockets of 64 cores, Smelt's occupancies", each: 64, hop: smelt },
    Model {
        name: "Sockets of 10 cores, Smelt's occupancies and as much flight as in the seeded runs",
        each: 10,
        hop: flying,
    },
    Model { name: "Packages of 4 cores, the HotOS table", each: 4, hop: hotos },
];

/// Any two sockets are as far from each other as the two that Smelt measured.
pub(super) fn smelt(a: usize, b: usize) -> Hop {
    if a == b { SMELT_NEAR } else { SMELT_FAR }
}

/// With what the seeded runs have on the way, on average.
fn flying(a: usize, b: usize) -> Hop {
    Hop { flight: if a == b { 60 } else { 225 }, ..smelt(a, b) }
}

/// Packages whose numbers differ in one bit are next to each other: four are a square, more are a cube of more dimensions. All
/// others are taken to be two hops apart. To write a line takes it from the reader's cache, and the reader fetches it back: each
/// is busy for as long as the line takes.
fn hotos(a: usize, b: usize) -> Hop {
    let cycles = match (a ^ b).count_ones() {
        0 => 130,
        1 => 190,
        _ => 260,
    };
    Hop { send: cycles, flight: 0, receive: cycles }
}

impl Model {
    /// The machine of that kind with so many cores.
    ///
    /// # Panics
    ///
    /// If that is more than the protocol takes.
    #[must_use]
    pub fn machine(&self, cores: usize) -> Machine {
        Machine { topology: Topology::in_packages_of(self.each, cores), model: *self }
    }
}

/// One machine.
#[derive(Clone, Debug)]
pub struct Machine {
    topology: Topology,
    model: Model,
}

impl Machine {
    /// Its packages.
    #[must_use]
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// What a message costs.
    #[must_use]
    pub fn hop(&self, from: CoreId, to: CoreId) -> Hop {
        (self.model.hop)(from.index() / self.model.each, to.index() / self.model.each)
    }
}
