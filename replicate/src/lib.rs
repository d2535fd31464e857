//! State that every core reads as its own and that changes everywhere or nowhere.
//!
//! ```
//! use multikernel_replicate::ReplicatedMap;
//!
//! # multikernel::runtime::Builder::new_test().cores(3).run(|| async {
//! let routes = ReplicatedMap::new().await?;
//! routes.insert("mill", "hill").await.unwrap(); // on every core
//! for task in multikernel::on_each_core(move || async move { routes.get("mill") }) {
//!     assert_eq!(task.await.unwrap(), Some("hill")); // from this core's own memory
//! }
//! # Ok::<(), multikernel_replicate::CreateError>(())
//! # }).unwrap().unwrap();
//! ```
//!
//! | for | use |
//! |---|---|
//! | one value, a map, a counter with a bound | [`ReplicatedCell`], [`ReplicatedMap`], [`ReplicatedCounter`] |
//! | state of your own that is read much and changed seldom | [`Replicated`], of a [`StateMachine`] |
//! | state that is changed as often as it is read | [`Sharded`]: each part belongs to one core |
//!
//! # What is promised
//!
//! When [`propose`](Replicated::propose) returns `Ok`, every live core has committed the command, or is asleep and commits it
//! before it runs anything. All cores commit the same commands in the same order, whoever dies. A refusal names the core and the
//! reason, and leaves no trace. A core that has not committed a round handles no message that was sent after it through our channels,
//! spawns and joins. The price: a change takes as long as the longest poll on any live core.
//!
//! # Inside
//!
//! The protocol is pure: [`Agreement`] is told what happens on one core and says, through [`Effects`], what to do. README.md has its
//! rules, which the code cites by number; `multikernel-sim` runs it among many cores in virtual time. [`host`] is what a runtime needs
//! to put it on its cores. Programs need none of these.

mod agreement;
mod command;
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
mod sharded;
mod slots;
mod table;
mod takeover;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_net;
#[doc(hidden)]
pub mod timers;
mod tree;
#[cfg(test)]
mod tree_tests;
mod version;
mod wishes;

pub use agreement::Agreement;
pub use command::{Command, Denial, ObjectId};
pub use cores::{CoreId, CoreSet};
pub use effects::Effects;
pub use handle::{
    AnnounceError, CellError, Changes, Closed, Committed, CounterError, CreateError, MapError, Proposal,
    ProposeError, Replicated, ReplicatedCell, ReplicatedCounter, ReplicatedMap,
};
pub use machine::StateMachine;
pub use message::{
    Change, Decision, Deed, Entry, Message, Outcome, Refusal, Report, Seq, Time, Welcome, Wire,
};
pub use objects::{Asker, Digests, Objects};
pub use policy::{Policy, Sound};
pub use replicas::{Replicas, Saved};
pub use sharded::{ShardError, Sharded};
pub use table::{HomePhase, LeadPhase, MemberPhase, STEPS, Step};
pub use tree::{Hop, Topology, Tree};
pub use version::{Lead, Reign, Term, Version};
