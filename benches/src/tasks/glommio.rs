//! glommio with its own channel for tasks of one executor.

use std::time::Duration;

use anyhow::{Result, anyhow};
use glommio::{LocalExecutor, LocalExecutorBuilder};

use super::{Case, Contender};

pub(super) fn add_to(all: &mut Vec<Box<dyn Contender>>) -> Result<()> {
    let executor = LocalExecutorBuilder::default().make().map_err(|error| anyhow!("glommio: {error}"))?;
    all.push(Box::new(Glommio(executor)));
    Ok(())
}

struct Glommio(LocalExecutor);

cases! {
    spawn: glommio::spawn_local,
    yield_now: || async { glommio::executor().yield_now().await },
    sleep: glommio::timer::sleep,
    channel: || glommio::channels::local_channel::new_bounded::<u32>(1),
}

impl Contender for Glommio {
    fn name(&self) -> &'static str {
        "glommio"
    }

    fn run(&mut self, which: Case, count: u32) -> Duration {
        self.0.run(async { glommio::spawn_local(case(which, count)).await })
    }
}
