//! smol: async-executor on one thread, async-io for time, async-channel.

use std::time::Duration;

use async_executor::Executor;

use super::{Case, Contender};

static EXECUTOR: Executor<'static> = Executor::new();

pub(super) fn add_to(all: &mut Vec<Box<dyn Contender>>) {
    all.push(Box::new(Smol));
}

struct Smol;

cases! {
    spawn: |future| EXECUTOR.spawn(future),
    yield_now: futures_lite::future::yield_now,
    sleep: async_io::Timer::after,
    channel: || async_channel::bounded::<u32>(1),
}

impl Contender for Smol {
    fn name(&self) -> &'static str {
        "smol"
    }

    fn run(&mut self, which: Case, count: u32) -> Duration {
        async_io::block_on(EXECUTOR.run(async { EXECUTOR.spawn(case(which, count)).await }))
    }
}
