//! A hand-written io_uring loop: no runtime, no futures, no tasks. The limit that the others are held against.
//!
//! One accept and one receive per connection stay armed; received bytes are sent from the buffer they arrived in;
//! one entry into the kernel per batch of completions.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode};

use super::Cores::One;
use super::Protocol::{Echo, Http};
use super::{BUFFER, Job, Server};
use crate::harness::uring::{self, Pool};

pub(super) const SERVERS: &[Server] = &[Server { name: "raw", cores: One, protocols: &[Echo, Http], run }];

/// Few enough to stay in the cache.
const BUFFERS: u16 = 128;
const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;
const CLOSE: u64 = 3;

/// As long as hyper's, to the byte, and with a date that does not change.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\
    date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\nHello, World!";

fn run(job: &Job) -> io::Result<()> {
    let listener = job.listener()?;
    let ring = uring::ring(1024)?;
    let pool = Pool::register(&ring, BUFFERS, BUFFER)?;
    let answer = match job.protocol {
        Echo => Answer::Same,
        Http => Answer::Fixed(RESPONSE.repeat(MOST_RESPONSES).leak()),
        _ => unreachable!("it is not among its protocols"),
    };
    let mut server = Loop { ring, pool, connections: Vec::new(), starved: Vec::new(), answer };
    server.accept(listener.as_raw_fd())?;
    let mut batch = Vec::with_capacity(4096);
    loop {
        server.pool.publish();
        server.arm_starved()?;
        match server.ring.submit_and_wait(1) {
            Err(error) if error.raw_os_error() != Some(libc::EINTR) => return Err(error),
            _ => {}
        }
        batch.extend(server.ring.completion());
        for entry in batch.drain(..) {
            server.completed(&entry, listener.as_raw_fd())?;
        }
    }
}

/// Requests that one buffer of the pool can complete.
const MOST_RESPONSES: usize = BUFFER / 4 + 1;

#[derive(Clone, Copy)]
enum Answer {
    Same,
    Fixed(&'static [u8]),
}

struct Loop {
    ring: IoUring,
    pool: Pool,
    /// By descriptor.
    connections: Vec<Connection>,
    /// Connections whose receive ended for want of a buffer.
    starved: Vec<RawFd>,
    answer: Answer,
}

#[derive(Default)]
struct Connection {
    /// The front is being sent; the rest waits for it, because two sends at once could overtake each other.
    outgoing: VecDeque<(u16, u32)>,
    ended: bool,
    /// Bytes of the blank line that ends a request head seen so far.
    blank: usize,
}

impl Loop {
    fn accept(&mut self, listener: RawFd) -> io::Result<()> {
        let accept = opcode::AcceptMulti::new(Fd(listener)).build().user_data(tag(ACCEPT, 0, 0));
        // SAFETY: names no memory; the listener is open as long as the loop runs.
        unsafe { uring::push(&mut self.ring, &accept) }
    }

    fn receive(&mut self, fd: RawFd) -> io::Result<()> {
        let receive = opcode::RecvMulti::new(Fd(fd), uring::GROUP).build().user_data(tag(RECEIVE, fd, 0));
        // SAFETY: names no memory but the pool's, which lives for ever; `fd` is closed only after the receive ended.
        unsafe { uring::push(&mut self.ring, &receive) }
    }

    fn arm_starved(&mut self) -> io::Result<()> {
        while let Some(fd) = self.starved.pop() {
            self.receive(fd)?;
        }
        Ok(())
    }

    fn completed(&mut self, entry: &cqueue::Entry, listener: RawFd) -> io::Result<()> {
        let (kind, fd, buffer) = untag(entry.user_data());
        match kind {
            ACCEPT => {
                if !cqueue::more(entry.flags()) {
                    self.accept(listener)?;
                }
                self.accepted(entry.result())
            }
            RECEIVE => self.received(fd, entry),
            SEND => self.sent(fd, buffer, entry.result()),
            _ => Ok(()),
        }
    }

    fn accepted(&mut self, result: i32) -> io::Result<()> {
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        let place = result as usize;
        if self.connections.len() <= place {
            self.connections.resize_with(place + 1, Connection::default);
        }
        self.connections[place] = Connection::default();
        self.receive(result)
    }

    fn received(&mut self, fd: RawFd, entry: &cqueue::Entry) -> io::Result<()> {
        let result = entry.result();
        if let (1.., Some(buffer)) = (result, uring::buffer_of(entry)) {
            self.answer(fd, buffer, result as usize)?;
        }
        if cqueue::more(entry.flags()) {
            return Ok(());
        }
        if result > 0 {
            return self.receive(fd);
        }
        if result == -libc::ENOBUFS {
            self.starved.push(fd);
            return Ok(());
        }
        let connection = &mut self.connections[fd as usize];
        connection.ended = true;
        if connection.outgoing.is_empty() { self.close(fd) } else { Ok(()) }
    }

    fn answer(&mut self, fd: RawFd, buffer: u16, len: usize) -> io::Result<()> {
        let connection = &mut self.connections[fd as usize];
        let len = match self.answer {
            Answer::Same => len,
            Answer::Fixed(_) => {
                // SAFETY: the completion handed out `buffer` with `len` bytes; it is given back further down.
                let bytes = unsafe { self.pool.bytes(buffer, len) };
                connection.requests_in(bytes) * RESPONSE.len()
            }
        };
        if len == 0 {
            self.pool.give_back(buffer);
            return Ok(());
        }
        connection.outgoing.push_back((buffer, len as u32));
        if connection.outgoing.len() == 1 { self.send(fd) } else { Ok(()) }
    }

    /// Sends the front of the connection's queue.
    fn send(&mut self, fd: RawFd) -> io::Result<()> {
        let (buffer, len) = self.connections[fd as usize].outgoing[0];
        let bytes = match self.answer {
            // SAFETY: the kernel handed out `buffer` with `len` bytes, and it is given back only once this is sent.
            Answer::Same => unsafe { self.pool.bytes(buffer, len as usize) },
            Answer::Fixed(responses) => &responses[..len as usize],
        };
        let send = opcode::Send::new(Fd(fd), bytes.as_ptr(), len)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .user_data(tag(SEND, fd, buffer));
        // SAFETY: the pool's memory and the responses live for ever, and the buffer is not given back before the
        // completion; `fd` is closed only when nothing is being sent.
        unsafe { uring::push(&mut self.ring, &send) }
    }

    fn sent(&mut self, fd: RawFd, buffer: u16, result: i32) -> io::Result<()> {
        self.pool.give_back(buffer);
        let connection = &mut self.connections[fd as usize];
        let asked = connection.outgoing.pop_front().map_or(0, |(_, len)| len);
        if i64::from(result) < i64::from(asked) {
            // The peer is gone. Its receive ends by itself, and nothing more can be sent.
            for (buffer, _) in connection.outgoing.drain(..) {
                self.pool.give_back(buffer);
            }
        }
        match (connection.outgoing.is_empty(), connection.ended) {
            (false, _) => self.send(fd),
            (true, true) => self.close(fd),
            (true, false) => Ok(()),
        }
    }

    fn close(&mut self, fd: RawFd) -> io::Result<()> {
        let close = opcode::Close::new(Fd(fd)).build().user_data(tag(CLOSE, fd, 0));
        // SAFETY: the receive has ended and nothing is being sent, so this is the last use of `fd`.
        unsafe { uring::push(&mut self.ring, &close) }
    }
}

impl Connection {
    /// Counts the request heads that end in `bytes`.
    fn requests_in(&mut self, bytes: &[u8]) -> usize {
        const BLANK: &[u8; 4] = b"\r\n\r\n";
        let mut requests = 0;
        for byte in bytes {
            self.blank =
                if *byte == BLANK[self.blank] { self.blank + 1 } else { usize::from(*byte == b'\r') };
            if self.blank == BLANK.len() {
                self.blank = 0;
                requests += 1;
            }
        }
        requests
    }
}

fn tag(kind: u64, fd: RawFd, buffer: u16) -> u64 {
    kind << 56 | (fd as u64) << 16 | u64::from(buffer)
}

fn untag(tag: u64) -> (u64, RawFd, u16) {
    (tag >> 56, (tag >> 16 & 0xffff_ffff) as RawFd, tag as u16)
}
