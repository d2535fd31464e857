//! What tests on real threads share that have the checkers of the simulator look at what happens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use multikernel::replicate::{Change, CoreId, CoreSet, ProposeError, Replicated, Seq, StateMachine};
use multikernel_sim::{Journal, Told, What};

/// What everybody writes into.
#[derive(Clone)]
pub struct Book(Arc<Mutex<Journal>>);

impl Book {
    /// Of cores that are all there.
    pub fn new(cores: usize) -> Self {
        let book = Self(Arc::new(Mutex::new(Journal::new(false))));
        for core in 0..cores {
            book.note(CoreId::new(core), What::Founded(CoreSet::below(cores)));
            // A core that sleeps has all before it runs; who runs has to prove it, so nobody is said to be awake.
            book.note(CoreId::new(core), What::Slept);
        }
        book
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn note(&self, core: CoreId, what: What) {
        self.journal().note(core, what);
    }

    pub fn note_here(&self, what: What) {
        self.note(CoreId::current(), what);
    }

    /// A message sets out from here. Gives its number.
    pub fn sent(&self, letter: u64) -> u64 {
        self.note_here(What::Sent(letter));
        letter
    }

    /// It has arrived here.
    pub fn handled(&self, letter: u64) {
        self.note_here(What::Handled(letter));
    }

    /// What must not be, and was.
    pub fn failure(&self) -> Option<String> {
        self.journal().failure().map(str::to_owned)
    }

    /// Nothing more happens, and everyone has run something since the last round. How many events there were.
    pub fn end(&self, cores: usize) -> Result<u64, String> {
        for core in 0..cores {
            self.note(CoreId::new(core), What::Woke);
        }
        let mut journal = self.journal();
        journal.end();
        let (events, _) = journal.taken();
        match journal.failure() {
            None => Ok(events),
            Some(failure) => Err(failure.to_owned()),
        }
    }
}

/// Writes down what is done to it. Refuses some commands on some cores.
pub struct Recorder {
    book: Book,
    core: CoreId,
    joins: Option<CoreId>,
    lines: u64,
}

impl Recorder {
    pub fn new(book: &Book, lines: u64) -> Self {
        Self { book: book.clone(), core: CoreId::current(), joins: None, lines }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.book.note(self.core, What::Ended);
    }
}

impl StateMachine for Recorder {
    type Command = u64;
    type Refusal = ();
    type Snapshot = (Book, u64);
    const VETO: bool = true;

    fn prepare(&mut self, id: &u64) -> Result<(), ()> {
        if (id + self.core.index() as u64).is_multiple_of(211) {
            return Err(());
        }
        self.book.note(self.core, What::Prepared(*id));
        Ok(())
    }
    fn commit(&mut self, id: &u64) {
        self.lines = self.lines.rotate_left(7) ^ id;
        self.book.note(self.core, What::Committed(*id));
    }
    fn abort(&mut self, id: &u64) {
        self.book.note(self.core, What::Aborted(*id));
    }
    fn snapshot(&self) -> (Book, u64) {
        self.book.note(self.core, What::Welcomed(self.joins.expect("a snapshot is for a core that joins")));
        (self.book.clone(), self.lines)
    }
    fn restore((book, lines): &(Book, u64)) -> Result<Self, ()> {
        book.note_here(What::Started);
        book.note_here(What::Slept);
        book.note_here(What::Restored);
        Ok(Self::new(book, *lines))
    }
    fn digest(&self) -> Option<u64> {
        Some(self.lines)
    }
    fn prepare_view(&mut self, change: &Change) -> Result<(), ()> {
        if let Change::Join(core) = change {
            self.joins = Some(*core);
        }
        self.book.note(self.core, What::ViewPrepared(*change));
        Ok(())
    }
    fn commit_view(&mut self, change: &Change) {
        self.book.note(self.core, What::ViewCommitted(*change));
    }
    fn abort_view(&mut self, change: &Change) {
        self.book.note(self.core, What::ViewAborted(*change));
    }
}

/// Proposes that line on this core, which must not change, and notes what comes of it. Who asks has waited for so long at most.
pub async fn propose(book: &Book, object: &Replicated<Recorder>, seq: Seq, id: u64, patience: Duration) {
    book.note_here(What::Proposed(seq, id));
    let told = match object.propose_within(id, patience).await {
        Ok(committed) => Told::Committed(committed.version),
        Err(ProposeError::Refused { by, .. }) => Told::Refused(by, None),
        Err(ProposeError::Stalled { core, .. }) => Told::Stalled(core),
        Err(error) => panic!("{error}"),
    };
    book.note_here(What::Answered(seq, told));
}
