//! multikernel with one core: `spawn` as a server would call it, and `spawn_local`.

use std::time::Duration;

use anyhow::Result;
use multikernel::runtime::{Builder, Runtime};

use super::{Case, Contender};

pub(super) fn add_to(all: &mut Vec<Box<dyn Contender>>) -> Result<()> {
    all.push(Box::new(Spawn(Builder::new().cores(1).build()?)));
    all.push(Box::new(SpawnLocal(Builder::new().cores(1).build()?)));
    Ok(())
}

struct Spawn(Runtime);

struct SpawnLocal(Runtime);

mod spawned {
    cases! {
        spawn: multikernel::spawn,
        yield_now: multikernel::task::yield_now,
        sleep: multikernel::time::sleep,
        channel: || multikernel::channels::spsc::channel::<u32>(1),
    }

    pub(super) async fn run(which: super::Case, count: u32) -> super::Duration {
        case(which, count).await
    }
}

mod local {
    cases! {
        spawn: multikernel::spawn_local,
        yield_now: multikernel::task::yield_now,
        sleep: multikernel::time::sleep,
        channel: || multikernel::channels::spsc::channel::<u32>(1),
    }

    pub(super) async fn run(which: super::Case, count: u32) -> super::Duration {
        multikernel::spawn_local(case(which, count)).await.expect("a case does not panic")
    }
}

impl Contender for Spawn {
    fn name(&self) -> &'static str {
        "multikernel"
    }

    fn run(&mut self, which: Case, count: u32) -> Duration {
        // On the core, because the thread of `block_on` is not one.
        self.0.block_on(self.0.spawn(spawned::run(which, count))).expect("a case does not panic")
    }
}

impl Contender for SpawnLocal {
    fn name(&self) -> &'static str {
        "multikernel-local"
    }

    fn run(&mut self, which: Case, count: u32) -> Duration {
        self.0.block_on(self.0.spawn(local::run(which, count))).expect("a case does not panic")
    }
}
