//! tokio on one thread.

use std::io;

use tokio::net::UdpSocket;
use tokio::runtime::Builder;

use super::ROOM;
use crate::servers::Cores::One;
use crate::servers::Protocol::Udp;
use crate::servers::{Job, Server};

pub(super) const SERVERS: &[Server] = &[Server { name: "tokio-ct", cores: One, protocols: &[Udp], run }];

fn run(_: &Job) -> io::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let socket = UdpSocket::from_std(super::socket()?)?;
        let mut room = vec![0; ROOM];
        loop {
            let (len, from) = socket.recv_from(&mut room).await?;
            socket.send_to(&room[..len], from).await?;
        }
    })
}
