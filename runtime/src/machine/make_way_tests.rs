use proptest::prelude::*;

use super::balance::{Balancer, LongPoll, Tuning, Way};
use super::policy::CoreLoad;

const MS: u64 = 1_000_000;

/// What a core publishes that polls for so many thousandths of its time, in polls of 50 us.
fn busy(thousandths: u64) -> CoreLoad {
    CoreLoad { takes_tasks: true, tasks: 10, busy: thousandths, ..CoreLoad::default() }
}

/// A core that is reserved for long polls.
fn reserved(thousandths: u64) -> CoreLoad {
    CoreLoad { takes_tasks: false, is_reserved: true, ..busy(thousandths) }
}

/// Core `own` of those, after it has looked for a while. `busy` of each is what it does in a thousandth of its time.
fn looked(own: usize, loads: &[CoreLoad]) -> (Balancer, u64) {
    let mut balancer = Balancer::new(loads.len(), own);
    let look = Tuning::default().look;
    let mut now = 0;
    for step in 1..=20_u64 {
        now = step * look;
        let load = |core: usize| {
            let busy = loads[core].busy * step * look / 1000;
            CoreLoad { busy, polls: busy / 50_000, ..loads[core] }
        };
        balancer.look(now, 0, load, 0);
    }
    (balancer, now)
}

/// The same after ten polls of 20 ms within a second.
fn with_long_polls(own: usize, loads: &[CoreLoad]) -> (Balancer, u64) {
    let (mut balancer, now) = looked(own, loads);
    (0..10).for_each(|_| balancer.note_long_poll(now, 20 * MS));
    (balancer, now)
}

fn poll(queued: u32, others: u32) -> LongPoll {
    LongPoll { expected: 20 * MS, is_movable: true, queued, others }
}

#[test]
fn all_others_leave_before_a_long_poll_and_the_core_is_reserved_for_a_while() {
    let (mut own, now) = with_long_polls(0, &[busy(500), busy(300), busy(600)]);
    let short = LongPoll { expected: MS, ..poll(3, 9) };
    assert_eq!(own.before_long_poll(now, short, 0), Way::Stay);
    assert!(!own.is_reserved(now));
    let Way::ClearAll { groups } = own.before_long_poll(now, poll(3, 9), 0) else { panic!("they stay") };
    // By the room that is left up to 80 %: 5 to 2.
    let parts: Vec<_> = groups.iter().map(|group| (group.to, group.tasks)).collect();
    assert_eq!(parts, [(1, 6), (2, 3)]);
    assert!(own.is_reserved(now) && !own.is_reserved(now + 2_000 * MS));
    assert_eq!(own.reserved_until(), now + 1_000 * MS);
}

#[test]
fn a_core_that_long_polls_fill_is_cleared_of_what_cannot_run_there() {
    let (mut own, now) = looked(0, &[busy(1000), busy(100)]);
    (0..50).for_each(|_| own.note_long_poll(now, 20 * MS));
    let way = own.before_long_poll(now, poll(0, 3), 0);
    assert!(matches!(&way, Way::ClearAll { groups } if groups[0].tasks == 3), "{way:?}");
}

#[test]
fn a_core_with_nothing_else_to_do_is_reserved_as_well() {
    let (mut own, now) = with_long_polls(0, &[busy(200), busy(100)]);
    assert_eq!(own.before_long_poll(now, poll(0, 0), 0), Way::Stay);
    assert!(own.is_reserved(now));
}

#[test]
fn where_the_others_have_no_room_only_those_in_the_queue_leave_and_only_to_idle_cores() {
    let queueing = CoreLoad { queue: 3, ..busy(700) };
    let (mut own, now) = with_long_polls(0, &[busy(700), queueing, busy(700)]);
    assert_eq!(own.before_long_poll(now, poll(3, 9), 0), Way::ClearQueue { to: vec![2] });
    assert_eq!(own.before_long_poll(now, poll(0, 9), 0), Way::Stay);
    assert!(!own.is_reserved(now));
}

#[test]
fn a_long_poll_now_and_then_is_not_worth_a_core_where_others_would_wait_for_longer() {
    let loads = [busy(400), busy(390)];
    let (mut own, now) = looked(0, &loads);
    own.note_long_poll(now, 6 * MS);
    let once = LongPoll { expected: 6 * MS, ..poll(0, 9) };
    assert_eq!(own.before_long_poll(now, once, 0), Way::Stay);
    let (mut own, now) = with_long_polls(0, &loads);
    assert!(matches!(own.before_long_poll(now, poll(0, 9), 0), Way::ClearAll { .. }));
}

#[test]
fn tasks_with_long_polls_gather_on_a_core_that_is_reserved() {
    let loads = [busy(500), reserved(300), reserved(200), busy(100)];
    let (mut own, now) = with_long_polls(0, &loads);
    assert_eq!(own.before_long_poll(now, poll(3, 9), 0), Way::Follow { to: 2 });
    let stays = LongPoll { is_movable: false, ..poll(3, 9) };
    assert!(matches!(own.before_long_poll(now, stays, 0), Way::ClearAll { .. }));
    // There is no room for it on either.
    let (mut own, now) = with_long_polls(0, &[busy(500), reserved(500), reserved(600), busy(100)]);
    assert!(matches!(own.before_long_poll(now, poll(3, 9), 0), Way::ClearAll { .. }));
}

#[test]
fn of_two_that_are_reserved_one_is_left() {
    let loads = [reserved(200), reserved(200), busy(300)];
    for (own, way) in [(0, Way::Stay), (1, Way::Follow { to: 0 })] {
        let (mut balancer, now) = with_long_polls(own, &loads);
        let alone = LongPoll { is_movable: false, ..poll(0, 0) };
        assert_eq!(balancer.before_long_poll(now, alone, 0), Way::Stay);
        assert!(balancer.is_reserved(now));
        assert_eq!(balancer.before_long_poll(now, poll(0, 0), 0), way);
    }
}

#[test]
fn a_task_with_long_polls_goes_to_an_idle_core_of_a_faster_cpu() {
    let on = |capacity: u32, cache: usize, load: CoreLoad| CoreLoad {
        capacity: Some(capacity),
        cache: Some(cache),
        ..load
    };
    let idle = CoreLoad { parked: true, ..busy(100) };
    let working = CoreLoad { queue: 1, ..busy(700) };
    let slow = on(500, 0, busy(300));
    let way = |loads: &[CoreLoad]| {
        let (mut own, now) = looked(0, loads);
        own.before_long_poll(now, LongPoll { queued: 0, others: 0, ..poll(0, 0) }, 0)
    };
    assert_eq!(way(&[slow, on(900, 0, idle), on(1024, 1, idle)]), Way::Follow { to: 2 }, "the fastest");
    assert_eq!(way(&[slow, on(1024, 1, idle), on(1024, 0, idle)]), Way::Follow { to: 2 }, "the nearer");
    for other in [on(550, 0, idle), on(1024, 0, working), idle] {
        assert_eq!(way(&[slow, other]), Way::Stay, "{other:?}");
    }
    assert_eq!(way(&[on(1024, 0, busy(300)), on(500, 0, idle)]), Way::Stay);
}

#[test]
fn what_is_queued_goes_to_idle_cores_that_are_near_first() {
    let at = |cache: usize, load: CoreLoad| CoreLoad { cache: Some(cache), ..load };
    let loads = [at(0, busy(700)), at(1, busy(700)), at(0, busy(700)), at(1, busy(700))];
    for random in 0..4 {
        let (mut own, now) = with_long_polls(0, &loads);
        let Way::ClearQueue { to } = own.before_long_poll(now, poll(3, 9), random) else {
            panic!("they stay")
        };
        assert_eq!((to.len(), to[0]), (3, 2));
    }
}

proptest! {
    #[test]
    fn nobody_goes_where_no_tasks_are_taken_and_none_is_given_twice(
        loads in prop::collection::vec((any::<bool>(), any::<bool>(), 0_u64..1000), 2..24),
        own in any::<prop::sample::Index>(),
        queued in 0_u32..50,
        waiting in 0_u32..50,
        expected in 0_u64..100,
        random in any::<u32>(),
    ) {
        let load = |(takes_tasks, is_reserved, share): (bool, bool, u64)| CoreLoad {
            takes_tasks: takes_tasks && !is_reserved, is_reserved, ..busy(share)
        };
        let loads: Vec<_> = loads.into_iter().map(load).collect();
        let own = own.index(loads.len());
        let (mut balancer, now) = with_long_polls(own, &loads);
        let poll = LongPoll { expected: expected * MS, ..poll(queued, queued + waiting) };
        match balancer.before_long_poll(now, poll, random) {
            Way::Stay => {}
            Way::Follow { to } => prop_assert!(to != own && loads[to].is_reserved),
            Way::ClearQueue { to } => {
                prop_assert!(queued > 0 && to.iter().all(|to| *to != own && loads[*to].takes_tasks));
            }
            Way::ClearAll { groups } => {
                prop_assert!(groups.iter().all(|group| group.to != own && loads[group.to].takes_tasks));
                let given: u32 = groups.iter().map(|group| group.tasks).sum();
                prop_assert_eq!(given, queued + waiting);
            }
        }
    }
}
