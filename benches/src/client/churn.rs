//! Connections that come and go: connect, a few requests, close, and again.
//!
//! Connect, first request and first answer are one linked chain, so a connection with one request costs the client
//! one completion. The client closes first and so keeps the TIME_WAIT state; it connects from many loopback
//! addresses, so that ports do not run out and no linger option has to cut the closing short.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use socket2::{SockAddr, Socket};

use super::message::{Checker, Message};
use super::{PATIENCE, Slice, Work};
use crate::harness::sched::CpuTime;
use crate::harness::uring;

const RECEIVE: u64 = 0;
const CONNECT: u64 = 1 << 32;
const SEND: u64 = 2 << 32;

/// Addresses to connect from: 127.1.0.1 and the next so many. Enough for ports to last through TIME_WAIT; many more
/// would be measured too, because Linux keeps notes on each address.
const SOURCES: u32 = 250;

/// A number of connections at a time to one server.
pub struct Churn {
    ring: IoUring,
    slots: Vec<Slot>,
    completions: Vec<cqueue::Entry>,
    server: &'static SockAddr,
    per_connection: u32,
    source: u32,
    open: usize,
}

/// One connection after another. The memory is leaked, because a ring that closes does not wait for its operations.
struct Slot {
    socket: Option<Socket>,
    request: &'static [u8],
    answer: *mut u8,
    left: u32,
    started: Instant,
}

impl Churn {
    /// `at_a_time` connections to `addr`, each for `per_connection` requests of `size` bytes.
    ///
    /// # Errors
    /// When the first `at_a_time` connections are not all admitted and answered.
    pub fn start(addr: SocketAddr, at_a_time: usize, per_connection: u32, size: usize) -> Result<Self> {
        let slots = (0..at_a_time).map(|number| Slot {
            socket: None,
            request: Message::Echo(size).request(number as u64).leak(),
            answer: vec![0; size].leak().as_mut_ptr(),
            left: 0,
            started: Instant::now(),
        });
        let mut churn = Self {
            ring: uring::ring(1024).context("the client needs io_uring (kernel 6.1 or later)")?,
            slots: slots.collect(),
            completions: Vec::with_capacity(4096),
            server: Box::leak(Box::new(addr.into())),
            per_connection,
            source: 0,
            open: 0,
        };
        let admitted = churn.slice(Duration::ZERO, &mut super::latencies());
        let missing = churn.open;
        admitted.with_context(|| format!("{} of {at_a_time} connections admitted", at_a_time - missing))?;
        Ok(churn)
    }

    fn open(&mut self, number: usize, now: Instant) -> Result<()> {
        let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + self.source);
        self.source = (self.source + 1) % SOURCES;
        let socket = super::socket_from(source)?;
        let connect =
            opcode::Connect::new(Fd(socket.as_raw_fd()), self.server.as_ptr().cast(), self.server.len())
                .build()
                .flags(squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS)
                .user_data(CONNECT | number as u64);
        let slot = &mut self.slots[number];
        (slot.socket, slot.left, slot.started) = (Some(socket), self.per_connection, now);
        self.open += 1;
        // SAFETY: the address is leaked; the socket is open until its slot's receive completes, which ends the chain.
        unsafe { uring::push(&mut self.ring, &connect)? };
        self.ask(number)
    }

    fn ask(&mut self, number: usize) -> Result<()> {
        let slot = &self.slots[number];
        let fd = Fd(slot.socket.as_ref().context("a slot without a connection")?.as_raw_fd());
        let len = slot.request.len() as u32;
        let send = opcode::Send::new(fd, slot.request.as_ptr(), len)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .flags(squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS)
            .user_data(SEND | number as u64);
        let receive = opcode::Recv::new(fd, slot.answer, len)
            .flags(libc::MSG_WAITALL)
            .build()
            .user_data(RECEIVE | number as u64);
        // SAFETY: the request is leaked and never written; the answer's memory is leaked and read only after the
        // receive has completed. The socket is open until then.
        unsafe {
            uring::push(&mut self.ring, &send)?;
            uring::push(&mut self.ring, &receive)?;
        }
        Ok(())
    }

    /// Enters the kernel once and takes what has arrived. Returns how many connections came to their end.
    fn turn(&mut self, latency: &mut Histogram<u64>, go_on: bool) -> Result<u64> {
        let timeout = Timespec::from(PATIENCE);
        match self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout)) {
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => {
                bail!("no answer for {} s with {} connections open", PATIENCE.as_secs(), self.open)
            }
            Err(error) if error.raw_os_error() != Some(libc::EINTR) => {
                return Err(error).context("io_uring_enter");
            }
            _ => {}
        }
        let now = Instant::now();
        self.completions.extend(self.ring.completion());
        let mut ended = 0;
        for place in 0..self.completions.len() {
            let entry = self.completions[place].clone();
            let number = self.completed(&entry)?;
            if self.slots[number].left > 0 {
                self.ask(number)?;
                continue;
            }
            let slot = &mut self.slots[number];
            latency.saturating_record(now.duration_since(slot.started).as_nanos() as u64);
            slot.socket = None;
            self.open -= 1;
            ended += 1;
            if go_on {
                self.open(number, now)?;
            }
        }
        self.completions.clear();
        Ok(ended)
    }

    /// Checks an answer and returns whose it is.
    fn completed(&mut self, entry: &cqueue::Entry) -> Result<usize> {
        let number = (entry.user_data() & 0xffff_ffff) as usize;
        let what = match entry.user_data() & !0xffff_ffff {
            CONNECT => "connect",
            SEND => "send",
            _ => "receive",
        };
        if entry.result() < 0 {
            return Err(io::Error::from_raw_os_error(-entry.result())).context(what);
        }
        let slot = &mut self.slots[number];
        if what != "receive" || entry.result() as usize != slot.request.len() {
            bail!("{what}: the server closed the connection after {} bytes", entry.result());
        }
        // SAFETY: the receive into this memory has completed, and the next one is not queued yet.
        let answer = unsafe { std::slice::from_raw_parts(slot.answer, slot.request.len()) };
        Checker::Echo { at: 0 }.check(slot.request, answer)?;
        slot.left -= 1;
        Ok(number)
    }
}

impl Work for Churn {
    fn slice(&mut self, length: Duration, latency: &mut Histogram<u64>) -> Result<Slice> {
        let before = CpuTime::of_this_thread()?;
        let start = Instant::now();
        for number in 0..self.slots.len() {
            self.open(number, start)?;
        }
        let mut counted = 0;
        while start.elapsed() < length {
            counted += self.turn(latency, true)?;
        }
        let wall = start.elapsed();
        let mut total = counted;
        while self.open > 0 {
            total += self.turn(latency, false)?;
        }
        let whole = start.elapsed();
        Ok(Slice { wall, counted, total, whole, client: CpuTime::of_this_thread()? - before })
    }
}
