//! State that every core reads as its own and that changes everywhere or nowhere.
//!
//! This crate will hold the pure coordinator and participant of the two-phase commit, `Replicated<S>` with its
//! ready-made state machines, and the simulator that tests them. It holds nothing yet.
