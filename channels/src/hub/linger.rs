//! Looking for a little longer before waiting.
//!
//! To go back to the executor, to be found ready and to be polled again takes longer than a message between two cores that
//! are awake. So where the last message came soon enough, and while the core has nothing else to do, an end that finds
//! nothing looks for about a microsecond more, within its poll.
//!
//! How it looks depends on who waits for whom. If the core has sent something since it knocked last, there is probably an
//! answer to come, and it looks all the time. If not, messages flow one way, and each look takes the lines away from the
//! sender, which is writing the next message there. Then the end keeps away from the channel first: for twice as long as
//! the last time if there was something after that, since more will share a line, and for half as long if there was not,
//! since then it only comes late.

use std::cell::Cell;

use crate::budget;
use crate::hub::{Hub, Port, Side, both, place};
use crate::limits::{LINGER_LOOKS, LINGER_UNITS, PACE_PAUSES};
use crate::sync::{SharedArc, spin_loop};

/// For how many pauses an end keeps away from its channel.
#[derive(Debug, Default)]
pub(super) struct Pace(Cell<u32>);

impl Pace {
    pub(super) fn reset(&self) {
        self.0.set(0);
    }

    fn keep<P: Port>(&self, port: &P, side: Side) {
        let pauses = self.0.get();
        (0..pauses).for_each(|_| spin_loop());
        self.0.set(if port.is_ready(side) { (2 * pauses).clamp(1, PACE_PAUSES) } else { pauses / 2 });
    }
}

impl Hub {
    /// Looks for a little longer whether `side` of `port` has something to do, if that has paid the last time.
    pub(super) fn linger<P: Port>(&self, port: &SharedArc<P>, side: Side) -> bool {
        if self.paying.get() == 0 {
            return false;
        }
        let Some(bit) = self.bit(port, side) else { return false };
        if self.paying.get() & bit == 0 {
            return false;
        }
        let noted = self.noted.get();
        // Who is to send something may sleep on what this core has sent (R66).
        if noted != 0 {
            self.knock_and_wake();
        }
        // That there is room again is no news that somebody answers.
        let room = if port.lingers(side.other()) { 0 } else { both(place(bit)) & !bit };
        let is_free = || !self.has_ready() && self.is_free.get()();
        if noted & !room == 0 {
            if !is_free() {
                return false;
            }
            self.places[place(bit)].pace.keep(&**port, side);
        }
        for _ in 0..LINGER_LOOKS {
            if port.is_ready(side) {
                self.lingered.set(true);
                budget::spend(LINGER_UNITS);
                return true;
            }
            if !is_free() {
                return false;
            }
            spin_loop();
        }
        self.paying.set(self.paying.get() & !bit);
        false
    }
}
