//! A board of notes for clients that send lines: `set KEY TEXT`, `get KEY`, `wait KEY` (until it changes, two seconds at
//! most), `count` and `save`.
//!
//! `board [ADDRESS] [FILE]`, by default on 127.0.0.1:3070 and without a file to save to. SIGINT or SIGTERM stops it:
//! requests under way are answered, and clients are told. It was a program on tokio, `src/on_tokio/board.rs`, and what is
//! called unchanged in the chapter on porting is the same there.

use std::collections::HashMap;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
// ANCHOR: names
use multikernel::channels::broadcast::{self, error::RecvError};
use multikernel::net::{TcpListener, TcpStream};
use multikernel::replicate::Sharded;
use multikernel::signal::unix::{SignalKind, signal};
use multikernel::task::{TaskTracker, spawn_blocking};
use multikernel::{cores, select, time};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};
use tokio_util::sync::CancellationToken;
// ANCHOR_END: names

/// How long a client may say nothing.
const IDLE: Duration = Duration::from_secs(30);
/// How long `wait` waits.
const WAIT: Duration = Duration::from_secs(2);
/// How long requests under way may take once the server stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
const LONGEST_LINE: usize = 1024;

// ANCHOR: store
#[derive(Clone)]
struct Board {
    notes: Sharded<HashMap<String, String>>,
    changes: broadcast::Sender<String>,
}

impl Board {
    async fn new() -> io::Result<Self> {
        let notes = Sharded::new(cores().len(), |_| HashMap::new()).await.map_err(io::Error::other)?;
        Ok(Self { notes, changes: broadcast::channel(1024).0 })
    }

    async fn set(&self, key: &str, text: &str) -> io::Result<()> {
        let (own, text) = (key.to_owned(), text.to_owned());
        let set = self.notes.with(key, move |notes| notes.insert(own, text));
        set.await.map_err(io::Error::other)?;
        let _ = self.changes.send(key.to_owned()); // perhaps nobody waits
        Ok(())
    }

    async fn get(&self, key: &str) -> io::Result<Option<String>> {
        let own = key.to_owned();
        self.notes.with(key, move |notes| notes.get(&own).cloned()).await.map_err(io::Error::other)
    }

    async fn all(&self) -> io::Result<Vec<(String, String)>> {
        let part = |notes: &mut HashMap<String, String>| notes.clone().into_iter().collect();
        let join = |all: Vec<_>, more: Vec<_>| [all, more].concat();
        self.notes.map_reduce(part, join).await.map_err(io::Error::other)
    }
}
// ANCHOR_END: store

// ANCHOR: main
#[multikernel::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3070".into());
    match run(&address, arguments.next()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
// ANCHOR_END: main

async fn run(address: &str, file: Option<String>) -> io::Result<()> {
    let board = Board::new().await?;
    // ANCHOR: serve
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let listener = TcpListener::bind(address).await?;
    println!("a board on {}", listener.local_addr()?);

    let stop = CancellationToken::new();
    let connections = TaskTracker::new();
    loop {
        let (stream, _) = select! {
            accepted = listener.accept() => accepted?,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        };
        let (board, stop, file) = (board.clone(), stop.clone(), file.clone());
        connections.spawn(async move {
            // Who breaks off, or sends nonsense, ends its own connection and no other.
            let _ = talk(stream, &board, file, &stop).await;
        });
    }
    drop(listener);
    stop.cancel();
    connections.close();
    if time::timeout(STOP_PATIENCE, connections.wait()).await.is_err() {
        println!("giving up on {} clients", connections.len());
    }
    // ANCHOR_END: serve
    Ok(())
}

// ANCHOR: talk
async fn talk(
    stream: TcpStream,
    board: &Board,
    file: Option<String>,
    stop: &CancellationToken,
) -> Result<(), LinesCodecError> {
    let mut lines = Framed::new(stream, LinesCodec::new_with_max_length(LONGEST_LINE));
    loop {
        let line = select! {
            line = time::timeout(IDLE, lines.next()) => line,
            () = stop.cancelled() => return lines.send("the server stops").await,
        };
        match line {
            Ok(Some(line)) => lines.send(answer(&line?, board, &file).await?).await?,
            Ok(None) => return Ok(()),
            Err(_) => return lines.send("you say nothing").await,
        }
    }
}
// ANCHOR_END: talk

// ANCHOR: answer
async fn answer(line: &str, board: &Board, file: &Option<String>) -> io::Result<String> {
    Ok(match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["set", key, text] => {
            board.set(key, text).await?;
            "set".into()
        }
        ["get", key] => board.get(key).await?.unwrap_or_else(|| "nothing".into()),
        ["wait", key] => match time::timeout(WAIT, change(board, key)).await {
            Ok(text) => text?,
            Err(_) => "nothing".into(),
        },
        ["count"] => board.all().await?.len().to_string(),
        ["save"] => save(board.all().await?, file).await?,
        _ => "set KEY TEXT, get KEY, wait KEY, count or save".into(),
    })
}
// ANCHOR_END: answer

// ANCHOR: change
/// The text of a key once it has changed.
async fn change(board: &Board, key: &str) -> io::Result<String> {
    let mut changes = board.changes.subscribe();
    loop {
        match changes.recv().await {
            Ok(changed) if changed != key => {}
            Err(RecvError::Closed) => return Err(io::Error::other("nobody can change it any more")),
            // Whoever missed changes may have missed this one.
            Ok(_) | Err(RecvError::Lagged(_)) => return Ok(board.get(key).await?.unwrap_or_default()),
        }
    }
}
// ANCHOR_END: change

// ANCHOR: save
async fn save(mut notes: Vec<(String, String)>, file: &Option<String>) -> io::Result<String> {
    let Some(file) = file.clone() else { return Ok("there is no file".into()) };
    let saved = spawn_blocking(move || {
        notes.sort();
        let lines: String = notes.iter().map(|(key, text)| format!("{key} {text}\n")).collect();
        std::fs::write(file, lines).map(|()| notes.len())
    });
    Ok(format!("saved {}", saved.await??))
}
// ANCHOR_END: save
