//! How long messages take.

use multikernel_replicate::CoreId;

use crate::rng::Rng;

/// What a message costs, in cycles.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// The sender is busy for so long.
    pub send: u64,
    /// Then the message is on its way for so long.
    pub flight: u64,
    /// The receiver is busy for so long.
    pub receive: u64,
}

/// A machine, as far as its messages are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Costs {
    /// The machine of the HotOS 2009 paper, its table 1: cores in pairs that share a cache, pairs in fours, those one or two hops
    /// apart. A message is one line that is fetched once.
    HotOs,
    /// Two sockets, with the occupancies that Smelt measured on them: to send 62 and 193 cycles, to receive 221 and 693, within
    /// a socket and across.
    TwoSockets,
    /// Anything goes: each message takes its own time. Not a machine, but it reorders most.
    Wild,
}

impl Costs {
    /// Of one message.
    pub fn of(self, from: CoreId, to: CoreId, rng: &mut Rng) -> Cost {
        let (a, b) = (from.index(), to.index());
        match self {
            Self::HotOs => {
                // To write the line takes it from the reader's cache, and the reader fetches it back.
                let flight = match () {
                    () if a == b => 2,
                    () if a / 2 == b / 2 => 15,
                    () if a / 4 == b / 4 => rng.one_of(&[75, 130]),
                    () if (a / 4).abs_diff(b / 4) == 1 => 190,
                    () => 260,
                };
                Cost { send: flight, flight, receive: flight }
            }
            Self::TwoSockets => {
                let is_near = a % 2 == b % 2;
                if is_near {
                    Cost { send: 62, flight: 40 + rng.below(40), receive: 221 }
                } else {
                    Cost { send: 193, flight: 150 + rng.below(150), receive: 693 }
                }
            }
            Self::Wild => Cost { send: rng.below(50), flight: 1 + rng.below(3000), receive: rng.below(50) },
        }
    }
}
