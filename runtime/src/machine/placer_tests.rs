use proptest::prelude::*;

use super::placer::{Newcomer, Placer};
use super::policy::{CoreLoad, Placement};

fn takers(count: usize) -> Vec<CoreLoad> {
    vec![CoreLoad { takes_tasks: true, ..CoreLoad::default() }; count]
}

/// Numbers that look random, the same each time.
pub(super) fn numbers(mut seed: u64) -> impl FnMut() -> u32 {
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 32) as u32
    }
}

/// The most and the fewest connections after a burst that `acceptors` cores take, while a core publishes every `every`
/// connections only, what had arrived `late` connections before.
fn burst(cores: usize, acceptors: usize, every: usize, late: usize, count: usize) -> (u32, u32) {
    let mut placers: Vec<_> = (0..acceptors).map(|own| Placer::new(cores, own)).collect();
    let mut loads = takers(cores);
    let mut random = numbers(7);
    let (mut sent, mut has, mut arrived) = (Vec::new(), vec![0; cores], vec![0; cores]);
    for step in 0..count {
        let now = step as u64 * 5_000;
        let placer = &mut placers[step % acceptors];
        let to = placer.choose(now, Placement::Spread, Newcomer::Connection, |core| loads[core], random());
        sent.push(to.index());
        has[to.index()] += 1;
        if step >= late {
            arrived[sent[step - late]] += 1;
        }
        if step % every == 0 {
            for (load, arrived) in loads.iter_mut().zip(&arrived) {
                load.connections = *arrived;
                load.polls += 1;
            }
        }
    }
    (*has.iter().max().unwrap(), *has.iter().min().unwrap())
}

#[test]
fn a_burst_of_connections_is_spread_evenly_although_figures_are_old() {
    for cores in [2, 8, 64] {
        for (every, late) in [(1, 0), (100, 0), (100, 100), (200, 200), (usize::MAX, 0)] {
            let (most, fewest) = burst(cores, 1, every, late, 10_000);
            let ratio = f64::from(most) / f64::from(fewest);
            assert!(ratio <= 1.05, "{cores} {every} {late}: {most} to {fewest}");
        }
    }
}

/// Each fills up what it sees as the emptiest, and the others do so as well: the older the figures, the less even.
#[test]
fn several_who_accept_spread_a_burst_evenly_as_well() {
    for (cores, acceptors) in [(2, 2), (8, 4)] {
        for (every, late) in [(1, 0), (100, 0), (50, 50), (usize::MAX, 0)] {
            let (most, fewest) = burst(cores, acceptors, every, late, 10_000);
            let ratio = f64::from(most) / f64::from(fewest);
            assert!(ratio <= 1.05, "{cores} {acceptors} {every} {late}: {most} to {fewest}");
        }
    }
}

#[test]
fn a_burst_of_tasks_goes_nowhere_all_at_once() {
    let mut placer = Placer::new(8, 0);
    let (loads, mut random, mut has) = (takers(8), numbers(1), [0_u32; 8]);
    for _ in 0..8000 {
        let to = placer.choose(0, Placement::Spread, Newcomer::Task, |core| loads[core], random());
        has[to.index()] += 1;
    }
    assert!(has.iter().all(|has| (990..=1010).contains(has)), "{has:?}");
}

#[test]
fn packing_leaves_cores_asleep_until_the_first_are_late() {
    let mut loads = takers(4);
    let place = |loads: &[CoreLoad]| {
        let mut placer = Placer::new(4, 3);
        placer.choose(0, Placement::Pack { micros: 100 }, Newcomer::Task, |core| loads[core], 5).index()
    };
    assert_eq!(place(&loads), 0);
    loads[0].delay = 100_001;
    assert_eq!(place(&loads), 1);
    loads[1].takes_tasks = false;
    assert_eq!(place(&loads), 2);
}

#[test]
fn few_keys_move_when_a_core_goes() {
    let mut loads = takers(8);
    let place = |loads: &[CoreLoad], key: u64| {
        let mut placer = Placer::new(8, 0);
        placer.choose(0, Placement::ByKey(key), Newcomer::Task, |core| loads[core], key as u32).index()
    };
    let before: Vec<_> = (0..4000).map(|key| place(&loads, key)).collect();
    for core in 0..8 {
        let has = before.iter().filter(|at| **at == core).count();
        assert!((400..600).contains(&has), "core {core} has {has} of 4000 keys");
    }
    loads[3].takes_tasks = false;
    for (key, before) in before.into_iter().enumerate() {
        let after = place(&loads, key as u64);
        assert!(if before == 3 { after != 3 } else { after == before }, "{key}: {before} to {after}");
    }
}

#[test]
fn a_choice_that_makes_no_sense_is_not_followed() {
    let mut loads = takers(3);
    loads[2].takes_tasks = false;
    for choose in [|_: &[CoreLoad]| 2_usize, |_: &[CoreLoad]| 99] {
        let mut placer = Placer::new(3, 0);
        let to = placer.choose(0, Placement::Custom(choose), Newcomer::Task, |core| loads[core], 1);
        assert!(to.index() < 2);
    }
    let mut placer = Placer::new(3, 0);
    let to = placer.choose(0, Placement::Custom(|_| 1), Newcomer::Task, |core| loads[core], 1);
    assert_eq!(to.index(), 1);
}

/// How many of 1000 tasks go to each core, if all publish the same all the time.
fn spread(loads: &[CoreLoad], what: Newcomer) -> Vec<usize> {
    let (mut placer, mut random) = (Placer::new(loads.len(), 0), numbers(11));
    let mut has = vec![0; loads.len()];
    for step in 0..1000 {
        let now = step * 1_000_000;
        has[placer.choose(now, Placement::Spread, what, |core| loads[core], random()).index()] += 1;
    }
    has
}

#[test]
fn tasks_stay_in_their_cache_until_they_would_wait_there() {
    let mut loads = takers(4);
    loads.iter_mut().enumerate().for_each(|(core, load)| load.cache = Some(core / 2));
    let has = spread(&loads, Newcomer::Task);
    // Both that are looked at are far ones once in six times.
    assert!((780..880).contains(&(has[0] + has[1])), "{has:?}");
    loads[..2].iter_mut().for_each(|load| load.delay = 900);
    assert_eq!(spread(&loads, Newcomer::Task), has, "so little is no reason to leave");
    loads[..2].iter_mut().for_each(|load| load.delay = 2_000);
    let has = spread(&loads, Newcomer::Task);
    assert!((780..880).contains(&(has[2] + has[3])), "{has:?}");
}

#[test]
fn tasks_that_compute_go_to_fast_cpus_until_it_is_faster_to_wait_for_none() {
    let mut loads = takers(4);
    for (load, capacity) in loads.iter_mut().zip([1024, 1024, 512, 512]) {
        // Polls of 100 us, which take 200 us on the slow ones.
        *load = CoreLoad { capacity: Some(capacity), busy: 100_000_000, polls: 1000, delay: 90_000, ..*load };
    }
    loads[2..].iter_mut().for_each(|load| load.delay = 0);
    let has = spread(&loads, Newcomer::Task);
    assert!((780..880).contains(&(has[0] + has[1])), "{has:?}");
    loads[..2].iter_mut().for_each(|load| load.delay = 110_000);
    let has = spread(&loads, Newcomer::Task);
    assert!((780..880).contains(&(has[2] + has[3])), "{has:?}");
}

#[test]
fn slow_cpus_get_fewer_connections() {
    let mut loads = takers(3);
    for (load, capacity) in loads.iter_mut().zip([1024, 1024, 512]) {
        load.capacity = Some(capacity);
    }
    let has = spread(&loads, Newcomer::Connection);
    assert!(has[0].abs_diff(400) <= 1 && has[1].abs_diff(400) <= 1 && has[2].abs_diff(200) <= 1, "{has:?}");
}

fn any_placement() -> impl Strategy<Value = Placement> {
    prop_oneof![
        Just(Placement::Spread),
        Just(Placement::Local),
        any::<u32>().prop_map(|micros| Placement::Pack { micros }),
        any::<u64>().prop_map(Placement::ByKey),
        Just(Placement::Custom(|loads| loads.len() / 2)),
    ]
}

fn any_load() -> impl Strategy<Value = CoreLoad> {
    let figures = (any::<bool>(), any::<bool>(), 0_u32..100, 0_u32..100, 0_u64..1_000_000, 0_u64..5);
    let seat = (prop::option::of(0_usize..3), prop::option::of(0_u32..2000));
    (figures, seat).prop_map(
        |((takes_tasks, parked, tasks, connections, delay, polls), (cache, capacity))| CoreLoad {
            takes_tasks,
            cache,
            capacity,
            parked,
            tasks,
            connections,
            delay,
            polls,
            busy: polls * 1000,
            ..CoreLoad::default()
        },
    )
}

proptest! {
    #[test]
    fn nothing_is_placed_where_no_tasks_are_taken(
        placements in prop::collection::vec((any_placement(), any::<bool>(), any::<u32>()), 1..20),
        loads in prop::collection::vec(any_load(), 1..20),
        own in 0_usize..20,
    ) {
        let own = own % loads.len();
        let mut placer = Placer::new(loads.len(), own);
        for (step, (placement, is_task, random)) in placements.into_iter().enumerate() {
            let what = if is_task { Newcomer::Task } else { Newcomer::Connection };
            let to = placer.choose(step as u64 * 400_000, placement, what, |core| loads[core], random).index();
            let nobody_takes = loads.iter().all(|load| !load.takes_tasks);
            prop_assert!(loads[to].takes_tasks || (nobody_takes && to == own));
        }
    }
}
