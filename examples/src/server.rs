//! What every server here does: read its arguments, say where it listens, stop when it is asked to.

use std::fmt;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use multikernel::net::TcpListener;
use multikernel::runtime::Handle;
use multikernel::signal::{ctrl_c, unix};
use multikernel::{cores, select, time};
use tokio_util::task::TaskTracker;

/// How long requests under way may take once a server stops.
pub const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// The command line: values that may be left out, from the end, and no options.
///
/// # Errors
///
/// One line that says what is wrong, and how the program is used.
pub fn arguments<const N: usize>(usage: &str, defaults: [&str; N]) -> io::Result<[String; N]> {
    parse(usage, defaults, std::env::args().skip(1))
}

fn parse<const N: usize>(
    usage: &str,
    defaults: [&str; N],
    given: impl Iterator<Item = String>,
) -> io::Result<[String; N]> {
    let mut values = defaults.map(str::to_owned);
    for (place, value) in given.enumerate() {
        let kind = if value.starts_with('-') { "unknown option" } else { "unexpected argument" };
        match values.get_mut(place).filter(|_| !value.starts_with('-')) {
            Some(slot) => *slot = value,
            None => return Err(io::Error::other(format!("{kind} {value}; usage: {usage}"))),
        }
    }
    Ok(values)
}

/// Says what is served where, and with what.
///
/// # Errors
///
/// If the listener does not know its address.
pub fn announce(what: &str, listener: &TcpListener, scheme: &str) -> io::Result<()> {
    let address = listener.local_addr()?;
    let driver = Handle::current().driver().clone();
    println!("serving {what} on {scheme}{address} with {}", counted(cores().len(), "core"));
    println!("driver: {} ({})", driver.kind, driver.why);
    Ok(())
}

/// Waits until somebody asks the program to stop, with SIGINT or SIGTERM.
///
/// # Errors
///
/// If the system lets nobody wait for them.
pub async fn asked_to_stop() -> io::Result<()> {
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    select! {
        result = ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}

/// Waits until connections that have been told to stop have ended, but not for ever.
pub async fn last_connections(connections: &TaskTracker) {
    connections.close();
    println!("stopping: {} to finish", counted(connections.len(), "connection"));
    if time::timeout(STOP_PATIENCE, connections.wait()).await.is_err() {
        println!("giving up on {}", counted(connections.len(), "connection"));
    }
}

/// What `main` returns: an error is one line.
pub fn exit<E: fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(given: &[&str]) -> Result<[String; 2], String> {
        let given = given.iter().map(ToString::to_string);
        parse("it [A] [B]", ["a", "b"], given).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_are_left_out_from_the_end() {
        assert_eq!(parsed(&[]).unwrap(), ["a", "b"]);
        assert_eq!(parsed(&["x"]).unwrap(), ["x", "b"]);
        assert_eq!(parsed(&["x", "y"]).unwrap(), ["x", "y"]);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert_eq!(parsed(&["x", "y", "z"]).unwrap_err(), "unexpected argument z; usage: it [A] [B]");
        assert_eq!(parsed(&["--help"]).unwrap_err(), "unknown option --help; usage: it [A] [B]");
    }
}
