//! What cores send each other about parts, as jobs. Nothing of it is lost: what a core does not take comes back.

use std::fmt;
use std::sync::Arc;

use multikernel_channels::oneshot;

use crate::host::{Gateway, Job};
use crate::replica::contain;
use crate::sharded::error::ShardError;
use crate::sharded::local;
use crate::{CoreId, ObjectId};

/// Drops what is a user's. Its panics end here.
pub(crate) fn discard<X>(x: X) {
    contain(|| drop(x));
}

/// Makes the part of a slot.
pub(crate) type Factory<T> = dyn Fn(usize) -> T + Send + Sync;

/// What all cores have in common of one object.
pub(crate) struct Common<T> {
    pub(crate) object: ObjectId,
    pub(crate) slots: usize,
    /// How many closures wait for one slot on its owner's core.
    pub(crate) queue: usize,
    pub(crate) gateway: Arc<dyn Gateway>,
    pub(crate) factory: Arc<Factory<T>>,
}

impl<T> fmt::Debug for Common<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Common").field("object", &self.object).finish_non_exhaustive()
    }
}

/// What is to be done with a part.
pub(crate) trait Errand<T>: Send {
    /// Does it and answers. Does not panic.
    fn run(self: Box<Self>, part: &mut T);
    /// Answers that it could not be done.
    fn fail(self: Box<Self>, why: ShardError);
    /// Whether nobody waits for the answer.
    fn is_abandoned(&self) -> bool;
}

/// A closure, and who waits for what it returns.
pub(crate) struct Ask<F, R> {
    pub(crate) f: F,
    pub(crate) reply: oneshot::Sender<Result<R, ShardError>>,
}

impl<T, R: Send, F: FnOnce(&mut T) -> R + Send> Errand<T> for Ask<F, R> {
    fn run(self: Box<Self>, part: &mut T) {
        let Self { f, reply } = *self;
        let result = contain(|| f(part)).ok_or(ShardError::Panicked);
        discard_unsent(reply, result);
    }

    fn fail(self: Box<Self>, why: ShardError) {
        let Self { f, reply } = *self;
        discard(f);
        discard_unsent(reply, Err(why));
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

/// Sends an answer. Nobody may wait for it any more: then it is dropped.
fn discard_unsent<R>(reply: oneshot::Sender<R>, answer: R) {
    contain(|| drop(reply.send(answer)));
}

/// An errand on its way.
pub(crate) struct Request<T> {
    pub(crate) slot: usize,
    /// The core that sees to it while it cannot be done: the one whose task asks, or that a thread has given it to.
    pub(crate) origin: Option<CoreId>,
    pub(crate) errand: Box<dyn Errand<T>>,
}

/// What one slot holds, on its way to the slot's owner. At any time there is one of each slot and life at most.
pub(crate) struct Token<T> {
    pub(crate) slot: usize,
    pub(crate) life: u32,
    /// Nothing, if the part is still to be made.
    pub(crate) part: Option<Box<T>>,
}

/// What one core tells another, or itself.
pub(crate) enum Mail<T> {
    /// To an owner: do this.
    Request(Request<T>),
    /// To an owner, or to a core that passes them on: do these.
    Requests(Vec<Request<T>>),
    /// To a new owner: these are yours.
    Tokens(Vec<Token<T>>),
    /// To an origin: there is no room for this. Keep it until you hear `Open`.
    Full(Request<T>),
    /// To an origin: there is room again in that slot.
    Open(usize),
    /// To itself: the view has changed, or has not after all. Look at everything.
    Settle,
    /// To itself: drop these, where the agreement is not at work.
    Discard(Vec<Box<T>>),
}

impl<T> Mail<T> {
    /// Drops all that is in it, one by one.
    fn discard(self) {
        match self {
            Self::Request(request) | Self::Full(request) => discard(request),
            Self::Requests(requests) => requests.into_iter().for_each(discard),
            Self::Tokens(tokens) => tokens.into_iter().for_each(discard),
            Self::Discard(parts) => parts.into_iter().for_each(discard),
            Self::Open(_) | Self::Settle => {}
        }
    }

    /// What it means elsewhere than where it was sent, if it does.
    fn forwarded(self) -> Result<Self, Self> {
        match self {
            // Its origin has ended: whoever gets it sees to it from now on.
            Self::Full(request) => Ok(Self::Request(Request { origin: None, ..request })),
            Self::Request(_) | Self::Requests(_) | Self::Tokens(_) => Ok(self),
            Self::Open(_) | Self::Settle | Self::Discard(_) => Err(self),
        }
    }
}

/// Where a parcel is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leg {
    /// To that core, from another that had seen so many changes of the view.
    To { core: CoreId, from: CoreId, views: u64 },
    /// Back to the sender. Whoever was the owner after so many changes of the view has not taken it; nothing, if it was not for
    /// an owner.
    Back { to: CoreId, views: Option<u64> },
    /// To any member. It may end before it reads this, or have nothing of the object: then so many others are tried.
    Any { tries: u8 },
}

/// How many members are asked in turn. Each fails only if it ends meanwhile, or if the object is closed.
const TRIES: u8 = 16;

/// Mail in a job. If it is not read where it was sent, because the core has ended or has nothing of the object (any more),
/// it goes back to the sender; if that does not take it either, to any member; and then it is dropped.
pub(crate) struct Parcel<T: Send + 'static> {
    common: Arc<Common<T>>,
    mail: Option<Mail<T>>,
    leg: Leg,
}

impl<T: Send + 'static> Parcel<T> {
    /// Sends mail from one core to another.
    pub(crate) fn send(common: &Arc<Common<T>>, from: CoreId, views: u64, to: CoreId, mail: Mail<T>) {
        Self::post(Arc::clone(common), mail, Leg::To { core: to, from, views });
    }

    /// Sends mail from anywhere to a core that knows what to do with it.
    pub(crate) fn send_to_any(common: &Arc<Common<T>>, mail: Mail<T>) {
        Self::post(Arc::clone(common), mail, Leg::Any { tries: TRIES });
    }

    fn post(common: Arc<Common<T>>, mail: Mail<T>, leg: Leg) {
        let gateway = Arc::clone(&common.gateway);
        let parcel = Self { common, mail: Some(mail), leg };
        let job = Job::new(move |_| parcel.open());
        match leg {
            // If that core has ended, the job is dropped and the parcel goes on.
            Leg::To { core: to, .. } | Leg::Back { to, .. } => _ = gateway.run_on(to, job),
            Leg::Any { .. } => _ = gateway.run(job),
        }
    }

    fn open(mut self) {
        let Some(local) = local::find::<T>(self.common.object) else { return };
        let Some(mail) = self.mail.take() else { return };
        match self.leg {
            Leg::To { .. } | Leg::Any { .. } => local.receive(mail),
            Leg::Back { views, .. } => local.take_back(mail, views),
        }
    }
}

impl<T: Send + 'static> Drop for Parcel<T> {
    fn drop(&mut self) {
        let Some(mail) = self.mail.take() else { return };
        let next = match self.leg {
            Leg::To { core, from, views } if core != from => {
                let views = (!matches!(mail, Mail::Full(_))).then_some(views);
                Some(Leg::Back { to: from, views })
            }
            Leg::To { .. } | Leg::Back { .. } => Some(Leg::Any { tries: TRIES }),
            Leg::Any { tries } => tries.checked_sub(1).map(|tries| Leg::Any { tries }),
        };
        match (mail.forwarded(), next) {
            (Ok(mail), Some(leg)) => Self::post(Arc::clone(&self.common), mail, leg),
            (Ok(mail) | Err(mail), _) => mail.discard(),
        }
    }
}
