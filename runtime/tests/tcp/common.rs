//! What the tests of TCP share.

use std::io;

use multikernel::net::{TcpListener, TcpStream};

pub use crate::support::{
    DRIVERS, PATIENCE, assert_driver, on_both, own_address, pattern, poll_once, read, read_exact, write_all,
};

/// Both ends of a connection.
pub async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let near = TcpStream::connect(listener.local_addr()?).await?;
    let (far, peer) = listener.accept().await?;
    assert_eq!(peer, near.local_addr()?);
    Ok((near, far))
}
