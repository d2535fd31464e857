//! The example server on multikernel: the keys are divided among the cores there are, and so it is one that has them all.

use std::io;

use multikernel::net::TcpListener;
use multikernel::replicate::Sharded;
use multikernel::runtime::{Builder, DriverChoice};
use multikernel::time::Instant;
use multikernel_examples::kv::plan::Errand;
use multikernel_examples::kv::store::Store;

use super::Way;
use crate::servers::Cores::One;
use crate::servers::Protocol::Resp;
use crate::servers::{Job, Server};

pub(super) const SERVERS: &[Server] = &[
    Server { name: "multikernel", cores: One, protocols: &[Resp], run: uring },
    Server { name: "multikernel-epoll", cores: One, protocols: &[Resp], run: epoll },
];

fn uring(job: &Job) -> io::Result<()> {
    run(job, DriverChoice::Uring)
}

fn epoll(job: &Job) -> io::Result<()> {
    run(job, DriverChoice::Epoll)
}

#[derive(Clone)]
struct Stores {
    stores: Sharded<Store>,
    begun: Instant,
}

impl Way for Stores {
    async fn run(&self, mut errand: Errand) -> io::Result<Errand> {
        let now = self.begun.elapsed().as_millis() as u64;
        let run = move |store: &mut Store| {
            errand.run(store, now);
            errand
        };
        self.stores.with_slot(0, run).await.map_err(io::Error::other)
    }
}

fn run(job: &Job, driver: DriverChoice) -> io::Result<()> {
    let listener = job.listener()?;
    Builder::new().cores(1).driver(driver).run(move || async move {
        let listener = TcpListener::from_std(listener)?;
        let stores = Sharded::new(1, |_| super::store()).await.map_err(io::Error::other)?;
        let way = Stores { stores, begun: Instant::now() };
        loop {
            let (stream, _) = listener.accept().await?;
            drop(multikernel::spawn(super::serve(stream, way.clone())));
        }
    })?
}
