//! The home's side: the run queue, the list of live tasks, and how the thread knows which tasks are its own.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::ptr::null;
use std::task::Context;

use multikernel_channels::epoch;
use multikernel_channels::inbox::Batch;
use multikernel_channels::sync::{Arc, Cell, Ordering, per_thread};

use crate::machine::mailbox::{Arrival, Envelope, Mailbox};
use crate::task::hand_over::Moves;
use crate::task::header::{Header, Phase, TaskRef};
use crate::task::id::Id;
use crate::task::notes::Notes;
use crate::task::queue::{List, Queue, task_ref};
use crate::task::recycle::Recycler;
use crate::task::share::Windows;
use crate::task::waker;

per_thread! {
    /// The home whose thread this is.
    static HOME: *const Home = null()
}

/// The task side of a core. Stays on the core's thread, at one address, from `enter` to `leave`.
pub(crate) struct Home {
    mailbox: Arc<Mailbox>,
    pub(super) queue: Queue,
    pub(super) windows: Windows,
    list: List,
    recycler: Recycler,
    /// Tasks of this core, made or adopted, less those freed here.
    live: Cell<isize>,
    /// Tasks there have ever been.
    spawned: Cell<u64>,
    /// Messages that came, and that this thread has sent.
    mail: Cell<(u64, u64)>,
    /// Tasks not complete yet.
    pending: Cell<u32>,
    /// The task that is being polled, or was last and is alive; [`NAMELESS`] while one is being completed.
    current: Cell<*const Header>,
    /// Tasks that were handed over to other cores.
    sent: Cell<u64>,
    /// The core is ending: what arrives is cancelled instead of run.
    ending: Cell<bool>,
    /// The core has left, or is about to: what comes from now on is cancelled at once.
    is_shut: Cell<bool>,
    /// Mail that waits until a round is committed here.
    held: RefCell<VecDeque<(u64, Batch<Envelope>)>>,
}

/// The current home, if `mailbox` is its.
pub(super) fn if_current<'a>(mailbox: *const Mailbox) -> Option<&'a Home> {
    let home = HOME.with(|home| home.get());
    // SAFETY: set by `enter`, cleared by `leave`, and the home outlives both; `'a` ends within a call made from this
    // thread, before `leave`.
    let home = unsafe { home.as_ref() }?;
    std::ptr::eq(&*home.mailbox, mailbox).then_some(home)
}

/// Whether this thread is a core of the Machine with this number, and so keeps all its mailboxes.
pub(super) fn is_of_machine(machine: NonZeroU64) -> bool {
    let home = HOME.with(|home| home.get());
    // SAFETY: as in `if_current`.
    unsafe { home.as_ref() }.is_some_and(|home| home.mailbox.machine == machine)
}

/// This thread has posted a message. Counted if it is a core.
pub(crate) fn note_post() {
    let home = HOME.with(|home| home.get());
    // SAFETY: as in `if_current`.
    if let Some(home) = unsafe { home.as_ref() } {
        let (come, sent) = home.mail.get();
        home.mail.set((come, sent + 1));
    }
}

/// The recycler of this thread, if it has one.
pub(super) fn recycler<'a>() -> Option<&'a Recycler> {
    let home = HOME.with(|home| home.get());
    // SAFETY: as in `if_current`.
    unsafe { home.as_ref() }.map(|home| &home.recycler)
}

/// Makes another the thread's home. A function of its own, for what is generic is compiled into other crates; a
/// thread-local that these can name is reached by a longer way, at every wake.
#[inline(never)]
fn replace(home: *const Home) -> *const Home {
    HOME.with(|current| current.replace(home))
}

/// The name of the task that this thread's home is polling.
pub(super) fn polled() -> Option<Id> {
    current_header().map(|header| header.id.get())
}

/// The task that this thread's home is polling. It ends before that poll does.
pub(super) fn current_header<'a>() -> Option<&'a Header> {
    let home = HOME.with(|home| home.get());
    // SAFETY: as in `if_current`.
    being_polled(unsafe { home.as_ref() }?.current.get())
}

/// The current task, unless its poll is over.
fn being_polled<'a>(current: *const Header) -> Option<&'a Header> {
    if current == NAMELESS {
        return None;
    }
    // SAFETY: the current task has not completed, or there would be another or none. So its home keeps it.
    let header = unsafe { current.as_ref() }?;
    matches!(header.phase.get(), Phase::Running | Phase::RunningWoken).then_some(header)
}

/// What a step of the executor has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    /// The queue is empty.
    Nothing,
    /// A task has been polled, or cancelled.
    Polled,
    /// None has. That of the next one is to be timed.
    Watched,
}

/// In place of a current task: there is one, but its memory may be gone.
const NAMELESS: *const Header = std::ptr::without_provenance(1);

impl Home {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self {
            mailbox,
            queue: Queue::new(),
            windows: Windows::new(),
            list: List::new(),
            recycler: Recycler::new(),
            live: Cell::new(0),
            spawned: Cell::new(0),
            mail: Cell::new((0, 0)),
            pending: Cell::new(0),
            current: Cell::new(null()),
            sent: Cell::new(0),
            ending: Cell::new(false),
            is_shut: Cell::new(false),
            held: RefCell::new(VecDeque::new()),
        }
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// The calling thread becomes this home's thread.
    ///
    /// # Safety
    /// The home stays at this address, on this thread, until [`leave`](Self::leave).
    pub(crate) unsafe fn enter(&self) {
        HOME.with(|home| {
            assert!(home.get().is_null(), "this thread is a core already");
            home.set(self);
        });
        self.mailbox.begin_tasks();
    }

    /// The set of tasks that this is the home of begins, on the calling thread, which may be another home's.
    pub(crate) fn open(&self) {
        self.mailbox.begin_tasks();
    }

    /// Makes this the thread's home while `f` runs, in place of the one that is.
    ///
    /// # Safety
    /// This is the thread that [opened](Self::open) it, and the home outlives `f`.
    pub(crate) unsafe fn visit<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Restore(*const Home);
        impl Drop for Restore {
            fn drop(&mut self) {
                replace(self.0);
            }
        }
        let _restore = Restore(replace(self));
        f()
    }

    /// Completes every task: delivers what has come and cancels the rest. Nothing may be spawned here after this.
    pub(crate) fn finish_all(&self) {
        self.ending.set(true);
        self.deliver(u64::MAX);
        self.cancel_all();
    }

    /// Ends the home, after [`finish_all`](Self::finish_all). What is left in the inbox is refused, as is whatever
    /// comes later.
    ///
    /// The order matters: a thread that is refused reads the tasks' plain fields, so nobody may write them from the
    /// close on. That is why this thread is no home any more when it closes, though the rest of the inbox runs code of
    /// users (drops, wakers) after that.
    pub(crate) fn leave(&self) {
        debug_assert!(self.list.first().is_none() && self.queue.is_empty(), "a task would outlive its home");
        HOME.with(|home| home.set(null()));
        self.close();
    }

    /// The rest of [`leave`](Self::leave), for what was not entered but [opened](Self::open). Not within a visit.
    pub(crate) fn close(&self) {
        self.is_shut.set(true);
        // SAFETY: this is the owner's thread, since `enter` or `open`.
        for envelope in unsafe { self.mailbox.close() } {
            // SAFETY: just taken.
            unsafe { Envelope::deliver(envelope, Arrival::Closed) };
        }
        // SAFETY: as above; `enter` or `open` began them.
        unsafe { self.mailbox.end_tasks(self.live.get()) };
    }

    /// Delivers what has been posted, but for what may have been sent after a commit that this core has still to make: it has
    /// committed round `version`.
    pub(crate) fn deliver(&self, version: u64) {
        // SAFETY: this is the owner's thread, since `enter`.
        let batch = unsafe { self.mailbox.take() };
        // Asked after what it is about was taken (R51 of the channels).
        let until = epoch::held_until().unwrap_or(0);
        if until <= version && !self.holds_mail() {
            return self.hand_out(batch);
        }
        self.held.borrow_mut().push_back((until, batch));
        self.release(version);
    }

    /// Delivers what is not held any more, the oldest first. What waits, waits for the round of then, not for later ones.
    fn release(&self, version: u64) {
        loop {
            let batch = {
                let mut held = self.held.borrow_mut();
                match held.front() {
                    Some((until, _)) if *until <= version => held.pop_front(),
                    _ => None,
                }
            };
            let Some((_, batch)) = batch else { return };
            self.hand_out(batch);
        }
    }

    /// Delivers what was taken from this thread's inbox.
    fn hand_out(&self, batch: Batch<Envelope>) {
        for envelope in batch {
            let (come, sent) = self.mail.get();
            self.mail.set((come + 1, sent));
            // SAFETY: taken from our inbox, and handed out once.
            unsafe { Envelope::deliver(envelope, Arrival::Open) };
        }
    }

    /// Whether mail waits for a round.
    pub(crate) fn holds_mail(&self) -> bool {
        !self.held.borrow().is_empty()
    }

    /// Takes a task in: from here on it is in the list, and polled soon.
    pub(crate) fn adopt(&self, task: TaskRef) {
        self.live.set(self.live.get() + 1);
        self.spawned.set(self.spawned.get() + 1);
        self.pending.set(self.pending.get() + 1);
        self.list.push(task);
        if self.ending.get() || self.is_shut.get() {
            task.header().notes.set_aborted(true);
        }
        task.header().phase.set(Phase::Queued);
        self.queue.push(task);
    }

    pub(crate) fn wake(&self, task: TaskRef) {
        let phase = &task.header().phase;
        match phase.get() {
            Phase::Idle => {
                phase.set(Phase::Queued);
                self.queue.push(task);
            }
            Phase::Running => phase.set(Phase::RunningWoken),
            // A newborn is polled soon after it arrives, or cancelled if it was aborted before.
            Phase::Newborn | Phase::Queued | Phase::RunningWoken | Phase::Complete => {}
        }
    }

    pub(crate) fn has_runnable(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(crate) fn shut(&self, is_shut: bool) {
        self.is_shut.set(is_shut);
    }

    /// Whether a task that is spawned now is cancelled at once, though the core may go on later.
    pub(crate) fn is_shut(&self) -> bool {
        self.is_shut.get()
    }

    /// Tasks that have not completed.
    pub(crate) fn pending(&self) -> u32 {
        self.pending.get()
    }

    /// Tasks there have ever been.
    pub(crate) fn spawned(&self) -> u64 {
        self.spawned.get()
    }

    /// How many tasks were handed over to other cores.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// How often a task has entered the run queue, and how often one has left it.
    pub(crate) fn wakes_and_polls(&self) -> (u64, u64) {
        (self.queue.pushed.get(), self.queue.popped.get())
    }

    /// How many messages have come, and how many this thread has sent.
    pub(crate) fn mail(&self) -> (u64, u64) {
        self.mail.get()
    }

    pub(super) fn task_freed(&self) {
        self.live.set(self.live.get() - 1);
    }

    /// Polls the task at the head of the queue, unless its polls are watched.
    pub(crate) fn run_next(&self) -> Ran {
        let Some(task) = self.queue.head() else { return Ran::Nothing };
        if !task.header().notes.is_empty() {
            return self.run_noted(task);
        }
        self.poll_head(task, || false);
        Ran::Polled
    }

    /// Of the task at the head of the queue something is noted.
    #[cold]
    #[inline(never)]
    fn run_noted(&self, task: TaskRef) -> Ran {
        if !task.header().notes.is_aborted() {
            return Ran::Watched;
        }
        self.run_one();
        Ran::Polled
    }

    /// Polls the task at the head of the queue. False when the queue is empty.
    pub(crate) fn run_one(&self) -> bool {
        let Some(task) = self.queue.head() else { return false };
        self.poll_head(task, || task.header().notes.is_aborted() && self.cancel(task));
        true
    }

    /// `cancels` says whether the task has been cancelled instead.
    #[inline(always)]
    fn poll_head(&self, task: TaskRef, cancels: impl FnOnce() -> bool) {
        let header = task.header();
        self.queue.pop_head(task);
        debug_assert_eq!(header.phase.get(), Phase::Queued);
        header.phase.set(Phase::Running);
        self.current.set(header);
        header.share.note_poll(&self.windows);
        self.mailbox.load.note_poll(header.spawned_at, self.queue.popped.get());
        let complete = cancels() || {
            let waker = waker::borrowed(task);
            // SAFETY: the home's thread, the task is not complete, and nobody is polling it.
            unsafe { (header.vtable.poll)(task.as_ptr(), &mut Context::from_waker(&waker)) }
        };
        if complete {
            self.current.set(NAMELESS);
            self.finish(task);
            self.current.set(null());
        } else if header.phase.replace(Phase::Idle) == Phase::RunningWoken {
            header.phase.set(Phase::Queued);
            self.queue.push(task);
        }
    }

    /// Cancels the task that is due to be polled. False when it will not be.
    #[cold]
    #[inline(never)] // which leaves `run_one` a register
    fn cancel(&self, task: TaskRef) -> bool {
        let header = task.header();
        header.notes.set_aborted(false);
        // SAFETY: as in `poll_head`.
        unsafe { (header.vtable.cancel)(task.as_ptr(), self.ending.get() || self.is_shut.get()) }
    }

    /// What is noted of the task that is due next.
    pub(crate) fn next_notes(&self) -> Option<&Notes> {
        self.queue.head().map(|task| &task.header().notes)
    }

    /// Whether the task that is due next may go to another core.
    pub(crate) fn next_is_movable(&self) -> bool {
        self.queue.head().is_some_and(|task| task.header().moves.get() == Moves::FREELY)
    }

    /// What is noted of the task that was polled last, if it lives and is still here. Between two polls.
    pub(crate) fn last_notes(&self) -> Option<&Notes> {
        let current = self.current.get();
        if current == NAMELESS {
            return None;
        }
        // SAFETY: a task that completes or leaves is the current one no more. So this home keeps the one that is.
        unsafe { current.as_ref() }.map(|header| &header.notes)
    }

    /// Whether a task is being polled or completed.
    pub(crate) fn is_polling(&self) -> bool {
        self.current.get() == NAMELESS || being_polled(self.current.get()).is_some()
    }

    fn finish(&self, task: TaskRef) {
        self.let_go(task);
        task.complete();
    }

    /// Takes a task out of the list, and of the figures.
    fn let_go(&self, task: TaskRef) {
        if task.header().connection.get() {
            self.mailbox.load.connections.fetch_sub(1, Ordering::Relaxed); // a figure
        }
        self.pending.set(self.pending.get() - 1);
        self.list.remove(task);
    }

    /// Takes a task out that goes to another core. It is in the queue no more.
    pub(super) fn forget(&self, task: TaskRef) {
        self.let_go(task);
        task.header().share.forget();
        self.live.set(self.live.get() - 1);
        self.queue.popped.set(self.queue.popped.get() + 1);
        self.sent.set(self.sent.get() + 1);
        if std::ptr::eq(self.current.get(), task.header()) {
            self.current.set(null());
        }
    }

    /// How many tasks wait for a poll.
    pub(crate) fn queued(&self) -> u64 {
        self.queue.pushed.get() - self.queue.popped.get()
    }

    /// Takes the head out of the queue, to be put back or to be [forgotten](Self::forget).
    pub(super) fn take_queued(&self) -> Option<TaskRef> {
        self.queue.unlink()
    }

    /// Puts a task back, before all others.
    pub(super) fn put_first(&self, task: TaskRef) {
        self.queue.link_first(task);
    }

    /// Puts a task back, behind all others.
    pub(super) fn put_queued(&self, task: TaskRef) {
        self.queue.link(task);
    }

    /// Calls `f`, which adds and removes none, with each task that has not completed.
    pub(super) fn for_each(&self, f: impl Fn(TaskRef)) {
        let mut next = self.list.first();
        while let Some(task) = next {
            next = task_ref(task.header().list_next.get());
            f(task);
        }
    }

    /// Aborts each task that may not be handed over. Says how many had not been aborted before.
    pub(crate) fn abort_what_stays(&self) -> usize {
        let count = Cell::new(0);
        self.for_each(|task| {
            let header = task.header();
            if header.moves.get() == Moves::NEVER && !header.notes.is_aborted() {
                header.notes.set_aborted(true);
                count.set(count.get() + 1);
                self.wake(task);
            }
        });
        count.get()
    }

    /// Drops the future of every live task, and of what those drops spawn. Not from within a poll.
    pub(crate) fn cancel_all(&self) {
        self.ending.set(true);
        while let Some(task) = self.list.first() {
            task.header().notes.set_aborted(true);
            self.wake(task);
            while let Some(head) = self.queue.head() {
                head.header().notes.set_aborted(true);
                self.run_one();
            }
        }
    }
}
