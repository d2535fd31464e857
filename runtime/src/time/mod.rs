//! Time.

mod wheel;
#[cfg(test)]
mod wheel_tests;

/// One core's timer wheel and the wakers of its sleeps.
pub(crate) struct Timers {}
