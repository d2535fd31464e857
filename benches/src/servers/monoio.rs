//! monoio on its io_uring driver, with its owned-buffer calls.

use std::io;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};

use super::Cores::One;
use super::Protocol::Echo;
use super::{BUFFER, Job, Server};

pub(super) const SERVERS: &[Server] = &[Server { name: "monoio", cores: One, protocols: &[Echo], run }];

fn run(job: &Job) -> io::Result<()> {
    RuntimeBuilder::<IoUringDriver>::new().with_entries(4096).build()?.block_on(async {
        let listener = TcpListener::from_std(job.listener()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            drop(monoio::spawn(echo(stream)));
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
