//! Datagrams of which a bounded number is under way, and which may get lost.
//!
//! Each socket has as many places as datagrams under way. A place sends, and sends anew when the answer has come or has not
//! come for a while; the number in each datagram tells a late answer from one that nobody asked for.

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use io_uring::types::{Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::message::Message;
use super::{Slice, Work};
use crate::harness::sched::CpuTime;
use crate::harness::uring::{self, Pool};

/// The number of a datagram and its place, before the rest.
pub const HEAD: usize = 16;

const RECEIVE: u64 = 0;
const SEND: u64 = 1 << 32;

/// The shape of a load.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Sockets that send.
    pub peers: u32,
    /// Datagrams under way from each.
    pub window: u32,
    /// Bytes of each, at least [`HEAD`].
    pub size: usize,
    /// After so long without its answer a datagram counts as lost.
    pub lost_after: Duration,
    /// How long a server may stay silent before it counts as stalled.
    pub patience: Duration,
}

/// What became of all datagrams so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sent.
    pub sent: u64,
    /// Answered in time.
    pub answered: u64,
    /// Not answered in time.
    pub lost: u64,
    /// Answered after they had been counted as lost.
    pub late: u64,
}

/// Sockets that send to one server.
pub struct Datagrams {
    ring: IoUring,
    pool: Pool,
    peers: Vec<Peer>,
    completions: Vec<cqueue::Entry>,
    plan: Plan,
    under_way: u64,
    /// Sockets to receive on again.
    disarmed: Vec<u32>,
    last_look: Instant,
    last_answer: Instant,
    counts: Counts,
    shown: Rc<Cell<Counts>>,
}

struct Peer {
    places: Vec<Place>,
    /// What comes after the head of each datagram.
    rest: Vec<u8>,
    /// The ring refers to it by its index; this keeps it open.
    socket: UdpSocket,
}

struct Place {
    /// Leaked, because a ring that closes does not wait for its sends.
    bytes: *mut u8,
    number: u64,
    waits: bool,
    sent_at: Instant,
    /// Datagrams counted as lost whose answers may still come.
    written_off: u64,
}

impl Datagrams {
    /// Sends one datagram from each place, and has each answered.
    ///
    /// # Errors
    /// When an answer is wrong, or none comes.
    pub fn connect(addr: SocketAddr, plan: Plan) -> Result<Self> {
        ensure!(plan.size >= HEAD, "a datagram has at least {HEAD} bytes");
        let peers =
            (0..plan.peers).map(|number| Peer::open(addr, plan, number)).collect::<Result<Vec<_>>>()?;
        let ring = uring::ring(1024).context("the client needs io_uring (kernel 6.1 or later)")?;
        let sockets: Vec<_> = peers.iter().map(|peer| peer.socket.as_raw_fd()).collect();
        ring.submitter().register_files(&sockets)?;
        let buffers = (2 * plan.peers * plan.window).next_power_of_two().clamp(64, 8192);
        let pool = Pool::register(&ring, buffers as u16, plan.size.next_power_of_two().max(64))?;
        let now = Instant::now();
        let mut load = Self {
            ring,
            pool,
            peers,
            completions: Vec::with_capacity(4096),
            plan,
            under_way: 0,
            disarmed: (0..plan.peers).collect(),
            last_look: now,
            last_answer: now,
            counts: Counts::default(),
            shown: Rc::default(),
        };
        load.send_all(now)?;
        let answers = load.drain(&mut super::latencies())?;
        ensure!(answers > 0, "no answer to any of {} datagrams", load.counts.sent);
        Ok(load)
    }

    /// What became of all datagrams, as of the end of the last slice.
    #[must_use]
    pub fn counts(&self) -> Rc<Cell<Counts>> {
        self.shown.clone()
    }

    fn send_all(&mut self, now: Instant) -> Result<()> {
        self.last_answer = now;
        for peer in 0..self.plan.peers {
            for place in 0..self.plan.window {
                self.send(peer, place, now)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, peer: u32, place: u32, now: Instant) -> Result<()> {
        let spot = &mut self.peers[peer as usize].places[place as usize];
        spot.number += 1;
        spot.waits = true;
        spot.sent_at = now;
        let head = head(spot.number, peer, place);
        // SAFETY: the memory is leaked and at least as long. What was sent from it before has been answered; or it was counted
        // as lost and may be waiting for room, and then goes out as what it has become.
        unsafe { spot.bytes.copy_from_nonoverlapping(head.as_ptr(), HEAD) };
        let send = opcode::Send::new(Fixed(peer), spot.bytes, self.plan.size as u32)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(SEND | u64::from(peer));
        // SAFETY: the bytes are leaked; the registered file lives as long as the ring.
        unsafe { uring::push(&mut self.ring, &send)? };
        self.counts.sent += 1;
        self.under_way += 1;
        Ok(())
    }

    /// Takes answers until nothing is under way.
    fn drain(&mut self, latency: &mut Histogram<u64>) -> Result<u64> {
        let mut total = 0;
        while self.under_way > 0 {
            total += self.turn(latency, false)?;
        }
        let Counts { sent, answered, lost, .. } = self.counts;
        ensure!(sent == answered + lost, "{sent} datagrams sent, {answered} answered and {lost} lost");
        self.shown.set(self.counts);
        Ok(total)
    }

    /// Enters the kernel once and takes what has arrived. `go_on` sends a new datagram for each that is settled.
    fn turn(&mut self, latency: &mut Histogram<u64>, go_on: bool) -> Result<u64> {
        self.pool.publish();
        for peer in self.disarmed.drain(..) {
            let receive = opcode::RecvMulti::new(Fixed(peer), uring::GROUP).build();
            let receive = receive.user_data(RECEIVE | u64::from(peer));
            // SAFETY: names no memory of ours; the pool's lives for ever and the registered file as long as the ring.
            unsafe { uring::push(&mut self.ring, &receive)? };
        }
        let timeout = Timespec::from(self.plan.lost_after);
        match self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout)) {
            Ok(_) => {}
            Err(error) if [Some(libc::EINTR), Some(libc::ETIME)].contains(&error.raw_os_error()) => {}
            Err(error) => return Err(error).context("io_uring_enter"),
        }
        let now = Instant::now();
        self.completions.extend(self.ring.completion());
        let mut answers = 0;
        for place in 0..self.completions.len() {
            let entry = self.completions[place].clone();
            answers += self.completed(&entry, now, latency, go_on)?;
        }
        self.completions.clear();
        if answers > 0 {
            self.last_answer = now;
        }
        if now.duration_since(self.last_look) >= self.plan.lost_after {
            self.last_look = now;
            self.write_off(now, go_on)?;
        }
        Ok(answers)
    }

    /// Gives up what has not been answered for too long.
    fn write_off(&mut self, now: Instant, go_on: bool) -> Result<()> {
        let silence = now.duration_since(self.last_answer);
        ensure!(
            silence < self.plan.patience,
            "no answer for {} s with {} datagrams under way",
            self.plan.patience.as_secs_f64(),
            self.under_way
        );
        for peer in 0..self.plan.peers {
            for place in 0..self.plan.window {
                let spot = &mut self.peers[peer as usize].places[place as usize];
                if !spot.waits || now.duration_since(spot.sent_at) < self.plan.lost_after {
                    continue;
                }
                spot.waits = false;
                spot.written_off += 1;
                self.counts.lost += 1;
                self.under_way -= 1;
                if go_on {
                    self.send(peer, place, now)?;
                }
            }
        }
        Ok(())
    }

    fn completed(
        &mut self,
        entry: &cqueue::Entry,
        now: Instant,
        latency: &mut Histogram<u64>,
        go_on: bool,
    ) -> Result<u64> {
        let peer = entry.user_data() as u32;
        if entry.user_data() & SEND != 0 {
            let error = io::Error::from_raw_os_error(-entry.result());
            bail!("a send came to {} instead of success ({error})", entry.result());
        }
        if !cqueue::more(entry.flags()) {
            self.disarmed.push(peer);
        }
        let len = match entry.result() {
            len if len >= 0 => len as usize,
            error if error == -libc::ENOBUFS => return Ok(0),
            error => return Err(io::Error::from_raw_os_error(-error)).context("receive"),
        };
        let buffer = uring::buffer_of(entry).context("a receive without a buffer")?;
        // SAFETY: this completion handed out `buffer` with `len` bytes; it is given back below.
        let bytes = unsafe { self.pool.bytes(buffer, len) };
        let answer = self.peers[peer as usize].check(peer, bytes);
        self.pool.give_back(buffer);
        let Answer { place, sent_at: Some(sent_at) } = answer? else {
            self.counts.late += 1;
            return Ok(0);
        };
        latency.saturating_record(now.duration_since(sent_at).as_nanos() as u64);
        self.counts.answered += 1;
        self.under_way -= 1;
        if go_on {
            self.send(peer, place, now)?;
        }
        Ok(1)
    }
}

/// What a datagram that came is.
struct Answer {
    place: u32,
    /// Nothing when it is late.
    sent_at: Option<Instant>,
}

impl Peer {
    fn open(addr: SocketAddr, plan: Plan, number: u32) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(addr)?;
        let rest = Message::Echo(plan.size - HEAD).request(u64::from(number));
        let place = |_| Place {
            bytes: [&[0; HEAD], &rest[..]].concat().leak().as_mut_ptr(),
            number: 0,
            waits: false,
            sent_at: Instant::now(),
            written_off: 0,
        };
        Ok(Self { places: (0..plan.window).map(place).collect(), rest, socket })
    }

    fn check(&mut self, peer: u32, bytes: &[u8]) -> Result<Answer> {
        let is_ours = bytes.len() == HEAD + self.rest.len() && bytes[HEAD..] == self.rest;
        let (number, from, place) = if is_ours { parts(bytes) } else { (0, peer, u32::MAX) };
        let spot = self.places.get_mut(place as usize).filter(|_| from == peer);
        let spot = spot.context("wrong answer: the bytes that came back are not those sent")?;
        if spot.waits && number == spot.number {
            spot.waits = false;
            return Ok(Answer { place, sent_at: Some(spot.sent_at) });
        }
        ensure!(spot.written_off > 0 && number <= spot.number, "more answers than datagrams");
        spot.written_off -= 1;
        Ok(Answer { place, sent_at: None })
    }
}

fn head(number: u64, peer: u32, place: u32) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&number.to_le_bytes());
    head[8..12].copy_from_slice(&peer.to_le_bytes());
    head[12..].copy_from_slice(&place.to_le_bytes());
    head
}

fn parts(bytes: &[u8]) -> (u64, u32, u32) {
    let word = |at| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    (u64::from(word(0)) | u64::from(word(4)) << 32, word(8), word(12))
}

impl Work for Datagrams {
    fn slice(&mut self, length: Duration, latency: &mut Histogram<u64>) -> Result<Slice> {
        let before = CpuTime::of_this_thread()?;
        let start = Instant::now();
        self.last_look = start;
        self.send_all(start)?;
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
