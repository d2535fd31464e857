//! A server in a process of its own, which cannot outlive its owner.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A running server. Dropping it kills the process, and waits for it.
///
/// If this process dies without dropping, the server's stdin closes, and it leaves by itself.
#[derive(Debug)]
pub struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    /// Starts `exe` with `args` and reads the port it announces.
    ///
    /// # Errors
    /// When it cannot start, ends, or announces nothing within ten seconds.
    pub fn start(exe: &Path, args: &[String]) -> Result<Self> {
        let mut child = Command::new(exe)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", exe.display()))?;
        match announced_port(&mut child) {
            Ok(port) => Ok(Self { child, addr: (Ipv4Addr::LOCALHOST, port).into() }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // Both fail only when the process has ended already, which is what we want.
    let _ = child.kill();
    let _ = child.wait();
}

fn announced_port(child: &mut Child) -> Result<u16> {
    let mut stdout = child.stdout.take().expect("stdout was piped");
    let mut line = Vec::new();
    let patience = Timespec::try_from(Duration::from_secs(10)).expect("ten seconds fit");
    while line.last() != Some(&b'\n') {
        if poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&patience))? == 0 {
            bail!("announced no port in {} s", patience.tv_sec);
        }
        let mut byte = [0];
        if stdout.read(&mut byte)? == 0 {
            bail!("ended before it announced a port ({})", child.wait()?);
        }
        line.push(byte[0]);
    }
    let line = String::from_utf8_lossy(&line);
    line.trim()
        .strip_prefix("port ")
        .and_then(|port| port.parse().ok())
        .with_context(|| format!("announced {:?} and not a port", line.trim()))
}
