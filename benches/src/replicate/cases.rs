//! What is measured, what a visit brings, and who takes part.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

use super::machine::Machine;

/// Commands per call in the table by size of batch.
pub const BATCHES: [u64; 4] = [16, 64, 256, 1024];

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Case {
    /// Reads of a map on both cores at once; per read of one core.
    Read,
    /// A proposal by the home, the other core watching for messages; per proposal.
    Home,
    /// A proposal by the other core, the home watching for messages; per proposal.
    Other,
    /// A proposal by the home, the other core asleep; per proposal.
    Parked,
    /// So many proposals at once, both cores watching for messages; per proposal.
    Batch(u64),
    /// Reads on both cores and a write among a hundred operations, by one of them; per operation of both cores together.
    Mixed,
}

impl Case {
    /// All of them, in the order in which they are measured.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let first = [Self::Read, Self::Home, Self::Other, Self::Parked];
        first.into_iter().chain(BATCHES.map(Self::Batch)).chain([Self::Mixed]).collect()
    }

    /// What `--figure`, the tables and the file of figures call it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Read => "read".to_owned(),
            Self::Home => "home".to_owned(),
            Self::Other => "other".to_owned(),
            Self::Parked => "parked".to_owned(),
            Self::Batch(size) => format!("batch-{size}"),
            Self::Mixed => "mixed".to_owned(),
        }
    }

    /// Whether cores watch for messages before they sleep.
    pub(super) fn polls(self) -> bool {
        !matches!(self, Self::Parked)
    }
}

/// What one visit brings.
pub struct Sample {
    /// How long it took.
    pub took: Duration,
    /// How many operations there were in it.
    pub operations: u64,
    /// Of single operations, in nanoseconds, measured after `took`.
    pub latency: Option<Histogram<u64>>,
}

impl Sample {
    pub(super) fn of(took: Duration, operations: u64) -> Self {
        Self { took, operations, latency: None }
    }
}

/// Does so many operations.
pub type Visit = Box<dyn FnMut(u64) -> Result<Sample>>;

/// Gets everything ready for visits.
pub type Open = Box<dyn Fn(&Rc<Machine>) -> Result<Visit>>;

/// A case that a contender can run.
pub type Offer = (Case, Open);

/// Something that two cores share.
pub struct Contender {
    /// What `--only` and the tables call it.
    pub name: &'static str,
    /// What it can do.
    pub offers: Vec<Offer>,
}

impl Contender {
    pub(super) fn new(name: &'static str, offers: impl IntoIterator<Item = Offer>) -> Self {
        Self { name, offers: offers.into_iter().collect() }
    }

    /// How it does `case`, if it can.
    #[must_use]
    pub fn offer(&self, case: Case) -> Option<&Open> {
        self.offers.iter().find(|offer| offer.0 == case).map(|offer| &offer.1)
    }
}
