//! Other programs: starting them, their pipes, and waiting for their end, with tokio's names and meaning.
//!
//! ```
//! use multikernel::process::Command;
//!
//! # multikernel::runtime::Builder::new_test().run(|| async {
//! let output = Command::new("echo").arg("hello").output().await?;
//! assert!(output.status.success());
//! assert_eq!(output.stdout, b"hello\n");
//! # std::io::Result::Ok(())
//! # }).unwrap().unwrap();
//! ```
//!
//! The end of a child is an event like any other: Linux gives out a descriptor for each child (`pidfd_open`), and the
//! core that waits has its driver watch it. Where there are none (before Linux 5.3, in some sandboxes, or when the
//! process is out of descriptors) `SIGCHLD` tells, for which the first such wait installs a handler.
//!
//! A child whose [`Child`] is dropped is reaped by the core on which that happens, when it ends. When the core ends first,
//! or the dropping thread has none, the thread that handles [signals](crate::signal) takes over. So zombies last no
//! longer than it takes to hear of them, and children outlive Machines without becoming any.
//!
//! A child gets what std gives it: `SIGPIPE` kills it again, and it inherits no descriptor but its standard streams, for
//! all of the runtime's are closed on exec. The runtime blocks no signals, so none is blocked in a child, unless you block
//! it on the core that starts the child. A child is not tied to the CPU of a pinned core.

mod child;
mod command;
mod command_unix;
mod orphans;
mod running;
mod stdio;
#[cfg(test)]
mod tests;

pub use child::Child;
pub use command::Command;
pub use stdio::{ChildStderr, ChildStdin, ChildStdout};
