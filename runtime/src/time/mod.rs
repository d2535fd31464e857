//! Waiting for time to pass: [`sleep()`], [`timeout()`], [`interval()`], with tokio's names and meaning.
//!
//! Every core keeps the time of the tasks it runs, in a wheel of its own. A wait never ends early. It ends at most a
//! tick (262 microseconds) late, plus the time its core needs to come round: a task that polls for long delays the
//! timers of its core.
//!
//! All this is one core's. A timer that is armed for the whole Machine, and outlives the core that armed it, comes from
//! [`machine`].
//!
//! Tests need not wait for real time: see [`pause()`].
//!
//! # Examples
//!
//! ```
//! use multikernel::time::{Duration, Instant, sleep};
//!
//! # multikernel::runtime::Builder::new().run(|| async {
//! let start = Instant::now();
//! sleep(Duration::from_millis(2)).await;
//! assert!(start.elapsed() >= Duration::from_millis(2));
//! # }).unwrap();
//! ```

mod alarm;
pub(crate) mod clock;
pub(crate) mod guest;
mod instant;
mod interval;
mod pause;
mod plan;
mod sleep;
mod timeout;
mod timers;
mod wheel;

pub mod error;
pub mod machine;

pub use std::time::Duration;

pub use instant::Instant;
pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use pause::{advance, pause, resume};
pub use sleep::{Sleep, sleep, sleep_until};
pub use timeout::{Timeout, timeout, timeout_at};
pub(crate) use timers::Timers;

#[cfg(test)]
mod machine_tests;
#[cfg(test)]
mod pause_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wheel_tests;
