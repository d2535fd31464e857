//! What users hold of a replicated object.

mod cell;
mod counter;
mod error;
mod map;
mod proposal;
mod shared;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use cell::{CellError, ReplicatedCell};
pub use counter::{CounterError, ReplicatedCounter};
pub use error::{AnnounceError, Closed, Committed, CreateError, ProposeError};
pub use map::{MapError, ReplicatedMap};
pub use proposal::Proposal;
use proposal::Proposals;
use shared::Shared;
pub use watch::Changes;

use crate::host::{self, Answer, Failure};
use crate::limits::{ANNOUNCEMENTS, FIXED_OBJECTS};
use crate::slots::Spot;
use crate::{Command, Denial, ObjectId, StateMachine, Time, Version};

const NO_CORE: &str = "a replicated object must be used on a core of its Machine";

/// Numbers objects. Only uniqueness hangs on it; of all objects of the process, so that two Machines are not confused.
static NEXT: AtomicU64 = AtomicU64::new(FIXED_OBJECTS);

/// State of which every core has a replica, changed everywhere or nowhere.
///
/// The handle is small, cloned at will and sent anywhere. Reading is local and synchronous: no lock, no atomic
/// read-modify-write, no message. Changing is an agreement of all cores: it takes a few messages to and fro, and as long as the
/// longest poll on any of them. When the last handle is dropped the object ends, on every core.
///
/// State belongs here that is read much and changed seldom, and that every core needs: routes, limits, schemas. What is changed as
/// often as it is read belongs to one core each: see [`Sharded`](crate::Sharded).
///
/// ```
/// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
/// use multikernel_replicate::ready::Counter;
/// use multikernel_replicate::{CoreId, Replicated};
///
/// let jobs = Replicated::new(Counter::new).await?;
/// let here = CoreId::current();
/// jobs.propose(Counter::add(here, 3)).await?; // everywhere or nowhere
/// assert_eq!(jobs.read(Counter::value), 3); // here
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
pub struct Replicated<S: StateMachine> {
    shared: Arc<Shared>,
    /// Nowhere, if the object ended before its creator looked.
    spot: Spot<S>,
}

impl<S: StateMachine> Clone for Replicated<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), spot: self.spot }
    }
}

impl<S: StateMachine> fmt::Debug for Replicated<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicated").field("object", &self.shared.id.0).finish_non_exhaustive()
    }
}

/// A number that no object of this process has had.
pub(crate) fn new_object() -> ObjectId {
    // Relaxed: only the count matters.
    ObjectId(NEXT.fetch_add(1, Ordering::Relaxed))
}

impl<S: StateMachine> Replicated<S> {
    /// Puts a replica on every core, each made there by `factory`. All of them have it when this returns.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::ready::Counter;
    /// use multikernel_replicate::{CoreId, Replicated};
    ///
    /// let jobs = Replicated::new(|| Counter::with_bound(8)).await?;
    /// assert_eq!(jobs.read(Counter::bound), Some(8));
    /// # let _ = CoreId::current();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`CreateError::Panicked`] if the factory panics on a core; then no core has the object.
    ///
    /// # Panics
    ///
    /// On a thread that is no core.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the object ends again.
    pub async fn new(factory: impl Fn() -> S + Send + Sync + 'static) -> Result<Self, CreateError> {
        Self::create(new_object(), factory).await
    }

    /// The object of that number below [`FIXED_OBJECTS`], of which each Machine has one. It is created if it is not there, and
    /// ends with the Machine.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    ///
    /// # Panics
    ///
    /// As for [`new`](Self::new).
    #[doc(hidden)]
    pub async fn fixed(
        number: u64,
        factory: impl Fn() -> S + Send + Sync + 'static,
    ) -> Result<Self, CreateError> {
        assert!(number < FIXED_OBJECTS, "such numbers are given out to others");
        Self::create(ObjectId(number), factory).await
    }

    pub(crate) async fn create(
        id: ObjectId,
        factory: impl Fn() -> S + Send + Sync + 'static,
    ) -> Result<Self, CreateError> {
        let gateway = host::with(|host| Arc::clone(host.expect(NO_CORE).gateway()));
        let spot = || host::with(|host| host.expect(NO_CORE).spot(id));
        let shared = Arc::new(Shared { id, gateway });
        if let Some(spot) = spot() {
            return Ok(Self { shared, spot });
        }
        let create = Command::create(id, factory);
        loop {
            let create = create.clone();
            match shared.ask(move |host, reply| host.propose(create, None, reply)).await.flatten() {
                Ok(_) | Err(Failure::Refused { denial: Denial::Exists, .. }) => {
                    return Ok(Self { shared, spot: spot().unwrap_or(Spot::NOWHERE) });
                }
                Err(Failure::Refused { by, .. }) => return Err(CreateError::Panicked { by }),
                Err(Failure::Stalled { .. } | Failure::Closed) => return Err(CreateError::Closed),
                // However often it is asked for, there is one.
                Err(Failure::Unknown) => {}
            }
        }
    }

    /// Reads this core's replica.
    ///
    /// It does not change within a poll: what was read before an `await` may be old after it.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::{Replicated, ready::Map};
    /// let routes = Replicated::new(Map::new).await?;
    /// routes.propose(Map::insert("a", "there".to_owned())).await?;
    /// let length = routes.read(|routes| routes.get("a").map_or(0, String::len)); // nothing is copied
    /// assert_eq!(length, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// If the object is closed ([`try_read`](Self::try_read) does not panic then), on a thread that is no core of the object's
    /// Machine, and inside a `prepare`, `commit` or the like, which have `self` to read.
    #[inline]
    pub fn read<R>(&self, f: impl FnOnce(&S) -> R) -> R {
        self.read_or(f, || not_here())
    }

    /// As [`read`](Self::read), but an error where the object is closed.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::Closed;
    /// # use multikernel_replicate::{Replicated, ready::Counter};
    ///
    /// let jobs = Replicated::new(Counter::new).await?;
    /// let other = jobs.clone();
    /// jobs.close().await?;
    /// assert_eq!(other.try_read(Counter::value), Err(Closed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// If the object is closed, or of another Machine.
    ///
    /// # Panics
    ///
    /// On a thread that is no core, and inside a `prepare`, `commit` or the like.
    #[inline]
    pub fn try_read<R>(&self, f: impl FnOnce(&S) -> R) -> Result<R, Closed> {
        self.read_or(|replica| Ok(f(replica)), || Err(Closed))
    }

    #[inline]
    fn read_or<R>(&self, f: impl FnOnce(&S) -> R, gone: impl FnOnce() -> R) -> R {
        host::with(|host| {
            let Some(host) = host else { no_core() };
            host.read_or(self.spot, f, gone)
        })
    }

    /// Proposes a command, and waits until it is committed everywhere or nowhere.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::ready::Counter;
    /// use multikernel_replicate::{CoreId, ProposeError, Replicated};
    ///
    /// let jobs = Replicated::new(|| Counter::with_bound(3)).await?;
    /// let here = CoreId::current();
    /// let committed = jobs.propose(Counter::add(here, 3)).await?;
    /// assert_eq!(jobs.version(), committed.version);
    /// match jobs.propose(Counter::add(here, 1)).await {
    ///     Err(ProposeError::Refused { by, reason, .. }) => println!("{by}: {reason}"),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Why it was not committed, with the command.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before its first poll proposes nothing. Later it abandons the answer, not the proposal.
    pub async fn propose(
        &self,
        command: impl Into<Proposal<S::Command>>,
    ) -> Result<Committed, ProposeError<S>> {
        self.propose_until(command.into(), None).await
    }

    /// As [`propose`](Self::propose), but gives up when not every core has voted in time.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use std::time::Duration;
    ///
    /// use multikernel_replicate::ready::Counter;
    /// use multikernel_replicate::{CoreId, Replicated};
    ///
    /// let jobs = Replicated::new(Counter::new).await?;
    /// let add = Counter::add(CoreId::current(), 1);
    /// match jobs.propose_within(add, Duration::from_secs(5)).await {
    ///     Ok(committed) => println!("as of {}", committed.version),
    ///     Err(error) => println!("committed nowhere: {error}"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As there, and [`ProposeError::Stalled`] when the time is up: then the command is committed nowhere and will not be. A round
    /// that has all its votes by then is committed.
    ///
    /// What the home has been sent, only the home can give up. If it is the home that is stuck in a long poll, the answer comes
    /// when the poll is over, and may be that it is committed.
    ///
    /// # Cancel safety
    ///
    /// As for [`propose`](Self::propose).
    pub async fn propose_within(
        &self,
        command: impl Into<Proposal<S::Command>>,
        patience: Duration,
    ) -> Result<Committed, ProposeError<S>> {
        self.propose_until(command.into(), Some(patience)).await
    }

    async fn propose_until(
        &self,
        command: Proposal<S::Command>,
        patience: Option<Duration>,
    ) -> Result<Committed, ProposeError<S>> {
        let order = Command::change::<S>(self.shared.id, command.clone());
        let began = patience.map(|_| Instant::now());
        let answer = self.shared.ask(move |host, reply| {
            let patience = patience.map(|patience| u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX));
            let deadline = patience.map(|patience| Time(host.now().0.saturating_add(patience)));
            host.propose(order, deadline, reply);
        });
        outcome(answer.await.flatten(), || command, began)
    }

    /// Proposes many commands at once. They are committed or refused one by one, in order; other proposals may come between.
    /// Cheaper than as many calls of [`propose`](Self::propose), because rounds carry many.
    ///
    /// The answers come in the order of the commands, when the last of them is known.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::ready::Counter;
    /// use multikernel_replicate::{CoreId, Replicated};
    ///
    /// let jobs = Replicated::new(|| Counter::with_bound(5)).await?;
    /// let here = CoreId::current();
    /// let answers = jobs.propose_all([2, 9, 3].map(|amount| Counter::add(here, amount))).await;
    /// let committed: Vec<_> = answers.iter().map(Result::is_ok).collect();
    /// assert_eq!(committed, [true, false, true]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Cancel safety
    ///
    /// As for [`propose`](Self::propose).
    pub async fn propose_all(
        &self,
        commands: impl IntoIterator<Item = S::Command>,
    ) -> Vec<Result<Committed, ProposeError<S>>> {
        let commands = Proposals::new(commands);
        if commands.len() == 0 {
            return Vec::new();
        }
        let id = self.shared.id;
        let orders = commands.iter().map(|command| Command::change::<S>(id, command)).collect();
        let answers = self.shared.ask(move |host, reply| host.propose_all(orders, reply)).await;
        let answers =
            answers.unwrap_or_else(|failure| commands.iter().map(|_| Err(failure.clone())).collect());
        let answers = answers.into_iter().enumerate();
        answers.map(|(at, answer)| outcome(answer, || commands.get(at), None)).collect()
    }

    /// Puts a command into the order without a vote and without waiting: every core commits it, none can refuse. `prepare` is not
    /// called for it.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::ready::Counter;
    /// use multikernel_replicate::{CoreId, Replicated};
    ///
    /// let jobs = Replicated::new(Counter::new).await?;
    /// let changed = jobs.changed();
    /// jobs.announce(Counter::add(CoreId::current(), 1))?; // sooner or later
    /// changed.await?;
    /// assert_eq!(jobs.read(Counter::value), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// The command, if this core has too many proposals under way, or this thread is no core of the object's Machine.
    pub fn announce(&self, command: S::Command) -> Result<(), AnnounceError<S::Command>> {
        host::with(|host| {
            let Some(host) = host.filter(|host| Arc::ptr_eq(host.gateway(), &self.shared.gateway)) else {
                return Err(AnnounceError::NotHere(command));
            };
            if host.unanswered() >= ANNOUNCEMENTS {
                return Err(AnnounceError::Full(command));
            }
            host.announce(Command::change::<S>(self.shared.id, command));
            Ok(())
        })
    }

    /// This core's position in the agreed order. All objects of a Machine have one order.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::ready::Counter;
    /// use multikernel_replicate::{CoreId, Replicated};
    ///
    /// let jobs = Replicated::new(Counter::new).await?;
    /// let before = jobs.version();
    /// jobs.propose(Counter::add(CoreId::current(), 1)).await?;
    /// assert!(jobs.version() > before);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// On a thread that is no core.
    #[must_use]
    pub fn version(&self) -> Version {
        host::with(|host| host.expect(NO_CORE).version())
    }

    /// Ends the object on every core. Handles that are left find it closed.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::Closed;
    /// # use multikernel_replicate::{Replicated, ready::Counter};
    ///
    /// let jobs = Replicated::new(Counter::new).await?;
    /// let other = jobs.clone();
    /// jobs.close().await?;
    /// assert_eq!(other.close().await, Err(Closed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// If it was closed already.
    pub async fn close(self) -> Result<(), Closed> {
        let mut is_asked = false;
        loop {
            let destroy = Command::destroy(self.shared.id);
            match self.shared.ask(move |host, reply| host.propose(destroy, None, reply)).await.flatten() {
                Ok(_) => return Ok(()),
                // It is closed, whoever did it.
                Err(Failure::Unknown) => is_asked = true,
                Err(_) => return if is_asked { Ok(()) } else { Err(Closed) },
            }
        }
    }
}

#[cold]
#[inline(never)]
fn not_here() -> ! {
    panic!("this replicated object is closed, or of another Machine")
}

#[cold]
#[inline(never)]
fn no_core() -> ! {
    panic!("{NO_CORE}")
}

fn outcome<S: StateMachine>(
    answer: Answer,
    command: impl FnOnce() -> Proposal<S::Command>,
    began: Option<Instant>,
) -> Result<Committed, ProposeError<S>> {
    let failure = match answer {
        Ok(version) => return Ok(Committed { version }),
        Err(failure) => failure,
    };
    let command = command();
    Err(match failure {
        Failure::Refused { by, denial: Denial::Refused(reason) } => match reason.downcast() {
            Ok(reason) => ProposeError::Refused { by, reason, command },
            Err(_) => unreachable!("a state machine refuses with its own type"),
        },
        Failure::Refused { by, denial: Denial::Panicked } => ProposeError::Panicked { by, command },
        Failure::Stalled { core, task } => {
            let waited = began.map_or(Duration::ZERO, |began| began.elapsed());
            ProposeError::Stalled { core, waited, task, command }
        }
        Failure::Refused { denial: Denial::Closed | Denial::Exists, .. } | Failure::Closed => {
            ProposeError::Closed { command }
        }
        Failure::Unknown => ProposeError::Unknown { command },
    })
}
