//! What happens in a run, in order: the checkers read it, and a trace prints it.

use std::collections::BTreeSet;
use std::fmt;

use multikernel_replicate::{Change, CoreId, CoreSet, ObjectId, Outcome, Seq, Step, Version};

use crate::check::Checks;
use crate::objects::Id;

/// What became of a proposal, as told to whoever made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Committed in that round.
    Committed(Version),
    /// Refused by that core. Because that command had been there first, if it says so.
    Refused(CoreId, Option<Id>),
    /// The deadline passed while that core was waited for.
    Stalled(CoreId),
}

/// How often a timer of the Machine starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Once, on some core.
    Once,
    /// Once on each core.
    Each,
    /// Again after each period, until then.
    Every {
        /// How long from one tick to the next, unless it is late.
        period: u64,
        /// Whoever has started it then or later declares it done.
        until: u64,
    },
}

/// Something that happens at one core.
#[derive(Clone, Debug)]
pub enum What {
    /// It is there from the start, with these others.
    Founded(CoreSet),
    /// It starts, and wants to join.
    Started,
    /// A task proposes.
    Proposed(Seq, Id),
    /// A task announces.
    Announced(Id),
    /// It wants to leave.
    Leaves(Seq),
    /// A proposal has come to its end.
    Answered(Seq, Told),
    /// A replica has prepared.
    Prepared(Id),
    /// A replica has committed.
    Committed(Id),
    /// A replica has undone a prepare.
    Aborted(Id),
    /// The replicas have prepared a change of the view.
    ViewPrepared(Change),
    /// The replicas have committed it.
    ViewCommitted(Change),
    /// The replicas have undone the prepare.
    ViewAborted(Change),
    /// A snapshot is sent to that core.
    Welcomed(CoreId),
    /// A snapshot is restored.
    Restored,
    /// It is dropped again.
    Cleared,
    /// All rounds up to this one are applied.
    Decided(Version),
    /// That core's replica of the object differs.
    Diverged(CoreId, ObjectId),
    /// A step of a table.
    Step(Step),
    /// A message is in the ring to that core: its kind, its round if it has one, and how many are in that ring.
    Pushed(CoreId, &'static str, Option<Version>, usize),
    /// A task sends a message of its own.
    Sent(u64),
    /// A thread that is no core has read here, and sends a message.
    SeenBy(u64),
    /// A task arms a timer of the Machine with its next proposal, whose number is the timer's.
    Arms {
        /// That.
        timer: Id,
        /// How often it starts.
        repeat: Repeat,
        /// When, at first.
        due: u64,
    },
    /// A task cancels a timer with its next proposal.
    Cancels {
        /// That proposal.
        by: Id,
        /// The timer.
        timer: Id,
        /// No core refuses that whatever it is.
        is_plain: bool,
    },
    /// A timer starts.
    Fires {
        /// That.
        timer: Id,
        /// When what starts was due.
        tick: u64,
    },
    /// A task handles a message.
    Handled(u64),
    /// A task wants to read what is settled.
    ReadBegun(u64),
    /// It reads.
    ReadEnded(u64),
    /// It parks.
    Slept,
    /// It wakes.
    Woke,
    /// It is dead.
    Died,
    /// It has left and ends.
    Ended,
}

/// The record of one run. Stops at the first thing that must not be.
pub struct Journal {
    /// Now, in cycles.
    pub now: u64,
    /// Whether to print what happens.
    pub traces: bool,
    /// The core that runs is dead: what its code still does does not happen.
    pub is_muted: bool,
    checks: Checks,
    failure: Option<String>,
    events: u64,
    steps: BTreeSet<Step>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("now", &self.now)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// An empty one.
    #[must_use]
    pub fn new(traces: bool) -> Self {
        Self {
            now: 0,
            traces,
            is_muted: false,
            checks: Checks::new(),
            failure: None,
            events: 0,
            steps: BTreeSet::new(),
        }
    }

    /// Something happens at that core.
    pub fn note(&mut self, core: CoreId, what: What) {
        if self.is_muted || self.failure.is_some() {
            return;
        }
        self.events += 1;
        if let What::Step(step) = what {
            self.steps.insert(step);
        }
        if self.traces && !matches!(what, What::Pushed(..)) {
            println!("{:>12}  {core}  {what:?}", self.now);
        }
        if let Err(failure) = self.checks.see(self.now, core, &what) {
            self.fail(format!("{core} {what:?}: {failure}"));
        }
    }

    /// A line for the trace.
    pub fn trace(&self, core: CoreId, line: impl FnOnce() -> String) {
        if self.traces && !self.is_muted {
            println!("{:>12}  {core}    {}", self.now, line());
        }
    }

    /// The run fails, unless it has failed before.
    pub fn fail(&mut self, failure: String) {
        self.failure.get_or_insert(format!("at {}: {failure}", self.now));
    }

    /// Why the run fails.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// How much has happened, and which steps of the tables were taken.
    pub fn taken(&mut self) -> (u64, BTreeSet<Step>) {
        (self.events, std::mem::take(&mut self.steps))
    }

    /// Nothing more happens.
    pub fn end(&mut self) {
        if self.failure.is_none()
            && let Err(failure) = self.checks.end()
        {
            self.fail(format!("at the end: {failure}"));
        }
    }
}

/// What is told of an outcome.
pub fn told(outcome: &Outcome<multikernel_replicate::Denial>) -> Told {
    use multikernel_replicate::Refusal;
    match outcome {
        Outcome::Committed(version) => Told::Committed(*version),
        Outcome::Stalled(core) => Told::Stalled(*core),
        Outcome::Refused { by, refusal } => {
            let first = match refusal {
                Refusal::Object(denial) => denial.refusal::<crate::objects::TakenBy>().map(|taken| taken.0),
                Refusal::LastCore => None,
            };
            Told::Refused(*by, first)
        }
    }
}
