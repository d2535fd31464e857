//! glommio with the futures traits its streams implement.

use std::io;
use std::net::TcpListener as StdListener;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::thread;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::LocalExecutorBuilder;
use glommio::net::{TcpListener, TcpStream};

use super::Cores::{Many, One};
use super::Protocol::{self, Echo, Uneven};
use super::{BUFFER, Job, Server};
use crate::uneven::frame;

pub(super) const SERVERS: &[Server] = &[
    Server { name: "glommio", cores: One, protocols: &[Echo], run },
    Server { name: "glommio-each", cores: Many, protocols: &[Echo, Uneven], run: one_per_core },
];

fn run(job: &Job) -> io::Result<()> {
    accept(job.listener()?, job.protocol)
}

fn one_per_core(job: &Job) -> io::Result<()> {
    let protocol = job.protocol;
    let serve = |listener| thread::spawn(move || accept(listener, protocol));
    let threads: Vec<_> = job.listeners(job.cores)?.into_iter().map(serve).collect();
    threads.into_iter().try_for_each(|thread| thread.join().expect("a server thread does not panic"))
}

fn accept(listener: StdListener, protocol: Protocol) -> io::Result<()> {
    let executor = LocalExecutorBuilder::default().make().map_err(other)?;
    executor.run(async {
        // SAFETY: the descriptor is a listening socket, and ownership passes from one type to the other.
        let listener = unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) };
        loop {
            let stream = listener.accept().await.map_err(other)?;
            match protocol {
                Uneven => glommio::spawn_local(compute(stream)).detach(),
                _ => glommio::spawn_local(echo(stream)).detach(),
            };
        }
    })
}

/// glommio's error can hold what is not `Sync`; its text can go anywhere.
fn other(error: glommio::GlommioError<()>) -> io::Error {
    io::Error::other(error.to_string())
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
