//! What a host needs of the runtime.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use crate::host::Host;
use crate::{CoreId, ObjectId, Replicas, Time, Version, Wire};

/// How one core reaches the others. Used on its thread only.
///
/// ```
#[doc = include_str!("../../doc/host.md")]
/// let links: Rc<dyn Links> = Rc::new(Nowhere);
/// let host = Host::founder(a, CoreSet::only(a), links, Arc::new(Nowhere));
/// assert_eq!(host.core(), a);
/// ```
pub trait Links {
    /// Pushes a message to the ring to that core, without ringing. Never waits: the rings hold
    /// [`RING`](crate::limits::RING) messages.
    fn post(&self, to: CoreId, message: Wire<Replicas>);

    /// Wakes that core if it is asleep.
    fn ring(&self, to: CoreId);

    /// Whether that core is asleep, will read all that was posted to it before it runs anything, and was not
    /// [watched](crate::host::Host::is_watched) when it went to sleep.
    fn is_asleep(&self, core: CoreId) -> bool;

    /// This round is about to be decided: the highest such version is public to all cores of the Machine.
    fn deciding(&self, version: Version);

    /// Whether a round is prepared here that is not decided, and the version here.
    fn prepared(&self, is_prepared: bool, version: Version);

    /// The time, by the clock of the Machine's deadlines.
    fn now(&self) -> Time;

    /// Where the task was spawned that this core is polling.
    fn busy_with(&self, core: CoreId) -> Option<&'static Location<'static>>;

    /// That core has kept the home waiting for so long.
    fn stalled(&self, core: CoreId, waited: Duration);

    /// That core's replica of an object of this kind differs from the one here, which its author has to hear of.
    fn diverged(&self, core: CoreId, version: Version, object: ObjectId, kind: &'static str);
}

/// How threads that are no cores, and cores that are no members, reach one that is.
///
/// ```
#[doc = include_str!("../../doc/host.md")]
/// let gateway: Arc<dyn Gateway> = Arc::new(Nowhere);
/// let host = Host::founder(a, CoreSet::only(a), Rc::new(Nowhere), gateway);
/// assert_eq!(host.core(), a);
/// ```
pub trait Gateway: Send + Sync {
    /// Runs the job on some core that is a member, soon. False, and the job is dropped, if the Machine has ended.
    fn run(&self, job: Job) -> bool;

    /// Runs the job on that core, soon, member or not. False, and the job is dropped, if there is no such core or it has ended.
    fn run_on(&self, core: CoreId, job: Job) -> bool;
}

/// Something to do on a core with its [`Host`].
///
/// ```
#[doc = include_str!("../../doc/host.md")]
/// /// Hands jobs over to a core.
/// struct Desk(std::sync::Mutex<Vec<Job>>);
///
/// impl Gateway for Desk {
///     fn run(&self, job: Job) -> bool {
///         self.0.lock().unwrap().push(job);
///         true
///     }
///     // ..
///     # fn run_on(&self, _core: CoreId, _job: Job) -> bool { false }
/// }
///
/// let desk = Arc::new(Desk(Default::default()));
/// let host = Host::founder(a, CoreSet::only(a), Rc::new(Nowhere), desk.clone());
/// let limit = host.enter(|| futures::executor::block_on(ReplicatedCell::new(7))).unwrap();
/// drop(limit); // on a thread that is no core: some core has to end the object
/// let job: Job = desk.0.lock().unwrap().remove(0);
/// host.enter(|| job.run()).unwrap();
/// ```
pub struct Job(Box<dyn FnOnce(&Host) + Send>);

impl Job {
    pub(crate) fn new(job: impl FnOnce(&Host) + Send + 'static) -> Self {
        Self(Box::new(job))
    }

    /// Does it, if the calling thread is a core.
    ///
    /// ```
    #[doc = include_str!("../../doc/host.md")]
    /// # struct Desk(std::sync::Mutex<Vec<Job>>);
    /// # impl Gateway for Desk {
    /// #     fn run(&self, job: Job) -> bool { self.0.lock().unwrap().push(job); true }
    /// #     fn run_on(&self, _core: CoreId, _job: Job) -> bool { false }
    /// # }
    /// # let desk = Arc::new(Desk(Default::default()));
    /// # let host = Host::founder(a, CoreSet::only(a), Rc::new(Nowhere), desk.clone());
    /// # drop(host.enter(|| futures::executor::block_on(ReplicatedCell::new(7))).unwrap());
    /// let job = desk.0.lock().unwrap().remove(0);
    /// assert_eq!(job.run(), Err(NoHost)); // this thread is no core
    /// ```
    ///
    /// # Errors
    ///
    /// If it is none; then it is not done.
    pub fn run(self) -> Result<(), NoHost> {
        super::with(|host| match host {
            Some(host) => {
                (self.0)(host);
                Ok(())
            }
            None => Err(NoHost),
        })
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job")
    }
}

/// The calling thread is no core.
///
/// ```
/// use multikernel_replicate::host::{NoHost, with};
///
/// let core = with(|host| host.map(|host| host.core()).ok_or(NoHost));
/// assert_eq!(core, Err(NoHost));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHost;
