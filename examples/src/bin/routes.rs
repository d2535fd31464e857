//! A directory that every core serves from its own memory: `get NAME` looks in a replica, `put NAME PLACE` changes all
//! replicas or none, and no more than a few clients are admitted at a time, whichever core they reach.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use multikernel::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use multikernel::net::{TcpListener, TcpStream};
use multikernel::replicate::ready::MapRefusal;
use multikernel::replicate::{ReplicatedCounter, ReplicatedMap};
use multikernel::{cores, spawn_local, spawn_on};

// ANCHOR: shared
/// What all cores agree on. A handle: clone it, and send it to every core.
#[derive(Clone)]
struct Shared {
    routes: ReplicatedMap<String, String>,
    clients: ReplicatedCounter,
}
// ANCHOR_END: shared

// ANCHOR: answer
async fn answer(line: &str, shared: &Shared) -> String {
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        // No message and no lock: this core has all routes.
        ["get", name] => match shared.routes.get(name) {
            Some(place) => format!("{name} is at {place}"),
            None => format!("{name} is unknown"),
        },
        // When this returns, every core answers with the new route.
        ["put", name, place] => {
            match shared.routes.insert_if_absent(name.to_owned(), place.to_owned()).await {
                Ok(_) => format!("{name} is at {place} now"),
                Err(error) => match error.refusal() {
                    Some(MapRefusal::Present { key }) => format!("{key} is taken"),
                    _ => format!("not put: {error}"),
                },
            }
        }
        _ => "get NAME, or put NAME PLACE".to_owned(),
    }
}
// ANCHOR_END: answer

// ANCHOR: admit
async fn serve(mut stream: TcpStream, shared: Shared) -> io::Result<()> {
    // Refused on every core alike when there are too many, wherever they are.
    if shared.clients.add(1).await.is_err() {
        return stream.write_all(b"come back later\n").await;
    }
    let served = talk(stream, &shared).await;
    let _ = shared.clients.add(-1).await; // fails only when the Machine ends
    served
}
// ANCHOR_END: admit

async fn talk(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        write.write_all(format!("{}\n", answer(&line, shared).await).as_bytes()).await?;
    }
    Ok(())
}

/// Asks a server the lines, over one connection, and gives its answers.
async fn ask(server: SocketAddr, questions: &[&str]) -> io::Result<Vec<String>> {
    let mut stream = TcpStream::connect(server).await?;
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    let mut answers = Vec::new();
    for question in questions {
        write.write_all(format!("{question}\n").as_bytes()).await?;
        answers.extend(lines.next_line().await?);
    }
    Ok(answers)
}

/// Waits until so many clients are served.
async fn clients_are(count: i64, shared: &Shared) -> Result<(), Box<dyn Error>> {
    while shared.clients.value() != count {
        shared.clients.changed().await?;
    }
    Ok(())
}

#[multikernel::main(cores = 3)]
async fn main() -> Result<(), Box<dyn Error>> {
    // ANCHOR: start
    let shared =
        Shared { routes: ReplicatedMap::new().await?, clients: ReplicatedCounter::with_bound(2).await? };
    let listeners = TcpListener::bind_each_core("127.0.0.1:0").await?;
    let server = listeners[0].local_addr()?;
    for (core, listener) in cores().zip(listeners) {
        let shared = shared.clone();
        spawn_on(core, move || async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawn_local(serve(stream, shared.clone()));
            }
        });
    }
    // ANCHOR_END: start

    for answer in ask(server, &["get mill", "put mill hill", "put mill dale", "get mill"]).await? {
        println!("{answer}");
    }
    // On whichever core it is answered.
    for _ in 0..10 {
        clients_are(0, &shared).await?;
        assert_eq!(ask(server, &["get mill"]).await?, ["mill is at hill"]);
    }
    clients_are(0, &shared).await?;
    let _guests = (TcpStream::connect(server).await?, TcpStream::connect(server).await?);
    clients_are(2, &shared).await?;
    println!("a third client is told: {}", ask(server, &["get mill"]).await?.join(""));
    Ok(())
}
