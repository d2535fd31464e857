//! An HTTP/1.1 server on every core.
//!
//! `http [ADDRESS]`, by default on 127.0.0.1:3000. Each connection is a task that lives on one core from its first
//! byte to its last; the core with the fewest connections gets the next one. SIGINT or SIGTERM stops it: no new
//! connections, requests under way are finished.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, server};
use multikernel::compat::hyper::CoreTimer;
use multikernel::net::{TcpListener, TcpStream};
use multikernel::runtime::Handle;
use multikernel::signal::{ctrl_c, unix};
use multikernel::{CoreId, cores, select, spawn, time};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a client may take to send a request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// How long requests under way may take once the server stops.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

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
    let address = address()?;
    let listener = TcpListener::bind(&address).await?;
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    announce(&listener)?;

    let stop = CancellationToken::new();
    let connections = TaskTracker::new();
    select! {
        result = accept(&listener, &stop, &connections) => result?,
        result = ctrl_c() => result?,
        _ = terminate.recv() => {}
    }

    drop(listener);
    stop.cancel();
    connections.close();
    println!("stopping: {} to finish", counted(connections.len(), "connection"));
    if time::timeout(STOP_PATIENCE, connections.wait()).await.is_err() {
        println!("giving up on {}", counted(connections.len(), "connection"));
    }
    Ok(())
}

/// The command line: at most an address, and no options.
fn address() -> io::Result<String> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".into());
    match (address.starts_with('-'), arguments.next()) {
        (false, None) => Ok(address),
        (true, _) => Err(io::Error::other(format!("unknown option {address}; usage: http [ADDRESS]"))),
        (_, Some(more)) => {
            Err(io::Error::other(format!("unexpected argument {more}; usage: http [ADDRESS]")))
        }
    }
}

fn announce(listener: &TcpListener) -> io::Result<()> {
    let address = listener.local_addr()?;
    let driver = Handle::current().driver().clone();
    println!("serving HTTP on http://{address} with {}", counted(cores().len(), "core"));
    println!("driver: {} ({})", driver.kind, driver.why);
    println!("try: curl http://{address}/");
    Ok(())
}

fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

async fn accept(
    listener: &TcpListener,
    stop: &CancellationToken,
    connections: &TaskTracker,
) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // Spawned in the poll that accepted it: placed on the core with the fewest connections.
        spawn(connections.track_future(serve(stream, stop.clone())));
    }
}

async fn serve(stream: TcpStream, stop: CancellationToken) {
    // Without it, the second of two small answers waits for the client's acknowledgement of the first.
    let _ = stream.set_nodelay(true);
    let connection = server::conn::http1::Builder::new()
        .timer(CoreTimer)
        .header_read_timeout(HEAD_PATIENCE)
        // A client may close its side once it has asked, and still wait for the answer.
        .half_close(true)
        .serve_connection(stream, service_fn(hello));
    let mut connection = std::pin::pin!(connection);
    // A client that resets or talks nonsense ends its own connection, and only that.
    select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from(format!("hello from {}\n", CoreId::current()))))
}
