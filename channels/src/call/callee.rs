//! The end that answers.

use std::fmt;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll, ready};

use crate::budget::poll_proceed;
use crate::call::{CLOSED, FLAG, Line, Slots, number};
use crate::epoch;
use crate::error::SendError;
use crate::hub::{self, Look, Side, poll_port};
use crate::sync::{Arc, Ordering, SharedArc};

/// The end of a [`channel`](crate::call::channel) that answers. Dropping it tells the caller, which gets a question back
/// that was not taken.
///
/// ```
/// # futures::executor::block_on(async {
/// # use multikernel_channels::call;
/// let (mut caller, mut callee) = call::channel::<u32, u32>();
/// let asks = async move { assert_eq!(caller.call(20).await, Ok(21)) }; // then it drops the caller
/// let serves = callee.serve(async |number| number + 1); // until that
/// futures::future::join(asks, serves).await;
/// # })
/// ```
pub struct Callee<Q, A> {
    line: SharedArc<Line>,
    counter: Counter<Q, A>,
}

/// The callee's side of the two slots.
struct Counter<Q, A> {
    slots: Arc<Slots<Q, A>>,
    /// The number of the last question that was taken.
    taken: u64,
    /// It has been neither answered nor given up.
    is_open: bool,
    /// Whether the last answer, if that was the end of the last question, was none: `FLAG` or nothing.
    unanswered: u64,
}

impl<Q, A> Callee<Q, A> {
    pub(super) fn new(line: SharedArc<Line>, slots: Arc<Slots<Q, A>>) -> Self {
        Self { line, counter: Counter { slots, taken: 0, is_open: false, unanswered: FLAG } }
    }

    /// Waits for a question. `None` when the caller is gone: there will be no more.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, no question has been taken.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (caller, mut callee) = multikernel_channels::call::channel::<u8, u8>();
    /// drop(caller);
    /// assert!(callee.next().await.is_none());
    /// # })
    /// ```
    #[inline]
    pub async fn next(&mut self) -> Option<Question<'_, Q, A>> {
        let question = poll_fn(|cx| self.poll_take(cx)).await?;
        Some(Question { question, reply: Reply { callee: self } })
    }

    /// Answers every question with what `answer` makes of it, one after the other, until the caller is gone.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the caller whose question it was at is told that there will be no answer.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (mut caller, mut callee) = multikernel_channels::call::channel();
    /// let calls = async move {
    ///     assert_eq!(caller.call(1).await, Ok(2));
    ///     assert_eq!(caller.call(2).await, Ok(3));
    /// };
    /// futures::future::join(calls, callee.serve(async |number| number + 1)).await;
    /// # })
    /// ```
    pub async fn serve(&mut self, mut answer: impl AsyncFnMut(Q) -> A) {
        while let Some(question) = self.next().await {
            let (question, reply) = question.into_parts();
            let answer = answer(question).await;
            let _ = reply.send(answer); // who has given up needs no answer
        }
    }

    #[inline]
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Q>> {
        let progress = ready!(poll_proceed(cx));
        let question = ready!(poll_port(&self.line, Side::Receiver, cx, || self.counter.take()));
        progress.made();
        Poll::Ready(question)
    }

    /// Whether the caller is gone.
    ///
    /// ```
    /// let (caller, callee) = multikernel_channels::call::channel::<u32, u32>();
    /// drop(caller);
    /// assert!(callee.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.counter.seen() & CLOSED != 0
    }
}

impl<Q, A> Counter<Q, A> {
    /// What the caller says.
    #[inline]
    fn seen(&self) -> u64 {
        // Acquire (R32): pairs with the Release in `Desk::publish`. If there is a new question, the slots are ours.
        self.slots.line.asked.word.load(Ordering::Acquire)
    }

    /// The question that has been taken last is dealt with. `unanswered` is nothing if its answer is in the slot, and
    /// else `FLAG`.
    #[inline]
    fn publish(&mut self, unanswered: u64) {
        self.is_open = false;
        self.unanswered = unanswered;
        // Release (R32): pairs with the Acquire in `Desk::seen`.
        self.slots.line.answered.word.store(self.taken << 2 | unanswered, Ordering::Release);
        hub::notify(&self.slots.line, Side::Sender);
    }

    /// A question, or `None` if there will be none any more.
    #[inline]
    fn take(&mut self) -> Look<Option<Q>> {
        self.give_up();
        let seen = self.seen();
        let is_open = number(seen) != self.taken;
        if !is_open && seen & CLOSED == 0 {
            return Look::Nothing;
        }
        if epoch::holds() {
            return Look::Held;
        }
        if !is_open {
            return Look::Done(None);
        }
        // SAFETY: it is a new question, put there before the number that we acquired, and the slot is ours until we say
        // that the question is dealt with (R32). It is read here only, once, because its number is taken now.
        let question = self.slots.question(|slot| unsafe { slot.read() });
        self.taken = number(seen);
        self.is_open = true;
        if seen & (FLAG | CLOSED) == 0 {
            return Look::Done(Some(question));
        }
        self.give_up(); // nobody waits for the answer
        (seen & CLOSED != 0).then_some(None).into()
    }

    /// The question that was taken, if there is one, gets no answer.
    #[inline]
    fn give_up(&mut self) {
        if self.is_open {
            self.publish(FLAG);
        }
    }

    /// Whether somebody waits for the answer to the question that was taken.
    fn is_wanted(&self) -> bool {
        self.seen() & (FLAG | CLOSED) == 0
    }
}

impl<Q, A> Drop for Callee<Q, A> {
    fn drop(&mut self) {
        self.counter.give_up(); // a question that was forgotten
        let last = self.counter.taken << 2 | self.counter.unanswered | CLOSED;
        // Release (R33): pairs with the Acquire in `Desk::seen`. What we have not taken we shall not touch any more.
        self.line.answered.word.store(last, Ordering::Release);
        drop(self.line.callee.forget());
        hub::notify(&self.line, Side::Sender);
    }
}

impl<Q, A> fmt::Debug for Callee<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callee").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// A question that waits for its [reply](Self::reply): what [`Callee::next`] returns. It can be used like a `Q`.
///
/// Dropping it tells the caller that there will be no answer.
///
/// ```
/// # futures::executor::block_on(async {
/// # use multikernel_channels::call;
/// let (mut caller, mut callee) = call::channel::<u32, u32>();
/// let asks = async { assert_eq!(caller.call(20).await, Ok(21)) };
/// let answers = async {
///     let question = callee.next().await.unwrap();
///     let answer = *question + 1; // it can be read like what was asked
///     question.reply(answer).unwrap();
/// };
/// futures::future::join(asks, answers).await;
/// # })
/// ```
#[must_use = "dropping a question leaves it unanswered"]
pub struct Question<'a, Q, A> {
    question: Q,
    reply: Reply<'a, Q, A>,
}

impl<'a, Q, A> Question<'a, Q, A> {
    /// Answers, and drops the question. See [`Reply::send`].
    ///
    /// # Errors
    ///
    /// [`SendError`], with the answer, when nobody waits for it any more.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// # use multikernel_channels::call;
    /// let (mut caller, mut callee) = call::channel::<u32, u32>();
    /// let asks = async { assert_eq!(caller.call(20).await, Ok(21)) };
    /// let answers = async { callee.next().await.unwrap().reply(21).unwrap() };
    /// futures::future::join(asks, answers).await;
    /// # })
    /// ```
    #[inline]
    pub fn reply(self, answer: A) -> Result<(), SendError<A>> {
        self.reply.send(answer)
    }

    /// The question to keep, and the duty to answer it.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// # let (mut caller, mut callee) = multikernel_channels::call::channel::<Vec<i32>, Vec<i32>>();
    /// # let service = async {
    /// let (mut numbers, reply) = callee.next().await.unwrap().into_parts();
    /// numbers.push(3);
    /// reply.send(numbers).unwrap();
    /// # };
    /// # assert_eq!(futures::future::join(caller.call(vec![1, 2]), service).await.0, Ok(vec![1, 2, 3]));
    /// # })
    /// ```
    #[inline]
    pub fn into_parts(self) -> (Q, Reply<'a, Q, A>) {
        (self.question, self.reply)
    }

    /// Whether somebody waits for the answer. Once nobody does, nobody will.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// # use multikernel_channels::call;
    /// let (mut caller, mut callee) = call::channel::<u32, u32>();
    /// let asks = async { assert_eq!(caller.call(20).await, Ok(21)) };
    /// let answers = async {
    ///     let question = callee.next().await.unwrap();
    ///     assert!(question.is_wanted()); // somebody waits: worth the work
    ///     question.reply(21).unwrap();
    /// };
    /// futures::future::join(asks, answers).await;
    /// # })
    /// ```
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.reply.is_wanted()
    }
}

impl<Q, A> Deref for Question<'_, Q, A> {
    type Target = Q;

    fn deref(&self) -> &Q {
        &self.question
    }
}

impl<Q, A> DerefMut for Question<'_, Q, A> {
    fn deref_mut(&mut self) -> &mut Q {
        &mut self.question
    }
}

impl<Q: fmt::Debug, A> fmt::Debug for Question<'_, Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("question", &self.question).finish_non_exhaustive()
    }
}

/// The duty to answer a question: a part of what [`Question::into_parts`] returns.
///
/// Dropping it tells the caller that there will be no answer.
///
/// ```
/// # futures::executor::block_on(async {
/// # use multikernel_channels::call;
/// let (mut caller, mut callee) = call::channel::<u32, u32>();
/// let asks = async { assert_eq!(caller.call(20).await, Ok(21)) };
/// let answers = async {
///     let (number, reply) = callee.next().await.unwrap().into_parts();
///     reply.send(number + 1).unwrap();
/// };
/// futures::future::join(asks, answers).await;
/// # })
/// ```
#[must_use = "dropping it leaves the question unanswered"]
pub struct Reply<'a, Q, A> {
    callee: &'a mut Callee<Q, A>,
}

impl<Q, A> Reply<'_, Q, A> {
    /// Answers. `Ok` says that somebody waited a moment ago, not that the answer will be received.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the answer, when nobody waits for it any more.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// # use multikernel_channels::call;
    /// let (mut caller, mut callee) = call::channel::<u32, u32>();
    /// let asks = async { assert_eq!(caller.call(20).await, Ok(21)) };
    /// let answers = async {
    ///     let (number, reply) = callee.next().await.unwrap().into_parts();
    ///     assert_eq!(reply.send(number + 1), Ok(()));
    /// };
    /// futures::future::join(asks, answers).await;
    /// # })
    /// ```
    #[inline]
    pub fn send(self, answer: A) -> Result<(), SendError<A>> {
        let counter = &mut self.callee.counter;
        if !counter.is_wanted() {
            return Err(SendError(answer));
        }
        // SAFETY: we have taken a question and not said that it is dealt with, so the slot is ours (R32). It is empty:
        // the caller took out the answer before it asked again.
        counter.slots.answer(|slot| unsafe { slot.write(answer) });
        counter.publish(0);
        Ok(())
    }

    /// Whether somebody waits for the answer. Once nobody does, nobody will.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// # use multikernel_channels::call;
    /// let (mut caller, mut callee) = call::channel::<u32, u32>();
    /// let asks = async { assert_eq!(caller.call(20).await, Ok(21)) };
    /// let answers = async {
    ///     let (number, reply) = callee.next().await.unwrap().into_parts();
    ///     assert!(reply.is_wanted()); // somebody waits: worth the work
    ///     reply.send(number + 1).unwrap();
    /// };
    /// futures::future::join(asks, answers).await;
    /// # })
    /// ```
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.callee.counter.is_wanted()
    }
}

impl<Q, A> Drop for Reply<'_, Q, A> {
    fn drop(&mut self) {
        self.callee.counter.give_up();
    }
}

impl<Q, A> fmt::Debug for Reply<'_, Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("is_wanted", &self.is_wanted()).finish_non_exhaustive()
    }
}
