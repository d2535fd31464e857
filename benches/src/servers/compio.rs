//! compio with its owned-buffer calls.

use std::io;

use compio::BufResult;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::Runtime;

use super::Cores::One;
use super::Protocol::Echo;
use super::{BUFFER, Job, Server};

pub(super) const SERVERS: &[Server] = &[Server { name: "compio", cores: One, protocols: &[Echo], run }];

fn run(job: &Job) -> io::Result<()> {
    Runtime::new()?.block_on(async {
        let listener = TcpListener::from_std(job.listener()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            compio::runtime::spawn(echo(stream)).detach();
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        let BufResult(read, bytes) = stream.read(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        let BufResult(written, bytes) = stream.write_all(bytes).await;
        written?;
        buffer = bytes;
        buffer.clear();
    }
}
