//! monoio on its io_uring driver, with its owned-buffer calls.

use std::io;
use std::net::TcpListener as StdListener;
use std::thread;

use monoio::io::{AsyncReadRent, AsyncReadRentExt, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};

use super::Cores::{Many, One};
use super::Protocol::{self, Echo, Uneven};
use super::{BUFFER, Job, Server};
use crate::uneven::frame;

pub(super) const SERVERS: &[Server] = &[
    Server { name: "monoio", cores: One, protocols: &[Echo], run },
    Server { name: "monoio-each", cores: Many, protocols: &[Echo, Uneven], run: one_per_core },
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
    RuntimeBuilder::<IoUringDriver>::new().with_entries(4096).build()?.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            match protocol {
                Uneven => drop(monoio::spawn(compute(stream))),
                _ => drop(monoio::spawn(echo(stream))),
            }
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER);
    let mut result;
    loop {
        (result, buffer) = stream.read(buffer).await;
        if result? == 0 {
            return Ok(());
        }
        (result, buffer) = stream.write_all(buffer).await;
        result?;
        buffer.clear();
    }
}

async fn compute(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Box::new([0; frame::LEN]);
    let mut result;
    loop {
        (result, buffer) = stream.read_exact(buffer).await;
        result?;
        frame::answer(&mut buffer);
        (result, buffer) = stream.write_all(buffer).await;
        result?;
    }
}
