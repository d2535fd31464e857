//! tokio: one thread, one thread with a `LocalSet`, and a pool of one.

use std::time::Duration;

use anyhow::Result;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use super::{Case, Contender};

pub(super) fn add_to(all: &mut Vec<Box<dyn Contender>>) -> Result<()> {
    all.push(Box::new(CurrentThread(Builder::new_current_thread().enable_all().build()?)));
    all.push(Box::new(Local(Builder::new_current_thread().enable_all().build()?, LocalSet::new())));
    all.push(Box::new(MultiThread(Builder::new_multi_thread().worker_threads(1).enable_all().build()?)));
    Ok(())
}

struct CurrentThread(Runtime);

struct Local(Runtime, LocalSet);

struct MultiThread(Runtime);

mod spawned {
    cases! {
        spawn: tokio::spawn,
        yield_now: tokio::task::yield_now,
        sleep: tokio::time::sleep,
        channel: || tokio::sync::mpsc::channel::<u32>(1),
    }

    pub(super) async fn run(case_: super::Case, count: u32) -> super::Duration {
        tokio::spawn(case(case_, count)).await.expect("a case does not panic")
    }
}

mod local {
    cases! {
        spawn: tokio::task::spawn_local,
        yield_now: tokio::task::yield_now,
        sleep: tokio::time::sleep,
        channel: || tokio::sync::mpsc::channel::<u32>(1),
    }

    pub(super) async fn run(case_: super::Case, count: u32) -> super::Duration {
        tokio::task::spawn_local(case(case_, count)).await.expect("a case does not panic")
    }
}

impl Contender for CurrentThread {
    fn name(&self) -> &'static str {
        "tokio-ct"
    }

    fn run(&mut self, case: Case, count: u32) -> Duration {
        self.0.block_on(spawned::run(case, count))
    }
}

impl Contender for Local {
    fn name(&self) -> &'static str {
        "tokio-localset"
    }

    fn run(&mut self, case: Case, count: u32) -> Duration {
        self.1.block_on(&self.0, local::run(case, count))
    }
}

impl Contender for MultiThread {
    fn name(&self) -> &'static str {
        "tokio-mt1"
    }

    fn run(&mut self, case: Case, count: u32) -> Duration {
        self.0.block_on(spawned::run(case, count))
    }
}
