//! A core's seat in the agreement: its part of the protocol (`multikernel_replicate::host`), and the rings to the other cores.
//!
//! The core reads its rings whenever it looks at its inbox, before the inbox, and to the end when it wakes, before it runs
//! anything: until then the others may have taken it to be asleep (R8 of the agreement).

use std::cell::RefCell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Weak;
use std::time::Duration;

use multikernel_channels::doorbell::State;
use multikernel_channels::epoch;
use multikernel_channels::mesh::{End, Mesh, News};
use multikernel_channels::sync::{Arc, Ordering, fence};
use multikernel_replicate::host::{Gateway, Host, Job, Links};
use multikernel_replicate::{CoreId, CoreSet, ObjectId, Replicas, Time, Version, Wire, limits};

use crate::context::Resources;
use crate::limits::AGREEMENT_READS;
use crate::machine::{Machine, call, placement};
use crate::time::Instant;

/// What cores say to each other about what they agree on.
pub(crate) type Rings = Mesh<Wire<Replicas>>;

pub(crate) fn rings(cores: usize) -> Arc<Rings> {
    Mesh::new(cores, limits::RING)
}

/// One core's seat.
pub(crate) struct Seat {
    pub(crate) host: Host,
    wires: Rc<Wires>,
}

impl Seat {
    /// Of a core that is there from the start.
    pub(crate) fn founder(machine: &Arc<Machine>, index: usize) -> Self {
        let wires = Rc::new(Wires {
            machine: machine.clone(),
            end: RefCell::new(Some(End::new(&machine.rings, index))),
        });
        let founders = CoreSet::below(machine.cores.len());
        let gateway = machine.gateway.clone();
        Self { host: Host::founder(CoreId::new(index), founders, wires.clone(), gateway), wires }
    }

    /// Whether other cores have said something, or a task has asked for something that had to wait.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.wires.end.borrow().as_ref().is_some_and(End::has_news) || self.host.has_work()
    }

    /// The core is about to park. Whoever waits for a round, and be it mail, must hear of it.
    pub(crate) fn prepare_park(&self, holds_mail: bool) {
        let load = &self.wires.machine.cores[self.host.core().index()].load;
        load.set_sleeps_over_rounds(!holds_mail && !self.host.is_watched());
    }

    /// Reads what other cores have said, up to a bound.
    pub(crate) fn read(&self) {
        self.read_at_most(AGREEMENT_READS);
    }

    /// Reads what other cores have said while this one slept, which they may go on taking it to do: a home need not wait while a sleeper
    /// makes up for many rounds. Bounded, because they go on. Whether there was something.
    pub(crate) fn read_asleep(&self) -> bool {
        let has_news = self.has_news();
        if has_news {
            self.read_at_most(limits::RING);
        }
        has_news
    }

    /// Reads all that other cores have said. Right after a sleep, before anything runs. Whether there was something.
    pub(crate) fn read_to_the_end(&self) -> bool {
        // SeqCst: pairs with the fence in `is_asleep`. Either this sees what was posted, or that sees this core awake.
        fence(Ordering::SeqCst);
        let has_news = self.has_news();
        if has_news {
            self.read_at_most(usize::MAX);
        }
        has_news
    }

    fn read_at_most(&self, most: usize) {
        for _ in 0..most {
            let Some((from, news)) = self.wires.next() else { break };
            match news {
                News::Message(message) => self.host.receive(CoreId::new(from), message),
                News::Gone => self.host.gone(CoreId::new(from)),
            }
        }
        self.host.after_reading();
    }

    /// This core has left. The others learn that nothing more comes from it.
    pub(crate) fn vacate(&self) {
        epoch::settled();
        drop(self.wires.end.take());
        self.host.close();
        self.wires.machine.ring_all();
    }

    /// Asks to join again. `tell` hears whether it may.
    pub(crate) fn join(&self, tell: impl FnOnce(bool) + 'static) {
        let Wires { machine, end } = &*self.wires;
        let me = self.host.core();
        end.replace(Some(End::new(&machine.rings, me.index())));
        let there = machine.cores.iter().filter(|core| core.load.standing().is_there());
        let there: CoreSet = there.map(|core| CoreId::new(core.index as usize)).collect();
        let gone = CoreSet::below(machine.cores.len()).minus(there);
        self.host.join(there.without(me), gone.without(me), tell);
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.host.next_deadline().map(|Time(at)| Instant::from_nanos(at))
    }

    pub(crate) fn tick(&self, now: Instant) {
        self.host.tick(Time(now.as_nanos()));
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)
    }
}

struct Wires {
    machine: Arc<Machine>,
    /// None while the core is retired.
    end: RefCell<Option<End<Wire<Replicas>>>>,
}

impl Wires {
    fn next(&self) -> Option<(usize, News<Wire<Replicas>>)> {
        self.end.borrow_mut().as_mut()?.read()
    }
}

impl Links for Wires {
    fn post(&self, to: CoreId, message: Wire<Replicas>) {
        if let Some(end) = &mut *self.end.borrow_mut() {
            end.push(to.index(), message);
        }
    }

    fn ring(&self, to: CoreId) {
        let mailbox = &self.machine.cores[to.index()];
        if mailbox.doorbell.must_ring() {
            mailbox.ring();
        }
    }

    fn is_asleep(&self, core: CoreId) -> bool {
        // SeqCst: pairs with the fence in `read_to_the_end` (R64 of the channels).
        fence(Ordering::SeqCst);
        let core = &self.machine.cores[core.index()];
        // Rung: somebody has seen to it that it wakes, and it has not.
        let sleeps = matches!(core.doorbell.state(), State::Parked | State::Rung);
        sleeps && core.load.sleeps_over_rounds()
    }

    fn deciding(&self, version: Version) {
        self.machine.deciding.publish(version.0);
    }

    fn prepared(&self, is_prepared: bool, version: Version) {
        if is_prepared {
            epoch::prepared(&self.machine.deciding, version.0);
        } else {
            epoch::settled();
        }
    }

    fn now(&self) -> Time {
        Time(Instant::system().as_nanos()) // which goes on when a test stops the clock
    }

    fn busy_with(&self, core: CoreId) -> Option<&'static Location<'static>> {
        self.machine.cores[core.index()].load.polled()
    }

    fn stalled(&self, core: CoreId, waited: Duration) {
        match self.busy_with(core) {
            Some(task) => {
                tracing::warn!(%core, ?waited, %task, "an agreement waits for a core, which polls the task spawned there");
            }
            None => tracing::warn!(%core, ?waited, "an agreement waits for a core"),
        }
    }

    fn diverged(&self, core: CoreId, version: Version, object: ObjectId, kind: &'static str) {
        tracing::error!(%core, %version, object = object.0, %kind, "a replica differs from the home's: its state machine is not deterministic");
    }
}

/// The way to a core for threads that are none.
struct ToACore(Weak<Machine>);

impl Gateway for ToACore {
    fn run(&self, job: Job) -> bool {
        let Some(machine) = self.0.upgrade() else { return false };
        let first = placement::delegate(&machine).index as usize;
        let cores = machine.cores.iter().cycle().skip(first).take(machine.cores.len());
        let cores = cores.filter(|core| core.load.standing().is_part());
        let mut task = move |_: &Resources| {
            // Refused by a core that ends, it is dropped, which tells who waits.
            let _ = job.run();
        };
        for core in cores {
            match call::post(core, task) {
                Ok(()) => return true,
                Err(refused) => task = refused,
            }
        }
        false
    }

    fn run_on(&self, core: CoreId, job: Job) -> bool {
        let Some(machine) = self.0.upgrade() else { return false };
        let target = machine.cores.get(core.index());
        target.is_some_and(|core| call::post(core, |_| _ = job.run()).is_ok())
    }
}

pub(crate) fn gateway(machine: Weak<Machine>) -> Arc<dyn Gateway> {
    Arc::new(ToACore(machine))
}
