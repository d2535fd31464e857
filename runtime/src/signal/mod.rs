//! Signals from the operating system, as futures.
//!
//! The first use of a signal installs a handler for it, which stays: from then on the signal's default action (ending
//! the process, for most) does not happen any more, also when nobody waits. The handler only sets a flag and writes a
//! byte; a thread of its own reads that and wakes the tasks that wait, by message, on whichever cores they are.

use std::io;

mod hub;
#[cfg(test)]
mod tests;
pub mod unix;

pub(crate) use hub::{Line, line};

/// Completes when the process gets the interrupt signal, which Ctrl-C in a terminal sends.
///
/// Only signals that come after the first poll count. As for [`unix::signal`], the default action is gone for good
/// after that poll: from then on Ctrl-C alone does not end the process.
///
/// # Errors
/// If the handler cannot be installed.
///
/// # Cancel safety
/// Dropping the future loses no signal that another listener waits for.
///
/// # Examples
/// A server runs until Ctrl-C:
/// ```
/// use multikernel::signal;
///
/// async fn serve() {
///     // ..
///     # std::future::pending::<()>().await;
/// }
///
/// #[multikernel::main(cores = 1)]
/// async fn main() -> std::io::Result<()> {
///     let server = multikernel::spawn(serve());
///     # // SAFETY: it runs when `main` waits, so the handler of `ctrl_c` is installed.
///     # multikernel::spawn_local(async { unsafe { libc::raise(libc::SIGINT) } });
///     signal::ctrl_c().await?;
///     server.abort();
///     Ok(())
/// }
/// ```
pub async fn ctrl_c() -> io::Result<()> {
    unix::signal(unix::SignalKind::interrupt())?.recv().await;
    Ok(())
}
