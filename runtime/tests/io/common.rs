//! What these tests share.

#[cfg(feature = "tokio")]
use std::io;
use std::process::Command;

#[cfg(feature = "tokio")]
use multikernel::net::{TcpListener, TcpStream};

#[cfg(feature = "tokio")]
pub use crate::support::pattern;
pub use crate::support::{give_up_after, on_both, poll_once};

/// Both ends of a connection.
#[cfg(feature = "tokio")]
pub async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let near = TcpStream::connect(listener.local_addr()?).await?;
    Ok((near, listener.accept().await?.0))
}

/// Descriptors that this process has open.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs").count()
}

/// This test program once more, for one of its ignored tests alone.
pub fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--ignored", "--exact", "--nocapture", "--test-threads=1", test]);
    command
}

/// Runs an ignored test alone in a process, and holds that it passes and says `proof`.
pub fn alone(test: &str, proof: &str) {
    let output = again(test).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains(proof), "{said}{told}");
}
