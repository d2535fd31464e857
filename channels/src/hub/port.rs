//! The ends of channels as their core sees them, and what an end does when there is something to do and when there is not.

use std::task::{Context, Poll, Waker};

use crate::gate::{Gate, Registered};
use crate::hub::Hub;
use crate::sync::{Ordering, SharedArc, fence};

/// One end of a channel, as far as waiting goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Receiver,
    Sender,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Receiver => Self::Sender,
            Self::Sender => Self::Receiver,
        }
    }
}

/// The part of a channel that its ends share and that says who may go on.
pub(crate) trait Port: Send + Sync + 'static {
    /// Where `side` waits.
    fn gate(&self, side: Side) -> &Gate;

    /// Whether `side`, if it waits, has something to do. Asked on the thread where `side` was polled last.
    fn is_ready(&self, side: Side) -> bool;

    /// Whether `side` may look for a little longer before it waits. Not for who waits for room: it had better wait until there
    /// is some for many messages.
    fn lingers(&self, side: Side) -> bool {
        side == Side::Receiver
    }

    /// After something was published for `side` and a SeqCst fence: adds to `woken` who is to be woken. `slot` is that
    /// of the hub that published, `None` if it was a thread without one.
    fn knock(&self, side: Side, slot: Option<usize>, woken: &mut Vec<Waker>) {
        let _ = slot;
        woken.extend(self.gate(side).knock());
    }
}

/// A waiting end's answer to "may I sleep?".
#[must_use]
#[derive(Debug, PartialEq, Eq)]
enum Wait {
    /// It will be woken.
    Sleep,
    /// Something happened meanwhile.
    LookAgain,
}

/// What an end finds when it looks whether there is something to do.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look<R> {
    /// There was, and it is done.
    Done(R),
    Nothing,
    /// A message, or the end, that this core may not hear of yet (R50).
    Held,
}

impl<R> From<Option<R>> for Look<R> {
    #[inline]
    fn from(found: Option<R>) -> Self {
        found.map_or(Self::Nothing, Self::Done)
    }
}

impl<R> Look<R> {
    #[inline]
    pub(crate) fn map<S>(self, f: impl FnOnce(R) -> S) -> Look<S> {
        match self {
            Self::Done(result) => Look::Done(f(result)),
            Self::Nothing => Look::Nothing,
            Self::Held => Look::Held,
        }
    }
}

/// Polls the end `side` of `port`: tries, and arranges to be woken if there is nothing to do.
#[inline]
pub(crate) fn poll_port<P: Port, R, L: Into<Look<R>>>(
    port: &SharedArc<P>,
    side: Side,
    cx: &mut Context<'_>,
    mut attempt: impl FnMut() -> L,
) -> Poll<R> {
    match attempt().into() {
        Look::Done(result) => Poll::Ready(result),
        Look::Held => come_back(cx),
        Look::Nothing => poll_again(port, side, cx, attempt),
    }
}

/// There was nothing to do: looks for a little longer if that pays, and arranges to be woken. Apart, so that what a poll with
/// something to do takes stays small.
#[inline(never)]
fn poll_again<P: Port, R, L: Into<Look<R>>>(
    port: &SharedArc<P>,
    side: Side,
    cx: &mut Context<'_>,
    mut attempt: impl FnMut() -> L,
) -> Poll<R> {
    if Hub::with(|hub| hub.is_some_and(|hub| hub.linger(port, side))) {
        match attempt().into() {
            Look::Done(result) => return Poll::Ready(result),
            Look::Held => return come_back(cx),
            Look::Nothing => {}
        }
    }
    if wait(port, side, cx.waker()) == Wait::LookAgain {
        if let Look::Done(result) = attempt().into() {
            drop(port.gate(side).forget()); // else the next message would wake us for nothing
            return Poll::Ready(result);
        }
        // Held, or somebody is about to wake a waker that we left earlier. To wait for them here could take long.
        cx.waker().wake_by_ref();
    }
    Poll::Pending
}

/// What there is may be handed out when this core knows more, and nobody will wake anybody for it (R52).
#[cold]
pub(crate) fn come_back<R>(cx: &mut Context<'_>) -> Poll<R> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

#[inline]
fn wait<P: Port>(port: &SharedArc<P>, side: Side, waker: &Waker) -> Wait {
    if Hub::with(|hub| hub.is_some_and(|hub| hub.watch(port, side, waker))) {
        return Wait::Sleep;
    }
    match port.gate(side).register(waker) {
        Registered::Yes if !port.is_ready(side) => Wait::Sleep,
        _ => Wait::LookAgain,
    }
}

/// After something was published for the end `side` of `port`: sees to it that it is woken if it waits.
#[inline]
pub(crate) fn notify<P: Port>(port: &SharedArc<P>, side: Side) {
    if !Hub::with(|hub| hub.is_some_and(|hub| hub.note(port, side))) {
        knock_at_once(&**port, side);
    }
}

/// Apart, so that what a core does for each message stays small.
#[inline(never)]
fn knock_at_once(port: &dyn Port, side: Side) {
    // SeqCst: pairs with the fence of whoever put a waker into the gate (R17).
    fence(Ordering::SeqCst);
    let mut woken = Vec::new();
    port.knock(side, Hub::with(|hub| hub.and_then(|hub| hub.slot.get())), &mut woken);
    woken.into_iter().for_each(Waker::wake);
}

/// The [slot](crate::slots) of the calling thread's hub, which no other thread has until the thread leaves the hub.
#[inline]
pub(crate) fn slot() -> Option<usize> {
    Hub::with(|hub| hub.and_then(Hub::slot))
}

/// Whether the calling thread is a core.
pub(crate) fn is_core() -> bool {
    Hub::with(|hub| hub.is_some())
}

/// Does now what this thread's core has put off: a task looked for an answer to what it has just sent.
#[inline]
pub(crate) fn hurry() {
    Hub::with(|hub| {
        if let Some(hub) = hub
            && hub.noted.get() != 0
        {
            hub.knock_and_wake();
        }
    });
}
