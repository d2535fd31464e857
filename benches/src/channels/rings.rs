//! The limits: a bare cache line, and rings whose ends spin. Nobody can be woken through them.

use std::hint::spin_loop;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use multikernel_channels::ring::{self, PopError, PushError};

use super::cases::{Contender, Offer};
use super::crew::{Plain, Threads};
use super::ends::{Channel, Closed, Message, OrClosed, Receiver, Sender};
use super::slots::{self, Lined, Packed};
use super::visits;

const SPIN: &str = "2 threads that spin";

pub(super) fn contenders() -> Vec<Contender> {
    vec![
        Contender::new("line", SPIN).with([bare_line()]).controlled(),
        spinning::<Rtrb>("rtrb"),
        spinning::<Ring>("ring"),
        spinning::<SlotsPacked>("slots-packed"),
        spinning::<SlotsLined>("slots-lined"),
    ]
}

/// There and back over a cache line, and nothing else.
pub(super) fn bare_line() -> Offer {
    visits::awake::<Line, Threads<Plain>>()
}

fn spinning<C: Channel>(name: &'static str) -> Contender {
    let streams = visits::streams::<C, Threads<Plain>>();
    Contender::new(name, SPIN).with(streams).with([visits::awake::<C, Threads<Plain>>()]).controlled()
}

/// One word on a line of its own. Whoever writes it knows that the last one was read, because it was answered.
struct Line;

struct LineTx<T>(Arc<CachePadded<AtomicU64>>, PhantomData<T>);

struct LineRx<T> {
    line: Arc<CachePadded<AtomicU64>>,
    seen: u64,
    message: PhantomData<T>,
}

impl Channel for Line {
    const BATCHES: bool = false;
    type Tx<T: Message> = LineTx<T>;
    type Rx<T: Message> = LineRx<T>;

    fn open<T: Message>(_: usize) -> (LineTx<T>, LineRx<T>) {
        let line = Arc::new(CachePadded::new(AtomicU64::new(0)));
        (LineTx(Arc::clone(&line), PhantomData), LineRx { line, seen: 0, message: PhantomData })
    }
}

impl<T: Message> Sender for LineTx<T> {
    type Message = T;

    async fn send(&mut self, message: T) -> impl OrClosed<()> {
        // Release: pairs with the Acquire in `recv`, for form's sake: nothing else is sent.
        self.0.store(message.number() + 1, Ordering::Release);
        Ok::<_, Closed>(())
    }
}

impl<T: Message> Receiver for LineRx<T> {
    type Message = T;

    async fn recv(&mut self) -> impl OrClosed<T> {
        loop {
            let now = self.line.load(Ordering::Acquire);
            if now != self.seen {
                self.seen = now;
                return Ok::<_, Closed>(T::numbered(now - 1));
            }
            spin_loop();
        }
    }
}

struct Rtrb;

impl Channel for Rtrb {
    const BATCHES: bool = true;
    type Tx<T: Message> = rtrb::Producer<T>;
    type Rx<T: Message> = rtrb::Consumer<T>;

    fn open<T: Message>(room: usize) -> (rtrb::Producer<T>, rtrb::Consumer<T>) {
        rtrb::RingBuffer::new(room)
    }
}

impl<T: Message> Sender for rtrb::Producer<T> {
    type Message = T;

    async fn send(&mut self, message: T) -> impl OrClosed<()> {
        while self.push(message).is_err() {
            if self.is_abandoned() {
                return Err(Closed);
            }
            spin_loop();
        }
        Ok(())
    }

    async fn send_many(&mut self, mut messages: impl ExactSizeIterator<Item = T>) -> Result<(), Closed> {
        while messages.len() > 0 {
            let room = messages.len().min(self.slots());
            if room > 0 {
                let chunk = self.write_chunk_uninit(room).expect("there is room for as many");
                chunk.fill_from_iter(messages.by_ref());
            } else if self.is_abandoned() {
                return Err(Closed);
            } else {
                spin_loop();
            }
        }
        Ok(())
    }
}

impl<T: Message> Receiver for rtrb::Consumer<T> {
    type Message = T;

    async fn recv(&mut self) -> impl OrClosed<T> {
        loop {
            match self.pop() {
                Ok(message) => return Ok(message),
                // What was pushed before the other end went is there by now.
                Err(_) if self.is_abandoned() => return self.pop().map_err(|_| Closed),
                Err(_) => spin_loop(),
            }
        }
    }

    async fn recv_many(&mut self, into: &mut Vec<T>, most: usize) -> Result<(), Closed> {
        loop {
            let there = self.slots().min(most);
            if there > 0 {
                into.extend(self.read_chunk(there).expect("as many are there"));
                return Ok(());
            }
            if self.is_abandoned() && self.is_empty() {
                return Err(Closed);
            }
            spin_loop();
        }
    }
}

/// The ring under multikernel's channels.
struct Ring;

impl Channel for Ring {
    const BATCHES: bool = true;
    type Tx<T: Message> = ring::Producer<T>;
    type Rx<T: Message> = ring::Consumer<T>;

    fn open<T: Message>(room: usize) -> (ring::Producer<T>, ring::Consumer<T>) {
        ring::ring(room)
    }
}

impl<T: Message> Sender for ring::Producer<T> {
    type Message = T;

    async fn send(&mut self, mut message: T) -> impl OrClosed<()> {
        loop {
            match self.try_push(message) {
                Ok(()) => return Ok(()),
                Err(PushError::Closed(_)) => return Err(Closed),
                Err(PushError::Full(back)) => message = back,
            }
            spin_loop();
        }
    }

    async fn send_many(&mut self, mut messages: impl ExactSizeIterator<Item = T>) -> Result<(), Closed> {
        while messages.len() > 0 {
            match self.push_from(&mut messages) {
                Ok(_) => {}
                Err(PushError::Closed(())) => return Err(Closed),
                Err(PushError::Full(())) => spin_loop(),
            }
        }
        Ok(())
    }
}

impl<T: Message> Receiver for ring::Consumer<T> {
    type Message = T;

    async fn recv(&mut self) -> impl OrClosed<T> {
        loop {
            match self.try_pop() {
                Ok(message) => return Ok(message),
                Err(PopError::Closed) => return Err(Closed),
                Err(PopError::Empty) => spin_loop(),
            }
        }
    }

    async fn recv_many(&mut self, into: &mut Vec<T>, most: usize) -> Result<(), Closed> {
        while into.is_empty() {
            into.extend(self.pop_chunk(most));
            if into.is_empty() {
                // Says whether there will be any.
                match self.try_pop() {
                    Ok(message) => into.push(message),
                    Err(PopError::Closed) => return Err(Closed),
                    Err(PopError::Empty) => spin_loop(),
                }
            }
        }
        Ok(())
    }
}

macro_rules! slots {
    ($channel:ident, $spacing:ident) => {
        struct $channel;

        impl Channel for $channel {
            // A batch saves nothing: each message has a sequence word of its own.
            const BATCHES: bool = true;
            type Tx<T: Message> = slots::Tx<$spacing<T>>;
            type Rx<T: Message> = slots::Rx<$spacing<T>>;

            fn open<T: Message>(room: usize) -> (Self::Tx<T>, Self::Rx<T>) {
                slots::ring::<T, $spacing<T>>(room)
            }
        }

        impl<T: Message> Sender for slots::Tx<$spacing<T>> {
            type Message = T;

            async fn send(&mut self, message: T) -> impl OrClosed<()> {
                while self.push(message).is_err() {
                    spin_loop();
                }
                Ok::<_, Closed>(())
            }
        }

        impl<T: Message> Receiver for slots::Rx<$spacing<T>> {
            type Message = T;

            async fn recv(&mut self) -> impl OrClosed<T> {
                loop {
                    if let Some(message) = self.pop() {
                        return Ok::<_, Closed>(message);
                    }
                    spin_loop();
                }
            }

            async fn recv_many(&mut self, into: &mut Vec<T>, most: usize) -> Result<(), Closed> {
                into.push(self.recv().await.or_closed()?);
                into.extend(std::iter::from_fn(|| self.pop()).take(most - 1));
                Ok(())
            }
        }
    };
}

slots!(SlotsPacked, Packed);
slots!(SlotsLined, Lined);
