//! Cores that are stuck in a poll: who is told, and who is not called stuck.
#![cfg(not(loom))]

mod common;
mod ends;
mod processes;
mod reports;
mod silence;

#[path = "../support/mod.rs"]
mod support;
