//! compio; it leaves the choice of a channel to its users, and async-channel is the runtime-neutral one.

use std::time::Duration;

use anyhow::Result;
use compio::runtime::Runtime;

use super::{Case, Contender};

pub(super) fn add_to(all: &mut Vec<Box<dyn Contender>>) -> Result<()> {
    all.push(Box::new(Compio(Runtime::new()?)));
    Ok(())
}

struct Compio(Runtime);

cases! {
    spawn: compio::runtime::spawn,
    yield_now: futures_lite::future::yield_now,
    sleep: compio::time::sleep,
    channel: || async_channel::bounded::<u32>(1),
}

impl Contender for Compio {
    fn name(&self) -> &'static str {
        "compio"
    }

    fn run(&mut self, which: Case, count: u32) -> Duration {
        // Its best form: from within a spawned task, a spawn and join was measured at 20 us, and most of the
        // other cases came out slower too.
        self.0.block_on(case(which, count))
    }
}
