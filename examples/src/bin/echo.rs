//! A TCP server that sends back what it gets: one task for each connection, each on one core.

use std::io;

use multikernel::io::{AsyncReadExt, AsyncWriteExt};
use multikernel::net::{TcpListener, TcpStream};
use multikernel::spawn;

// ANCHOR: serve
async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        spawn(async move {
            if let Err(error) = echo(stream).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&bytes[..count]).await?;
    }
}
// ANCHOR_END: serve

// ANCHOR: main
#[multikernel::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!("listening on {address}");
    let server = spawn(serve(listener));

    let mut client = TcpStream::connect(address).await?;
    client.write_all(b"hello").await?;
    let mut answer = [0; 5];
    client.read_exact(&mut answer).await?;
    println!("sent back: {}", String::from_utf8_lossy(&answer));

    server.abort();
    Ok(())
}
// ANCHOR_END: main
