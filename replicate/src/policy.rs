//! Mistakes that the protocol could make, to show that the checks notice.

/// Which mistakes to make. All constants: what is not made costs nothing.
///
/// Programs use [`Sound`]. The simulator has a policy for each constant, and a test that it is caught.
///
/// ```
#[doc = include_str!("../doc/alone.md")]
/// /// A home that is in too much of a hurry.
/// struct Hasty;
///
/// impl Policy for Hasty {
///     const DECIDE_EARLY: bool = true;
/// }
///
/// let hasty = Agreement::<Replicas, Hasty>::founder(a, CoreSet::below(4), Replicas::among(CoreSet::below(4)));
/// assert!(hasty.is_member());
/// ```
pub trait Policy: 'static {
    /// The home decides when half of the votes are in.
    const DECIDE_EARLY: bool = false;
    /// A member forgets to abort what it prepared and what is not committed.
    const FORGET_ABORT: bool = false;
    /// The home does not notice that a core has joined.
    const STALE_VIEW: bool = false;
    /// A takeover commits what some survivor has committed and aborts the rest.
    const ANY_SURVIVOR: bool = false;
    /// Nobody waits for the end of a dead core's ring (against R3).
    const NO_DRAIN: bool = false;
    /// The home applies and answers before it pushes the decision (against R1).
    const ANSWER_FIRST: bool = false;
    /// The home sends the next Prepare before the round is decided (against R2).
    const OVERLAP: bool = false;
    /// A core that joins restores before the others have voted.
    const RESTORE_FIRST: bool = false;
    /// Only a core that finds itself the lowest takes over; nobody tells it (against R6).
    const NO_ALARM: bool = false;
    /// A change of the view is no barrier (against R5).
    const NO_BARRIER: bool = false;
    /// The home refuses while earlier entries of the batch are undecided (against R7).
    const REFUSE_EARLY: bool = false;
    /// The home says that it decides when it has pushed the decision.
    const PUBLISH_LATE: bool = false;
    /// A core that has prepared handles messages without looking at what is being decided.
    const HANDLE_BLINDLY: bool = false;
    /// Whoever has a timer of the Machine now starts what was claimed, whether or not somebody has.
    const CLAIM_AGAIN: bool = false;
    /// Whoever is asked to cancel a timer says yes, and goes on.
    const CANCEL_BLINDLY: bool = false;
    /// Who agrees to cancel a timer keeps only its own core from starting it.
    const HOLD_ALONE: bool = false;
    /// A timer may start before all have agreed that there is one.
    const ARM_EARLY: bool = false;
    /// Nobody owns what a core owned that is gone.
    const NO_HEIR: bool = false;
    /// Whether replicas are compared by digest after each round. No mistake, but it costs.
    const COMPARE: bool = false;
    /// Whether steps are reported to [`Effects::step`](crate::Effects::step). Likewise.
    const OBSERVE: bool = true;
}

/// No mistake.
///
/// ```
/// use multikernel_replicate::{Policy, Sound};
///
/// assert!(!Sound::DECIDE_EARLY && !Sound::FORGET_ABORT);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sound;

impl Policy for Sound {}
