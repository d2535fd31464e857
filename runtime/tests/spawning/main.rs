//! Sets of tasks, values that belong to tasks, calls that block, and the names under which tokio's users look for them.

mod blocking;
mod common;
mod coop;
mod coop_io;
mod in_place;
mod join_set;
mod local_key;
mod local_set;
mod names;
mod settings;
#[path = "../support/mod.rs"]
mod support;
mod tracker;
