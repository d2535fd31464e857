//! A chat over WebSockets: tokio-tungstenite on multikernel's streams.
//!
//! `chat [ADDRESS] [PING SECONDS]`, by default on 127.0.0.1:3090 with a ping every 20 seconds. The path names the room and who one
//! is there:
//!
//! ```sh
//! python3 -m websockets ws://127.0.0.1:3090/kitchen/ada
//! ```
//!
//! Rooms belong to cores, by their names; a member asks that core once for the room, and from then on hears and speaks through a
//! broadcast channel. Nobody waits for a member that reads too slowly: it misses messages, is told so by close code 1008, and
//! may come again. SIGINT or SIGTERM stops the server: all members are told so by close code 1001.

mod member;
mod rooms;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use multikernel::net::TcpListener;
use multikernel::{select, spawn};
use multikernel_examples::server::{announce, arguments, asked_to_stop, exit, last_connections};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use rooms::Rooms;

/// What members have in common.
#[derive(Clone)]
struct Chat {
    rooms: Rooms,
    ping_period: Duration,
    stop: CancellationToken,
}

#[multikernel::main]
async fn main() -> ExitCode {
    exit(run().await)
}

async fn run() -> io::Result<()> {
    let [address, seconds] = arguments("chat [ADDRESS] [PING SECONDS]", ["127.0.0.1:3090", "20"])?;
    let ping_period = match seconds.parse() {
        Ok(seconds @ 1..=3600) => Duration::from_secs(seconds),
        _ => return Err(io::Error::other(format!("{seconds} is no number of seconds from 1 to 3600"))),
    };
    let listener = TcpListener::bind(&address).await?;
    let chat = Chat { rooms: Rooms::new().await?, ping_period, stop: CancellationToken::new() };
    announce("a chat", &listener, "ws://")?;
    println!("try: python3 -m websockets ws://{}/kitchen/ada", listener.local_addr()?);

    let connections = TaskTracker::new();
    select! {
        result = accept(&listener, &chat, &connections) => result?,
        result = asked_to_stop() => result?,
    }
    drop(listener);
    chat.stop.cancel();
    last_connections(&connections).await;
    Ok(())
}

async fn accept(listener: &TcpListener, chat: &Chat, connections: &TaskTracker) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // Spawned in the poll that accepted it: placed on the core with the fewest connections.
        spawn(connections.track_future(member::serve(chat.clone(), stream)));
    }
}
