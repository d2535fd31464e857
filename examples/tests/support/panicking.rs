//! A server inside this process whose handler panics when it is asked to.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, server};
use multikernel::net::{TcpListener, TcpStream};
use multikernel::runtime::{Builder, DriverChoice};
use multikernel::task::yield_now;
use multikernel::{CoreId, select, spawn};
use tokio_util::sync::CancellationToken;

use super::{Driver, PATIENCE};

/// Dropping it stops it.
pub(crate) struct PanickingServer {
    pub(crate) addr: SocketAddr,
    panics: Arc<AtomicUsize>,
    stop: CancellationToken,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl PanickingServer {
    /// Starts one with two cores.
    pub(crate) fn start(driver: Driver) -> PanickingServer {
        let choice = match driver {
            Driver::Uring => DriverChoice::Uring,
            Driver::Epoll => DriverChoice::Epoll,
        };
        let panics = Arc::new(AtomicUsize::new(0));
        let stop = CancellationToken::new();
        let (sender, addr) = channel();
        let thread = std::thread::spawn({
            let (panics, stop) = (panics.clone(), stop.clone());
            move || Builder::new().cores(2).driver(choice).run(move || run(sender, panics, stop))?
        });
        let addr = addr.recv_timeout(PATIENCE).expect("the server listens");
        PanickingServer { addr, panics, stop, thread: Some(thread) }
    }

    /// How many of its tasks have ended in a panic.
    pub(crate) fn panics(&self) -> usize {
        // Relaxed: a number to look at, which orders nothing.
        self.panics.load(Ordering::Relaxed)
    }

    /// Stops it.
    ///
    /// # Panics
    /// When the server did not end as it should.
    pub(crate) fn stop(mut self) {
        self.stop.cancel();
        let thread = self.thread.take().expect("only here and in drop");
        thread.join().expect("the server outlives its handlers").expect("and its listener works");
    }
}

impl Drop for PanickingServer {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn run(addr: Sender<SocketAddr>, panics: Arc<AtomicUsize>, stop: CancellationToken) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    addr.send(listener.local_addr()?).expect("the test waits for it");
    loop {
        let stream = select! {
            connection = listener.accept() => connection?.0,
            () = stop.cancelled() => return Ok(()),
        };
        let connection = spawn(serve(stream));
        let panics = panics.clone();
        spawn(async move {
            if connection.await.is_err_and(|error| error.is_panic()) {
                // Relaxed: as in `panics`.
                panics.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

async fn serve(stream: TcpStream) {
    let _ = server::conn::http1::Builder::new().serve_connection(stream, service_fn(handle)).await;
}

async fn handle(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    match request.uri().path() {
        "/panic" => panic!("as asked, at once"),
        "/panic-later" => {
            yield_now().await;
            panic!("as asked, in a later poll");
        }
        _ => Ok(Response::new(Full::from(format!("hello from {}\n", CoreId::current())))),
    }
}
