//! Of the trees.

use crate::tree::*;
use crate::{CoreId, CoreSet};

use proptest::prelude::*;

fn hop(topology: &Topology, a: CoreId, b: CoreId) -> Hop {
    match topology.are_near(a, b) {
        true => Hop { send: 62, flight: 0, receive: 221 },
        false => Hop { send: 193, flight: 0, receive: 693 },
    }
}

fn all_shapes(topology: &Topology, root: CoreId, k: usize) -> [Tree; 4] {
    [
        Tree::flat(topology.cores(), root),
        Tree::k_ary(topology.cores(), root, k),
        Tree::two_level(topology, root),
        Tree::greedy(topology, root, |a, b| hop(topology, a, b)),
    ]
}

/// How many messages go from one package to another.
fn far_messages(topology: &Topology, tree: &Tree) -> usize {
    let cores = tree.cores();
    let told = cores.iter().filter_map(|core| Some((tree.parent(core)?, core)));
    told.filter(|(parent, core)| !topology.are_near(*parent, *core)).count()
}

proptest! {
    #[test]
    fn every_core_is_told_once_and_after_who_tells_it(
        each in 1..12_usize,
        numbers in proptest::collection::btree_set(0..200_usize, 1..80),
        root in any::<prop::sample::Index>(),
        k in 1..9_usize,
    ) {
        let cores: CoreSet = numbers.iter().copied().map(CoreId::new).collect();
        let topology = Topology::in_packages_of(each, 200).only(cores);
        prop_assert_eq!(topology.cores(), cores);
        let root = cores.iter().nth(root.index(numbers.len())).expect("it is an index");
        for tree in all_shapes(&topology, root, k) {
            let order = tree.from_the_root();
            prop_assert_eq!(order.len(), numbers.len());
            prop_assert_eq!(order.iter().copied().collect::<CoreSet>(), cores);
            prop_assert_eq!((tree.root(), tree.parent(root)), (root, None));
            let mut known = CoreSet::only(root);
            for core in order.into_iter().skip(1) {
                let parent = tree.parent(core).expect("only the root is told by nobody");
                prop_assert!(known.contains(parent) && tree.children(parent).contains(&core));
                known.insert(core);
            }
        }
    }

    #[test]
    fn a_package_is_told_from_outside_once(each in 1..12_usize, cores in 1..150_usize, root in any::<prop::sample::Index>()) {
        let topology = Topology::in_packages_of(each, cores);
        let root = CoreId::new(root.index(cores));
        let [flat, _, two_level, greedy] = all_shapes(&topology, root, 2);
        let others = topology.packages().len() - 1;
        prop_assert_eq!(far_messages(&topology, &two_level), others);
        prop_assert_eq!(far_messages(&topology, &greedy), others);
        prop_assert!(flat.depth() <= 1 && two_level.depth() <= 2);
        // Far ones first.
        for core in topology.cores().iter() {
            let mut near = greedy.children(core).iter().map(|child| topology.are_near(core, *child));
            prop_assert!(near.by_ref().skip_while(|is_near| !is_near).all(|is_near| is_near));
        }
    }

    #[test]
    fn levels_are_filled(cores in 2..400_usize, k in 2..9_usize) {
        let depth = Tree::k_ary(CoreSet::below(cores), CoreId::new(0), k).depth();
        let room = |depth: usize| (0..=depth).map(|level| k.pow(u32::try_from(level).expect("small"))).sum::<usize>();
        prop_assert!(room(depth) >= cores && room(depth - 1) < cores);
    }
}

#[test]
fn who_is_free_first_tells_the_next() {
    let topology = Topology::in_packages_of(8, 8);
    let tree = Tree::greedy(&topology, CoreId::new(0), |a, b| hop(&topology, a, b));
    // c0 sends at 0, 62, 124, 186, 248; c1 knows at 283 and sends before c0 does at 310.
    let told_by = |core| tree.children(CoreId::new(core)).iter().map(|c| c.index()).collect::<Vec<_>>();
    assert_eq!(told_by(0), [1, 2, 3, 4, 5, 7]);
    assert_eq!(told_by(1), [6]);
}

#[test]
#[should_panic(expected = "a core is in one package")]
fn packages_do_not_overlap() {
    let _ = Topology::new(vec![CoreSet::below(2), CoreSet::below(1)]);
}
