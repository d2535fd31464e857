//! A server for processes of this machine that sends back what it gets, until SIGINT or SIGTERM.
//!
//! `unix_echo [PATH]`, by default at /tmp/multikernel-echo.sock. It makes that file, and removes it when it ends.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use multikernel::net::{UnixListener, UnixStream};
use multikernel::signal::{ctrl_c, unix};
use multikernel::{select, spawn};

// ANCHOR: serve
async fn serve(listener: &UnixListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        spawn(async move {
            if let Err(error) = echo(&stream).await {
                let user = stream.peer_cred().map(|peer| peer.uid());
                eprintln!("a connection of user {user:?}: {error}");
            }
        });
    }
}

async fn echo(stream: &UnixStream) -> io::Result<()> {
    loop {
        let bytes = stream.recv().await?;
        if bytes.is_empty() {
            return Ok(());
        }
        stream.send_all(bytes).await.result?;
    }
}
// ANCHOR_END: serve

// ANCHOR: main
#[multikernel::main]
async fn main() -> ExitCode {
    let path = std::env::args_os().nth(1).unwrap_or_else(|| "/tmp/multikernel-echo.sock".into());
    match run(path.as_ref()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(path: &Path) -> io::Result<()> {
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    let listener = UnixListener::bind(path)?;
    println!("echoing connections at {}", path.display());
    let result = select! {
        result = serve(&listener) => result,
        result = ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    };
    std::fs::remove_file(path)?;
    result
}
// ANCHOR_END: main
