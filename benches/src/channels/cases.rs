//! What is measured, what a visit brings, and who takes part.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::harness::cpus::Cpus;

/// Bytes per message in the table by size.
pub const SIZES: [usize; 8] = [8, 16, 32, 64, 128, 256, 512, 1024];

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Case {
    /// Messages of so many bytes from one core to another, one at a time; per message.
    Stream(usize),
    /// Messages of 8 bytes, in batches; per message.
    Batch,
    /// There and back, neither core sleeping; per round trip.
    Awake,
    /// There and back, each finding the other asleep; per round trip.
    Parked,
    /// One sender on another core into a channel made for many; per message.
    OneOfMany,
    /// Four senders on four cores, and a fifth core that receives, on two CPUs; per message.
    Many,
    /// How unequal the senders' shares of a receiver's turn are, when as many messages of each wait.
    Fairness,
    /// The same while all of them try to send as much as they can, and wait for room.
    Greedy,
    /// Sent and received by one task; per message.
    SameCore,
    /// A question and its answer; per call.
    Call,
}

impl Case {
    /// All of them, in the order in which they are measured.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let others = [
            Self::Batch,
            Self::Awake,
            Self::Parked,
            Self::OneOfMany,
            Self::Many,
            Self::Fairness,
            Self::Greedy,
            Self::SameCore,
            Self::Call,
        ];
        SIZES.map(Self::Stream).into_iter().chain(others).collect()
    }

    /// What `--figure`, the tables and the file of figures call it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Stream(8) => "u64".to_owned(),
            Self::Stream(bytes) => format!("{bytes}B"),
            Self::Batch => "batch".to_owned(),
            Self::Awake => "awake".to_owned(),
            Self::Parked => "parked".to_owned(),
            Self::OneOfMany => "mpsc-1".to_owned(),
            Self::Many => "mpsc-4".to_owned(),
            Self::Fairness => "fairness".to_owned(),
            Self::Greedy => "greedy".to_owned(),
            Self::SameCore => "same-core".to_owned(),
            Self::Call => "call".to_owned(),
        }
    }
}

/// What one visit brings.
pub struct Sample {
    /// How long it took.
    pub took: Duration,
    /// How many messages, round trips or calls there were in it.
    pub operations: u64,
    /// Of single round trips, in nanoseconds, measured after `took`.
    pub latency: Option<Histogram<u64>>,
    /// By which share of its due the sender was off that fared best or worst, for each turn.
    pub off: Vec<f64>,
}

impl Sample {
    pub(super) fn of(took: Duration, operations: u64) -> Self {
        Self { took, operations, latency: None, off: Vec::new() }
    }
}

/// Does so many operations; the flag says that the two cores change roles.
pub type Visit = Box<dyn FnMut(u64, bool) -> Result<Sample>>;

/// Gets everything ready for visits.
pub type Open = Box<dyn Fn(Cpus) -> Result<Visit>>;

/// A case that a contender can run.
pub type Offer = (Case, Open);

/// Cores of one kind that wait for a message each.
pub trait Waiters {
    /// Sends each its message.
    ///
    /// # Errors
    /// When one does not get it: it has not been waiting.
    fn end(self: Box<Self>) -> Result<()>;
}

/// Makes so many of them.
pub type Park = fn(usize) -> Result<Box<dyn Waiters>>;

/// A channel, on whatever runs its ends.
pub struct Contender {
    /// What `--only` and the tables call it.
    pub name: &'static str,
    /// How many cores run its two ends, and what they are.
    pub cores: &'static str,
    /// What it can do.
    pub offers: Vec<Offer>,
    /// For the measurement of cores that have nothing to do.
    pub park: Option<Park>,
    /// Whether it is for us to say that its cores sleep or stay awake. If they do not, the run proves nothing.
    pub controlled: bool,
    /// Whether some of its visits never end, which is known of it. They do not count, and are told.
    pub may_hang: bool,
}

impl Contender {
    pub(super) fn new(name: &'static str, cores: &'static str) -> Self {
        Self { name, cores, offers: Vec::new(), park: None, controlled: false, may_hang: false }
    }

    pub(super) fn with(mut self, offers: impl IntoIterator<Item = Offer>) -> Self {
        self.offers.extend(offers);
        self
    }

    pub(super) fn controlled(self) -> Self {
        Self { controlled: true, ..self }
    }

    pub(super) fn may_hang(self) -> Self {
        Self { may_hang: true, ..self }
    }

    pub(super) fn parking(self, park: Park) -> Self {
        Self { park: Some(park), ..self }
    }

    /// How it does `case`, if it can.
    #[must_use]
    pub fn offer(&self, case: Case) -> Option<&Open> {
        self.offers.iter().find(|offer| offer.0 == case).map(|offer| &offer.1)
    }
}
