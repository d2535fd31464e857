//! The states of a core, and every step between them.
//!
//! [`Agreement`](crate::Agreement) reports each step it takes; one that is not declared here is a mistake. The simulator
//! checks that, and that each declared step is taken by some schedule.

use std::fmt;

/// What a core is as the coordinator.
///
/// ```
/// use multikernel_replicate::{HomePhase, Step};
///
/// assert!(Step::Home(HomePhase::Idle, HomePhase::Voting).is_declared());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HomePhase {
    /// Another core is home.
    Away,
    /// No round is undecided.
    Idle,
    /// Members vote.
    Voting,
    /// All members have voted for a join; the core that joins restores.
    Welcoming,
    /// The next round waits until everyone has applied the last.
    Blocked,
}

/// What a core is as a participant.
///
/// ```
/// use multikernel_replicate::{MemberPhase, Step};
///
/// assert!(Step::Member(MemberPhase::Settled, MemberPhase::Prepared).is_declared());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberPhase {
    /// It has asked to join.
    Joining,
    /// It has restored a snapshot and voted.
    Restored,
    /// It has decided all that it has prepared.
    Settled,
    /// It has voted.
    Prepared,
    /// It has left, and waits for the fences of the others.
    Leaving,
    /// It may end.
    Ended,
}

/// Whom a core follows.
///
/// ```
/// use multikernel_replicate::{LeadPhase, Step};
///
/// assert!(Step::Lead(LeadPhase::Led, LeadPhase::Orphaned).is_declared());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeadPhase {
    /// A live home.
    Led,
    /// Nobody: the home is dead, and nobody who takes over has spoken yet.
    Orphaned,
    /// The core that takes over, whose Install it waits for.
    Promised,
    /// It takes over itself.
    Taking,
}

/// One step.
///
/// ```
/// use multikernel_replicate::{HomePhase, STEPS, Step};
///
/// let step = Step::Home(HomePhase::Idle, HomePhase::Voting);
/// assert_eq!(format!("{step:?}"), "home    Idle -> Voting");
/// assert!(STEPS.iter().any(|(declared, _why)| *declared == step));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Of the coordinator.
    Home(HomePhase, HomePhase),
    /// Of the participant.
    Member(MemberPhase, MemberPhase),
    /// Between homes.
    Lead(LeadPhase, LeadPhase),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Home(from, to) => write!(f, "home    {from:?} -> {to:?}"),
            Self::Member(from, to) => write!(f, "member  {from:?} -> {to:?}"),
            Self::Lead(from, to) => write!(f, "lead    {from:?} -> {to:?}"),
        }
    }
}

use HomePhase::{Away, Blocked, Idle, Voting, Welcoming};
use LeadPhase::{Led, Orphaned, Promised, Taking};
use MemberPhase::{Ended, Joining, Leaving, Prepared, Restored, Settled};

/// Every step there is, and when it is taken.
pub const STEPS: &[(Step, &str)] = &[
    (Step::Home(Away, Blocked), "an Install or the home's Leave names this core"),
    (Step::Home(Idle, Voting), "the queue is not empty: Prepare"),
    (Step::Home(Voting, Idle), "no vote is missing: Decide"),
    (Step::Home(Voting, Welcoming), "no vote for a join is missing: Prepare with a snapshot"),
    (
        Step::Home(Voting, Blocked),
        "no vote for another change of the view is missing, or a deadline passes: Decide",
    ),
    (Step::Home(Welcoming, Blocked), "the core that joins has voted or died: Decide"),
    (Step::Home(Blocked, Idle), "everyone is done"),
    (Step::Home(Blocked, Away), "Flush"),
    (Step::Home(Voting, Away), "this core's own Leave is decided"),
    (Step::Member(Joining, Restored), "Prepare with a snapshot: Vote"),
    (Step::Member(Restored, Settled), "the join commits"),
    (Step::Member(Restored, Joining), "the join does not commit"),
    (Step::Member(Settled, Prepared), "Prepare: Vote"),
    (Step::Member(Prepared, Settled), "Decide or Install: Done"),
    (Step::Member(Prepared, Leaving), "its own Leave commits: Done"),
    (Step::Member(Leaving, Ended), "the last Fence"),
    (Step::Lead(Led, Orphaned), "the home is dead"),
    (Step::Lead(Led, Promised), "Flush before this core has seen that its home is dead"),
    (Step::Lead(Led, Taking), "the home is dead, and this core is the lowest or has been alarmed"),
    (Step::Lead(Orphaned, Promised), "Flush: State"),
    (Step::Lead(Orphaned, Taking), "Alarm, or the lower ones die too"),
    (Step::Lead(Promised, Orphaned), "the core that takes over is dead too"),
    (Step::Lead(Promised, Taking), "the core that takes over is dead too, and this one is the next"),
    (Step::Lead(Promised, Led), "Install"),
    (Step::Lead(Taking, Promised), "Flush of a later term: State"),
    (Step::Lead(Taking, Led), "no State is missing: Install"),
];

impl Step {
    /// Whether the tables have it.
    ///
    /// ```
    /// use multikernel_replicate::{MemberPhase, Step};
    ///
    /// assert!(!Step::Member(MemberPhase::Ended, MemberPhase::Settled).is_declared(), "no way back");
    /// ```
    #[must_use]
    pub fn is_declared(self) -> bool {
        STEPS.iter().any(|(step, _)| *step == self)
    }
}
