//! A TCP proxy: what comes in on one address goes to another, and back.
//!
//! `proxy LISTEN TARGET`, such as `proxy 127.0.0.1:8080 127.0.0.1:3000`. Between two sockets the system moves large
//! amounts without copying them. A side that has ended is told to the other, which may still answer; who reads slowly
//! slows down who sends. SIGINT or SIGTERM stops it: no new connections, those under way may finish.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use multikernel::io::copy_bidirectional;
use multikernel::net::{TcpListener, TcpStream};
use multikernel::runtime::Handle;
use multikernel::signal::{ctrl_c, unix};
use multikernel::{cores, select, spawn, time};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the target may take to accept a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long connections under way may take once the proxy stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

#[multikernel::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> io::Result<()> {
    let (address, target) = addresses()?;
    let listener = TcpListener::bind(&address).await?;
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    announce(&listener, &target)?;

    let stop = CancellationToken::new();
    let connections = TaskTracker::new();
    select! {
        result = accept(&listener, target.into(), &stop, &connections) => result?,
        result = ctrl_c() => result?,
        _ = terminate.recv() => {}
    }

    drop(listener);
    connections.close();
    println!("stopping: {} to finish", counted(connections.len(), "connection"));
    if time::timeout(STOP_PATIENCE, connections.wait()).await.is_err() {
        println!("giving up on {}", counted(connections.len(), "connection"));
        stop.cancel();
        connections.wait().await;
    }
    Ok(())
}

/// The command line: two addresses, and no options.
fn addresses() -> io::Result<(String, String)> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match <[String; 2]>::try_from(arguments) {
        Ok([address, target]) if !address.starts_with('-') => Ok((address, target)),
        _ => Err(io::Error::other("usage: proxy LISTEN TARGET, such as proxy 127.0.0.1:8080 127.0.0.1:3000")),
    }
}

fn announce(listener: &TcpListener, target: &str) -> io::Result<()> {
    let address = listener.local_addr()?;
    let driver = Handle::current().driver().clone();
    println!("proxy on {address} for {target} with {}", counted(cores().len(), "core"));
    println!("driver: {} ({})", driver.kind, driver.why);
    Ok(())
}

fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

async fn accept(
    listener: &TcpListener,
    target: Arc<str>,
    stop: &CancellationToken,
    connections: &TaskTracker,
) -> io::Result<()> {
    loop {
        let (client, peer) = listener.accept().await?;
        let (target, stop) = (target.clone(), stop.clone());
        // Spawned in the poll that accepted it: placed on the core with the fewest connections.
        spawn(connections.track_future(async move {
            select! {
                result = serve(client, &target) => {
                    if let Err(error) = result {
                        eprintln!("{peer}: {error}");
                    }
                }
                () = stop.cancelled() => {}
            }
        }));
    }
}

// ANCHOR: serve
async fn serve(mut client: TcpStream, target: &str) -> io::Result<()> {
    let mut server = time::timeout(CONNECT_PATIENCE, TcpStream::connect(target))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the target does not accept"))??;
    // Small pieces pass at once: neither side knows what the other waits for.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
// ANCHOR_END: serve
