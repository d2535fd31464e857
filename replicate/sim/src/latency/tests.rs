//! Small machines by hand, and what must hold on all.

use multikernel_replicate::CoreId;

use super::machine::smelt;
use super::report::{Growth, crossing, curve};
use super::*;

const NEAR: Model = Model { name: "one socket", each: 10, hop: smelt };
const PAIRS: Model = Model { name: "sockets of two", each: 2, hop: smelt };

fn took(committed: u64, answered: u64) -> Took {
    Took { committed, answered }
}

#[test]
fn three_cores_of_a_socket() {
    let machine = NEAR.machine(3);
    // Prepares leave c0 at 62 and 124 and are read at 283 and 345. The votes arrive at 345 and 407 and are read at 566 and 787.
    // The Decides leave at 849 and 911 and are read at 1070 and 1132. The Dones arrive at 1132 and 1194: read at 1353 and 1574.
    assert_eq!(Shape::Flat.run(&machine, HOME), took(1132, 1574));
    assert_eq!(Shape::Greedy.run(&machine, HOME), took(1132, 1574));
    assert_eq!(Shape::BothWays.run(&machine, HOME), took(1132, 1574));
    // A chain: each way is two messages of 283, there and back and there, and back again for the answer.
    assert_eq!(Shape::KAry(1).run(&machine, HOME), took(6 * 283, 8 * 283));
    // A proposal from c1 takes one message more; so does its answer. c1 is free again long before it is asked.
    assert_eq!(Shape::Flat.run(&machine, CoreId::new(1)), took(1132 + 283, 1574 + 2 * 283));
}

#[test]
fn two_cores_of_a_socket_and_one_of_another() {
    let machine = PAIRS.machine(3);
    // c2 is told first, at 193, and reads at 886; c1 votes long before. c2's vote arrives at 1079, is read at 1772. The Decides
    // leave at 1965 and 2027; c2 reads at 2658, and its Done arrives at 2851, is read at 3544.
    assert_eq!(Shape::TwoLevel.run(&machine, HOME), took(2658, 3544));
    assert_eq!(Shape::Greedy.run(&machine, HOME), took(2658, 3544));
    // Flat tells c1 first, which costs 62 cycles each way.
    assert_eq!(Shape::Flat.run(&machine, HOME), took(2658 + 2 * 62, 3544 + 2 * 62));
}

#[test]
fn on_a_flat_tree_the_model_is_the_protocol() {
    for model in &MODELS {
        for cores in [2, 3, 7, 16, 20, 33, 64, 200] {
            let machine = model.machine(cores);
            let flat = Tree::flat(machine.topology().cores(), HOME);
            for origin in [0, 1, cores - 1].map(CoreId::new) {
                let model_took = relays::run(&machine, &flat, origin);
                assert_eq!(
                    model_took,
                    shipped::run(&machine, origin),
                    "{} with {cores}, {origin}",
                    model.name
                );
            }
        }
    }
}

#[test]
fn more_cores_take_longer() {
    for model in &MODELS {
        for shape in [Shape::Flat, Shape::TwoLevel, Shape::KAry(2), Shape::KAry(4)] {
            let times = |cores: usize| shape.run(&model.machine(cores), HOME);
            for cores in 2..100 {
                let (less, more) = (times(cores), times(cores + 1));
                let holds = less.committed <= more.committed && less.answered <= more.answered;
                assert!(holds, "{} {} {cores}: {less:?} {more:?}", model.name, shape.name());
            }
        }
    }
}

#[test]
fn longer_ways_take_longer() {
    for shape in SHAPES {
        for cores in SIZES {
            let [near, flying] = [&MODELS[0], &MODELS[2]].map(|model| shape.run(&model.machine(cores), HOME));
            // A home that never waits has heard all Dones at the same time.
            assert!(near.committed < flying.committed && near.answered <= flying.answered);
        }
    }
}

#[test]
fn twenty_cores_are_near_what_smelt_measured() {
    let machine = MODELS[0].machine(report::SMELT_CORES);
    for (shape, measured) in report::SMELT {
        let ratio = shape.run_from_the_worst(&machine).committed as f64 / measured;
        assert!((0.9..1.1).contains(&ratio), "{} {ratio}", shape.name());
    }
}

#[test]
fn a_tree_that_counts_the_votes_is_no_slower() {
    for model in &MODELS {
        for cores in SIZES {
            let machine = model.machine(cores);
            let [smelt, both_ways] = [Shape::Greedy, Shape::BothWays].map(|shape| shape.run(&machine, HOME));
            assert!(
                both_ways.committed <= smelt.committed,
                "{} {cores}: {smelt:?} {both_ways:?}",
                model.name
            );
        }
    }
}

#[test]
fn growth_is_what_it_is_said_to_be() {
    let tail = |shape| curve(&MODELS[0], shape).split_off(6);
    assert!((0.95..1.05).contains(&Growth::as_a_power(&tail(Shape::Flat)).slope));
    for shape in [Shape::KAry(4), Shape::Greedy] {
        assert!(Growth::with_each_doubling(&tail(shape)).worst < 0.06, "logarithmic");
    }
}

#[test]
fn fits_are_those_of_lines() {
    let curve = |f: fn(f64) -> f64| [64.0, 128.0, 256.0, 512.0].map(|cores| (cores, f(cores)));
    let square = Growth::as_a_power(&curve(|cores| 3.0 * cores * cores));
    assert!((square.slope - 2.0).abs() < 1e-9 && square.worst < 1e-9);
    let logarithm = Growth::with_each_doubling(&curve(|cores| 100.0 + 7.0 * cores.log2()));
    assert!((logarithm.slope - 7.0).abs() < 1e-9 && logarithm.worst < 1e-9);
}

#[test]
fn a_crossing_is_the_end_of_the_last_place_where_flat_is_not_slower() {
    assert_eq!(crossing(&MODELS[0], Shape::Flat), None);
    let from = crossing(&MODELS[0], Shape::Greedy).expect("a tree is faster on large machines");
    let times = |cores, shape: Shape| shape.run(&MODELS[0].machine(cores), HOME).committed;
    assert!(times(from, Shape::Greedy) < times(from, Shape::Flat));
    assert!(from == 2 || times(from - 1, Shape::Greedy) >= times(from - 1, Shape::Flat));
}
