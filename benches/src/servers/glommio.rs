//! glommio with the futures traits its streams implement.

use std::io;
use std::os::fd::{FromRawFd, IntoRawFd};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::LocalExecutorBuilder;
use glommio::net::{TcpListener, TcpStream};

use super::Cores::One;
use super::Protocol::Echo;
use super::{BUFFER, Job, Server};

pub(super) const SERVERS: &[Server] = &[Server { name: "glommio", cores: One, protocols: &[Echo], run }];

fn run(job: &Job) -> io::Result<()> {
    let executor = LocalExecutorBuilder::default().make().map_err(other)?;
    executor.run(async {
        // SAFETY: the descriptor is a listening socket, and ownership passes from one type to the other.
        let listener = unsafe { TcpListener::from_raw_fd(job.listener()?.into_raw_fd()) };
        loop {
            let stream = listener.accept().await.map_err(other)?;
            glommio::spawn_local(echo(stream)).detach();
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
