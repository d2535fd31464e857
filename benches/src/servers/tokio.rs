//! tokio: on one thread, on a pool that steals, and as one runtime per core behind SO_REUSEPORT.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::thread;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use super::Cores::{Many, One};
use super::Protocol::{Echo, Http, Proxy, Uneven};
use super::ready::{self, Echoed};
use super::{BUFFER, Job, Server, http};
use crate::uneven::frame;

pub(super) const SERVERS: &[Server] = &[
    Server { name: "tokio-ct", cores: One, protocols: &[Echo, Http, Proxy], run: current_thread },
    Server { name: "tokio-ct-ready", cores: One, protocols: &[Echo], run: ready },
    Server { name: "tokio-mt1", cores: One, protocols: &[Echo, Http], run: multi_thread },
    Server { name: "tokio-mt", cores: Many, protocols: &[Echo, Http, Uneven], run: multi_thread },
    Server { name: "tokio-ct-each", cores: Many, protocols: &[Echo, Http, Uneven], run: one_per_core },
];

fn current_thread(job: &Job) -> io::Result<()> {
    match job.protocol {
        Proxy => one_thread()?.block_on(pass_on(job.listener()?, job.target()?)),
        protocol => one_thread()?.block_on(accept(job.listener()?, protocol)),
    }
}

fn multi_thread(job: &Job) -> io::Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(job.cores).enable_all().build()?;
    let (listener, protocol) = (job.listener()?, job.protocol);
    // On a worker, because the thread of `block_on` is not one of them.
    runtime.block_on(runtime.spawn(accept(listener, protocol)))?
}

fn one_per_core(job: &Job) -> io::Result<()> {
    let protocol = job.protocol;
    let serve = |listener| thread::spawn(move || one_thread()?.block_on(accept(listener, protocol)));
    let threads: Vec<_> = job.listeners(job.cores)?.into_iter().map(serve).collect();
    threads.into_iter().try_for_each(|thread| thread.join().expect("a server thread does not panic"))
}

/// Waits for readiness without a buffer and reads into one that all connections share.
fn ready(job: &Job) -> io::Result<()> {
    one_thread()?.block_on(async {
        let listener = TcpListener::from_std(job.listener()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(echo_when_ready(stream));
        }
    })
}

fn one_thread() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

async fn accept(listener: StdListener, protocol: super::Protocol) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        match protocol {
            Echo => drop(tokio::spawn(echo(stream))),
            Uneven => drop(tokio::spawn(compute(stream))),
            Http => drop(tokio::spawn(
                http::http1().serve_connection(TokioIo::new(stream), service_fn(http::hello)),
            )),
            _ => unreachable!("it is not among its protocols"),
        }
    }
}

async fn pass_on(listener: StdListener, target: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (mut near, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut far = TcpStream::connect(target).await?;
            far.set_nodelay(true)?;
            copy_bidirectional(&mut near, &mut far).await
        });
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let len = stream.read(&mut buffer).await?;
        if len == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..len]).await?;
    }
}

async fn compute(mut stream: TcpStream) -> io::Result<()> {
    let mut frame = [0; frame::LEN];
    loop {
        stream.read_exact(&mut frame).await?;
        frame::answer(&mut frame);
        stream.write_all(&frame).await?;
    }
}

async fn echo_when_ready(mut stream: TcpStream) -> io::Result<()> {
    loop {
        stream.readable().await?;
        match echo_at_once(&stream) {
            Ok(Echoed::All) => {}
            Ok(Echoed::Some { rest }) => stream.write_all(&rest).await?,
            Ok(Echoed::End) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads into the one buffer of this thread and writes out of it. Not part of the future, so that no connection
/// carries a buffer while it waits.
fn echo_at_once(stream: &TcpStream) -> io::Result<Echoed> {
    thread_local! {
        static SHARED: RefCell<[u8; BUFFER]> = const { RefCell::new([0; BUFFER]) };
    }
    SHARED.with_borrow_mut(|shared| {
        ready::echo(shared, |to| stream.try_read(to), |from| stream.try_write(from))
    })
}
