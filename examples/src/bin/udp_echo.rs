//! A UDP server that sends back what it gets, many datagrams in one call, until SIGINT or SIGTERM.
//!
//! `udp_echo [ADDRESS]`, by default on 127.0.0.1:3000. One task on each core serves the same socket.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use multikernel::net::UdpSocket;
use multikernel::net::udp::{Datagram, RecvBatch};
use multikernel::signal::{ctrl_c, unix};
use multikernel::{on_each_core, select};

// ANCHOR: serve
async fn serve(socket: Arc<UdpSocket>) {
    let mut batch = RecvBatch::new(RecvBatch::MAX, 65_535);
    loop {
        // An error is about a datagram that went out before: its receiver has gone.
        if socket.recv_batch(&mut batch).await.is_err() {
            continue;
        }
        let answers: Vec<_> = batch.iter().map(|got| Datagram::new(got.payload()).to(got.from())).collect();
        let mut rest = &answers[..];
        while !rest.is_empty() {
            // One that cannot be sent is lost, as datagrams may be.
            let sent = socket.send_batch(rest).await.unwrap_or(1);
            rest = &rest[sent..];
        }
    }
}
// ANCHOR_END: serve

// ANCHOR: main
#[multikernel::main]
async fn main() -> ExitCode {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".into());
    match run(&address).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(address: &str) -> io::Result<()> {
    let socket = Arc::new(UdpSocket::bind(address).await?);
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    println!("echoing datagrams on {}", socket.local_addr()?);
    let tasks = on_each_core(move || serve(socket.clone()));
    select! {
        result = ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    tasks.iter().for_each(|task| task.abort());
    Ok(())
}
// ANCHOR_END: main
