//! HTTP/1.1 and HTTP/2 over TLS: hyper and rustls on multikernel's streams.
//!
//! `https [ADDRESS] [CERTIFICATE]`, by default on 127.0.0.1:3443, with a certificate for localhost that is made at the start and
//! written to `certificate.pem`, so that a client can be told to trust it:
//!
//! ```sh
//! curl --cacert certificate.pem https://localhost:3443/
//! curl --cacert certificate.pem --data-binary @some-file https://localhost:3443/echo
//! ```
//!
//! Client and server agree on the version of HTTP within the handshake (ALPN). The requests of one HTTP/2 connection are tasks of
//! their own. SIGINT or SIGTERM stops the server: no new connections and requests, those under way are finished.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use multikernel::compat::hyper::{CoreExecutor, CoreTimer};
use multikernel::net::{TcpListener, TcpStream};
use multikernel::task::spawn_blocking;
use multikernel::{CoreId, select, spawn, time};
use multikernel_examples::server::{announce, arguments, asked_to_stop, exit, last_connections};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a client may take for the handshake, and again for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many requests of one HTTP/2 connection are served at once.
const STREAMS: u32 = 100;

#[multikernel::main]
async fn main() -> ExitCode {
    exit(run().await)
}

async fn run() -> io::Result<()> {
    let usage = "https [ADDRESS] [CERTIFICATE]";
    let [address, certificate] = arguments(usage, ["127.0.0.1:3443", "certificate.pem"])?;
    let listener = TcpListener::bind(&address).await?;
    let tls = TlsAcceptor::from(Arc::new(configuration(certificate.clone()).await?));
    announce("HTTP/1.1 and HTTP/2", &listener, "https://")?;
    println!("try: curl --cacert {certificate} https://localhost:{}/", listener.local_addr()?.port());

    let stop = CancellationToken::new();
    let connections = TaskTracker::new();
    select! {
        result = accept(&listener, &tls, &stop, &connections) => result?,
        result = asked_to_stop() => result?,
    }
    drop(listener);
    stop.cancel();
    last_connections(&connections).await;
    Ok(())
}

/// A certificate that signs itself. It is written to the path; its key stays here.
async fn configuration(path: String) -> io::Result<ServerConfig> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    let pem = made.cert.pem();
    // A core does not wait for a disk.
    let written = spawn_blocking(move || {
        std::fs::write(&path, pem).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
    });
    written.await??;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .map_err(io::Error::other)?;
    // What we would rather speak comes first.
    config.alpn_protocols = vec![b"h2".into(), b"http/1.1".into()];
    Ok(config)
}

async fn accept(
    listener: &TcpListener,
    tls: &TlsAcceptor,
    stop: &CancellationToken,
    connections: &TaskTracker,
) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // Spawned in the poll that accepted it: placed on the core with the fewest connections. The handshake is done there.
        spawn(connections.track_future(serve(stream, tls.clone(), stop.clone())));
    }
}

/// Who fails at the handshake, resets or talks nonsense ends its own connection, and only that.
async fn serve(stream: TcpStream, tls: TlsAcceptor, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = time::timeout(PATIENCE, tls.accept(stream)).await else { return };
    let mut http = auto::Builder::new(CoreExecutor);
    http.http1().timer(CoreTimer).header_read_timeout(PATIENCE);
    http.http2().timer(CoreTimer).max_concurrent_streams(STREAMS);
    let connection = http.serve_connection(TokioIo::new(stream), service_fn(answer));
    let mut connection = std::pin::pin!(connection);
    select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

type Answer = Response<Either<Full<Bytes>, Incoming>>;

async fn answer(request: Request<Incoming>) -> Result<Answer, hyper::Error> {
    let text = |text: String| Either::Left(Full::from(text));
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => {
            Response::new(text(format!("hello over {:?} from {}\n", request.version(), CoreId::current())))
        }
        // Sent back as it arrives: none of it is kept.
        (&Method::POST, "/echo") => Response::new(Either::Right(request.into_body())),
        _ => {
            let mut response = Response::new(text("there is GET / and POST /echo\n".to_owned()));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    })
}
