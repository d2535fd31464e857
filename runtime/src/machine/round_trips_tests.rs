//! Round trips on whatever CPUs this process may use.

use super::*;

/// Long enough for one series, whoever else uses the CPUs; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn every_allowed_pair_is_measured() {
    let allowed = pinning::available().cpus;
    let allowed = &allowed[..allowed.len().min(3)];
    let trips = measure_round_trips_among(allowed, PATIENCE).expect("threads");
    assert_eq!(trips.cpus, allowed);
    for from in allowed {
        for to in allowed {
            let trip = trips.between(*from, *to);
            assert_eq!(trip.is_some(), from != to, "{from} to {to}: {trip:?}");
            assert!(trip.is_none_or(|trip| trip > 0), "faster than light");
            assert_eq!(trip, trips.between(*to, *from));
        }
    }
}

#[test]
fn the_mask_of_the_caller_stays() {
    let before = cpus::affinity().expect("the mask");
    measure_round_trips_among(&before[..before.len().min(2)], Duration::from_millis(20)).expect("threads");
    assert_eq!(cpus::affinity().expect("the mask"), before);
}

#[test]
fn cpus_that_are_not_there_are_not_measured() {
    let here = pinning::available().cpus[0];
    let trips = measure_round_trips_among(&[65_000, here, here, 70_000], PATIENCE).expect("threads");
    assert_eq!(trips.cpus, [here, 65_000, 70_000], "ascending, each once");
    assert!(trips.nanoseconds.iter().flatten().all(Option::is_none), "{trips}");
}

#[test]
fn without_time_nothing_is_measured_and_without_cpus_nothing_is_there() {
    let trips = measure_round_trips(Duration::ZERO).expect("nothing to do");
    assert!(!trips.cpus.is_empty() && trips.nanoseconds.iter().flatten().all(Option::is_none));
    assert_eq!(measure_round_trips_among(&[], Duration::MAX).expect("nothing to do"), RoundTrips::default());
}

#[test]
fn a_side_that_does_not_come_ends_the_game() {
    assert_eq!(Court::new(Some(Instant::now())).serve(), None, "the time is over");
    let given_up = Court::new(None);
    drop(GivesUp(&given_up));
    assert_eq!(given_up.serve(), None, "the other side is gone");
    assert!(!given_up.await_turn(1));
}

#[test]
fn a_table_shows_what_was_measured() {
    let trips =
        RoundTrips { cpus: vec![0, 12], nanoseconds: vec![vec![None, Some(87)], vec![Some(87), None]] };
    assert_eq!(trips.to_string(), "   ns     0    12\n    0     -    87\n   12    87     -\n");
    assert_eq!((trips.between(12, 0), trips.between(0, 0), trips.between(0, 3)), (Some(87), None, None));
}
