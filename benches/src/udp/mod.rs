//! `udp`: servers that send back each datagram, each in its runtime's best form.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};

use crate::servers::{self, Server};

mod multikernel;
mod tokio;

/// All servers, in the order of the tables.
pub(crate) const SERVERS: [&[Server]; 2] = [tokio::SERVERS, multikernel::SERVERS];

/// Room for a datagram.
const ROOM: usize = 2048;

/// A non-blocking socket on a free port, which is announced.
fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    servers::announce(socket.local_addr()?.port())?;
    Ok(socket)
}
