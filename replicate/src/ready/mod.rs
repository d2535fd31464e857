//! State machines that are ready to be replicated: one value, a map, and a counter with a bound.
//!
//! They are plain values of one core, without a runtime: the object that replicates them prepares, commits and aborts their
//! commands on every core. In all three `prepare` counts with what is reserved and not yet decided, and readers see only what is
//! committed.
//!
//! None of them may be refused by a member ([`VETO`](crate::StateMachine::VETO) is false): what they refuse depends on nothing but
//! what is agreed, so the home refuses for all. A core that sleeps is not asked.
//!
//! What is *announced* is not prepared, and nobody hears what became of it. It is applied where the same command would not have
//! been refused, and it never breaks what a proposal of the same round has been promised.

mod cell;
mod counter;
mod deadlines;
mod map;
mod map_command;
mod plan;

#[cfg(test)]
mod cell_tests;
#[cfg(test)]
mod counter_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod map_tests;
#[cfg(test)]
mod tests;

pub use cell::{Cell, CellCommand, CellRefusal, CellSnapshot};
pub use counter::{Counter, CounterCommand, CounterRefusal, CounterSnapshot};
pub use map::{Iter, Map, MapSnapshot};
pub use map_command::{MapCommand, MapRefusal};
