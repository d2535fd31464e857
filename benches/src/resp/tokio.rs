//! The same program on tokio with one thread, which has the store to itself.

use std::cell::RefCell;
use std::io;
use std::time::Instant;

use multikernel_examples::kv::plan::Errand;
use multikernel_examples::kv::store::Store;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use super::Way;
use crate::servers::Cores::One;
use crate::servers::Protocol::Resp;
use crate::servers::{Job, Server};

pub(super) const SERVERS: &[Server] = &[Server { name: "tokio-ct", cores: One, protocols: &[Resp], run }];

thread_local! {
    static STORE: RefCell<Store> = RefCell::new(super::store());
}

#[derive(Clone)]
struct Here {
    begun: Instant,
}

impl Way for Here {
    async fn run(&self, mut errand: Errand) -> io::Result<Errand> {
        let now = self.begun.elapsed().as_millis() as u64;
        STORE.with_borrow_mut(|store| errand.run(store, now));
        Ok(errand)
    }
}

fn run(job: &Job) -> io::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::from_std(job.listener()?)?;
        let way = Here { begun: Instant::now() };
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(super::serve(stream, way.clone()));
        }
    })
}
