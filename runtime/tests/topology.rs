//! What `machine::Topology` tells of computers that were captured elsewhere, and of this one.
//!
//! What is expected of each was read off the files and their names by hand. `MULTIKERNEL_TOPOLOGIES` may name a folder with
//! more captures, unpacked or as archives that `tar` reads: those must be read, and hold together.
#![cfg(not(loom))]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use multikernel::machine::{CpuKind, Distance, Topology, TopologyError};
use proptest::prelude::*;

/// An unpacked archive, removed when dropped.
struct Unpacked(PathBuf);

impl Unpacked {
    fn new(archive: &Path) -> Unpacked {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // Relaxed: only the number itself must be unique.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("multikernel-topology-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        let unpacked = Unpacked(folder);
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--no-same-owner", "--file"]).arg(archive).arg("--directory").arg(&unpacked.0);
        assert!(tar.status().expect("tar runs").success(), "{} is not unpacked", archive.display());
        unpacked
    }

    /// One that is in the repository.
    fn ours(name: &str) -> Unpacked {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/topologies");
        Unpacked::new(&folder.join(format!("{name}.tar.gz")))
    }

    fn root(&self) -> PathBuf {
        root_below(&self.0).expect("a capture")
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The nearest folder that stands for `/`.
fn root_below(folder: &Path) -> Option<PathBuf> {
    if folder.join("sys/devices/system/cpu").is_dir() {
        return Some(folder.to_owned());
    }
    let entries = fs::read_dir(folder).ok()?.map(|entry| entry.expect("a readable folder"));
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.into_iter().find_map(|entry| root_below(&entry.path()))
}

fn ours(name: &str) -> Topology {
    let unpacked = Unpacked::ours(name);
    let topology = Topology::read_from(&unpacked.root()).expect("it is read");
    assert_sound(&topology, name);
    assert_eq!(
        numbers(&topology),
        cpu_folders(&unpacked.root()),
        "{name}: each folder is a CPU and the reverse"
    );
    topology
}

fn numbers(topology: &Topology) -> Vec<usize> {
    topology.cpus.iter().map(|cpu| cpu.number).collect()
}

fn online(topology: &Topology) -> Vec<usize> {
    topology.online().map(|cpu| cpu.number).collect()
}

fn cpu_folders(root: &Path) -> Vec<usize> {
    let entries = fs::read_dir(root.join("sys/devices/system/cpu")).expect("the folder of CPUs");
    let names =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"));
    let mut numbers: Vec<usize> = names.filter_map(|name| name.strip_prefix("cpu")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// What holds for every computer, and whatever was in the files.
fn assert_sound(topology: &Topology, name: &str) {
    let all = numbers(topology);
    let online = online(topology);
    let ascends = |list: &[usize]| list.is_sorted_by(|a, b| a < b);
    assert!(!all.is_empty() && ascends(&all), "{name}: {all:?}");
    let parts = |groups: Vec<&Vec<usize>>| {
        assert!(groups.iter().all(|group| !group.is_empty() && ascends(group)), "{name}: {groups:?}");
        let mut members: Vec<usize> = groups.into_iter().flatten().copied().collect();
        members.sort_unstable();
        members
    };
    assert_eq!(parts(topology.cores.iter().collect()), online, "{name}: each in one core");
    assert_eq!(parts(topology.packages.iter().map(|package| &package.cpus).collect()), online, "{name}");
    for cpu in &topology.cpus {
        let number = cpu.number;
        assert_eq!(cpu.core.is_some(), cpu.online, "{name}: {cpu:?}");
        assert!(cpu.core.is_none_or(|core| topology.cores[core].contains(&number)), "{name}: {cpu:?}");
        for cache in &cpu.caches {
            assert!(topology.caches[*cache].cpus.contains(&number), "{name}: {cpu:?}");
        }
        let levels = cpu.caches.iter().map(|cache| topology.caches[*cache].level);
        assert!(levels.is_sorted(), "{name}: {cpu:?}");
        if let Some(number_of_node) = cpu.node {
            let node =
                topology.nodes.iter().find(|node| node.number == number_of_node).expect("it is listed");
            assert_eq!(node.cpus.contains(&number), cpu.online, "{name}: {cpu:?}");
        }
    }
    for (at, cache) in topology.caches.iter().enumerate() {
        assert!(!cache.cpus.is_empty() && ascends(&cache.cpus), "{name}: {cache:?}");
        let lists = |cpu: &usize| topology.cpu(*cpu).expect("a CPU").caches.contains(&at);
        assert!(cache.cpus.iter().all(lists), "{name}: {cache:?}");
    }
    for node in &topology.nodes {
        assert!(ascends(&node.cpus) && node.cpus.iter().all(|cpu| online.contains(cpu)), "{name}: {node:?}");
        assert_eq!(node.distances.len(), topology.nodes.len(), "{name}: {node:?}");
    }
    assert_orders(topology, &all, name);
}

fn assert_orders(topology: &Topology, all: &[usize], name: &str) {
    for from in all.iter().step_by(all.len().div_ceil(16)) {
        let nearest = topology.nearest(*from, all);
        assert_eq!(nearest[0], *from, "{name}");
        let distances: Vec<_> = nearest[1..].iter().map(|to| topology.distance(*from, *to)).collect();
        assert!(
            distances.is_sorted_by_key(|distance| (distance.is_none(), *distance)),
            "{name}: {distances:?}"
        );
        for to in all {
            assert_eq!(topology.distance(*from, *to), topology.distance(*to, *from), "{name}: {from} {to}");
        }
        assert_eq!(nearest.into_iter().collect::<BTreeSet<_>>(), all.iter().copied().collect(), "{name}");
    }
    let capable = topology.by_capacity(all);
    let kinds = capable.iter().map(|cpu| topology.cpu(*cpu).filter(|cpu| cpu.online).map(|cpu| cpu.kind));
    assert!(kinds.is_sorted_by_key(|kind| (kind.is_none(), kind)), "{name}: {capable:?}");
    assert_eq!(capable.into_iter().collect::<BTreeSet<_>>(), all.iter().copied().collect(), "{name}");
}

/// The groups of `size` neighbours that `cpus` fall into.
fn runs(cpus: RangeInclusive<usize>, size: usize) -> Vec<Vec<usize>> {
    cpus.collect::<Vec<_>>().chunks(size).map(<[usize]>::to_vec).collect()
}

/// The CPUs that share each last level's cache, and its level and size.
fn last_levels(topology: &Topology) -> Vec<(Vec<usize>, u32, Option<u64>)> {
    let last: BTreeSet<usize> = topology.online().filter_map(|cpu| cpu.last_level_cache()).collect();
    let caches = last.into_iter().map(|cache| &topology.caches[cache]);
    caches.map(|cache| (cache.cpus.clone(), cache.level, cache.size)).collect()
}

fn packages(topology: &Topology) -> Vec<(Option<usize>, Vec<usize>)> {
    topology.packages.iter().map(|package| (package.id, package.cpus.clone())).collect()
}

fn of_kind(topology: &Topology, kind: CpuKind) -> Vec<usize> {
    topology.cpus.iter().filter(|cpu| cpu.kind == kind).map(|cpu| cpu.number).collect()
}

fn concat(ranges: &[RangeInclusive<usize>]) -> Vec<usize> {
    ranges.iter().cloned().flatten().collect()
}

#[test]
fn four_packages_of_two_nodes() {
    let topology = ours("32amd64-4s2n4c-cgroup");
    assert_eq!(online(&topology), concat(&[0..=31]));
    assert_eq!(packages(&topology), (0..4).map(Some).zip(runs(0..=31, 8)).collect::<Vec<_>>());
    // The numbers of cores repeat within a package, once for each node; the cores do not.
    assert_eq!(topology.cores, runs(0..=31, 1));
    let third_levels: Vec<_> = runs(0..=31, 4).into_iter().map(|cpus| (cpus, 3, Some(5118 << 10))).collect();
    assert_eq!(last_levels(&topology), third_levels);
    let nodes: Vec<_> = topology.nodes.iter().map(|node| (node.number, node.cpus.clone())).collect();
    assert_eq!(nodes, (0..8).zip(runs(0..=31, 4)).collect::<Vec<_>>());
    let row: Vec<_> = (0..8).map(|to| topology.node_distance(3, to).expect("told")).collect();
    assert_eq!(row, [22, 16, 16, 10, 22, 16, 22, 16]);

    assert_eq!(topology.distance(0, 3), Some(Distance::SameCache));
    assert_eq!(topology.distance(3, 4), Some(Distance::SamePackage));
    assert_eq!(topology.distance(7, 8), Some(Distance::OtherNode));
    assert_eq!(topology.distance(0, 32), None, "room for CPUs that are not built in");
    let nearest = concat(&[1..=1, 0..=0, 2..=3, 4..=7, 8..=11, 16..=19, 24..=27, 12..=15, 20..=23, 28..=31]);
    assert_eq!(topology.nearest(1, &concat(&[0..=31])), nearest);
    assert_eq!(of_kind(&topology, CpuKind::Unknown), concat(&[0..=31]), "all are alike");
    assert_eq!(topology.by_capacity(&[9, 3, 30]), [3, 9, 30]);
}

#[test]
fn nodes_with_gaps_between_their_numbers() {
    let topology = ours("48amd64-4d2n6c-sparse");
    assert_eq!(packages(&topology), (0..4).map(Some).zip(runs(0..=47, 12)).collect::<Vec<_>>());
    let nodes: Vec<_> = topology.nodes.iter().map(|node| (node.number, node.cpus.clone())).collect();
    assert_eq!(nodes, [0, 1, 2, 33, 34, 45, 72, 73].into_iter().zip(runs(0..=47, 6)).collect::<Vec<_>>());
    assert_eq!(topology.cores.len(), 48);
    assert_eq!(last_levels(&topology).len(), 8);
    assert_eq!(topology.cpu(47).expect("it is there").node, Some(73));
    assert_eq!(topology.node_distance(33, 2), Some(16));
    assert_eq!(topology.node_distance(33, 73), Some(22));
    assert_eq!(topology.node_distance(33, 33), Some(10));
    assert_eq!(topology.node_distance(33, 3), None, "there is no such node");
    let nearest = concat(&[18..=23, 12..=17, 6..=11, 24..=35, 0..=5, 36..=47]);
    assert_eq!(topology.nearest(18, &numbers(&topology)), nearest);
}

#[test]
fn performance_cores_and_efficient_ones() {
    let topology = ours("20em64t-hybrid-1p6c2t+2ca4co1t");
    assert_eq!(packages(&topology), [(Some(0), concat(&[0..=19]))]);
    assert_eq!(topology.cores, [runs(0..=11, 2), runs(12..=19, 1)].concat());
    // Cores that boost to 5.2 GHz are of the same kind as those that boost to 5.0; 3.9 is another.
    assert_eq!(of_kind(&topology, CpuKind::Performance), concat(&[0..=11]));
    assert_eq!(of_kind(&topology, CpuKind::Efficient), concat(&[12..=19]));
    let capacity = |cpu| topology.cpu(cpu).expect("it is there").capacity;
    assert_eq!((capacity(4), capacity(0), capacity(19)), (Some(1024), Some(984), Some(768)));
    assert_eq!(last_levels(&topology), [(concat(&[0..=19]), 3, Some(24 << 20))]);
    let second = topology.caches.iter().filter(|cache| cache.level == 2).map(|cache| cache.cpus.clone());
    assert_eq!(second.collect::<Vec<_>>(), [runs(0..=11, 2), runs(12..=19, 4)].concat());
    let firsts: Vec<_> = topology.caches.iter().filter(|cache| cache.level == 1).collect();
    assert_eq!(firsts.len(), 14, "caches of instructions do not count");
    assert_eq!((firsts[0].size, firsts[13].size), (Some(48 << 10), Some(32 << 10)));

    assert_eq!(topology.distance(2, 3), Some(Distance::SameCore));
    assert_eq!(topology.distance(12, 13), Some(Distance::SameCache));
    let all = numbers(&topology);
    let nearest = [0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];
    assert_eq!(topology.nearest(0, &all), nearest, "the sibling, then the most capable");
    assert_eq!(topology.nearest(13, &all)[..8], [13, 12, 14, 15, 4, 5, 8, 9], "a common second level first");
    let capable = [4, 8, 0, 2, 6, 10, 5, 9, 1, 3, 7, 11, 12, 13, 14, 15, 16, 17, 18, 19];
    assert_eq!(topology.by_capacity(&all), capable, "whole cores first");
    assert_eq!(topology.by_capacity(&[12, 1, 5, 4, 3]), [4, 1, 3, 5, 12], "of siblings that may be used");
}

#[test]
fn some_cpus_are_offline() {
    let topology = ours("16em64t-4s2c2t-offlines");
    assert_eq!(numbers(&topology), concat(&[0..=15]));
    assert_eq!(online(&topology), [0, 1, 3, 4, 6, 7, 8, 9, 10, 11, 12, 15]);
    let expected = [
        (Some(0), vec![0, 4, 8, 12]),
        (Some(1), vec![1, 9]),
        (Some(2), vec![6, 10]),
        (Some(3), vec![3, 7, 11, 15]),
    ];
    assert_eq!(packages(&topology), expected);
    let cores = [&[0, 8][..], &[1, 9], &[3, 11], &[4, 12], &[6], &[7, 15], &[10]];
    assert_eq!(topology.cores, cores);
    let mut third_levels = last_levels(&topology);
    third_levels.sort();
    let of = |cpus: &[usize]| (cpus.to_vec(), 3, Some(4 << 20));
    assert_eq!(third_levels, [of(&[0, 4, 8, 12]), of(&[1, 9]), of(&[3, 7, 11, 15]), of(&[6, 10])]);
    let offline = topology.cpu(13).expect("it is there");
    assert_eq!((offline.online, offline.package, offline.node, offline.core), (false, None, Some(0), None));
    assert_eq!(topology.nodes[0].cpus, online(&topology));
    assert_eq!(topology.distance(0, 8), Some(Distance::SameCore));
    assert_eq!(topology.distance(0, 12), Some(Distance::SameCache));
    assert_eq!(topology.distance(0, 1), Some(Distance::OtherPackage), "all packages are on one node");
    assert_eq!((topology.distance(0, 2), topology.distance(2, 2)), (None, None));
    let nearest = [8, 0, 4, 12, 1, 3, 6, 7, 9, 10, 11, 15, 2, 5, 13, 14];
    assert_eq!(topology.nearest(8, &numbers(&topology)), nearest);
    let capable = [0, 1, 3, 4, 6, 7, 10, 8, 9, 11, 12, 15, 2, 5, 13, 14];
    assert_eq!(topology.by_capacity(&numbers(&topology)), capable);
}

#[test]
fn many_nodes_of_two_packages_without_caches() {
    let topology = ours("256ia64-64n2s2c");
    assert_eq!(topology.online().count(), 256);
    assert_eq!(topology.packages.len(), 128);
    assert_eq!(packages(&topology)[..2], [(Some(0), vec![0, 1]), (Some(3), vec![2, 3])]);
    assert_eq!(packages(&topology)[127], (Some(32259), vec![254, 255]));
    assert_eq!(topology.nodes.len(), 64);
    assert_eq!(topology.nodes[63].cpus, [252, 253, 254, 255]);
    assert_eq!(topology.cores, runs(0..=255, 1));
    assert_eq!(topology.caches, []);
    let levels: BTreeSet<_> = topology.nodes.iter().flat_map(|node| &node.distances).collect();
    assert_eq!(levels, [10, 22, 26, 30, 34].map(Some).iter().collect());
    assert_eq!(topology.node_distance(17, 17), Some(10));
    assert_eq!(topology.node_distance(17, 20), Some(26));

    assert_eq!(topology.distance(0, 1), Some(Distance::SameNode));
    assert_eq!(topology.distance(0, 2), Some(Distance::OtherPackage));
    assert_eq!(topology.distance(0, 4), Some(Distance::OtherNode));
    let nearest = topology.nearest(70, &numbers(&topology)); // on node 17
    assert_eq!(nearest[..16], [70, 71, 68, 69, 64, 65, 66, 67, 72, 73, 74, 75, 76, 77, 78, 79]);
    let nodes = nearest.iter().map(|cpu| topology.node_distance(17, topology.cpu(*cpu)?.node?));
    assert!(nodes.is_sorted(), "nearer nodes first");
}

#[test]
fn this_computer() {
    let topology = multikernel::machine::topology().expect("this runs on Linux");
    assert_sound(&topology, "here");
    assert_eq!(numbers(&topology).len(), cpu_folders(Path::new("/")).len());
    let threads = std::thread::available_parallelism().expect("a number of CPUs").get();
    assert!(topology.online().count() >= threads);
}

#[test]
fn captures_from_elsewhere() {
    let Some(folder) = std::env::var_os("MULTIKERNEL_TOPOLOGIES") else { return };
    let entries = fs::read_dir(&folder).expect("MULTIKERNEL_TOPOLOGIES names a folder");
    let mut read = 0;
    for path in entries.map(|entry| entry.expect("a readable folder").path()) {
        let name = path.display().to_string();
        let unpacked = name.contains(".tar.").then(|| Unpacked::new(&path));
        let root = root_below(unpacked.as_ref().map_or(&path, |unpacked| &unpacked.0));
        let Some(root) = root else {
            assert!(unpacked.is_none(), "{name}: no sys/devices/system/cpu in it");
            continue;
        };
        let topology = Topology::read_from(&root).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_sound(&topology, &name);
        let missing: Vec<_> =
            cpu_folders(&root).into_iter().filter(|cpu| topology.cpu(*cpu).is_none()).collect();
        assert!(missing.is_empty(), "{name}: lost {missing:?}");
        println!(
            "{name}: {} CPUs, {} online, {} cores, {} packages, {} nodes",
            topology.cpus.len(),
            topology.online().count(),
            topology.cores.len(),
            topology.packages.len(),
            topology.nodes.len()
        );
        read += 1;
    }
    assert!(read > 0, "MULTIKERNEL_TOPOLOGIES: there is nothing to read");
}

/// The files of a capture that may be changed.
fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder").map(|entry| entry.expect("an entry")) {
        let kind = entry.file_type().expect("its kind");
        if kind.is_dir() {
            files_below(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

/// What could be in a file that is damaged or was written for somebody else.
fn odd_content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        "[0-9,\\-]{0,24}".prop_map(String::into_bytes),
        "[0-9a-f,]{0,24}\n".prop_map(String::into_bytes),
        "-?[0-9]{0,22}[KMG]?\n".prop_map(String::into_bytes),
        "([0-9]{1,4} ){0,9}".prop_map(String::into_bytes),
    ]
}

#[test]
fn whatever_is_in_the_files_gives_a_sound_answer_or_an_error() {
    let unpacked = Unpacked::ours("16em64t-4s2c2t-offlines");
    let root = unpacked.root();
    let mut files = Vec::new();
    files_below(&root, &mut files);
    files.sort();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let changes = proptest::collection::vec((0..files.len(), proptest::option::of(odd_content())), 1..4);
    let (read, refused) = (Cell::new(0), Cell::new(0));
    let result = runner.run(&changes, |changes| {
        let mut before = Vec::new();
        for (at, content) in &changes {
            let path = &files[*at];
            before.push((path, fs::read(path).unwrap_or_default()));
            let _ = fs::remove_file(path);
            if let Some(content) = content {
                fs::write(path, content).expect("the file is written");
            }
        }
        let answer = Topology::read_from(&root);
        for (path, content) in before.into_iter().rev() {
            let _ = fs::remove_file(path);
            fs::write(path, content).expect("the file is restored");
        }
        match answer {
            Ok(topology) => {
                prop_assert_eq!(&numbers(&topology)[..16], &concat(&[0..=15])[..]);
                assert_sound(&topology, "changed");
                read.set(read.get() + 1);
            }
            Err(TopologyError::Malformed { path, .. }) => {
                prop_assert!(path.starts_with(&root));
                refused.set(refused.get() + 1);
            }
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    let (read, refused) = (read.get(), refused.get());
    assert!(read > 20 && refused > 20, "it should try both: {read} read, {refused} refused");
}
