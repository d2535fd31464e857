//! Who may start a timer, against who agrees to cancel it: the shipped code, in every order of steps.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p multikernel-replicate --release --lib loom`

use multikernel_channels::sync::{Arc, thread};

use super::*;
use crate::policy::Sound;

const NOW: Time = Time(2);
const KINDS: [fn(u64, Time) -> Claims; 2] = [Claims::once, Claims::each];

fn core(index: usize) -> CoreId {
    CoreId::new(index)
}

fn claim(claims: &Claims, me: usize) -> Claim {
    claims.claim::<Sound>(core(me), NOW, |due| due)
}

/// Runs `model` for timers that are started once, and once on each core.
fn check(model: impl Fn(&Arc<Claims>) + Send + Sync + Copy + 'static) {
    for kind in KINDS {
        loom::model(move || model(&Arc::new(kind(7, Time(1)))));
    }
}

#[test]
fn nobody_starts_what_others_have_agreed_to_cancel() {
    check(|claims| {
        let owner = {
            let claims = Arc::clone(claims);
            thread::spawn(move || claim(&claims, 0))
        };
        let other = {
            let claims = Arc::clone(claims);
            thread::spawn(move || claims.hold::<Sound>(core(1)))
        };
        let agreed = [claims.hold::<Sound>(core(2)), other.join().unwrap()];
        let claimed = owner.join().unwrap();
        assert!(matches!(claimed, Claim::Held | Claim::Last(true)), "{claimed:?}");
        assert!(claimed == Claim::Held || agreed == [false; 2], "started, and {agreed:?}");
        // It is not cancelled: those that agreed let go. Whoever was refused holds nothing.
        (1..3).filter(|me| agreed[2 - me]).for_each(|me| claims.let_go(core(me)));
        assert_eq!(claim(claims, 0), Claim::Last(claimed == Claim::Held), "it starts once");
    });
}

#[test]
fn what_was_refused_and_given_up_starts_all_the_same() {
    check(|claims| {
        let canceller = {
            let claims = Arc::clone(claims);
            thread::spawn(move || {
                if claims.hold::<Sound>(core(1)) {
                    claims.let_go(core(1));
                }
            })
        };
        let first = claim(claims, 0);
        canceller.join().unwrap();
        let second = claim(claims, 0);
        assert_eq!(
            (first == Claim::Last(true)) as u8 + (second == Claim::Last(true)) as u8,
            1,
            "{first:?} {second:?}"
        );
    });
}

#[test]
fn an_heir_does_not_start_again_what_a_dead_core_has_claimed() {
    loom::model(|| {
        let claims = Arc::new(Claims::once(7, Time(1)));
        let dead = {
            let claims = Arc::clone(&claims);
            thread::spawn(move || claim(&claims, 0))
        };
        let heir = claim(&claims, 1);
        let both = [heir, dead.join().unwrap()];
        assert_eq!(both.iter().filter(|claim| **claim == Claim::Last(true)).count(), 1, "{both:?}");
    });
}
