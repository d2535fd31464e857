//! multikernel: on either driver, through tokio's traits, through owned buffers, and by readiness.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;

use hyper::service::service_fn;
use multikernel::io::copy_bidirectional;
use multikernel::net::{TcpListener, TcpStream};
use multikernel::runtime::{Builder, DriverChoice, Placement};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Cores::{Many, One};
use super::Protocol::{Echo, Http, Proxy, Uneven};
use super::ready::{self, Echoed};
use super::{BUFFER, Job, Server, http};
use crate::uneven::frame;

pub(super) const SERVERS: &[Server] = &[
    Server { name: "multikernel", cores: One, protocols: &[Echo, Http, Proxy], run: uring },
    Server { name: "multikernel-epoll", cores: One, protocols: &[Echo, Http, Proxy], run: epoll },
    Server { name: "multikernel-owned", cores: One, protocols: &[Echo], run: owned },
    Server { name: "multikernel-ready", cores: One, protocols: &[Echo], run: ready },
    Server { name: "multikernel-each", cores: Many, protocols: &[Echo, Http, Uneven], run: uring },
    // All tasks begin where they were accepted.
    Server { name: "multikernel-local", cores: Many, protocols: &[Echo, Uneven], run: local },
    // No task is handed over.
    Server { name: "multikernel-still", cores: Many, protocols: &[Echo, Uneven], run: still },
];

/// What a connection's task does.
#[derive(Clone, Copy)]
enum Form {
    /// Reads and writes through tokio's traits.
    Traits,
    /// Receives and sends whole buffers.
    Owned,
    /// Waits without a buffer and reads into one that all connections share.
    Ready,
    /// HTTP through hyper.
    Http,
    /// Copies both ways to and from there.
    Proxy(SocketAddr),
    /// Computes as much as it is asked to.
    Uneven,
}

impl Form {
    fn of(job: &Job) -> io::Result<Self> {
        Ok(match job.protocol {
            Echo => Self::Traits,
            Http => Self::Http,
            Proxy => Self::Proxy(job.target()?),
            Uneven => Self::Uneven,
            _ => unreachable!("it is not among its protocols"),
        })
    }
}

fn uring(job: &Job) -> io::Result<()> {
    run(job, &mut on_uring(), Form::of(job)?)
}

fn epoll(job: &Job) -> io::Result<()> {
    run(job, Builder::new().driver(DriverChoice::Epoll), Form::of(job)?)
}

fn owned(job: &Job) -> io::Result<()> {
    run(job, &mut on_uring(), Form::Owned)
}

fn ready(job: &Job) -> io::Result<()> {
    run(job, &mut on_uring(), Form::Ready)
}

fn local(job: &Job) -> io::Result<()> {
    run(job, on_uring().placement(Placement::Local), Form::of(job)?)
}

fn still(job: &Job) -> io::Result<()> {
    run(job, on_uring().balancing(false), Form::of(job)?)
}

/// Refuses to start without it: a table must not call epoll's figures io_uring's.
fn on_uring() -> Builder {
    let mut builder = Builder::new();
    builder.driver(DriverChoice::Uring);
    builder
}

fn run(job: &Job, builder: &mut Builder, form: Form) -> io::Result<()> {
    let listener = job.listener()?;
    builder.cores(job.cores).run(move || async move {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            match form {
                Form::Traits => drop(multikernel::spawn(echo(stream))),
                Form::Owned => drop(multikernel::spawn(echo_owned(stream))),
                Form::Ready => drop(multikernel::spawn(echo_when_ready(stream))),
                Form::Proxy(target) => drop(multikernel::spawn(pass_on(stream, target))),
                Form::Uneven => drop(multikernel::spawn(compute(stream))),
                Form::Http => {
                    drop(multikernel::spawn(http::http1().serve_connection(stream, service_fn(http::hello))))
                }
            }
        }
    })?
}

async fn pass_on(mut near: TcpStream, target: SocketAddr) -> io::Result<(u64, u64)> {
    let mut far = TcpStream::connect(target).await?;
    far.set_nodelay(true)?;
    copy_bidirectional(&mut near, &mut far).await
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

async fn echo_owned(stream: TcpStream) -> io::Result<()> {
    loop {
        let bytes = stream.recv().await?;
        if bytes.is_empty() {
            return Ok(());
        }
        stream.send_all(bytes).await.result?;
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

/// Reads into the one buffer of this core and writes out of it. Not part of the future, so that no connection carries
/// a buffer while it waits.
fn echo_at_once(stream: &TcpStream) -> io::Result<Echoed> {
    multikernel::core_local! {
        static SHARED: RefCell<[u8; BUFFER]> = RefCell::new([0; BUFFER]);
    }
    SHARED.with(|shared| {
        let shared = &mut *shared.borrow_mut();
        ready::echo(shared, |to| stream.try_read(to), |from| stream.try_write(from))
    })
}
