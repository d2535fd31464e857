//! Connections that stay open, each with a fixed number of requests under way.
//!
//! One receive stays armed per connection; sends go out of memory that never changes, so their success needs no
//! completion. A turn takes all completions, answers each, and enters the kernel once.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use io_uring::types::{Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::message::{Checker, Message};
use super::{Slice, Work};
use crate::harness::sched::CpuTime;
use crate::harness::uring::{self, Pool};

/// More bytes than this under way on one connection could fill the socket buffers and make sends overtake each other.
pub const MOST_BYTES_UNDER_WAY: usize = 64 * 1024;

const RECEIVE: u64 = 0;
const SEND: u64 = 1 << 32;

/// The shape of a load.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Connections to each server.
    pub connections: usize,
    /// What is said.
    pub message: Message,
    /// Requests under way on each connection.
    pub pipeline: u32,
    /// How long a server may stay silent before it counts as stalled.
    pub patience: Duration,
}

/// Open connections to one server.
pub struct Load {
    ring: IoUring,
    pool: Pool,
    connections: Vec<Connection>,
    completions: Vec<cqueue::Entry>,
    plan: Plan,
    /// Requests without an answer, over all connections.
    under_way: usize,
    /// Connections to receive on again.
    disarmed: Vec<u32>,
}

struct Connection {
    /// The requests, and then as many of them again as are under way. Leaked, because a ring that closes does not wait for its
    /// sends.
    outgoing: &'static [u8],
    /// Where each request begins, and the last one ends.
    starts: Vec<usize>,
    /// How many requests there are before they are repeated.
    period: usize,
    /// The next request.
    next: usize,
    checker: Checker,
    sent_at: VecDeque<Instant>,
    answered: bool,
    /// The ring refers to it by its index; this keeps it open.
    socket: OwnedFd,
}

impl Load {
    /// Connects, and has each connection answered once.
    ///
    /// # Errors
    /// When fewer connections are admitted than asked for, or an answer is wrong.
    pub fn connect(addr: SocketAddr, plan: Plan) -> Result<Self> {
        let longest = plan.message.requests(0).iter().map(Vec::len).max().unwrap_or_default();
        let requests = longest * plan.pipeline as usize;
        ensure!(
            requests <= MOST_BYTES_UNDER_WAY,
            "at most {MOST_BYTES_UNDER_WAY} bytes under way per connection"
        );
        let connections = (0..plan.connections)
            .map(|number| {
                Connection::open(addr, plan, number)
                    .with_context(|| format!("{number} of {} connections admitted", plan.connections))
            })
            .collect::<Result<Vec<_>>>()?;
        let ring = uring::ring(1024).context("the client needs io_uring (kernel 6.1 or later)")?;
        let sockets: Vec<_> = connections.iter().map(|connection| connection.socket.as_raw_fd()).collect();
        ring.submitter().register_files(&sockets)?;
        let buffers = (2 * plan.connections).next_power_of_two().clamp(64, 1024);
        let pool = Pool::register(&ring, buffers as u16, requests.next_power_of_two().clamp(2048, 16_384))?;
        let disarmed = (0..u32::try_from(connections.len())?).collect();
        let completions = Vec::with_capacity(4096);
        let mut load = Self { ring, pool, connections, completions, plan, under_way: 0, disarmed };
        load.admit()?;
        Ok(load)
    }

    /// One request and one answer on every connection.
    fn admit(&mut self) -> Result<()> {
        let mut ignored = super::latencies();
        let start = Instant::now();
        for number in 0..self.connections.len() {
            self.send(number, 1, start)?;
        }
        let finished = self.drain(&mut ignored);
        let admitted = self.connections.iter().filter(|connection| connection.answered).count();
        finished.with_context(|| format!("{admitted} of {} connections admitted", self.plan.connections))?;
        Ok(())
    }

    /// Takes answers until none is missing.
    fn drain(&mut self, latency: &mut Histogram<u64>) -> Result<u64> {
        let mut total = 0;
        while self.under_way > 0 {
            total += self.turn(latency, false)?;
        }
        Ok(total)
    }

    /// Enters the kernel once and takes what has arrived. `go_on` sends a new request for each answer.
    fn turn(&mut self, latency: &mut Histogram<u64>, go_on: bool) -> Result<u64> {
        self.pool.publish();
        self.arm()?;
        self.enter()?;
        let now = Instant::now();
        self.completions.extend(self.ring.completion());
        let mut answers = 0;
        for place in 0..self.completions.len() {
            let entry = self.completions[place].clone();
            answers += u64::from(self.completed(&entry, now, latency, go_on)?);
        }
        self.completions.clear();
        Ok(answers)
    }

    fn arm(&mut self) -> Result<()> {
        for number in self.disarmed.drain(..) {
            let receive = opcode::RecvMulti::new(Fixed(number), uring::GROUP).build();
            let receive = receive.user_data(RECEIVE | u64::from(number));
            // SAFETY: names no memory of ours; the pool's lives for ever and the registered file as long as the ring.
            unsafe { uring::push(&mut self.ring, &receive)? };
        }
        Ok(())
    }

    /// Refuses answers that nobody asked for, which arrived since the last slice.
    fn refuse_unasked(&mut self) -> Result<()> {
        // Without this the ring shows no completions: it runs deferred work only when entered to wait.
        let no_wait = Timespec::new();
        match self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&no_wait)) {
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => Ok(()),
            Err(error) => Err(error).context("io_uring_enter"),
            Ok(_) => self.turn(&mut super::latencies(), false).map(drop),
        }
    }

    fn enter(&mut self) -> Result<()> {
        let timeout = Timespec::from(self.plan.patience);
        match self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout)) {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => {
                bail!(
                    "no answer for {} s with {} requests under way",
                    self.plan.patience.as_secs_f64(),
                    self.under_way
                )
            }
            Err(error) => Err(error).context("io_uring_enter"),
        }
    }

    fn completed(
        &mut self,
        entry: &cqueue::Entry,
        now: Instant,
        latency: &mut Histogram<u64>,
        go_on: bool,
    ) -> Result<u32> {
        let number = (entry.user_data() & 0xffff_ffff) as usize;
        if entry.user_data() & SEND != 0 {
            let error = std::io::Error::from_raw_os_error(-entry.result());
            bail!("a send came to {} instead of success ({error})", entry.result());
        }
        if !cqueue::more(entry.flags()) {
            self.disarmed.push(number as u32);
        }
        let len = match entry.result() {
            0 => bail!("the server closed a connection"),
            len if len > 0 => len as usize,
            error if error == -libc::ENOBUFS => return Ok(0),
            error => return Err(std::io::Error::from_raw_os_error(-error)).context("receive"),
        };
        let buffer = uring::buffer_of(entry).context("a receive without a buffer")?;
        // SAFETY: this completion handed out `buffer` with `len` bytes; it is given back below.
        let bytes = unsafe { self.pool.bytes(buffer, len) };
        let connection = &mut self.connections[number];
        let answers = connection.checker.check(&connection.outgoing[..connection.starts[1]], bytes)?;
        self.pool.give_back(buffer);
        for _ in 0..answers {
            let sent_at = connection.sent_at.pop_front().context("more answers than requests")?;
            latency.saturating_record(now.duration_since(sent_at).as_nanos() as u64);
        }
        connection.answered |= answers > 0;
        self.under_way -= answers as usize;
        if go_on && answers > 0 {
            self.send(number, answers, now)?;
        }
        Ok(answers)
    }

    fn send(&mut self, number: usize, requests: u32, now: Instant) -> Result<()> {
        let connection = &mut self.connections[number];
        connection.sent_at.extend((0..requests).map(|_| now));
        self.under_way += requests as usize;
        let bytes = connection.take(requests as usize);
        let send = opcode::Send::new(Fixed(number as u32), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(SEND | number as u64);
        // SAFETY: `bytes` is leaked and never written; the registered file lives as long as the ring.
        unsafe { uring::push(&mut self.ring, &send)? };
        Ok(())
    }
}

impl Work for Load {
    fn slice(&mut self, length: Duration, latency: &mut Histogram<u64>) -> Result<Slice> {
        self.refuse_unasked()?;
        let before = CpuTime::of_this_thread()?;
        let start = Instant::now();
        for number in 0..self.connections.len() {
            self.send(number, self.plan.pipeline, start)?;
        }
        let mut counted = 0;
        while start.elapsed() < length {
            counted += self.turn(latency, true)?;
        }
        let wall = start.elapsed();
        let total = counted + self.drain(latency)?;
        let whole = start.elapsed();
        Ok(Slice { wall, counted, total, whole, client: CpuTime::of_this_thread()? - before })
    }
}

impl Connection {
    fn open(addr: SocketAddr, plan: Plan, number: usize) -> Result<Self> {
        let socket = super::dial(addr, number)?;
        let requests = plan.message.requests(number as u64);
        let period = requests.len();
        let (mut outgoing, mut starts) = (Vec::new(), vec![0]);
        // From wherever one begins, as many as are under way are there in one piece.
        for request in requests.iter().cycle().take(period - 1 + plan.pipeline as usize) {
            outgoing.extend_from_slice(request);
            starts.push(outgoing.len());
        }
        Ok(Self {
            outgoing: outgoing.leak(),
            starts,
            period,
            next: 0,
            checker: Checker::new(plan.message, number as u64),
            sent_at: VecDeque::with_capacity(plan.pipeline as usize),
            answered: false,
            socket: socket.into(),
        })
    }
    /// The next so many requests.
    fn take(&mut self, requests: usize) -> &'static [u8] {
        let (from, to) = (self.starts[self.next], self.starts[self.next + requests]);
        self.next = (self.next + requests) % self.period;
        &self.outgoing[from..to]
    }
}
