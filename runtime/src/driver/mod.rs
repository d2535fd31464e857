//! The driver.

/// One core's driver and the sources registered with it.
pub(crate) struct Reactor {}
