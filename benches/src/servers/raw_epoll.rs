//! A hand-written epoll loop: the limit for short connections, where io_uring's set-up per socket does not pay.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use super::Cores::One;
use super::Protocol::Echo;
use super::{BUFFER, Job, Server};

pub(super) const SERVERS: &[Server] = &[Server { name: "raw-epoll", cores: One, protocols: &[Echo], run }];

fn run(job: &Job) -> io::Result<()> {
    let listener = job.listener()?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let key = listener.as_raw_fd() as u64;
    epoll::add(&epoll, &listener, EventData::new_u64(key), EventFlags::IN)?;
    let mut server = Loop { epoll, connections: HashMap::new(), buffer: vec![0; BUFFER] };
    let mut events = Vec::with_capacity(1024);
    loop {
        events.clear();
        match epoll::wait(&server.epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            match event.data.u64() {
                ready if ready == key => server.accept(&listener)?,
                ready => server.turn(ready, *event)?,
            }
        }
    }
}

struct Loop {
    epoll: OwnedFd,
    connections: HashMap<u64, Connection>,
    /// All connections read into this one.
    buffer: Vec<u8>,
}

struct Connection {
    socket: OwnedFd,
    /// What the socket would not take; while there is some, nothing is read.
    unsent: Vec<u8>,
}

enum Next {
    Wait,
    Close,
}

impl Loop {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            let socket =
                match rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                    Ok(socket) => socket,
                    Err(Errno::AGAIN) => return Ok(()),
                    Err(Errno::INTR | Errno::CONNABORTED) => continue,
                    Err(error) => return Err(error.into()),
                };
            let key = socket.as_raw_fd() as u64;
            epoll::add(&self.epoll, &socket, EventData::new_u64(key), EventFlags::IN)?;
            self.connections.insert(key, Connection { socket, unsent: Vec::new() });
        }
    }

    fn turn(&mut self, key: u64, event: Event) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(&key) else { return Ok(()) };
        let was_full = !connection.unsent.is_empty();
        let next = if was_full { connection.flush() } else { connection.echo(&mut self.buffer) };
        let is_full = !connection.unsent.is_empty();
        match next {
            Next::Close => drop(self.connections.remove(&key)),
            Next::Wait if was_full != is_full => {
                let flags = if is_full { EventFlags::OUT } else { EventFlags::IN };
                epoll::modify(&self.epoll, connection.socket.as_fd(), event.data, flags)?;
            }
            Next::Wait => {}
        }
        Ok(())
    }
}

impl Connection {
    fn echo(&mut self, buffer: &mut [u8]) -> Next {
        let len = match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => return Next::Close,
            Ok((len, _)) => len,
            Err(Errno::AGAIN | Errno::INTR) => return Next::Wait,
            Err(_) => return Next::Close,
        };
        match rustix::net::send(&self.socket, &buffer[..len], SendFlags::NOSIGNAL) {
            Ok(sent) => self.unsent.extend_from_slice(&buffer[sent..len]),
            Err(Errno::AGAIN | Errno::INTR) => self.unsent.extend_from_slice(&buffer[..len]),
            Err(_) => return Next::Close,
        }
        Next::Wait
    }

    fn flush(&mut self) -> Next {
        match rustix::net::send(&self.socket, &self.unsent, SendFlags::NOSIGNAL) {
            Ok(sent) => drop(self.unsent.drain(..sent)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return Next::Close,
        }
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
        Next::Wait
    }
}
