//! The protocol as it ships, and with one mistake each.

use multikernel_replicate::Policy;

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident { $constant:ident })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name;

        impl Policy for $name {
            const $constant: bool = true;
        }
    )*};
}

mutants! {
    /// No mistake; replicas are compared after each round.
    Compared { COMPARE }
    /// The home decides when half of the votes are in.
    DecidesEarly { DECIDE_EARLY }
    /// Members forget to abort.
    ForgetsAbort { FORGET_ABORT }
    /// The home does not notice that a core has joined.
    StaleView { STALE_VIEW }
    /// A takeover commits what some survivor has committed and aborts the rest.
    AnySurvivor { ANY_SURVIVOR }
    /// Nobody reads the rings of the dead to the end.
    NoDrain { NO_DRAIN }
    /// The home applies and answers before it pushes.
    AnswersFirst { ANSWER_FIRST }
    /// The home sends the next Prepare before the Decide.
    Overlaps { OVERLAP }
    /// A core that joins restores before the others have voted.
    RestoresFirst { RESTORE_FIRST }
    /// Only a core that finds itself the lowest takes over.
    NoAlarm { NO_ALARM }
    /// A change of the view is no barrier.
    NoBarrier { NO_BARRIER }
    /// The home refuses while earlier entries of the batch are undecided.
    RefusesEarly { REFUSE_EARLY }
    /// The home says that it decides when it has pushed the decision.
    PublishesLate { PUBLISH_LATE }
    /// A core that has prepared handles messages without looking at what is being decided.
    HandlesBlindly { HANDLE_BLINDLY }
    /// Whoever has a timer of the Machine now starts what was claimed, whether or not somebody has.
    ClaimsAgain { CLAIM_AGAIN }
    /// Whoever is asked to cancel a timer says yes, and goes on.
    CancelsBlindly { CANCEL_BLINDLY }
    /// Who agrees to cancel a timer keeps only its own core from starting it.
    HoldsAlone { HOLD_ALONE }
    /// A timer may start before all have agreed that there is one.
    ArmsEarly { ARM_EARLY }
    /// Nobody owns what a core owned that is gone.
    LosesTimers { NO_HEIR }
}
