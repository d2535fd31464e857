//! Redis, if the machine has it: Debian's package is redis-server.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::servers::Cores::One;
use crate::servers::Protocol::Resp;
use crate::servers::{self, Job, Server};

/// What the tables call it.
pub const NAME: &str = "redis";

const PROGRAM: &str = "redis-server";

pub(super) const SERVERS: &[Server] = &[Server { name: NAME, cores: One, protocols: &[Resp], run }];

/// What the one that is there says of its version; nothing if there is none.
#[must_use]
pub fn version() -> Option<String> {
    let output = Command::new(PROGRAM).arg("--version").stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// Becomes it, and so keeps its number of a process. It listens some time after the port is announced.
fn run(_: &Job) -> io::Result<()> {
    // It does not leave when its standard input closes.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    servers::announce(port)?;
    let settings = [
        ["--port", &port.to_string()],
        ["--bind", "127.0.0.1"],
        ["--save", ""],
        ["--appendonly", "no"],
        ["--daemonize", "no"],
        ["--logfile", "/dev/null"],
    ];
    // It keeps the standard input, which it does not read: until it is there, a thread still watches that.
    Err(Command::new(PROGRAM).args(settings.as_flattened()).exec())
}
