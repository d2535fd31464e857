//! Hosts of several cores on one thread: what runtime/ does with threads, one event at a time and in any order.
//!
//! A core here is a [`Host`], a ring from each other core, an inbox of jobs, and tasks. [`Net::step`] has one event happen: a
//! message is read, a job is run, or a task is polled, each within the host of its core. Rings, inboxes and the tasks of a core
//! keep their order; everything else comes as the seed wants.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::host::{Gateway, Host, Job, Links};
use crate::{CoreId, CoreSet, ObjectId, Replicas, Time, Version, Wire};

/// A small generator (xorshift, Marsaglia 2003).
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }
}

enum News {
    Message(Wire<Replicas>),
    Gone,
}

/// What has been posted and is not read.
#[derive(Default)]
struct Rings {
    rings: RefCell<BTreeMap<(CoreId, CoreId), VecDeque<News>>>,
    /// Cores that have ends.
    there: Cell<CoreSet>,
}

impl Rings {
    fn push(&self, from: CoreId, to: CoreId, news: News) {
        // What is meant for nobody nobody reads.
        if self.there.get().contains(to) {
            self.rings.borrow_mut().entry((from, to)).or_default().push_back(news);
        }
    }

    fn leave(&self, core: CoreId) {
        self.there.set(self.there.get().without(core));
        self.rings.borrow_mut().retain(|(_, to), _| *to != core);
        self.there.get().iter().for_each(|other| self.push(core, other, News::Gone));
    }
}

struct Wires {
    me: CoreId,
    rings: Rc<Rings>,
}

impl Links for Wires {
    fn post(&self, to: CoreId, message: Wire<Replicas>) {
        if self.rings.there.get().contains(self.me) {
            self.rings.push(self.me, to, News::Message(message));
        }
    }
    fn ring(&self, _: CoreId) {}
    fn is_asleep(&self, _: CoreId) -> bool {
        false
    }
    fn deciding(&self, _: Version) {}
    fn prepared(&self, _: bool, _: Version) {}
    fn now(&self) -> Time {
        Time(0)
    }
    fn busy_with(&self, _: CoreId) -> Option<&'static Location<'static>> {
        None
    }
    fn stalled(&self, _: CoreId, _: Duration) {}
    fn diverged(&self, core: CoreId, version: Version, object: ObjectId, kind: &'static str) {
        panic!("{core} differs at {version} in {object:?}, a {kind}");
    }
}

/// One core's inbox.
#[derive(Default)]
struct Inbox {
    jobs: VecDeque<Job>,
    is_open: bool,
    is_member: bool,
}

#[derive(Default)]
struct Inboxes(Mutex<BTreeMap<CoreId, Inbox>>);

impl Inboxes {
    fn with<R>(&self, core: CoreId, f: impl FnOnce(&mut Inbox) -> R) -> R {
        f(self.0.lock().unwrap().entry(core).or_default())
    }
}

impl Gateway for Inboxes {
    fn run(&self, job: Job) -> bool {
        let member = self.0.lock().unwrap().iter().find(|(_, inbox)| inbox.is_member).map(|(core, _)| *core);
        member.is_some_and(|core| self.run_on(core, job))
    }

    fn run_on(&self, core: CoreId, job: Job) -> bool {
        let mut job = Some(job);
        self.with(core, |inbox| {
            if inbox.is_open {
                inbox.jobs.extend(job.take());
            }
        });
        // Dropped when nothing is locked.
        job.is_none()
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

struct Task {
    /// None, if the thread is no core.
    core: Option<CoreId>,
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    flag: Arc<Flag>,
}

/// What a core is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Member,
    Leaving,
    Retired,
    Joining,
    Dead,
}

struct Core {
    host: Rc<Host>,
    standing: Rc<Cell<Standing>>,
}

#[derive(Clone, Copy)]
enum Event {
    Read(CoreId, CoreId),
    Run(CoreId),
    Poll(usize),
}

/// Several cores.
pub(crate) struct Net {
    rings: Rc<Rings>,
    inboxes: Arc<Inboxes>,
    cores: Vec<Core>,
    tasks: Vec<Task>,
    pub(crate) rng: Rng,
    /// Cores that read nothing of the agreement.
    pub(crate) deaf: CoreSet,
    /// Cores that run no jobs.
    pub(crate) idle: CoreSet,
}

impl Net {
    /// So many cores, all members.
    pub(crate) fn new(cores: usize, seed: u64) -> Self {
        let founders = CoreSet::below(cores);
        let rings = Rc::new(Rings::default());
        rings.there.set(founders);
        let inboxes = Arc::new(Inboxes::default());
        let found = |me: CoreId| {
            inboxes.with(me, |inbox| (inbox.is_open, inbox.is_member) = (true, true));
            let wires = Rc::new(Wires { me, rings: rings.clone() });
            let host = Rc::new(Host::founder(me, founders, wires, inboxes.clone()));
            Core { host, standing: Rc::new(Cell::new(Standing::Member)) }
        };
        let cores = founders.iter().map(found).collect();
        let (deaf, idle) = (CoreSet::EMPTY, CoreSet::EMPTY);
        Self { rings, inboxes, cores, tasks: Vec::new(), rng: Rng::new(seed), deaf, idle }
    }

    pub(crate) fn standing(&self, core: CoreId) -> Standing {
        self.cores[core.index()].standing.get()
    }

    /// The cores that are this.
    pub(crate) fn all(&self, standing: Standing) -> Vec<CoreId> {
        let cores = (0..self.cores.len()).map(CoreId::new);
        cores.filter(|core| self.standing(*core) == standing).collect()
    }

    /// Does something as that core.
    pub(crate) fn on<R>(&self, core: CoreId, f: impl FnOnce() -> R) -> R {
        self.cores[core.index()].host.clone().enter(f)
    }

    /// A task of that core. It ends with its core's membership, or when it is ready.
    pub(crate) fn spawn(&mut self, core: CoreId, future: impl Future<Output = ()> + 'static) {
        self.add(Some(core), future);
    }

    /// A task of a thread that is no core.
    pub(crate) fn spawn_outside(&mut self, future: impl Future<Output = ()> + 'static) {
        self.add(None, future);
    }

    fn add(&mut self, core: Option<CoreId>, future: impl Future<Output = ()> + 'static) {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        self.tasks.push(Task { core, future: Some(Box::pin(future)), flag });
    }

    /// How many tasks have not ended.
    pub(crate) fn pending(&self) -> usize {
        self.tasks.iter().filter(|task| task.future.is_some()).count()
    }

    /// Whether that core has a task.
    pub(crate) fn is_busy(&self, core: CoreId) -> bool {
        self.tasks.iter().any(|task| task.core == Some(core) && task.future.is_some())
    }

    fn events(&self) -> Vec<Event> {
        let rings = self.rings.rings.borrow();
        let rings = rings.iter().filter(|((_, to), news)| !news.is_empty() && !self.deaf.contains(*to));
        let mut events: Vec<_> = rings.map(|((from, to), _)| Event::Read(*from, *to)).collect();
        let inboxes = self.inboxes.0.lock().unwrap();
        let full =
            inboxes.iter().filter(|(core, inbox)| !inbox.jobs.is_empty() && !self.idle.contains(**core));
        events.extend(full.map(|(core, _)| Event::Run(*core)));
        let woken = |task: &Task| task.future.is_some() && task.flag.0.load(Ordering::Acquire);
        events.extend(
            self.tasks.iter().enumerate().filter(|(_, task)| woken(task)).map(|(at, _)| Event::Poll(at)),
        );
        events
    }

    /// One event. False if there is none.
    pub(crate) fn step(&mut self) -> bool {
        let events = self.events();
        if events.is_empty() {
            return false;
        }
        match events[self.rng.below(events.len())] {
            Event::Read(from, to) => {
                let news = self.rings.rings.borrow_mut().get_mut(&(from, to)).and_then(VecDeque::pop_front);
                let host = self.cores[to.index()].host.clone();
                host.enter(|| {
                    match news.expect("it was there") {
                        News::Message(message) => host.receive(from, message),
                        News::Gone => host.gone(from),
                    }
                    host.after_reading();
                });
            }
            Event::Run(core) => {
                let job = self.inboxes.with(core, |inbox| inbox.jobs.pop_front()).expect("it was there");
                self.on(core, || job.run()).expect("this is a core");
            }
            Event::Poll(at) => self.poll(at),
        }
        self.tend();
        true
    }

    fn poll(&mut self, at: usize) {
        let task = &mut self.tasks[at];
        task.flag.0.store(false, Ordering::Release);
        let waker = Waker::from(task.flag.clone());
        let mut poll = || {
            let future = task.future.as_mut().expect("it has not ended");
            if future.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Ready(()) {
                task.future = None;
            }
        };
        match task.core {
            Some(core) => self.cores[core.index()].host.enter(poll),
            None => poll(),
        }
    }

    /// Sees to cores that have left since.
    fn tend(&mut self) {
        for index in 0..self.cores.len() {
            let core = CoreId::new(index);
            let standing = self.standing(core);
            self.inboxes.with(core, |inbox| {
                inbox.is_member = matches!(standing, Standing::Member | Standing::Leaving);
            });
            if standing == Standing::Retired && self.rings.there.get().contains(core) {
                self.rings.leave(core);
                self.on(core, || self.cores[index].host.close());
            }
        }
    }

    /// Until nothing can happen any more.
    pub(crate) fn run(&mut self) {
        for _ in 0..2_000_000 {
            if !self.step() {
                return;
            }
        }
        panic!("it does not come to an end");
    }

    /// That core leaves, if it may.
    pub(crate) fn retire(&mut self, core: CoreId) {
        assert!(!self.is_busy(core), "a core leaves when its last task has ended");
        let Core { host, standing } = &self.cores[core.index()];
        standing.set(Standing::Leaving);
        let told = standing.clone();
        self.on(core, || {
            host.leave(move |has_left| told.set(if has_left { Standing::Retired } else { Standing::Member }))
        });
        self.tend();
    }

    /// A core that has left comes back. False if that cannot be yet, because somebody still has to do with its last life.
    pub(crate) fn revive(&mut self, core: CoreId) -> bool {
        let there = self.rings.there.get();
        if there.iter().any(|other| self.cores[other.index()].host.ask(|part| part.knows(core))) {
            return false;
        }
        let is_unread =
            |((from, _), news): (&(CoreId, CoreId), &VecDeque<News>)| *from == core && !news.is_empty();
        if self.rings.rings.borrow().iter().any(is_unread) {
            return false;
        }
        self.rings.there.set(there.with(core));
        let Core { host, standing } = &self.cores[core.index()];
        standing.set(Standing::Joining);
        let told = standing.clone();
        let gone = CoreSet::below(self.cores.len()).minus(there).without(core);
        self.on(core, || {
            host.join(there, gone, move |is_in| {
                told.set(if is_in { Standing::Member } else { Standing::Retired });
            });
        });
        true
    }

    /// That core dies, with its tasks and what is in its inbox.
    pub(crate) fn kill(&mut self, core: CoreId) {
        self.cores[core.index()].standing.set(Standing::Dead);
        self.tend();
        self.rings.leave(core);
        self.on(core, || self.cores[core.index()].host.close());
        for task in self.tasks.iter_mut().filter(|task| task.core == Some(core)) {
            self.cores[core.index()].host.enter(|| task.future = None);
        }
        while let Some(job) = self.inboxes.with(core, |inbox| inbox.jobs.pop_front()) {
            self.on(core, || job.run()).expect("this is a core");
        }
        self.inboxes.with(core, |inbox| inbox.is_open = false);
    }
}
