//! One connection, from its first byte to its last.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use futures::{FutureExt, SinkExt, StreamExt};
use multikernel::channels::mpsc;
use multikernel::net::TcpStream;
use multikernel::replicate::ShardError;
use multikernel::select;
use multikernel_examples::kv::codec::{Args, Batch, DecodeError, Resp};
use multikernel_examples::kv::plan::{Errand, Plan};
use multikernel_examples::kv::pubsub::{By, Listener};
use multikernel_examples::kv::reply::Reply;
use multikernel_examples::kv::session::Session;
use multikernel_examples::kv::store::Store;
use multikernel_examples::kv::verb::{Reach, Verb};
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;

use super::{MEMORY, Server};

/// So many messages may wait for a connection that listens.
const MAILBOX: usize = 4096;
/// A connection listens to so many channels and patterns at most.
const CHANNELS: usize = 4096;
/// Messages that have come are written together, up to about so many bytes.
const TOGETHER: usize = 64 << 10;

struct Connection {
    server: Server,
    framed: Framed<TcpStream, Resp>,
    id: u64,
    /// Replies that have not been written.
    out: Vec<u8>,
    ears: Option<Ears>,
    overrun: CancellationToken,
}

/// What a connection that has listened has for it.
struct Ears {
    listener: Listener,
    messages: mpsc::Receiver<Bytes>,
    /// What it listens to now: (is a pattern, name).
    heard: BTreeSet<(bool, Box<[u8]>)>,
}

/// What has come. `None`: the peer has gone.
type Input = Option<Result<Batch, DecodeError>>;

/// What a connection waits for.
enum Event {
    Input(Input),
    Message(Bytes),
    Stop,
}

pub(super) async fn serve(server: Server, stream: TcpStream, id: u64) {
    // Without it, the second of two small replies waits until the peer has acknowledged the first.
    let _ = stream.set_nodelay(true);
    let overrun = CancellationToken::new();
    let framed = Framed::new(stream, Resp);
    let mut connection =
        Connection { server, framed, id, out: Vec::new(), ears: None, overrun: overrun.clone() };
    let is_over = select! {
        // Who breaks a connection, or talks nonsense, ends that one and no other.
        _ = connection.run() => false,
        // It has not read what it listens to: nothing else is written to it either.
        () = overrun.cancelled() => true,
    };
    if is_over {
        eprintln!("connection {id} does not read what it listens to: closed");
    }
    // If the server ends meanwhile, so do its lists.
    let _ = connection.listen_no_longer().await;
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        let stop = self.server.stop.clone();
        let mut stop = pin!(stop.cancelled());
        loop {
            let event = match &mut self.ears {
                None => select! {
                    biased;
                    item = self.framed.next() => Event::Input(item),
                    () = stop.as_mut() => Event::Stop,
                },
                Some(ears) => select! {
                    biased;
                    item = self.framed.next() => Event::Input(item),
                    Some(message) = ears.messages.recv() => Event::Message(message),
                    () = stop.as_mut() => Event::Stop,
                },
            };
            let goes_on = match event {
                Event::Input(Some(Ok(batch))) => self.answer(batch).await?,
                Event::Message(message) => self.pass_on(&message).await?,
                Event::Input(end) => return self.end(end).await,
                Event::Stop => return self.answer_the_last().await,
            };
            if goes_on.is_break() {
                return Ok(());
            }
        }
    }

    /// Answers what has arrived, now that the server stops.
    async fn answer_the_last(&mut self) -> io::Result<()> {
        while let Some(input) = self.framed.next().now_or_never() {
            let Some(Ok(batch)) = input else { return self.end(input).await };
            if self.answer(batch).await?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Who talks nonsense is told so.
    async fn end(&mut self, input: Input) -> io::Result<()> {
        match input {
            Some(Err(DecodeError::Io(error))) => Err(error),
            Some(Err(error)) => {
                self.out.error(&format!("ERR {error}"));
                self.flush().await
            }
            _ => Ok(()),
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.framed.send(&self.out).await?;
        self.out.clear();
        Ok(())
    }

    async fn pass_on(&mut self, message: &[u8]) -> io::Result<ControlFlow<()>> {
        self.out.extend_from_slice(message);
        let ears = self.ears.as_mut().expect("the message has come that way");
        while let Some(message) = (self.out.len() < TOGETHER).then(|| ears.messages.try_recv().ok()).flatten()
        {
            self.out.extend_from_slice(&message);
        }
        self.flush().await?;
        Ok(ControlFlow::Continue(()))
    }

    /// Answers requests in their order. Breaks if the last says that it was the last.
    async fn answer(&mut self, batch: Batch) -> io::Result<ControlFlow<()>> {
        let batch = Arc::new(batch);
        let stores = self.server.stores.clone();
        let mut plan = Plan::new(batch.clone(), stores.slots());
        let mut goes_on = ControlFlow::Continue(());
        let mut session = self.session();
        for number in 0..batch.len() {
            let request = batch.request(number);
            match session.admit(request) {
                Err(error) => plan.say(|out| out.error(&error)),
                Ok(Verb::Quit) => {
                    plan.say(|out| out.simple("OK"));
                    goes_on = ControlFlow::Break(());
                    break;
                }
                Ok(verb @ (Verb::Subscribe | Verb::PSubscribe | Verb::Unsubscribe | Verb::PUnsubscribe)) => {
                    // What was asked before happens before.
                    self.carry_out(&mut plan).await?;
                    self.listen(verb, request.after(1)).await.map_err(io::Error::other)?;
                    session = self.session();
                }
                Ok(verb) if verb.reach() == Reach::Session => {
                    plan.say(|out| session.answer(verb, request.after(1), out));
                }
                // One core has it all.
                Ok(verb) if stores.slots() == 1 => plan.ask(verb, number, |_| 0),
                Ok(verb) => plan.ask(verb, number, |key| stores.slot(key)),
            }
        }
        self.carry_out(&mut plan).await?;
        self.flush().await?;
        Ok(goes_on)
    }

    fn session(&self) -> Session {
        Session {
            id: self.id,
            listens: self.ears.as_ref().is_some_and(|ears| !ears.heard.is_empty()),
            clients: self.server.connections.len(),
            memory: MEMORY,
            uptime: self.server.now() / 1000,
        }
    }

    /// Sends the errands of a plan to their cores until all replies are there. Long ones are written in between.
    async fn carry_out(&mut self, plan: &mut Plan) -> io::Result<()> {
        while !plan.write(&mut self.out) {
            if !self.out.is_empty() {
                self.flush().await?;
            }
            let now = self.server.now();
            let stores = &self.server.stores;
            let run = |(slot, mut errand): (usize, Errand)| {
                stores.with_slot(slot, move |store: &mut Store| {
                    errand.run(store, now);
                    (slot, errand)
                })
            };
            let mut errands: Vec<_> = plan.errands().map(run).collect();
            // Most batches of a small Machine concern one core.
            let done = match errands.len() {
                1 => vec![errands.remove(0).await],
                _ => join_all(errands).await,
            };
            for errand in done {
                let (slot, errand) = errand.map_err(io::Error::other)?;
                plan.give_back(slot, errand);
            }
        }
        Ok(())
    }

    /// `SUBSCRIBE` and its kin: one reply for each name.
    async fn listen(&mut self, verb: Verb, names: Args<'_>) -> Result<(), ShardError> {
        let by = match verb {
            Verb::Subscribe | Verb::Unsubscribe => By::Name,
            _ => By::Pattern,
        };
        let begins = matches!(verb, Verb::Subscribe | Verb::PSubscribe);
        if begins {
            for name in names.iter() {
                self.begin_to_listen(by, name).await?;
            }
            return Ok(());
        }
        let mut names: Vec<Box<[u8]>> = names.iter().map(Box::from).collect();
        if names.is_empty() {
            let heard = self.ears.iter().flat_map(|ears| &ears.heard);
            names = heard
                .filter(|(is_pattern, _)| *is_pattern == (by == By::Pattern))
                .map(|(_, n)| n.clone())
                .collect();
        }
        if names.is_empty() {
            by.ended(None, self.heard(), &mut self.out);
        }
        for name in names {
            self.end_to_listen(by, &name).await?;
            by.ended(Some(&name), self.heard(), &mut self.out);
        }
        Ok(())
    }

    fn heard(&self) -> usize {
        self.ears.as_ref().map_or(0, |ears| ears.heard.len())
    }

    async fn begin_to_listen(&mut self, by: By, name: &[u8]) -> Result<(), ShardError> {
        let ears = self.ears.get_or_insert_with(|| {
            let (mailbox, messages) = mpsc::channel(MAILBOX);
            let listener = Listener { id: self.id, mailbox, overrun: self.overrun.clone() };
            Ears { listener, messages, heard: BTreeSet::new() }
        });
        if ears.heard.len() >= CHANNELS {
            self.out.error("ERR too many channels");
            return Ok(());
        }
        let name: Box<[u8]> = name.into();
        let listener = ears.listener.clone();
        // First, so that an end in the middle undoes it.
        ears.heard.insert((by == By::Pattern, name.clone()));
        let count = ears.heard.len();
        by.begun(&name, count, &mut self.out);
        self.tell(by, name, move |store, name| store.listeners.add(by, name, listener.clone())).await
    }

    async fn end_to_listen(&mut self, by: By, name: &[u8]) -> Result<(), ShardError> {
        let name: Box<[u8]> = name.into();
        if let Some(ears) = &mut self.ears {
            ears.heard.remove(&(by == By::Pattern, name.clone()));
        }
        let id = self.id;
        self.tell(by, name, move |store, name| store.listeners.remove(by, name, id)).await
    }

    /// Tells the core of a channel something, or all cores about a pattern.
    async fn tell<F>(&self, by: By, name: Box<[u8]>, tell: F) -> Result<(), ShardError>
    where
        F: Fn(&mut Store, &[u8]) + Send + Sync + 'static,
    {
        let stores = &self.server.stores;
        match by {
            By::Name => stores.with_slot(stores.slot(&*name), move |store| tell(store, &name)).await,
            By::Pattern => stores.for_each(move |store| tell(store, &name)).await,
        }
    }

    async fn listen_no_longer(&mut self) -> Result<(), ShardError> {
        let heard = self.ears.as_mut().map(|ears| std::mem::take(&mut ears.heard)).unwrap_or_default();
        for (is_pattern, name) in heard {
            self.end_to_listen(if is_pattern { By::Pattern } else { By::Name }, &name).await?;
        }
        Ok(())
    }
}
