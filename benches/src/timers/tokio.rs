//! tokio with one thread.

use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Result;
use tokio::runtime::{Builder, Runtime};

use super::{Contender, Costs, Random, timed};

crowd! {
    sleep: tokio::time::sleep,
    Sleep: tokio::time::Sleep,
    Instant: tokio::time::Instant,
    spawn: tokio::spawn,
}

pub(super) struct CurrentThread {
    runtime: Runtime,
    crowd: Option<Crowd>,
}

impl CurrentThread {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { runtime: Builder::new_current_thread().enable_all().build()?, crowd: None })
    }
}

impl Contender for CurrentThread {
    fn name(&self) -> &'static str {
        "tokio-ct"
    }

    fn visit(&mut self, live: usize, count: usize) -> Costs {
        let crowd = self.crowd.take().unwrap_or_else(|| Crowd::new(live, count));
        let visit = async move { tokio::spawn(crowd.visit(live, count)).await };
        let (crowd, costs) = self.runtime.block_on(visit).expect("a visit does not panic");
        self.crowd = Some(crowd);
        costs
    }

    fn late(&mut self, count: usize) -> Vec<u64> {
        self.runtime.block_on(late(count))
    }
}
