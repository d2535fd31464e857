//! State that every core reads as its own and that changes everywhere or nowhere.
//!
//! This crate holds the protocol, which is pure: [`Agreement`] is told what happens on one core and says, through [`Effects`],
//! what to do. README.md has its rules, which the code cites by number; `multikernel-sim` runs it among many cores in virtual time.

mod agreement;
mod cores;
mod dues;
mod effects;
mod handle;
mod home;
pub mod host;
pub mod limits;
mod look;
mod machine;
mod member;
mod message;
mod objects;
mod origin;
mod policy;
pub mod ready;
mod replica;
mod replicas;
mod slots;
mod table;
mod takeover;
#[cfg(test)]
mod tests;
mod tree;
mod version;

pub use agreement::Agreement;
pub use cores::{CoreId, CoreSet};
pub use effects::Effects;
pub use handle::{
    AnnounceError, CellError, Changes, Closed, Committed, CounterError, CreateError, MapError, ProposeError,
    Replicated, ReplicatedCell, ReplicatedCounter, ReplicatedMap,
};
pub use machine::StateMachine;
pub use message::{
    Change, Decision, Deed, Entry, Message, Outcome, Refusal, Report, Seq, Time, Welcome, Wire,
};
pub use objects::{Asker, Objects};
pub use policy::{Policy, Sound};
pub use replicas::{Command, Denial, ObjectId, Replicas, Saved};
pub use table::{HomePhase, LeadPhase, MemberPhase, STEPS, Step};
pub use tree::{Hop, Topology, Tree};
pub use version::{Lead, Reign, Term, Version};
