//! What a channel looks like to the cases: the same few calls for all of them.
//!
//! A blocking channel has them as well: its `send` never pends, and what runs is the loop one would write by hand.

use std::fmt;
use std::future::Future;

/// What is sent: known by its number, so that whoever receives it can tell that none is lost, doubled or overtaken.
pub(super) trait Message: Copy + Send + 'static {
    fn numbered(number: u64) -> Self;

    /// Its number; another one if it did not arrive whole.
    fn number(&self) -> u64;
}

impl Message for u64 {
    fn numbered(number: u64) -> Self {
        number
    }

    fn number(&self) -> u64 {
        *self
    }
}

impl<const WORDS: usize> Message for [u64; WORDS] {
    #[inline]
    fn numbered(number: u64) -> Self {
        [number; WORDS]
    }

    #[inline]
    fn number(&self) -> u64 {
        if self[0] == self[WORDS - 1] { self[0] } else { u64::MAX }
    }
}

/// The other end is gone.
#[derive(Debug)]
pub(super) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the channel closed too early")
    }
}

impl std::error::Error for Closed {}

/// What the calls of a channel return: each says in its own way that the other end is gone.
pub(super) trait OrClosed<T> {
    fn or_closed(self) -> Result<T, Closed>;
}

impl<T, E> OrClosed<T> for Result<T, E> {
    #[inline]
    fn or_closed(self) -> Result<T, Closed> {
        self.map_err(|_| Closed)
    }
}

impl<T> OrClosed<T> for Option<T> {
    #[inline]
    fn or_closed(self) -> Result<T, Closed> {
        self.ok_or(Closed)
    }
}

/// The end that sends, where it is used.
pub(super) trait Sender: 'static {
    type Message;

    /// The channel's own future, where there is one: another around it would be measured too.
    fn send(&mut self, message: Self::Message) -> impl Future<Output = impl OrClosed<()>>;

    /// With the channel's own call for several messages, if it has one.
    async fn send_many(
        &mut self,
        messages: impl ExactSizeIterator<Item = Self::Message>,
    ) -> Result<(), Closed> {
        for message in messages {
            self.send(message).await.or_closed()?;
        }
        Ok(())
    }
}

/// The end that receives, where it is used.
pub(super) trait Receiver: 'static {
    type Message;

    /// As [`Sender::send`].
    fn recv(&mut self) -> impl Future<Output = impl OrClosed<Self::Message>>;

    /// Appends at least one message, with the channel's own call for several if it has one. There may be more than
    /// `most` where that call takes no limit.
    async fn recv_many(&mut self, into: &mut Vec<Self::Message>, most: usize) -> Result<(), Closed> {
        debug_assert!(most > 0);
        into.push(self.recv().await.or_closed()?);
        Ok(())
    }
}

/// The end that sends, as it travels to its core. Only glommio's has to be made ready there.
pub(super) trait SendEnd: Send + 'static {
    type Here: Sender;

    async fn arrive(self) -> Self::Here;
}

impl<S: Sender + Send> SendEnd for S {
    type Here = S;

    async fn arrive(self) -> S {
        self
    }
}

/// The end that receives, as it travels to its core.
pub(super) trait RecvEnd: Send + 'static {
    type Here: Receiver;

    async fn arrive(self) -> Self::Here;
}

impl<R: Receiver + Send> RecvEnd for R {
    type Here = R;

    async fn arrive(self) -> R {
        self
    }
}

/// A kind of channel.
pub(super) trait Channel: 'static {
    /// Whether an end has a call of its own for several messages.
    const BATCHES: bool;

    type Tx<T: Message>: SendEnd<Here: Sender<Message = T>>;
    type Rx<T: Message>: RecvEnd<Here: Receiver<Message = T>>;

    /// A channel with room for `room` messages.
    fn open<T: Message>(room: usize) -> (Self::Tx<T>, Self::Rx<T>);
}

/// What one side of a round trip has: an end of each of two channels.
pub(super) type Both<C> = (<C as Channel>::Tx<u64>, <C as Channel>::Rx<u64>);

/// A channel that several may send into.
pub(super) trait Many: Channel {
    fn another<T: Message>(tx: &Self::Tx<T>) -> Self::Tx<T>;
}

/// A question put to another core, and its answer.
pub(super) trait Call: 'static {
    type Caller: Send + 'static;
    type Callee: Send + 'static;

    fn open() -> (Self::Caller, Self::Callee);

    async fn call(caller: &mut Self::Caller, question: u64) -> Result<u64, Closed>;

    /// Answers one question with the number after it.
    async fn answer(callee: &mut Self::Callee) -> Result<(), Closed>;
}
