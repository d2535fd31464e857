//! Computers that were made up: what real ones have that were not captured, and what none should have.
//!
//! Captured ones are in `tests/topology.rs`.

use proptest::prelude::*;

use super::super::fixture::Fixture;
use super::super::topology_sysfs::{CacheFacts, CpuFacts, Facts, NodeFacts, parse_mask};
use super::*;

fn read(files: &[(&str, &str)]) -> Result<Topology, TopologyError> {
    let below: Vec<_> = files.iter().map(|(path, text)| (format!("sys/devices/{path}"), *text)).collect();
    let below: Vec<_> = below.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    Topology::read_from(Fixture::new(&below).root())
}

fn kinds(topology: &Topology) -> String {
    let letter = |cpu: &Cpu| match cpu.kind {
        CpuKind::Performance => 'P',
        CpuKind::Efficient => 'E',
        CpuKind::Unknown => '?',
    };
    topology.cpus.iter().map(letter).collect()
}

/// CPUs with these values in a file of that name.
fn valued(name: &str, values: &[u64]) -> Topology {
    let files = values
        .iter()
        .enumerate()
        .map(|(cpu, value)| (format!("system/cpu/cpu{cpu}/{name}"), value.to_string()));
    let files: Vec<_> = files.collect();
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    read(&files).expect("it is read")
}

#[test]
fn a_list_is_enough() {
    // No folders of CPUs, caches or nodes, as in some sandboxes.
    let topology =
        read(&[("system/cpu/present", "0-2\n"), ("system/cpu/online", "0,2\n")]).expect("it is read");
    assert_eq!(topology.cpus.iter().map(|cpu| cpu.number).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(topology.online().map(|cpu| cpu.number).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(topology.cores, [[0], [2]]);
    assert_eq!(topology.packages, [Package { id: None, cpus: vec![0, 2] }]);
    assert_eq!((topology.nodes.len(), topology.caches.len()), (0, 0));
    assert_eq!(topology.distance(0, 2), Some(Distance::SameNode), "nothing sets them apart");
    assert_eq!(topology.nearest(2, &[0, 1, 2, 9]), [2, 0, 1, 9]);
    assert_eq!(topology.nearest(1, &[0, 2, 1]), [1, 0, 2], "from nowhere");
    assert_eq!(topology.by_capacity(&[9, 2, 1, 0]), [0, 2, 1, 9]);
}

#[test]
fn a_cpu_without_folders_is_among_others() {
    let files = [
        ("system/cpu/cpu0/topology/physical_package_id", "0"),
        ("system/cpu/cpu1/topology/physical_package_id", "-1\n"),
        ("system/cpu/cpu3/online", "1"),
        ("system/cpu/cpufreq/boost", "1"),
        ("system/cpu/cpu01/online", "1"),
    ];
    let topology = read(&files).expect("it is read");
    assert_eq!(topology.cpus.iter().map(|cpu| cpu.package).collect::<Vec<_>>(), [Some(0), None, None]);
    let packages = [(None, vec![1, 3]), (Some(0), vec![0])].map(|(id, cpus)| Package { id, cpus });
    assert_eq!(topology.packages, packages);
    assert_eq!(topology.distance(0, 3), Some(Distance::OtherPackage));
}

#[test]
fn big_little_and_middle_cores() {
    assert_eq!(
        kinds(&valued("cpu_capacity", &[160, 160, 498, 1024])),
        "EEPP",
        "the middle is more like the big"
    );
    let topology = valued("cpu_capacity", &[446, 446, 1024, 1024]);
    assert_eq!(kinds(&topology), "EEPP");
    assert_eq!(topology.cpu(0).and_then(|cpu| cpu.capacity), Some(446), "as the scheduler has it");
    assert_eq!(topology.by_capacity(&[0, 1, 2, 3]), [2, 3, 0, 1]);
    assert_eq!(kinds(&valued("cpu_capacity", &[1024, 1024])), "??", "all alike");
    assert_eq!(kinds(&valued("cpu_capacity", &[1024, 990, 966])), "???", "favoured cores are no kind");
}

#[test]
fn frequencies_tell_kinds_with_care() {
    let frequency = "cpufreq/cpuinfo_max_freq";
    let turbo = valued(frequency, &[5_200_000, 5_000_000, 4_800_000, 4_400_000]);
    assert_eq!(kinds(&turbo), "????", "each step is small");
    assert_eq!(turbo.cpu(1).and_then(|cpu| cpu.capacity), Some(984));
    let three = valued(frequency, &[4_800_000, 3_800_000, 2_500_000]);
    assert_eq!(kinds(&three), "PEE", "both kinds of efficient cores");
    assert_eq!(kinds(&valued(frequency, &[3_000_000, 0])), "??", "one that does not tell spoils it");
    // A capacity that only some have does not count, the frequencies of all do.
    let files = [
        ("system/cpu/cpu0/cpu_capacity", "1024"),
        ("system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "1000"),
        ("system/cpu/cpu1/cpufreq/cpuinfo_max_freq", "2000"),
    ];
    let topology = read(&files).expect("it is read");
    assert_eq!(topology.cpus.iter().map(|cpu| cpu.capacity).collect::<Vec<_>>(), [Some(512), Some(1024)]);
}

#[test]
fn lists_of_kinds_win() {
    let files = [
        ("system/cpu/online", "0-3"),
        ("system/cpu/present", "0-5"),
        ("cpu_core/cpus", "0-1"),
        ("cpu_atom/cpus", "2"),
        ("cpu_lowpower/cpus", "3,5\n"),
        ("system/cpu/cpu0/cpu_capacity", "10"),
        ("system/cpu/cpu1/cpu_capacity", "1024"),
        ("system/cpu/cpu2/cpu_capacity", "1024"),
        ("system/cpu/cpu3/cpu_capacity", "1024"),
    ];
    let topology = read(&files).expect("it is read");
    assert_eq!(kinds(&topology), "PPEE?E");
    assert_eq!(topology.cpu(0).and_then(|cpu| cpu.capacity), Some(10));
    assert_eq!(topology.cpu(5).map(|cpu| (cpu.online, cpu.capacity)), Some((false, None)));
}

#[test]
fn either_word_takes_a_cpu_offline() {
    let files =
        [("system/cpu/online", "0,2"), ("system/cpu/cpu1/online", "1"), ("system/cpu/cpu2/online", "0")];
    let topology = read(&files).expect("it is read");
    assert_eq!(topology.online().map(|cpu| cpu.number).collect::<Vec<_>>(), [0]);
    assert_eq!(topology.cpus.len(), 3);
}

#[test]
fn siblings_and_caches_that_do_not_agree_are_taken_apart() {
    let files = [
        ("system/cpu/cpu0/topology/core_cpus_list", "0-1"),
        ("system/cpu/cpu1/topology/core_cpus_list", "1"),
        ("system/cpu/cpu2/topology/thread_siblings", "0000000c"),
        ("system/cpu/cpu3/topology/thread_siblings_list", "2-3"),
        ("system/cpu/cpu0/cache/index3/level", "3"),
        ("system/cpu/cpu0/cache/index3/shared_cpu_list", "0-2"),
        ("system/cpu/cpu1/cache/index3/level", "3"),
        ("system/cpu/cpu1/cache/index3/shared_cpu_map", "7"),
        ("system/cpu/cpu2/cache/index3/level", "3"),
        ("system/cpu/cpu2/cache/index3/shared_cpu_list", "\n"),
        ("system/cpu/cpu3/cache/index0/type", "Instruction"),
        ("system/cpu/cpu3/cache/index0/level", "1"),
    ];
    let topology = read(&files).expect("it is read");
    assert_eq!(topology.cores, [vec![0], vec![1], vec![2, 3]]);
    assert_eq!(topology.caches.iter().map(|cache| &cache.cpus[..]).collect::<Vec<_>>(), [&[0, 1][..], &[2]]);
    assert_eq!(topology.distance(0, 1), Some(Distance::SameCache));
    assert_eq!(topology.distance(1, 2), Some(Distance::SameNode));
    assert_eq!(topology.cpu(3).and_then(Cpu::last_level_cache), None);
}

#[test]
fn caches_that_are_only_numbered() {
    let cache = |cpu: usize, file: &str| format!("system/cpu/cpu{cpu}/cache/index0/{file}");
    let files: Vec<_> = [(0, "7"), (1, "7"), (2, "8"), (3, "")]
        .into_iter()
        .flat_map(|(cpu, id)| {
            [(cache(cpu, "level"), "2"), (cache(cpu, "id"), id), (cache(cpu, "size"), "2M")]
        })
        .collect();
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let topology = read(&files).expect("it is read");
    let caches = [(Some(7), vec![0, 1]), (Some(8), vec![2]), (None, vec![3])];
    assert_eq!(topology.caches, caches.map(|(id, cpus)| Cache { level: 2, size: Some(2 << 20), id, cpus }));
}

#[test]
fn nodes_of_memory_and_rows_that_do_not_fit() {
    let files = [
        ("system/cpu/present", "0-2"),
        ("system/node/online", "0,4,9"),
        ("system/node/node0/cpulist", "0-1,7"),
        ("system/node/node0/distance", "10 20 17"),
        ("system/node/node4/cpumap", "00000000"),
        ("system/node/node4/distance", "20 10"),
        ("system/node/node6/cpu2/there", ""),
    ];
    let topology = read(&files).expect("it is read");
    let rows = |from| [0, 4, 6].map(|to| topology.node_distance(from, to));
    assert_eq!(rows(0), [Some(10), Some(20), Some(17)], "three columns for three nodes");
    assert_eq!(rows(4), [None, None, None], "two columns for three nodes");
    assert_eq!(rows(6), [None, None, None]);
    let nodes: Vec<_> = topology.nodes.iter().map(|node| (node.number, &node.cpus[..])).collect();
    assert_eq!(nodes, [(0, &[0, 1][..]), (4, &[]), (6, &[2])], "CPU 7 is nowhere else");
    // The folder of a node is gone, its column is not.
    let files = [
        ("system/cpu/present", "0"),
        ("system/node/online", "0-1,5"),
        ("system/node/node0/distance", "10 11 12"),
        ("system/node/node5/distance", "12 13 10"),
    ];
    let topology = read(&files).expect("it is read");
    assert_eq!((topology.node_distance(0, 5), topology.node_distance(5, 0)), (Some(12), Some(12)));
}

#[test]
fn emulated_nodes_list_a_cpu_twice() {
    let files = [
        ("system/cpu/present", "0-1"),
        ("system/node/node0/cpulist", "0-1"),
        ("system/node/node1/cpulist", "0-1"),
    ];
    let topology = read(&files).expect("it is read");
    assert_eq!(topology.cpu(1).and_then(|cpu| cpu.node), Some(0));
    assert!(topology.nodes.iter().all(|node| node.cpus == [0, 1]));
}

#[test]
fn what_the_kernel_would_not_write_is_an_error_that_names_the_file() {
    let cases = [
        ("system/cpu/online", "0-"),
        ("system/cpu/present", "0-99999999"),
        ("system/cpu/cpu0/online", "yes"),
        ("system/cpu/cpu0/cpu_capacity", "-1"),
        ("system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "99999999999999999999"),
        ("system/cpu/cpu0/topology/physical_package_id", "0x1"),
        ("system/cpu/cpu0/topology/die_id", "--1"),
        ("system/cpu/cpu0/topology/core_cpus_list", "1-0"),
        ("system/cpu/cpu0/topology/thread_siblings", "123456789"),
        ("system/cpu/cpu0/cache/index0/level", "4294967296"),
        ("system/node/node0/cpumap", "1,,1"),
        ("system/node/node0/distance", "10 far"),
        ("system/node/online", "\u{fffd}"),
        ("cpu_atom/cpus", "0;1"),
    ];
    for (path, text) in cases {
        let error = read(&[("system/cpu/cpu0/there", ""), (path, text)]).expect_err(path);
        let TopologyError::Malformed { path: told, text: begin, .. } = &error else {
            panic!("{path}: {error}")
        };
        assert!(told.ends_with(path) && begin == text, "{error}");
        assert!(error.to_string().contains(path), "{error}");
    }
    let size = "system/cpu/cpu0/cache/index0/size";
    for text in ["K", "1T", "-1K", "18446744073709551615K"] {
        let error = read(&[("system/cpu/cpu0/cache/index0/level", "1"), (size, text)]).expect_err(text);
        assert!(matches!(&error, TopologyError::Malformed { path, .. } if path.ends_with(size)), "{error}");
    }
    let both = [("system/cpu/present", "0"), ("cpu_core/cpus", "0"), ("cpu_atom/cpus", "0-3")];
    assert!(matches!(read(&both), Err(TopologyError::Malformed { .. })));
}

#[test]
fn a_folder_in_the_place_of_a_file_is_unreadable() {
    let error = read(&[("system/cpu/cpu0/online/there", "")]).expect_err("a folder");
    assert!(matches!(error, TopologyError::Unreadable { .. }), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    let hint = read(&[("system/cpu/cpu0/cpufreq/cpuinfo_max_freq/there", "")]).expect("only a hint");
    assert_eq!(hint.cpus[0].capacity, None);
}

#[test]
fn masks_are_read() {
    assert_eq!(parse_mask("00000001,80000003"), Some(vec![0, 1, 31, 32]));
    assert_eq!(parse_mask("f"), Some(vec![0, 1, 2, 3]));
    assert_eq!((parse_mask(""), parse_mask("0,0")), (Some(vec![]), Some(vec![])));
    let far = |words: usize| format!("1{}", ",00000000".repeat(words));
    assert_eq!(parse_mask(&far(2047)), Some(vec![65504]));
    for odd in ["g", "+1", "0x1", "1,", ",1", "000000001", "1 2", &far(2048)] {
        assert_eq!(parse_mask(odd), None, "{odd}");
    }
}

/// Facts that contradict each other in any way that their types allow.
fn facts() -> impl Strategy<Value = Facts> {
    let set = || {
        proptest::collection::btree_set(0..8_usize, 0..4).prop_map(|set| set.into_iter().collect::<Vec<_>>())
    };
    let id = || proptest::option::of(0..3_usize);
    let cache = (0..4_u32, proptest::option::of(any::<u64>()), id(), proptest::option::of(set()))
        .prop_map(|(level, size, id, cpus)| CacheFacts { level, size, id, cpus });
    let speeds = (proptest::option::of(any::<u64>()), proptest::option::of(1..9_u64));
    let kind = prop_oneof![Just(CpuKind::Unknown), Just(CpuKind::Efficient), Just(CpuKind::Performance)];
    let cpu = (
        any::<bool>(),
        (id(), id()),
        proptest::option::of(set()),
        proptest::collection::vec(cache, 0..4),
        kind,
        speeds,
    );
    let node = (set(), proptest::collection::vec(any::<u32>(), 0..4));
    let cpus = proptest::collection::btree_map(0..8_usize, cpu, 1..6);
    let nodes = proptest::collection::btree_map(0..5_usize, node, 0..4);
    (cpus, nodes, proptest::option::of(set())).prop_map(|(cpus, nodes, nodes_online)| Facts {
        cpus: cpus
            .into_iter()
            .map(|(number, (online, (package, die), siblings, caches, kind, (capacity, frequency)))| {
                CpuFacts { number, online, package, die, siblings, caches, kind, capacity, frequency }
            })
            .collect(),
        nodes: nodes
            .into_iter()
            .map(|(number, (cpus, distances))| NodeFacts { number, cpus, distances })
            .collect(),
        nodes_online,
    })
}

proptest! {
    #[test]
    fn a_mask_says_what_its_bits_say(cpus in proptest::collection::btree_set(0..256_usize, 0..20)) {
        let word = |word: usize| {
            let bits = (0..32).filter(|bit| cpus.contains(&(word * 32 + bit))).map(|bit| 1_u32 << bit);
            format!("{:08x}", bits.sum::<u32>())
        };
        let text: Vec<_> = (0..8).rev().map(word).collect();
        prop_assert_eq!(parse_mask(&text.join(",")), Some(cpus.into_iter().collect()));
    }

    #[test]
    fn any_text_is_a_mask_or_none(text in "\\PC{0,80}") {
        let cpus = parse_mask(&text);
        prop_assert!(cpus.is_none_or(|cpus| cpus.is_sorted_by(|a, b| a < b)));
    }

    #[test]
    fn facts_that_contradict_each_other_lose_no_cpu(facts in facts(), asked in proptest::collection::vec(0..10_usize, 0..12)) {
        let expected: Vec<_> = facts.cpus.iter().map(|cpu| (cpu.number, cpu.online)).collect();
        let topology = build(facts);
        prop_assert_eq!(topology.cpus.iter().map(|cpu| (cpu.number, cpu.online)).collect::<Vec<_>>(), expected);
        let online: Vec<_> = topology.online().map(|cpu| cpu.number).collect();
        let sorted = |mut cpus: Vec<usize>| { cpus.sort_unstable(); cpus };
        prop_assert_eq!(&sorted(topology.cores.concat()), &online);
        prop_assert_eq!(&sorted(topology.packages.iter().flat_map(|package| package.cpus.clone()).collect()), &online);
        for a in 0..9 {
            prop_assert_eq!(sorted(topology.nearest(a, &asked)), sorted(asked.clone()));
            for b in 0..9 {
                prop_assert_eq!(topology.distance(a, b), topology.distance(b, a));
                prop_assert_eq!(topology.distance(a, b).is_some(), online.contains(&a) && online.contains(&b));
            }
        }
        prop_assert_eq!(sorted(topology.by_capacity(&asked)), sorted(asked.clone()));
    }
}
