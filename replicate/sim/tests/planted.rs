//! Each planted mistake is caught within a bounded number of seeds; without one, the same seeds hold.

use std::panic::{AssertUnwindSafe, catch_unwind};

use multikernel_replicate::Policy;
use multikernel_sim::mutants::*;
use multikernel_sim::run;

/// Runs seeds until one fails; says which, and by which check.
fn caught<P: Policy>(within: u64) -> Option<(u64, String)> {
    (0..within).find_map(|seed| {
        // A mistake may be found by an assertion of the protocol, too.
        let outcome = catch_unwind(AssertUnwindSafe(|| run::<P>(seed, false)));
        match outcome {
            Ok(Ok(_)) => None,
            Ok(Err(failure)) => Some((seed, failure.why)),
            Err(_) => Some((seed, "an assertion of the protocol".to_owned())),
        }
    })
}

macro_rules! planted {
    ($($name:ident: $policy:ty, $within:expr;)*) => {$(
        #[test]
        fn $name() {
            let (seed, why) = caught::<$policy>($within).expect("the mistake is noticed");
            println!("{} at seed {seed}: {why}", stringify!($policy));
        }
    )*};
}

planted! {
    deciding_before_all_votes: DecidesEarly, 2_000;
    a_forgotten_abort: ForgetsAbort, 2_000;
    a_stale_view: StaleView, 2_000;
    the_rule_that_any_survivor_decides: AnySurvivor, 20_000;
    rings_of_the_dead_not_read: NoDrain, 20_000;
    an_answer_before_the_push: AnswersFirst, 2_000;
    overlapping_rounds: Overlaps, 2_000;
    a_snapshot_before_the_votes: RestoresFirst, 2_000;
    no_alarm: NoAlarm, 20_000;
    a_view_that_is_no_barrier: NoBarrier, 20_000;
    a_refusal_for_what_is_undecided: RefusesEarly, 20_000;
    a_word_after_the_decision: PublishesLate, 20_000;
    handling_without_looking: HandlesBlindly, 20_000;
    a_timer_that_starts_again_when_its_core_has_died: ClaimsAgain, 2_000;
    a_cancel_without_a_vote: CancelsBlindly, 2_000;
    a_cancel_that_holds_no_other_core: HoldsAlone, 20_000;
    a_timer_that_starts_before_it_is_agreed: ArmsEarly, 2_000;
    a_timer_that_nobody_inherits: LosesTimers, 2_000;
}
