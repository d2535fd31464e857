//! One question to all, and one answer made of all answers.
//!
//! An [`Asker`] puts a question to a fixed number of [`Answerer`]s, usually one on each core, and reduces what they
//! answer to one answer. It is made of [`call`](mod@crate::call)s, so all memory is allocated once.
//!
//! [`flat`] asks each answerer itself. With [`tree`] it asks a leader for each group; the leader passes the question on
//! before it thinks about it, and reduces the answers of its group. With many cores that spreads the work, for the price
//! of a second hop.
//!
//! # Example
//!
//! ```
//! use multikernel_channels::fanout;
//!
//! let (mut asker, answerers) = fanout::tree::<u64, u64>(4);
//! let cores = answerers.into_iter().map(|mut answerer| {
//!     std::thread::spawn(move || {
//!         let load = 10 * answerer.index() as u64;
//!         futures::executor::block_on(answerer.serve(async |factor| factor * load));
//!     })
//! });
//! # let cores: Vec<_> = cores.collect();
//!
//! futures::executor::block_on(async {
//!     assert_eq!(asker.ask(1, |a, b| a + b).await, Ok(60));
//!     assert_eq!(asker.ask(2, u64::max).await, Ok(60));
//! });
//! drop(asker);
//! # cores.into_iter().for_each(|core| core.join().unwrap());
//! ```

use std::error::Error;
use std::fmt;
use std::future::poll_fn;

use crate::call::{self, CallError, Callee, Caller};

/// What makes one answer of two. A plain function, so that it can go along with the question.
pub type Reduce<A> = fn(A, A) -> A;

type Message<Q, A> = (Q, Reduce<A>);
/// The question stays with who asked first.
type Outcome<A> = Result<A, AskError<()>>;

/// An asker that asks each of `count` answerers itself. The answerers are in the order of their numbers.
///
/// # Panics
///
/// When `count` is zero.
///
/// # Example
///
/// ```
/// # futures::executor::block_on(async {
/// let (mut asker, mut answerers) = multikernel_channels::fanout::flat::<u32, u32>(1);
/// let asks = async move { assert_eq!(asker.ask(2, u32::max).await, Ok(4)) };
/// let serves = answerers[0].serve(async |number| number * number);
/// futures::future::join(asks, serves).await;
/// # })
/// ```
#[must_use]
pub fn flat<Q, A>(count: usize) -> (Asker<Q, A>, Vec<Answerer<Q, A>>) {
    in_groups(count, 1)
}

/// An asker that asks the leaders of groups of about the square root of `count`. The answerers are in the order of
/// their numbers; the first of each group leads it.
///
/// If a leader goes, its group is asked no more and is told that the asker is gone.
///
/// # Panics
///
/// When `count` is zero.
///
/// # Example
///
/// See [the module](self).
///
/// ```
/// # futures::executor::block_on(async {
/// use futures::future::{join, join_all};
///
/// let (mut asker, mut answerers) = multikernel_channels::fanout::tree::<u32, u32>(9);
/// let asks = async move { assert_eq!(asker.ask(1, |a, b| a + b).await, Ok(9)) };
/// join(asks, join_all(answerers.iter_mut().map(|answerer| answerer.serve(async |one| one)))).await;
/// # })
/// ```
#[must_use]
pub fn tree<Q, A>(count: usize) -> (Asker<Q, A>, Vec<Answerer<Q, A>>) {
    in_groups(count, count.isqrt())
}

fn in_groups<Q, A>(count: usize, size: usize) -> (Asker<Q, A>, Vec<Answerer<Q, A>>) {
    assert!(count > 0, "a question to all is put to somebody");
    let mut leaders = Branches(Vec::new());
    let mut answerers: Vec<Answerer<Q, A>> = Vec::with_capacity(count);
    for index in 0..count {
        let (caller, callee) = call::channel();
        let branch = Branch { index, caller, unasked: None };
        if index % size == 0 {
            leaders.0.push(branch);
        } else {
            answerers[index - index % size].group.0.push(branch);
        }
        answerers.push(Answerer { index, callee, group: Branches(Vec::new()) });
    }
    (Asker { leaders }, answerers)
}

/// Why there is no answer of all. Holds the question.
///
/// ```
/// # futures::executor::block_on(async {
/// use multikernel_channels::fanout::{self, AskError};
///
/// let (mut asker, answerers) = fanout::flat::<u32, u32>(2);
/// drop(answerers);
/// assert_eq!(asker.ask(1, u32::max).await, Err(AskError::Gone(0, 1)));
/// # })
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AskError<Q> {
    /// The answerer of this number is gone.
    Gone(usize, Q),
    /// The answerer of this number gave up while it was at the question.
    Unanswered(usize, Q),
}

impl<Q> AskError<Q> {
    /// The number of the answerer that failed: its place among those that were made.
    ///
    /// ```
    /// use multikernel_channels::fanout::AskError;
    ///
    /// assert_eq!(AskError::Gone(3, "question").answerer(), 3);
    /// ```
    #[must_use]
    pub fn answerer(&self) -> usize {
        let (Self::Gone(index, _) | Self::Unanswered(index, _)) = self;
        *index
    }

    /// The question that was not answered by all.
    ///
    /// ```
    /// use multikernel_channels::fanout::AskError;
    ///
    /// assert_eq!(AskError::Unanswered(3, "question").into_inner(), "question");
    /// ```
    pub fn into_inner(self) -> Q {
        let (Self::Gone(_, question) | Self::Unanswered(_, question)) = self;
        question
    }
}

impl AskError<()> {
    fn about<Q>(self, question: Q) -> AskError<Q> {
        match self {
            Self::Gone(index, ()) => AskError::Gone(index, question),
            Self::Unanswered(index, ()) => AskError::Unanswered(index, question),
        }
    }
}

impl<Q> fmt::Debug for AskError<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(index, _) => write!(f, "Gone({index}, ..)"),
            Self::Unanswered(index, _) => write!(f, "Unanswered({index}, ..)"),
        }
    }
}

impl<Q> fmt::Display for AskError<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(index, _) => write!(f, "answerer {index} is gone"),
            Self::Unanswered(index, _) => write!(f, "answerer {index} gave up"),
        }
    }
}

impl<Q> Error for AskError<Q> {}

/// The end that asks. Dropping it tells all answerers that there will be no more questions.
///
/// ```
/// # futures::executor::block_on(async {
/// # use multikernel_channels::fanout;
/// let (mut asker, mut answerers) = fanout::flat::<u32, u32>(2);
/// let (first, second) = answerers.split_at_mut(1);
/// let serves = futures::future::join(
///     first[0].serve(async |number| number + 1),
///     second[0].serve(async |number| number + 2),
/// );
/// let asks = async move { assert_eq!(asker.ask(1, |a, b| a * b).await, Ok(6)) };
/// futures::future::join(asks, serves).await;
/// # })
/// ```
pub struct Asker<Q, A> {
    leaders: Branches<Q, A>,
}

impl<Q: Clone, A> Asker<Q, A> {
    /// Asks all and reduces their answers to one, from the first answerer's to the last's: neighbours are reduced with
    /// neighbours, in an order that does not depend on who answers first. `reduce` should be associative, because
    /// groups are reduced on their own.
    ///
    /// # Errors
    ///
    /// [`AskError`], with the question, says which answerer failed, the first of them if there are several; it is noticed
    /// once those before it have answered. The others may have got the question or not; a later call does not get their late answers.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, nobody gets the answer. Those who have not taken the question by
    /// then are not asked any more.
    ///
    /// # Example
    ///
    /// ```
    /// use multikernel_channels::fanout::{self, AskError};
    ///
    /// # futures::executor::block_on(async {
    /// let (mut asker, mut answerers) = fanout::flat::<u32, u32>(2);
    /// answerers.pop();
    /// let asks = async move { assert_eq!(asker.ask(2, u32::max).await, Err(AskError::Gone(1, 2))) };
    /// futures::future::join(asks, answerers[0].serve(async |number| number)).await;
    /// # })
    /// ```
    pub async fn ask(&mut self, question: Q, reduce: Reduce<A>) -> Result<A, AskError<Q>> {
        let outcome = self.leaders.post(&question, reduce).collect(None, reduce).await;
        outcome.map_err(|error| error.about(question))
    }
}

impl<Q, A> fmt::Debug for Asker<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker").field("asks", &self.leaders.0.len()).finish_non_exhaustive()
    }
}

/// One end that answers. Dropping it makes every later question an error that names it.
///
/// ```
/// # futures::executor::block_on(async {
/// # use multikernel_channels::fanout;
/// let (mut asker, mut answerers) = fanout::flat::<u32, u32>(2);
/// let (first, second) = answerers.split_at_mut(1);
/// let serves = futures::future::join(
///     first[0].serve(async |number| number + 1),
///     second[0].serve(async |number| number + 2),
/// );
/// let asks = async move { assert_eq!(asker.ask(0, u32::max).await, Ok(2)) };
/// futures::future::join(asks, serves).await;
/// # })
/// ```
pub struct Answerer<Q, A> {
    index: usize,
    callee: Callee<Message<Q, A>, Outcome<A>>,
    group: Branches<Q, A>,
}

impl<Q: Clone, A> Answerer<Q, A> {
    /// Answers every question with what `answer` makes of it, until the asker is gone. A leader sees to its group, too.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it is at a question, the asker is told that this answerer gave up.
    ///
    /// # Example
    ///
    /// See [the module](self).
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (mut asker, mut answerers) = multikernel_channels::fanout::flat::<u32, u32>(1);
    /// let asks = async move { assert_eq!(asker.ask(4, u32::max).await, Ok(16)) };
    /// futures::future::join(asks, answerers[0].serve(async |number| number * number)).await;
    /// # })
    /// ```
    pub async fn serve(&mut self, mut answer: impl AsyncFnMut(Q) -> A) {
        while let Some(question) = self.callee.next().await {
            let ((question, reduce), reply) = question.into_parts();
            let group = self.group.post(&question, reduce);
            let own = answer(question).await;
            let _ = reply.send(group.collect(Some(own), reduce).await); // who has given up needs no answer
        }
        self.group.0.clear(); // they will not be asked any more either, and are told so
    }
}

impl<Q, A> Answerer<Q, A> {
    /// Its number, from zero on.
    ///
    /// ```
    /// let (asker, answerers) = multikernel_channels::fanout::flat::<u32, u32>(3);
    /// assert!(answerers.iter().map(|answerer| answerer.index()).eq(0..3));
    /// # drop(asker);
    /// ```
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }
}

impl<Q, A> fmt::Debug for Answerer<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answerer").field("index", &self.index).field("leads", &self.group.0.len()).finish()
    }
}

/// Those whom somebody asks.
struct Branches<Q, A>(Vec<Branch<Q, A>>);

struct Branch<Q, A> {
    index: usize,
    caller: Caller<Message<Q, A>, Outcome<A>>,
    /// A question that waits until the last one, which was given up, is dealt with.
    unasked: Option<Message<Q, A>>,
}

impl<Q: Clone, A> Branches<Q, A> {
    /// Asks all, without waiting for anybody.
    fn post(&mut self, question: &Q, reduce: Reduce<A>) -> Asking<'_, Q, A> {
        for branch in &mut self.0 {
            branch.unasked = Some((question.clone(), reduce));
            branch.caller.try_ask(&mut branch.unasked);
        }
        Asking(self)
    }
}

/// All have been asked, or will be. Dropping it gives up those who have not answered.
struct Asking<'a, Q, A>(&'a mut Branches<Q, A>);

impl<Q, A> Asking<'_, Q, A> {
    /// Reduces `first` and all answers. They are needed all, so it waits for one after the other.
    async fn collect(self, first: Option<A>, reduce: Reduce<A>) -> Outcome<A> {
        let mut reduced = first;
        for Branch { index, caller, unasked } in &mut self.0.0 {
            let answer = match poll_fn(|cx| caller.poll_call(cx, unasked)).await {
                Ok(outcome) => outcome?,
                Err(CallError::Closed(_)) => return Err(AskError::Gone(*index, ())),
                Err(CallError::Unanswered) => return Err(AskError::Unanswered(*index, ())),
            };
            reduced = Some(match reduced {
                Some(before) => reduce(before, answer),
                None => answer,
            });
        }
        Ok(reduced.expect("a first answer, or somebody who gives one"))
    }
}

impl<Q, A> Drop for Asking<'_, Q, A> {
    fn drop(&mut self) {
        for branch in &mut self.0.0 {
            branch.unasked = None;
            branch.caller.abandon();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use futures::executor::block_on;
    use futures::future::{join, join_all};

    use super::*;

    fn concat(mut a: Vec<usize>, b: Vec<usize>) -> Vec<usize> {
        a.extend(b);
        a
    }

    #[test]
    fn everybody_answers_in_the_order_of_their_numbers() {
        for count in [1, 2, 3, 4, 5, 16, 17, 40] {
            for make in [flat, tree] {
                let (mut asker, mut answerers) = make(count);
                let serve = answerers.iter_mut().map(|answerer: &mut Answerer<usize, Vec<usize>>| {
                    let index = answerer.index();
                    answerer.serve(async move |first| vec![first + index])
                });
                let ask = async move {
                    for first in 0..3 {
                        let all = asker.ask(first, concat).await;
                        assert_eq!(all, Ok((first..first + count).collect()));
                    }
                };
                block_on(join(ask, join_all(serve)));
            }
        }
    }

    #[test]
    fn groups_are_about_the_square_root() {
        let (asker, answerers) = tree::<(), ()>(256);
        assert_eq!(asker.leaders.0.len(), 16);
        assert!(answerers.iter().all(|one| one.group.0.len() == if one.index % 16 == 0 { 15 } else { 0 }));
    }

    #[test]
    fn a_dead_answerer_is_named_wherever_it_is() {
        for dead in 0..9 {
            for make in [flat, tree] {
                let (mut asker, answerers) = make(9);
                let mut alive: Vec<Answerer<(), usize>> = answerers;
                drop(alive.remove(dead));
                let serve = alive.iter_mut().map(|answerer| answerer.serve(async |()| 1));
                let ask = async move {
                    for _ in 0..2 {
                        assert_eq!(asker.ask((), |a, b| a + b).await, Err(AskError::Gone(dead, ())));
                    }
                };
                block_on(join(ask, join_all(serve)));
            }
        }
    }

    #[test]
    fn one_that_gives_up_is_named_and_may_come_back() {
        let (mut asker, mut answerers) = tree::<u32, u32>(4);
        let mut stubborn = answerers.pop().unwrap();
        let serve = answerers.iter_mut().map(|answerer| answerer.serve(async |number| number));
        let ask = async move {
            assert_eq!(asker.ask(1, |a, b| a + b).await, Err(AskError::Unanswered(3, 1)));
            assert_eq!(asker.ask(2, |a, b| a + b).await, Ok(8));
        };
        let give_up = async move {
            drop(stubborn.callee.next().await);
            stubborn.serve(async |number| number).await;
        };
        block_on(join(join(ask, give_up), join_all(serve)));
    }

    #[test]
    fn a_question_given_up_does_not_mix_with_the_next() {
        let (mut asker, mut answerers) = tree::<u32, u32>(5);
        let first = pin!(asker.ask(100, |a, b| a + b)).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(first, Poll::Pending);
        let serve = answerers.iter_mut().map(|answerer| answerer.serve(async |number| number));
        let ask = async move { assert_eq!(asker.ask(1, |a, b| a + b).await, Ok(5)) };
        block_on(join(ask, join_all(serve)));
    }

    #[test]
    #[should_panic(expected = "somebody")]
    fn nobody_cannot_be_asked() {
        let _ = flat::<(), ()>(0);
    }
}
