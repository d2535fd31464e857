//! What a channel looks like to the cases: the same few calls for all of them.
//!
//! A blocking channel has them as well: its `send` never pends, and what runs is the loop one would write by hand.

use std::fmt;

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

/// The end that sends, where it is used.
pub(super) trait Sender: 'static {
    type Message;

    async fn send(&mut self, message: Self::Message) -> Result<(), Closed>;

    /// With the channel's own call for several messages, if it has one.
    async fn send_many(
        &mut self,
        messages: impl ExactSizeIterator<Item = Self::Message>,
    ) -> Result<(), Closed> {
        for message in messages {
            self.send(message).await?;
        }
        Ok(())
    }
}

/// The end that receives, where it is used.
pub(super) trait Receiver: 'static {
    type Message;

    async fn recv(&mut self) -> Result<Self::Message, Closed>;

    /// Appends at least one message, with the channel's own call for several if it has one. There may be more than
    /// `most` where that call takes no limit.
    async fn recv_many(&mut self, into: &mut Vec<Self::Message>, most: usize) -> Result<(), Closed> {
        debug_assert!(most > 0);
        into.push(self.recv().await?);
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
