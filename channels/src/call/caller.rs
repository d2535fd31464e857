//! The end that asks.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::budget::poll_proceed;
use crate::call::{CLOSED, CallError, FLAG, Line, Slots, number};
use crate::epoch;
use crate::hub::{self, Look, Side, poll_port};
use crate::sync::{Arc, Ordering, SharedArc};

/// The end of a [`channel`](crate::call::channel) that asks. Dropping it tells the callee that there will be no more
/// questions.
///
/// ```
/// # futures::executor::block_on(async {
/// # use multikernel_channels::call;
/// let (mut caller, mut callee) = call::channel::<u32, u32>();
/// let asks = async move {
///     assert_eq!(caller.call(1).await, Ok(2));
///     assert_eq!(caller.call(2).await, Ok(3)); // as often as you like
/// };
/// futures::future::join(asks, callee.serve(async |number| number + 1)).await;
/// # })
/// ```
pub struct Caller<Q, A> {
    line: SharedArc<Line>,
    desk: Desk<Q, A>,
}

/// The caller's side of the two slots.
struct Desk<Q, A> {
    slots: Arc<Slots<Q, A>>,
    /// The number of the last question, as in `Line::asked`.
    asked: u64,
    /// Its answer, or the word that there is none, has not been seen yet.
    is_owed: bool,
}

impl<Q, A> Caller<Q, A> {
    pub(super) fn new(line: SharedArc<Line>, slots: Arc<Slots<Q, A>>) -> Self {
        Self { line, desk: Desk { slots, asked: 0, is_owed: false } }
    }

    /// Asks and waits for the answer. If an earlier call was given up and is still being answered, waits for that first.
    ///
    /// # Errors
    ///
    /// [`CallError::Closed`], with the question, when the callee is gone and did not take it.
    /// [`CallError::Unanswered`] when the callee took it and dropped it without an answer.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, nobody gets the answer. A question that the callee has not taken by
    /// then is not handed out any more.
    ///
    /// # Example
    ///
    /// ```
    /// use multikernel_channels::call::{self, CallError};
    ///
    /// # futures::executor::block_on(async {
    /// let (mut caller, mut callee) = call::channel::<u32, u32>();
    /// let service = async {
    ///     callee.next().await.unwrap().reply(2).unwrap();
    ///     drop(callee.next().await);
    ///     drop(callee);
    /// };
    /// let calls = async {
    ///     assert_eq!(caller.call(1).await, Ok(2));
    ///     assert_eq!(caller.call(3).await, Err(CallError::Unanswered));
    ///     assert_eq!(caller.call(4).await, Err(CallError::Closed(4)));
    /// };
    /// futures::future::join(calls, service).await;
    /// # })
    /// ```
    #[inline]
    pub fn call(&mut self, question: Q) -> Calling<'_, Q, A> {
        Calling { caller: self, unasked: Some(question), is_done: false }
    }

    /// Asks `unasked` if there is one and it can be asked now; takes it if so.
    pub(crate) fn try_ask(&mut self, unasked: &mut Option<Q>) {
        self.desk.ask(unasked);
    }

    /// Asks `unasked` as soon as that is possible, then waits for the answer.
    #[inline]
    pub(crate) fn poll_call(
        &mut self,
        cx: &mut Context<'_>,
        unasked: &mut Option<Q>,
    ) -> Poll<Result<A, CallError<Q>>> {
        let progress = ready!(poll_proceed(cx));
        let result = ready!(poll_port(&self.line, Side::Sender, cx, || self.desk.step(unasked)));
        progress.made();
        Poll::Ready(result)
    }

    /// Nobody waits for the answer to what was asked last, if it has not come.
    pub(crate) fn abandon(&mut self) {
        if self.desk.is_owed {
            self.desk.publish(FLAG);
        }
    }

    /// Whether the callee is gone: no later call can succeed.
    ///
    /// ```
    /// let (caller, callee) = multikernel_channels::call::channel::<u32, u32>();
    /// drop(callee);
    /// assert!(caller.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.desk.seen() & CLOSED != 0
    }
}

impl<Q, A> Desk<Q, A> {
    /// What the callee says.
    #[inline]
    fn seen(&self) -> u64 {
        // Acquire (R32): pairs with the Release in `Callee::publish`. If it is done with a question, the slots are
        // ours.
        self.slots.line.answered.word.load(Ordering::Acquire)
    }

    /// Says which question is the last, and with `flags` more about it.
    #[inline]
    fn publish(&self, flags: u64) {
        // Release (R32): pairs with the Acquire in `Callee::take`. Also where only flags change: it is this store that
        // the callee may see first.
        self.slots.line.asked.word.store(self.asked << 2 | flags, Ordering::Release);
    }

    #[inline]
    fn step(&mut self, unasked: &mut Option<Q>) -> Look<Result<A, CallError<Q>>> {
        if unasked.is_none() {
            return self.answer(epoch::holds);
        }
        if self.ask(unasked) {
            return Look::Nothing;
        }
        if epoch::holds() {
            return Look::Held;
        }
        unasked.take().map(|question| Err(CallError::Closed(question))).into()
    }

    /// Asks if the slot is free. False if nobody is there to answer.
    #[inline]
    fn ask(&mut self, unasked: &mut Option<Q>) -> bool {
        if self.is_owed {
            drop(self.answer(|| false)); // to an earlier call, which was given up
        }
        if self.seen() & CLOSED != 0 {
            return false;
        }
        if !self.is_owed
            && let Some(question) = unasked.take()
        {
            // SAFETY: every question so far has been dealt with, so the slot is ours (R32), and empty.
            self.slots.question(|slot| unsafe { slot.write(question) });
            self.asked += 1;
            self.is_owed = true;
            self.publish(0);
            hub::notify(&self.slots.line, Side::Receiver);
        }
        true
    }

    /// How the last question ended, which is owed, unless `holds`.
    #[inline]
    fn answer(&mut self, holds: fn() -> bool) -> Look<Result<A, CallError<Q>>> {
        let seen = self.seen();
        let is_dealt_with = number(seen) == self.asked;
        if !is_dealt_with && seen & CLOSED == 0 {
            return Look::Nothing;
        }
        if holds() {
            return Look::Held;
        }
        if is_dealt_with {
            self.is_owed = false;
            if seen & FLAG != 0 {
                return Look::Done(Err(CallError::Unanswered));
            }
            // SAFETY: the callee put an answer to this question into the slot, which is ours again (R32). It is read
            // here only, once, because it is owed no longer.
            return Look::Done(Ok(self.slots.answer(|slot| unsafe { slot.read() })));
        }
        // SAFETY: the callee went without having taken the question, and touches the slot no more (R33). It is read
        // here only, once, because the number goes back to that of the question before.
        let question = self.slots.question(|slot| unsafe { slot.read() });
        self.is_owed = false;
        self.asked -= 1;
        self.publish(0);
        Look::Done(Err(CallError::Closed(question)))
    }
}

impl<Q, A> Drop for Caller<Q, A> {
    fn drop(&mut self) {
        let left = if self.desk.is_owed { self.desk.answer(|| false) } else { Look::Nothing };
        // Says for good whether an answer that is in the slot, or comes into it, has been taken out (R34).
        self.desk.publish(CLOSED | if self.desk.is_owed { FLAG } else { 0 });
        drop(self.line.caller.forget());
        hub::notify(&self.line, Side::Receiver);
        drop(left);
    }
}

impl<Q, A> fmt::Debug for Caller<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// What [`Caller::call`] returns.
///
/// ```
/// # futures::executor::block_on(async {
/// # use multikernel_channels::call;
/// let (mut caller, mut callee) = call::channel::<u32, u32>();
/// drop(callee);
/// let calling = caller.call(1); // nothing has been asked yet
/// assert_eq!(calling.await, Err(call::CallError::Closed(1)));
/// # })
/// ```
#[must_use = "nothing is asked before the future is polled"]
pub struct Calling<'a, Q, A> {
    caller: &'a mut Caller<Q, A>,
    unasked: Option<Q>,
    is_done: bool,
}

impl<Q, A> Future for Calling<'_, Q, A> {
    type Output = Result<A, CallError<Q>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        assert!(!this.is_done, "polled after it was ready");
        let result = ready!(this.caller.poll_call(cx, &mut this.unasked));
        this.is_done = true;
        Poll::Ready(result)
    }
}

impl<Q, A> Drop for Calling<'_, Q, A> {
    fn drop(&mut self) {
        self.caller.abandon();
    }
}

impl<Q, A> fmt::Debug for Calling<'_, Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calling").field("is_done", &self.is_done).finish_non_exhaustive()
    }
}

// A question is moved when it is asked, never pinned.
impl<Q, A> Unpin for Calling<'_, Q, A> {}
