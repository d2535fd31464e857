//! A question put to another core, and its answer, again and again.
//!
//! [`channel`] makes the two ends. The [`Caller`] asks and waits, one question at a time; the [`Callee`] takes the
//! question and answers it. Both ends work on every executor. All memory is allocated once: the question and the answer
//! have a place each, which every call uses again. On multikernel cores both ends wait as those of a
//! [`spsc`](crate::spsc) channel do: while the cores are awake a call is two cache lines that go back and forth.
//!
//! A question that nobody waits for any more, because the caller's future was dropped, is not handed out if it has not
//! been yet; an answer to it goes to nobody, in particular not to the next call.
//!
//! # Example
//!
//! ```
//! use multikernel_channels::call;
//!
//! let (mut caller, mut callee) = call::channel::<String, usize>();
//! let service = std::thread::spawn(move || {
//!     futures::executor::block_on(async {
//!         while let Some(question) = callee.next().await {
//!             let length = question.len();
//!             let _ = question.reply(length);
//!         }
//!     })
//! });
//!
//! futures::executor::block_on(async {
//!     assert_eq!(caller.call("four".to_string()).await, Ok(4));
//!     assert_eq!(caller.call("eleven".to_string()).await, Ok(6));
//! });
//! drop(caller);
//! # service.join().unwrap();
//! ```

mod callee;
mod caller;

use std::error::Error;
use std::fmt;
use std::mem::MaybeUninit;

use crossbeam_utils::CachePadded;

pub use self::callee::{Callee, Question, Reply};
pub use self::caller::{Caller, Calling};
use crate::gate::Gate;
use crate::hub::{Port, Side};
use crate::sync::{Arc, AtomicU64, Ordering, SharedArc, UnsafeCell};

/// The ends of a channel for questions `Q` and answers `A`.
///
/// # Example
///
/// ```
/// # futures::executor::block_on(async {
/// let (mut caller, mut callee) = multikernel_channels::call::channel::<i32, i32>();
/// let answers = async {
///     let question = callee.next().await.unwrap();
///     let (number, reply) = question.into_parts();
///     reply.send(number + 1).unwrap();
/// };
/// let (answer, ()) = futures::future::join(caller.call(1), answers).await;
/// assert_eq!(answer, Ok(2));
/// # })
/// ```
///
/// What is asked and answered must be `Send` to go to another thread:
///
/// ```compile_fail,E0277
/// let (caller, mut callee) = multikernel_channels::call::channel::<std::rc::Rc<u8>, ()>();
/// std::thread::spawn(move || drop(callee));
/// ```
#[must_use]
pub fn channel<Q, A>() -> (Caller<Q, A>, Callee<Q, A>) {
    let line = SharedArc::new(Line {
        asked: CachePadded::new(Half::new(0)),
        answered: CachePadded::new(Half::new(FLAG)),
        callee: CachePadded::new(Gate::new()),
        caller: CachePadded::new(Gate::new()),
    });
    let slots = Arc::new(Slots {
        line: SharedArc::clone(&line),
        large_question: UnsafeCell::new(MaybeUninit::uninit()),
        large_answer: UnsafeCell::new(MaybeUninit::uninit()),
    });
    (Caller::new(SharedArc::clone(&line), Arc::clone(&slots)), Callee::new(line, slots))
}

/// Why a call has no answer.
///
/// ```
/// # futures::executor::block_on(async {
/// use multikernel_channels::call::{self, CallError};
///
/// let (mut caller, mut callee) = call::channel::<&str, ()>();
/// let gives_up = async { drop(callee.next().await) };
/// let (answer, ()) = futures::future::join(caller.call("why?"), gives_up).await;
/// assert_eq!(answer, Err(CallError::Unanswered));
/// drop(callee);
/// assert_eq!(caller.call("why?").await, Err(CallError::Closed("why?")));
/// # })
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum CallError<Q> {
    /// The callee is gone and did not take the question.
    Closed(Q),
    /// The callee took the question and dropped it without an answer.
    Unanswered,
}

impl<Q> fmt::Debug for CallError<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed(_) => "Closed(..)",
            Self::Unanswered => "Unanswered",
        })
    }
}

impl<Q> fmt::Display for CallError<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed(_) => "the callee is gone",
            Self::Unanswered => "the callee dropped the question without an answer",
        })
    }
}

impl<Q> Error for CallError<Q> {}

/// In `asked`: nobody waits for the answer. In `answered`: there is no answer in the slot.
const FLAG: u64 = 1;
/// The end that writes the word is gone.
const CLOSED: u64 = 2;

/// The number of the question that a word speaks of; the first is 1.
fn number(word: u64) -> u64 {
    word >> 2
}

/// A word, and beside it, on the same cache line, room for a small message that the word speaks of.
struct Half {
    word: AtomicU64,
    room: UnsafeCell<MaybeUninit<Room>>,
}

/// What is left of a cache line.
type Room = [u64; 7];

impl Half {
    fn new(word: u64) -> Self {
        Self { word: AtomicU64::new(word), room: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Calls `f` with the place of the message: here if it is small, else `large`.
    #[inline]
    fn place<T, R>(&self, large: &UnsafeCell<MaybeUninit<T>>, f: impl FnOnce(*mut T) -> R) -> R {
        if size_of::<T>() <= size_of::<Room>() && align_of::<T>() <= align_of::<Room>() {
            self.room.with_mut(|room| f(room.cast()))
        } else {
            large.with_mut(|slot| f(slot.cast()))
        }
    }
}

/// What both ends share and a core may watch. It knows nothing of the types of the messages, and does not own them, so
/// that a core that keeps it keeps none of them (R35).
///
/// `asked` says which question was asked last, `answered` which was dealt with last. Where they agree both slots are
/// the caller's; where they do not, the callee's (R32).
struct Line {
    /// Written by the caller only.
    asked: CachePadded<Half>,
    /// Written by the callee only.
    answered: CachePadded<Half>,
    callee: CachePadded<Gate>,
    caller: CachePadded<Gate>,
}

// SAFETY: the two rooms, the only fields that are not, are accessed through `Slots` alone, which says why that is right
// and whether a thread may.
unsafe impl Sync for Line {}

impl Port for Line {
    fn gate(&self, side: Side) -> &Gate {
        match side {
            Side::Receiver => &self.callee,
            Side::Sender => &self.caller,
        }
    }

    fn is_ready(&self, side: Side) -> bool {
        // Relaxed, both: no slot is touched on the strength of it, and what wants to sleep has fenced (R17).
        let (asked, answered) =
            (self.asked.word.load(Ordering::Relaxed), self.answered.word.load(Ordering::Relaxed));
        let is_open = number(asked) != number(answered);
        match side {
            Side::Receiver => is_open || asked & CLOSED != 0,
            Side::Sender => !is_open || answered & CLOSED != 0,
        }
    }

    fn lingers(&self, _: Side) -> bool {
        true // both wait for a message
    }
}

/// The places of the one question and the one answer, those on the line included.
struct Slots<Q, A> {
    line: SharedArc<Line>,
    large_question: UnsafeCell<MaybeUninit<Q>>,
    large_answer: UnsafeCell<MaybeUninit<A>>,
}

// SAFETY: two threads at most use it, one through the caller and one through the callee. At any time both slots belong
// to one of the two, and they change hands through the two words, with Release and Acquire (R32), so no access is
// concurrent. Messages move between the threads, which is what `Send` allows; no reference to one is seen by both.
unsafe impl<Q: Send, A: Send> Sync for Slots<Q, A> {}

impl<Q, A> Slots<Q, A> {
    #[inline]
    fn question<R>(&self, f: impl FnOnce(*mut Q) -> R) -> R {
        self.line.asked.place(&self.large_question, f)
    }

    #[inline]
    fn answer<R>(&self, f: impl FnOnce(*mut A) -> R) -> R {
        self.line.answered.place(&self.large_answer, f)
    }
}

impl<Q, A> Drop for Slots<Q, A> {
    fn drop(&mut self) {
        // Relaxed, both: both ends are gone, and the count of references ordered all they did before this.
        let asked = self.line.asked.word.load(Ordering::Relaxed);
        let answered = self.line.answered.word.load(Ordering::Relaxed);
        if number(asked) != number(answered) {
            // SAFETY: the last question was put here and never taken out (R34), and nobody else is left.
            self.question(|slot| unsafe { slot.drop_in_place() });
        } else if asked & FLAG != 0 && answered & FLAG == 0 {
            // SAFETY: the last answer was put here and never taken out (R34), and nobody else is left.
            self.answer(|slot| unsafe { slot.drop_in_place() });
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::pin::pin;
    use std::rc::Rc;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Too large for the line, and to be dropped once.
    type Large = ([u64; 16], Rc<()>);

    fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn large_messages_pass_and_are_dropped_once() {
        let token = Rc::new(());
        let large = |number| ([number; 16], Rc::clone(&token));
        let left = || Rc::strong_count(&token) - 1;

        let (mut caller, mut callee) = channel::<Large, Large>();
        let answer = futures::executor::block_on(async {
            let service = async { drop(callee.next().await.expect("a question").reply(large(2))) };
            futures::future::join(caller.call(large(1)), service).await.0
        });
        assert_eq!(answer.expect("an answer").0, [2; 16]);
        assert_eq!(left(), 0);

        assert!(poll_once(caller.call(large(3))).is_pending());
        assert!(poll_once(callee.next()).is_pending(), "given up before it was taken");
        assert_eq!(left(), 0);

        assert!(poll_once(caller.call(large(4))).is_pending());
        drop(callee);
        assert_eq!(left(), 1, "it is the caller's again");
        drop(caller);
        assert_eq!(left(), 0);
    }

    #[test]
    fn a_question_that_was_forgotten_is_given_up() {
        let (mut caller, mut callee) = channel::<u8, u8>();
        {
            let mut call = pin!(caller.call(1));
            assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            let Poll::Ready(Some(question)) = poll_once(callee.next()) else { panic!("it was asked") };
            assert!(question.is_wanted());
            std::mem::forget(question);
        }
        let mut call = pin!(caller.call(2));
        assert!(
            call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(),
            "1 is not done with"
        );
        assert!(poll_once(callee.next()).is_pending(), "a question that was forgotten is given up here");
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "asked now");
        let Poll::Ready(Some(question)) = poll_once(callee.next()) else { panic!("it was asked") };
        assert_eq!(*question, 2);
        question.reply(3).unwrap();
        assert_eq!(call.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(3)));
    }

    #[test]
    fn who_gave_up_gets_no_answer() {
        let (mut caller, mut callee) = channel::<u8, u8>();
        let mut call = Box::pin(caller.call(1));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let Poll::Ready(Some(question)) = poll_once(callee.next()) else { panic!("it was asked") };
        drop(call);
        assert!(!question.is_wanted());
        assert_eq!(question.reply(7).unwrap_err().0, 7);
    }
}
