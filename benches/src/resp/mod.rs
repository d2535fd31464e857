//! `resp`: key-value servers that speak the protocol of Redis. Ours are the example server without what a measurement does not
//! ask for: its codec, its plans and its store, on multikernel and on tokio; beside them Redis itself.

use std::future::Future;
use std::io;
use std::sync::Arc;

use ::tokio::io::{AsyncRead, AsyncWrite};
use futures::{SinkExt, StreamExt};
use multikernel_examples::kv::codec::{Batch, Resp};
use multikernel_examples::kv::plan::{Errand, Plan};
use multikernel_examples::kv::session::Session;
use multikernel_examples::kv::store::Store;
use tokio_util::codec::Framed;

use crate::servers::Server;

mod multikernel;
pub mod redis;
mod tokio;

/// All servers, in the order of the tables.
pub(crate) const SERVERS: [&[Server]; 3] = [redis::SERVERS, tokio::SERVERS, multikernel::SERVERS];

/// What a store may hold, in bytes.
const MEMORY: usize = 1 << 30;

fn store() -> Store {
    Store::new(MEMORY)
}

/// The way to the one store there is.
trait Way: Clone + Send + Sync + 'static {
    /// Has the store do an errand.
    fn run(&self, errand: Errand) -> impl Future<Output = io::Result<Errand>> + Send;
}

/// One connection, from its first byte to its last.
async fn serve<S>(stream: S, way: impl Way) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut framed = Framed::new(stream, Resp);
    let mut out = Vec::new();
    while let Some(batch) = framed.next().await {
        let batch = batch.map_err(|error| io::Error::other(error.to_string()))?;
        answer(Arc::new(batch), &way, &mut out).await?;
        framed.send(&out).await?;
        out.clear();
    }
    Ok(())
}

async fn answer(batch: Arc<Batch>, way: &impl Way, out: &mut Vec<u8>) -> io::Result<()> {
    let session = Session { id: 0, listens: false, clients: 0, memory: MEMORY, uptime: 0 };
    let mut plan = Plan::new(batch.clone(), 1);
    for number in 0..batch.len() {
        match session.admit(batch.request(number)) {
            Ok(verb) => plan.ask(verb, number, |_| 0),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    while !plan.write(out) {
        let errands: Vec<_> = plan.errands().collect();
        for (slot, errand) in errands {
            let errand = way.run(errand).await?;
            plan.give_back(slot, errand);
        }
    }
    Ok(())
}
