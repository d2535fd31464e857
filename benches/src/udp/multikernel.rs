//! multikernel: one datagram at a time on either driver, many in one call, and answers to the same peer joined for the system
//! to cut.

use std::io;
use std::net::SocketAddr;

use multikernel::net::UdpSocket;
use multikernel::net::udp::{Datagram, RecvBatch};
use multikernel::runtime::{Builder, DriverChoice};

use super::ROOM;
use crate::servers::Cores::One;
use crate::servers::Protocol::Udp;
use crate::servers::{Job, Server};

pub(super) const SERVERS: &[Server] = &[
    Server { name: "multikernel", cores: One, protocols: &[Udp], run: uring },
    Server { name: "multikernel-epoll", cores: One, protocols: &[Udp], run: epoll },
    Server { name: "multikernel-batch", cores: One, protocols: &[Udp], run: batch },
    Server { name: "multikernel-gso", cores: One, protocols: &[Udp], run: gso },
];

/// The system takes no more at once.
const LONGEST: usize = 65_000;

/// How a server receives and sends.
#[derive(Clone, Copy)]
enum Form {
    Single,
    Batch,
    Joined,
}

fn uring(_: &Job) -> io::Result<()> {
    run(DriverChoice::Uring, Form::Single)
}

fn epoll(_: &Job) -> io::Result<()> {
    run(DriverChoice::Epoll, Form::Single)
}

fn batch(_: &Job) -> io::Result<()> {
    run(DriverChoice::Uring, Form::Batch)
}

fn gso(_: &Job) -> io::Result<()> {
    run(DriverChoice::Uring, Form::Joined)
}

fn run(driver: DriverChoice, form: Form) -> io::Result<()> {
    let socket = super::socket()?;
    Builder::new().cores(1).driver(driver).run(move || async move {
        let socket = UdpSocket::from_std(socket)?;
        match form {
            Form::Single => one_by_one(&socket).await,
            Form::Batch => in_batches(&socket).await,
            Form::Joined => joined(&socket).await,
        }
    })?
}

async fn one_by_one(socket: &UdpSocket) -> io::Result<()> {
    let mut room = vec![0; ROOM];
    loop {
        let (len, from) = socket.recv_from(&mut room).await?;
        socket.send_to(&room[..len], from).await?;
    }
}

async fn in_batches(socket: &UdpSocket) -> io::Result<()> {
    let mut batch = RecvBatch::new(RecvBatch::MAX, ROOM);
    loop {
        socket.recv_batch(&mut batch).await?;
        let answers: Vec<_> = batch.iter().map(|got| Datagram::new(got.payload()).to(got.from())).collect();
        send_all(socket, &answers).await?;
    }
}

async fn send_all(socket: &UdpSocket, mut rest: &[Datagram<'_>]) -> io::Result<()> {
    while !rest.is_empty() {
        rest = &rest[socket.send_batch(rest).await?..];
    }
    Ok(())
}

/// Answers of one length to one peer, one after the other in memory.
struct Run {
    to: SocketAddr,
    each: usize,
    bytes: Vec<u8>,
}

impl Run {
    fn takes(&self, to: SocketAddr, each: usize, most: usize) -> bool {
        let room = (most * each).min(LONGEST);
        self.to == to && self.each == each && self.bytes.len() + each <= room
    }
}

async fn joined(socket: &UdpSocket) -> io::Result<()> {
    let most = socket.max_segments();
    let mut batch = RecvBatch::new(RecvBatch::MAX, ROOM);
    let (mut runs, mut spare): (Vec<Run>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
    loop {
        socket.recv_batch(&mut batch).await?;
        for got in batch.iter() {
            let (payload, to) = (got.payload(), got.from());
            let known = runs.iter_mut().rev().find(|run| run.takes(to, payload.len(), most));
            match known {
                Some(run) => run.bytes.extend_from_slice(payload),
                None => {
                    let mut bytes = spare.pop().unwrap_or_default();
                    bytes.extend_from_slice(payload);
                    runs.push(Run { to, each: payload.len(), bytes });
                }
            }
        }
        let answers: Vec<_> = runs.iter().map(Run::datagram).collect();
        send_all(socket, &answers).await?;
        for mut run in runs.drain(..) {
            run.bytes.clear();
            spare.push(run.bytes);
        }
    }
}

impl Run {
    fn datagram(&self) -> Datagram<'_> {
        let all = Datagram::new(&self.bytes).to(self.to);
        if self.bytes.len() > self.each { all.segments(self.each as u16) } else { all }
    }
}
