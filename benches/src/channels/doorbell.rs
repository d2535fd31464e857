//! Round trips of bare doorbells, by hand: what it costs to wake a sleeping core, before any message is sent.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use io_uring::squeue::Flags;
use io_uring::{IoUring, opcode, types};
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::io::{read, write};

use super::cases::{Case, Contender, Offer, Sample};
use super::crew::{Crew, Meeting, Plain, Threads, Waiting};
use super::{jobs, visits};
use crate::harness::uring;

const BARE: &str = "2 threads, by hand";

pub(super) fn contenders() -> Vec<Contender> {
    vec![
        Contender::new("msg-ring", BARE).with([parked::<MsgRing>()]).controlled(),
        Contender::new("eventfd", BARE).with([parked::<Eventfd>()]).controlled(),
    ]
}

/// What wakes the thread that made it.
trait Bell: Sized + 'static {
    fn new() -> Result<Self>;

    /// What others ring.
    fn handle(&self) -> io::Result<OwnedFd>;

    /// Rings another, at the latest with the next `wait` or `flush`.
    fn ring(&mut self, other: BorrowedFd<'_>) -> Result<()>;

    /// Sleeps until rung.
    fn wait(&mut self) -> Result<()>;

    fn flush(&mut self) -> Result<()>;
}

/// A ring of io_uring, woken by an entry that another submits: the system call that rings is the one that waits.
struct MsgRing(IoUring);

impl Bell for MsgRing {
    fn new() -> Result<Self> {
        Ok(Self(uring::ring(8)?))
    }

    fn handle(&self) -> io::Result<OwnedFd> {
        // SAFETY: the ring is open while `self` lives, which is longer than this borrow of its descriptor.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }.try_clone_to_owned()
    }

    fn ring(&mut self, other: BorrowedFd<'_>) -> Result<()> {
        let entry = opcode::MsgRingData::new(types::Fd(other.as_raw_fd()), 0, 0, None).build();
        // SAFETY: no memory is named, and the other ring is open until this one has submitted.
        unsafe { uring::push(&mut self.0, &entry.flags(Flags::SKIP_SUCCESS))? };
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        while self.0.completion().next().is_none() {
            self.0.submit_and_wait(1)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.0.submit()?;
        Ok(())
    }
}

/// An eventfd that is waited for with epoll, as by a driver that has other descriptors too.
struct Eventfd {
    bell: OwnedFd,
    epoll: OwnedFd,
}

impl Bell for Eventfd {
    fn new() -> Result<Self> {
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &bell, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        Ok(Self { bell, epoll })
    }

    fn handle(&self) -> io::Result<OwnedFd> {
        self.bell.try_clone()
    }

    fn ring(&mut self, other: BorrowedFd<'_>) -> Result<()> {
        write(other, &1_u64.to_ne_bytes())?;
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        let mut events = Vec::with_capacity(8);
        while events.is_empty() {
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        }
        read(self.bell.as_fd(), &mut [0_u8; 8])?;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Where the two learn what to ring: a descriptor of each bell.
#[derive(Default)]
struct Board([OnceLock<OwnedFd>; 2]);

impl Board {
    /// Makes the bell of `role` and waits until the other is there.
    async fn meet<B: Bell>(&self, role: usize, meeting: &Meeting) -> Result<(B, BorrowedFd<'_>)> {
        let bell = B::new()?;
        self.0[role].set(bell.handle()?).expect("each role is played once");
        meeting.join().await;
        Ok((bell, self.0[1 - role].get().context("the other bell could not be made")?.as_fd()))
    }
}

/// What a ringing side brings home: how long all took, and each if it was asked for.
type Rung = (Duration, Option<Histogram<u64>>);

async fn ask<B: Bell>(
    board: Arc<Board>,
    meeting: Arc<Meeting>,
    count: u64,
    mut latency: Option<Histogram<u64>>,
) -> Result<Rung> {
    let (mut bell, other) = board.meet::<B>(0, &meeting).await?;
    let start = Instant::now();
    let mut before = start;
    for _ in 0..count {
        bell.ring(other)?;
        bell.wait()?;
        if let Some(latency) = &mut latency {
            let now = Instant::now();
            latency.saturating_record((now - before).as_nanos() as u64);
            before = now;
        }
    }
    Ok((start.elapsed(), latency))
}

async fn echo<B: Bell>(board: Arc<Board>, meeting: Arc<Meeting>, count: u64) -> Result<()> {
    let (mut bell, other) = board.meet::<B>(1, &meeting).await?;
    for _ in 0..count {
        bell.wait()?;
        bell.ring(other)?;
    }
    bell.flush()
}

fn parked<B: Bell>() -> Offer {
    visits::offer(Case::Parked, visits::two, Waiting::Parking, |crew: &Threads<Plain>, count, roles| {
        let both = |count, latency| -> Result<Rung> {
            let (board, meeting) = (Arc::new(Board::default()), Meeting::of(2));
            let (board_there, here) = (Arc::clone(&board), Arc::clone(&meeting));
            let echo = crew.start(roles.1, move || echo::<B>(board_there, here, count));
            let asked = crew.start(roles.0, move || ask::<B>(board, meeting, count, latency)).wait()?;
            echo.wait()?;
            Ok(asked)
        };
        let (took, _) = both(count, None)?;
        let (_, latency) = both(count.div_ceil(2), Some(jobs::latencies()))?;
        Ok(Sample { latency, ..Sample::of(took, count) })
    })
}
