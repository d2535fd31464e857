//! How long messages take.

use multikernel_replicate::{CoreId, Hop};

use crate::rng::Rng;

/// Smelt's occupancies within a socket. It counts the way of the line as part of the receive.
pub const SMELT_NEAR: Hop = Hop { send: 62, flight: 0, receive: 221 };
/// And across.
pub const SMELT_FAR: Hop = Hop { send: 193, flight: 0, receive: 693 };

/// A machine, as far as its messages are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Costs {
    /// The machine of the HotOS 2009 paper, its table 1: cores in pairs that share a cache, pairs in fours, those one or two hops
    /// apart. A message is one line that is fetched once.
    HotOs,
    /// Two sockets, with the occupancies that Smelt measured on them. The time on the way is assumed, not measured: it has links
    /// differ, and messages of different cores overtake each other.
    TwoSockets,
    /// Anything goes: each message takes its own time. Not a machine, but it reorders most.
    Wild,
}

impl Costs {
    /// Of one message.
    pub fn of(self, from: CoreId, to: CoreId, rng: &mut Rng) -> Hop {
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
                Hop { send: flight, flight, receive: flight }
            }
            Self::TwoSockets => {
                let is_near = a % 2 == b % 2;
                if is_near {
                    Hop { flight: 40 + rng.below(40), ..SMELT_NEAR }
                } else {
                    Hop { flight: 150 + rng.below(150), ..SMELT_FAR }
                }
            }
            Self::Wild => Hop { send: rng.below(50), flight: 1 + rng.below(3000), receive: rng.below(50) },
        }
    }
}
