//! Connections whose requests cost more or less, and answers that say when they came and from whom.
//!
//! One thread and one epoll. It is not as cheap as the client of the other measurements, but requests here cost the server
//! tens of microseconds and more.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::frame::{self, Frame};
use crate::client::{PATIENCE, dial};

/// Who asks when.
#[derive(Clone, Copy, Debug)]
pub enum Demand {
    /// Each connection asks again as soon as it is answered.
    Closed {
        /// What a request costs.
        rounds: u32,
    },
    /// The first connections ask again as soon as they are answered; of the others one is asked to after so many answers
    /// to those.
    Skewed {
        /// How many of the first.
        heavy: usize,
        /// After how many answers.
        every: u32,
        /// What a request costs.
        rounds: u32,
    },
    /// All together ask so often on average, at random, however long answers take.
    Open {
        /// The mean time between two requests.
        gap: Duration,
        /// What a request costs.
        rounds: u32,
    },
    /// Each asks once.
    Once,
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When it came, from the beginning of the run.
    pub at: Duration,
    /// How long after the request was to be sent.
    pub latency: Duration,
    /// On which connection.
    pub connection: u32,
    /// Which thread of the server gave it.
    pub thread: u32,
}

/// Open connections to one server.
pub struct Client {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    events: Vec<epoll::Event>,
}

struct Connection {
    socket: TcpStream,
    /// Requests that are to be sent and have not been answered; the first of them has been sent.
    due: VecDeque<Instant>,
    request: Frame,
    answer: Frame,
    filled: usize,
    number: u32,
}

/// What a run has come to.
struct Run {
    demand: Demand,
    start: Instant,
    end: Instant,
    answers: Vec<Answer>,
    /// Requests without an answer.
    under_way: usize,
    /// When the last answer came, or the first request after it was sent.
    heard: Instant,
    /// Of [`Demand::Skewed`]: answers to the first connections since one of the others asked, and who asks next.
    heavy: u32,
    next_light: usize,
    /// Of [`Demand::Open`]: when the next request is to be sent.
    next: Instant,
    random: u64,
}

impl Client {
    /// Opens so many connections, one after the other.
    ///
    /// # Errors
    /// When one is refused.
    pub fn connect(addr: SocketAddr, count: usize) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let open = |number| -> Result<Connection> {
            let socket = TcpStream::from(dial(addr, number)?);
            socket.set_nonblocking(true)?;
            epoll::add(&epoll, &socket, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
            let (request, answer) = ([0; frame::LEN], [0; frame::LEN]);
            Ok(Connection { socket, due: [].into(), request, answer, filled: 0, number: 0 })
        };
        let connections = (0..count)
            .map(|number| open(number).with_context(|| format!("{number} of {count} connections admitted")))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { epoll, connections, events: Vec::with_capacity(1024) })
    }

    /// Asks for as long as `length`, then waits for what is under way.
    ///
    /// # Errors
    /// On a wrong answer, a connection that ends, and a server that is silent.
    pub fn run(&mut self, demand: Demand, length: Duration) -> Result<Vec<Answer>> {
        let start = Instant::now();
        let answers = Vec::with_capacity(1 << 16);
        let end = start + length;
        let mut run = Run {
            demand,
            start,
            end,
            answers,
            under_way: 0,
            heard: start,
            heavy: 0,
            next_light: 0,
            next: start,
            random: 0x9e37_79b9_7f4a_7c15,
        };
        let asks = match demand {
            Demand::Closed { .. } | Demand::Once => self.connections.len(),
            Demand::Skewed { heavy, .. } => heavy,
            Demand::Open { .. } => 0,
        };
        for connection in 0..asks {
            self.ask(&mut run, connection, start)?;
        }
        loop {
            let now = Instant::now();
            self.ask_what_is_due(&mut run, now)?;
            if run.under_way == 0 && (now >= end || matches!(demand, Demand::Once)) {
                return Ok(run.answers);
            }
            self.wait(&mut run, now)?;
        }
    }

    fn ask_what_is_due(&mut self, run: &mut Run, now: Instant) -> Result<()> {
        let Demand::Open { gap, .. } = run.demand else { return Ok(()) };
        while run.next <= now && run.next < run.end {
            let (due, connection) = (run.next, run.random() as usize % self.connections.len());
            // Exponential gaps: requests that know nothing of each other.
            let share = (run.random() >> 11) as f64 / (1_u64 << 53) as f64;
            run.next += gap.mul_f64(-(1.0 - share).ln());
            self.ask(run, connection, due)?;
        }
        Ok(())
    }

    fn wait(&mut self, run: &mut Run, now: Instant) -> Result<()> {
        if run.under_way > 0 && now > run.heard + PATIENCE {
            bail!("no answer for {} s with {} requests under way", PATIENCE.as_secs(), run.under_way);
        }
        let until = match run.demand {
            Demand::Open { .. } if run.next < run.end => run.next,
            _ if run.under_way == 0 => run.end,
            _ => now + PATIENCE,
        };
        let timeout = Timespec::try_from(until.saturating_duration_since(now))?;
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("epoll_wait"),
        }
        for place in 0..self.events.len() {
            let connection = self.events[place].data.u64() as usize;
            self.receive(run, connection)?;
        }
        Ok(())
    }

    fn ask(&mut self, run: &mut Run, number: usize, due: Instant) -> Result<()> {
        let connection = &mut self.connections[number];
        connection.due.push_back(due);
        if run.under_way == 0 {
            run.heard = Instant::now();
        }
        run.under_way += 1;
        if connection.due.len() == 1 {
            connection.send(run.rounds(), number)?;
        }
        Ok(())
    }

    fn receive(&mut self, run: &mut Run, number: usize) -> Result<()> {
        let connection = &mut self.connections[number];
        match connection.socket.read(&mut connection.answer[connection.filled..]) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(len) => connection.filled += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("receive"),
        }
        if connection.filled < frame::LEN {
            return Ok(());
        }
        connection.filled = 0;
        let due = connection.due.pop_front().context("an answer that nobody asked for")?;
        let thread = frame::answered_by(&connection.request, &connection.answer);
        let thread = thread.context("wrong answer")?;
        let now = Instant::now();
        run.under_way -= 1;
        run.heard = now;
        run.answers.push(Answer {
            at: now - run.start,
            latency: now - due,
            connection: number as u32,
            thread,
        });
        if !connection.due.is_empty() {
            connection.send(run.rounds(), number)?;
        }
        self.go_on(run, number, now)
    }

    /// What an answer leads to.
    fn go_on(&mut self, run: &mut Run, number: usize, now: Instant) -> Result<()> {
        match run.demand {
            _ if now >= run.end => Ok(()),
            Demand::Once | Demand::Open { .. } => Ok(()),
            Demand::Closed { .. } => self.ask(run, number, now),
            Demand::Skewed { heavy, .. } if number >= heavy => Ok(()),
            Demand::Skewed { heavy, every, .. } => {
                run.heavy += 1;
                if run.heavy == every {
                    run.heavy = 0;
                    run.next_light = (run.next_light + 1) % (self.connections.len() - heavy);
                    self.ask(run, heavy + run.next_light, now)?;
                }
                self.ask(run, number, now)
            }
        }
    }
}

impl Connection {
    fn send(&mut self, rounds: u32, connection: usize) -> Result<()> {
        self.number = self.number.wrapping_add(1);
        self.request = frame::request(rounds, connection as u32, self.number);
        let sent = self.socket.write(&self.request).context("send")?;
        ensure!(sent == frame::LEN, "a socket that owes nothing took {sent} of {} bytes", frame::LEN);
        Ok(())
    }
}

impl Run {
    fn rounds(&self) -> u32 {
        match self.demand {
            Demand::Closed { rounds } | Demand::Skewed { rounds, .. } | Demand::Open { rounds, .. } => rounds,
            Demand::Once => 0,
        }
    }

    /// Marsaglia's xorshift: the same numbers for every server.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}
