//! UDP on both drivers.

mod batches;
mod cancel;
mod cores;
mod datagrams;
#[path = "../support/mod.rs"]
mod support;

use std::io;

use multikernel::net::UdpSocket;

/// Two sockets that are connected to each other.
async fn pair() -> io::Result<(UdpSocket, UdpSocket)> {
    let near = UdpSocket::bind("127.0.0.1:0").await?;
    let far = UdpSocket::bind("127.0.0.1:0").await?;
    near.connect(far.local_addr()?).await?;
    far.connect(near.local_addr()?).await?;
    Ok((near, far))
}
