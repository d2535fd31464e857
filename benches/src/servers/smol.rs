//! smol's parts: async-executor on as many threads as asked for, async-io as the reactor.

use std::future::pending;
use std::io;
use std::thread;

use async_executor::Executor;
use async_io::Async;
use async_net::{TcpListener, TcpStream};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

use super::Cores::{Many, One};
use super::Protocol::{Echo, Uneven};
use super::{BUFFER, Job, Server};
use crate::uneven::frame;

pub(super) const SERVERS: &[Server] = &[
    Server { name: "smol1", cores: One, protocols: &[Echo], run },
    Server { name: "smol", cores: Many, protocols: &[Echo, Uneven], run },
];

static EXECUTOR: Executor<'static> = Executor::new();

fn run(job: &Job) -> io::Result<()> {
    let (listener, protocol) = (TcpListener::from(Async::new(job.listener()?)?), job.protocol);
    for _ in 1..job.cores {
        thread::spawn(|| async_io::block_on(EXECUTOR.run(pending::<()>())));
    }
    async_io::block_on(EXECUTOR.run(async {
        loop {
            let (stream, _) = listener.accept().await?;
            match protocol {
                Uneven => EXECUTOR.spawn(compute(stream)).detach(),
                _ => EXECUTOR.spawn(echo(stream)).detach(),
            }
        }
    }))
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
