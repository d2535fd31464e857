//! A web application: axum's router and tower's layers, served through hyper-util.
//!
//! `app [ADDRESS] [REQUESTS]`, by default on 127.0.0.1:3080 with at most 1024 requests at once. It keeps notes:
//!
//! ```sh
//! curl --json '{"text": "buy milk"}' http://127.0.0.1:3080/notes
//! curl 'http://127.0.0.1:3080/notes?contains=milk&limit=10'
//! curl http://127.0.0.1:3080/notes/1
//! ```
//!
//! axum's own `serve` needs tokio's sockets, so the few lines that serve a connection are here. Everything else of axum is as
//! always. The notes are in parts, each on a core of its own, and a handler asks the core that has what it needs; there is no
//! lock. SIGINT or SIGTERM stops the server: no new connections, requests under way are finished.

mod notes;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use axum::error_handling::HandleErrorLayer;
use axum::extract::{Query, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{BoxError, Router};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use multikernel::compat::hyper::{CoreExecutor, CoreTimer};
use multikernel::net::{TcpListener, TcpStream};
use multikernel::{CoreId, select, spawn, time};
use multikernel_examples::server::{announce, arguments, asked_to_stop, exit, last_connections};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;

/// How long a client may take for the head of a request.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long a handler may take.
const HANDLER_PATIENCE: Duration = Duration::from_secs(2);

#[multikernel::main]
async fn main() -> ExitCode {
    exit(run().await)
}

async fn run() -> io::Result<()> {
    let [address, requests] = arguments("app [ADDRESS] [REQUESTS]", ["127.0.0.1:3080", "1024"])?;
    let requests =
        requests.parse().map_err(|_| io::Error::other(format!("{requests} is no number of requests")))?;
    let listener = TcpListener::bind(&address).await?;
    let router = router(requests).await?;
    announce("notes", &listener, "http://")?;
    println!("try: curl http://{}/notes", listener.local_addr()?);

    let stop = CancellationToken::new();
    let connections = TaskTracker::new();
    select! {
        result = accept(&listener, &router, &stop, &connections) => result?,
        result = asked_to_stop() => result?,
    }
    drop(listener);
    stop.cancel();
    last_connections(&connections).await;
    Ok(())
}

async fn router(requests: usize) -> io::Result<Router> {
    // The outermost first. What is too much is refused rather than kept waiting. tower's own time limit needs tokio's timer.
    let layers = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(async |_: BoxError| {
            (StatusCode::SERVICE_UNAVAILABLE, "too many requests\n")
        }))
        .load_shed()
        .layer(GlobalConcurrencyLimitLayer::new(requests))
        .layer(from_fn(limit_time));
    Ok(Router::new()
        .route("/", get(async || format!("notes, from {}\n", CoreId::current())))
        .route("/sleep", get(sleep))
        .merge(notes::routes().await?)
        .layer(layers))
}

// ANCHOR: limit_time
async fn limit_time(request: Request, next: Next) -> Response {
    match time::timeout(HANDLER_PATIENCE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::GATEWAY_TIMEOUT, "the handler took too long\n").into_response(),
    }
}
// ANCHOR_END: limit_time

#[derive(Deserialize)]
struct Nap {
    milliseconds: u64,
}

/// A handler that takes its time, to try what limits do.
async fn sleep(Query(nap): Query<Nap>) -> &'static str {
    time::sleep(Duration::from_millis(nap.milliseconds)).await;
    "good morning\n"
}

async fn accept(
    listener: &TcpListener,
    router: &Router,
    stop: &CancellationToken,
    connections: &TaskTracker,
) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // Spawned in the poll that accepted it: placed on the core with the fewest connections.
        spawn(connections.track_future(serve(stream, router.clone(), stop.clone())));
    }
}

// ANCHOR: serve
async fn serve(stream: TcpStream, router: Router, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let mut http = auto::Builder::new(CoreExecutor);
    http.http1().timer(CoreTimer).header_read_timeout(HEAD_PATIENCE);
    http.http2().timer(CoreTimer);
    let connection = http.serve_connection(stream, TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    // Who resets or talks nonsense ends its own connection, and only that.
    select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
// ANCHOR_END: serve
