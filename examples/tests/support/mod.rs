//! Servers, clients for them, and what /proc says about a server.

pub(crate) mod client;
pub(crate) mod echo;
pub(crate) mod panicking;
pub(crate) mod proc;
pub(crate) mod server;

use std::time::{Duration, Instant};

/// How long anything may take that should happen soon. Long, because other tests share the CPUs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Which driver a server is asked to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    Uring,
    Epoll,
}

impl Driver {
    pub(crate) const BOTH: [Driver; 2] = [Driver::Uring, Driver::Epoll];

    /// As `MULTIKERNEL_DRIVER` spells it.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Driver::Uring => "uring",
            Driver::Epoll => "epoll",
        }
    }
}

/// Waits until `probe` gives a value, and gives it on.
///
/// # Panics
/// When that takes longer than [`PATIENCE`].
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "in vain waited {PATIENCE:?} for this: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Makes a module of tests for each driver out of functions that take a [`Driver`].
macro_rules! on_both_drivers {
    ($($name:ident),+ $(,)?) => {
        mod uring {
            $(#[test] fn $name() { super::$name(crate::support::Driver::Uring) })+
        }
        mod epoll {
            $(#[test] fn $name() { super::$name(crate::support::Driver::Epoll) })+
        }
    };
}
pub(crate) use on_both_drivers;
