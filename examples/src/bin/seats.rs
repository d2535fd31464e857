//! The seats of a hall, sold on every core, with a state machine of its own.
//!
//! `seats [ADDRESS]`, by default on 127.0.0.1:3090. Clients send lines:
//!
//! | line | answer |
//! |---|---|
//! | `reserve SEAT GUEST`, `release SEAT GUEST` | since which version it is so, or which core refuses, and why |
//! | `who SEAT`, `free` | what this core knows |
//! | `who SEAT VERSION` | what this core knows once it has that version |
//! | `everywhere SEAT` | what each core knows |
//! | `watch` | the version of the next change |
//! | `lock SEAT CORE`, `unlock SEAT CORE` | from now on that core refuses to have the seat reserved, or does not any more |
//!
//! SIGINT or SIGTERM stops it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::process::ExitCode;

use futures::{SinkExt, StreamExt};
use multikernel::net::{TcpListener, TcpStream};
use multikernel::replicate::{ProposeError, Replicated, StateMachine, Version};
use multikernel::task::TaskTracker;
use multikernel::{CoreId, core_local, cores, on_each_core, select, spawn_on};
use multikernel_examples::server::{announce, arguments, asked_to_stop, exit};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

const SEATS: usize = 100;
const LONGEST_LINE: usize = 200;

// ANCHOR: state
/// What all cores have.
struct Hall {
    seats: Vec<Option<String>>,
    /// Promised to a command that has been prepared. Readers do not look at it.
    promised: BTreeSet<usize>,
}

enum Wish {
    Reserve { seat: usize, guest: String },
    Release { seat: usize, guest: String },
}

/// Why a core does not want it.
enum No {
    Missing,
    Taken,
    NotTheirs,
    Locked,
}
// ANCHOR_END: state

// ANCHOR: locked
core_local! {
    /// Seats that this core lets nobody have. No other core knows.
    static LOCKED: RefCell<BTreeSet<usize>> = RefCell::default();
}
// ANCHOR_END: locked

// ANCHOR: machine
impl StateMachine for Hall {
    type Command = Wish;
    type Refusal = No;
    type Snapshot = Vec<Option<String>>;
    /// Any core may refuse. Else the home alone would be asked.
    const VETO: bool = true;

    fn prepare(&mut self, wish: &Wish) -> Result<(), No> {
        let (Wish::Reserve { seat, guest } | Wish::Release { seat, guest }) = wish;
        let has = self.seats.get(*seat).ok_or(No::Missing)?;
        match wish {
            Wish::Reserve { .. } if LOCKED.with(|locked| locked.borrow().contains(seat)) => Err(No::Locked),
            Wish::Reserve { .. } if has.is_some() || self.promised.contains(seat) => Err(No::Taken),
            Wish::Release { .. } if has.as_ref() != Some(guest) || self.promised.contains(seat) => {
                Err(No::NotTheirs)
            }
            _ => {
                self.promised.insert(*seat);
                Ok(())
            }
        }
    }

    fn commit(&mut self, wish: &Wish) {
        let (seat, now) = match wish {
            Wish::Reserve { seat, guest } => (*seat, Some(guest.clone())),
            Wish::Release { seat, .. } => (*seat, None),
        };
        self.promised.remove(&seat);
        self.seats[seat] = now;
    }

    fn abort(&mut self, wish: &Wish) {
        let (Wish::Reserve { seat, .. } | Wish::Release { seat, .. }) = wish;
        self.promised.remove(seat);
    }
    // ANCHOR_END: machine

    // ANCHOR: snapshot
    fn snapshot(&self) -> Self::Snapshot {
        self.seats.clone()
    }

    fn restore(seats: &Self::Snapshot) -> Result<Self, No> {
        Ok(Self { seats: seats.clone(), promised: BTreeSet::new() })
    }
}
// ANCHOR_END: snapshot

impl fmt::Display for No {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            No::Missing => "there is no such seat",
            No::Taken => "somebody has it",
            No::NotTheirs => "it is not theirs",
            No::Locked => "it is locked here",
        })
    }
}

#[multikernel::main(cores = 3)]
async fn main() -> ExitCode {
    exit(run().await)
}

async fn run() -> io::Result<()> {
    let [address] = arguments("seats [ADDRESS]", ["127.0.0.1:3090"])?;
    let listener = TcpListener::bind(&address).await?;
    // ANCHOR: create
    let empty = || Hall { seats: vec![None; SEATS], promised: BTreeSet::new() };
    let hall = Replicated::new(empty).await.map_err(io::Error::other)?;
    // ANCHOR_END: create
    announce("seats", &listener, "")?;
    select! {
        result = accept(&listener, &hall) => result,
        result = asked_to_stop() => result,
    }
}

async fn accept(listener: &TcpListener, hall: &Replicated<Hall>) -> io::Result<()> {
    let clients = TaskTracker::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let hall = hall.clone();
        clients.spawn(async move {
            // Who breaks off, or sends nonsense, ends its own connection and no other.
            let _ = talk(stream, &hall).await;
        });
    }
}

async fn talk(stream: TcpStream, hall: &Replicated<Hall>) -> Result<(), LinesCodecError> {
    let mut lines = Framed::new(stream, LinesCodec::new_with_max_length(LONGEST_LINE));
    while let Some(line) = lines.next().await {
        lines.send(answer(&line?, hall).await).await?;
    }
    Ok(())
}

async fn answer(line: &str, hall: &Replicated<Hall>) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    let seat = words.get(1).and_then(|seat| seat.parse().ok());
    match (&words[..], seat) {
        (["reserve", _, guest], Some(seat)) => {
            wish(hall, Wish::Reserve { seat, guest: (*guest).into() }).await
        }
        (["release", _, guest], Some(seat)) => {
            wish(hall, Wish::Release { seat, guest: (*guest).into() }).await
        }
        (["who", _], Some(seat)) => who(hall, seat),
        (["who", _, version], Some(seat)) => match version.parse() {
            Ok(version) => who_since(hall, seat, Version(version)).await,
            Err(_) => "a version is a number".into(),
        },
        (["everywhere", _], Some(seat)) => everywhere(hall, seat).await,
        (["free"], _) => {
            hall.read(|hall| hall.seats.iter().filter(|seat| seat.is_none()).count()).to_string()
        }
        (["watch"], _) => watch(hall).await,
        (["lock" | "unlock", _, core], Some(seat)) => lock(seat, core, words[0] == "lock").await,
        _ => "see the program's first lines".into(),
    }
}

// ANCHOR: wish
/// Changes every core's hall, or none.
async fn wish(hall: &Replicated<Hall>, wish: Wish) -> String {
    match hall.propose(wish).await {
        Ok(committed) => format!("yes, as of {}", committed.version),
        Err(ProposeError::Refused { by, reason, .. }) => format!("{by} says no: {reason}"),
        Err(error) => format!("no: {error}"),
    }
}
// ANCHOR_END: wish

// ANCHOR: who
/// What this core knows: a look into its own memory.
fn who(hall: &Replicated<Hall>, seat: usize) -> String {
    let guest = hall.read(|hall| hall.seats.get(seat).cloned().flatten());
    guest.unwrap_or_else(|| "nobody".into())
}

/// The same, for whoever has heard of a change in another way and wants to see no less.
async fn who_since(hall: &Replicated<Hall>, seat: usize, version: Version) -> String {
    // Nobody is more than one round ahead of a core that runs.
    if version > hall.version().next() {
        return "that is in the future".into();
    }
    hall.at_least(version).await;
    who(hall, seat)
}

async fn everywhere(hall: &Replicated<Hall>, seat: usize) -> String {
    let hall = hall.clone();
    let mut answers = Vec::new();
    for core in on_each_core(move || async move { format!("{}: {}", CoreId::current(), who(&hall, seat)) }) {
        answers.push(core.await.unwrap_or_else(|error| error.to_string()));
    }
    answers.join(", ")
}
// ANCHOR_END: who

// ANCHOR: watch
/// The next change, whoever makes it, wherever.
async fn watch(hall: &Replicated<Hall>) -> String {
    match hall.changed().await {
        Ok(version) => format!("changed as of {version}"),
        Err(closed) => closed.to_string(),
    }
}
// ANCHOR_END: watch

/// One core's own affair: no agreement.
async fn lock(seat: usize, core: &str, is_locked: bool) -> String {
    let Some(core) = core.parse().ok().and_then(|core: usize| cores().nth(core)) else {
        return "there is no such core".into();
    };
    let task = spawn_on(core, move || async move {
        LOCKED.with(|locked| {
            let mut locked = locked.borrow_mut();
            if is_locked { locked.insert(seat) } else { locked.remove(&seat) }
        })
    });
    match task.await {
        Ok(true) => "done".into(),
        Ok(false) => "it was so before".into(),
        Err(error) => error.to_string(),
    }
}
