//! A key-value server that speaks the protocol of Redis.
//!
//! `kv [ADDRESS]`, by default on 127.0.0.1:6379. Try it with `redis-cli`, measure it with `redis-benchmark -P 16 -q`. It has
//! strings, lists, time limits, publish and subscribe; what is in them is gone when it stops.
//!
//! Each core owns a part of the keys, and only that core ever touches them, so there is no lock. A connection lives on one
//! core. It decodes all requests that have arrived, sends each other core one message with what concerns that, and puts
//! the answers in order. SIGINT or SIGTERM stops the server; what has arrived by then is answered.

mod connection;

use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use multikernel::net::TcpListener;
use multikernel::replicate::{ShardError, Sharded};
use multikernel::time::{self, Instant};
use multikernel::{CoreId, cores, select, spawn, spawn_on};
use multikernel_examples::kv::store::Store;
use multikernel_examples::server::{announce, arguments, asked_to_stop, exit, last_connections};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What all cores hold together, in bytes.
const MEMORY: usize = 1 << 30;
/// So many connections are served at once. Who comes later is told so.
const CONNECTIONS: usize = 10_000;
/// How often a core looks for keys that are due and that nobody asks for.
const SWEEP_PERIOD: Duration = Duration::from_millis(100);
/// So many of them it removes before it sees to others.
const SWEEP: usize = 200;

/// What connections have in common.
#[derive(Clone)]
struct Server {
    /// A part for each core.
    stores: Sharded<Store>,
    begun: Instant,
    stop: CancellationToken,
    connections: TaskTracker,
}

impl Server {
    async fn new() -> io::Result<Self> {
        let parts = cores().len();
        let stores = Sharded::new(parts, move |_| Store::new(MEMORY / parts)).await;
        Ok(Self {
            stores: stores.map_err(io::Error::other)?,
            begun: Instant::now(),
            stop: CancellationToken::new(),
            connections: TaskTracker::new(),
        })
    }

    /// In milliseconds since the server began.
    fn now(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        loop {
            let (stream, _) = listener.accept().await?;
            if self.connections.len() >= CONNECTIONS {
                // It fits into the socket's buffer, or else the peer has a reason to wonder anyway.
                let _ = stream.try_write(b"-ERR max number of clients reached\r\n");
                continue;
            }
            let id = NUMBER.fetch_add(1, Ordering::Relaxed); // Relaxed: only distinct
            // Spawned in the poll that accepted it: placed on the core with the fewest connections.
            spawn(self.connections.track_future(connection::serve(self.clone(), stream, id)));
        }
    }

    /// Removes what is due, for as long as the server is there.
    async fn sweep(self, slot: usize) -> Result<(), ShardError> {
        loop {
            time::sleep(SWEEP_PERIOD).await;
            let mut is_behind = true;
            while is_behind {
                let now = self.now();
                let sweep = move |store: &mut Store| {
                    store.set_time(now);
                    store.remove_due(SWEEP)
                };
                is_behind = self.stores.with_slot(slot, sweep).await?;
                multikernel::task::yield_now().await;
            }
        }
    }
}

#[multikernel::main]
async fn main() -> ExitCode {
    exit(run().await)
}

async fn run() -> io::Result<()> {
    let [address] = arguments("kv [ADDRESS]", ["127.0.0.1:6379"])?;
    let listener = TcpListener::bind(&address).await?;
    let server = Server::new().await?;
    for slot in 0..server.stores.slots() {
        let server = server.clone();
        drop(spawn_on(CoreId::new(slot), move || server.sweep(slot)));
    }
    announce("keys and values", &listener, "")?;
    println!("try: redis-cli -p {}", listener.local_addr()?.port());

    select! {
        result = server.accept(&listener) => result?,
        result = asked_to_stop() => result?,
    }
    drop(listener);
    server.stop.cancel();
    last_connections(&server.connections).await;
    Ok(())
}
