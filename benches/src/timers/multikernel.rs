//! multikernel with one core.

use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Result;
use multikernel::runtime::{Builder, Runtime};

use super::{Contender, Costs, Random, timed};

crowd! {
    sleep: multikernel::time::sleep,
    Sleep: multikernel::time::Sleep,
    Instant: multikernel::time::Instant,
    spawn: multikernel::spawn,
}

pub(super) struct OneCore {
    runtime: Runtime,
    crowd: Option<Crowd>,
}

impl OneCore {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { runtime: Builder::new().cores(1).build()?, crowd: None })
    }
}

impl Contender for OneCore {
    fn name(&self) -> &'static str {
        "multikernel"
    }

    fn visit(&mut self, live: usize, count: usize) -> Costs {
        let crowd = self.crowd.take().unwrap_or_else(|| Crowd::new(live, count));
        let visit = self.runtime.spawn(crowd.visit(live, count));
        let (crowd, costs) = self.runtime.block_on(visit).expect("a visit does not panic");
        self.crowd = Some(crowd);
        costs
    }

    fn late(&mut self, count: usize) -> Vec<u64> {
        self.runtime.block_on(self.runtime.spawn(late(count))).expect("a visit does not panic")
    }
}
