//! monoio on io_uring, with the channel its makers publish beside it.

use std::time::Duration;

use anyhow::Result;
use monoio::time::TimeDriver;
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};

use super::{Case, Contender};

pub(super) fn add_to(all: &mut Vec<Box<dyn Contender>>) -> Result<()> {
    all.push(Box::new(Monoio(RuntimeBuilder::<IoUringDriver>::new().enable_timer().build()?)));
    Ok(())
}

struct Monoio(Runtime<TimeDriver<IoUringDriver>>);

cases! {
    spawn: monoio::spawn,
    // monoio brings none of its own.
    yield_now: futures_lite::future::yield_now,
    sleep: monoio::time::sleep,
    channel: || local_sync::mpsc::bounded::channel::<u32>(1),
}

impl Contender for Monoio {
    fn name(&self) -> &'static str {
        "monoio"
    }

    fn run(&mut self, which: Case, count: u32) -> Duration {
        self.0.block_on(async { monoio::spawn(case(which, count)).await })
    }
}
