//! The parts of the key-value server that know nothing of sockets, cores or tasks.
//!
//! | module | what it is |
//! |---|---|
//! | [`codec`] | the wire format: bytes to requests, replies to bytes |
//! | [`verb`] | the commands, and where their keys are |
//! | [`store`] | the keys and values of one core, and who listens to its channels |
//! | [`plan`] | what a batch of requests asks of which core, and how the answers become replies again |
//! | [`session`] | the commands that touch no key |
//! | [`pubsub`] | channels and patterns |
//!
//! A connection decodes all requests that have arrived as one [`Batch`](codec::Batch), makes a [`Plan`](plan::Plan) of
//! it, and sends each core one [`Errand`](plan::Errand). A core does its errand in one go. So a pipeline costs each core
//! one message, and what one connection asks of one key happens in the order in which it was asked.
//!
//! A command on keys of several cores (`MSET`, `DEL`, ..) is one step on each core, not one for all of them.

pub mod codec;
mod key;
mod keys;
mod lists;
pub mod plan;
pub mod pubsub;
pub mod reply;
pub mod session;
pub mod store;
mod strings;
#[cfg(test)]
mod tests;
pub mod verb;

/// A key or a value has at most so many bytes.
pub const BULK: usize = 16 << 20;
/// A request has at most so many bytes.
pub const REQUEST: usize = 64 << 20;
/// A request has at most so many arguments, its name included.
pub const ARGUMENTS: usize = 1 << 16;
/// An inline request has at most so many bytes.
pub const INLINE: usize = 64 << 10;
/// So many requests make a batch at most, which bounds how long one connection holds up a core.
pub const BATCH: usize = 512;
/// A core that has so many bytes of answers sends them off before it goes on.
pub const ANSWERS: usize = 1 << 20;
