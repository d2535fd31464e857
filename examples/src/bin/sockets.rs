//! Sockets with options that must be set before they connect or listen, and a stream that two tasks share.

use std::io;
use std::net::SocketAddr;

use multikernel::io::{AsyncReadExt, AsyncWriteExt};
use multikernel::net::{TcpListener, TcpSocket, TcpStream};
use multikernel::{spawn, spawn_balanced};

#[multikernel::main(cores = 2)]
async fn main() -> io::Result<()> {
    let listener = listen("127.0.0.1:0".parse().expect("an address"))?;
    let address = listener.local_addr()?;
    let server = spawn(async move { shout(listener.accept().await?.0).await });
    let answer = ask(address, b"all quiet\n").await?;
    server.await??;
    assert_eq!(answer, b"ALL QUIET\n");
    println!("{}", String::from_utf8_lossy(&answer).trim());
    Ok(())
}

// ANCHOR: options
/// The buffers and the length of the queue are settled before there is a connection.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(1 << 20)?;
    socket.bind(address)?;
    socket.listen(4096)
}
// ANCHOR_END: options

// ANCHOR: owned
/// Whole buffers: on io_uring nothing is copied to get them, and a connection that waits holds none.
async fn shout(stream: TcpStream) -> io::Result<()> {
    loop {
        let mut bytes = stream.recv().await?.to_vec();
        if bytes.is_empty() {
            return Ok(());
        }
        bytes.make_ascii_uppercase();
        stream.send_all(bytes).await.result?;
    }
}
// ANCHOR_END: owned

// ANCHOR: split
/// Reads on one core while another writes: the halves go where they are sent.
async fn ask(address: SocketAddr, question: &'static [u8]) -> io::Result<Vec<u8>> {
    let (mut reading, mut writing) = TcpStream::connect(address).await?.into_split();
    let writer = spawn_balanced(async move {
        writing.write_all(question).await?;
        writing.shutdown().await // the server sees the end
    });
    let mut answer = Vec::new();
    reading.read_to_end(&mut answer).await?;
    writer.await??;
    Ok(answer)
}
// ANCHOR_END: split
