//! What the files of `topology_sysfs` mean together. Pure, and total: facts that contradict each other give a
//! `Topology` that claims less.

use std::collections::BTreeMap;

use super::topology::{Cache, Cpu, CpuKind, FULL_CAPACITY, Node, Package, Topology};
use super::topology_sysfs::{CacheFacts, CpuFacts, Facts, NodeFacts};

/// Cores of one kind differ as well: favoured ones clock a few percent higher. Kinds are further apart: by a fifth or more,
/// as a fraction.
const APART: (u64, u64) = (6, 5);

pub(super) fn build(facts: Facts) -> Topology {
    let mut topology = Topology { nodes: nodes(&facts), ..Topology::default() };
    let mut cores = Groups::default();
    let mut caches = Groups::default();
    let mut packages: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for cpu in &facts.cpus {
        let number = cpu.number;
        let (mut core, mut places) = (None, Vec::new());
        if cpu.online {
            packages.entry(cpu.package).or_default().push(number);
            let group = cores.place(with_itself(cpu.siblings.clone(), number));
            if group == topology.cores.len() {
                topology.cores.push(Vec::new());
            }
            topology.cores[group].push(number);
            core = Some(group);
            let mut sorted: Vec<&CacheFacts> = cpu.caches.iter().collect();
            sorted.sort_by_key(|cache| cache.level);
            for cache in sorted {
                let group = caches.place(Sharing::of(cache, number));
                if group == topology.caches.len() {
                    let CacheFacts { level, size, id, .. } = *cache;
                    topology.caches.push(Cache { level, size, id, cpus: Vec::new() });
                }
                if !places.contains(&group) {
                    topology.caches[group].cpus.push(number);
                    places.push(group);
                }
            }
        }
        topology.cpus.push(Cpu {
            number,
            online: cpu.online,
            package: cpu.package,
            die: cpu.die,
            node: facts
                .nodes
                .iter()
                .find(|node| node.cpus.binary_search(&number).is_ok())
                .map(|node| node.number),
            core,
            caches: places,
            kind: cpu.kind,
            capacity: None,
        });
    }
    topology.packages = packages.into_iter().map(|(id, cpus)| Package { id, cpus }).collect();
    rate(&mut topology, &facts.cpus);
    topology
}

/// Numbers what CPUs share: those that say the same of it get the same number.
struct Groups<K>(BTreeMap<K, usize>);

impl<K> Default for Groups<K> {
    fn default() -> Self {
        Groups(BTreeMap::new())
    }
}

impl<K: Ord> Groups<K> {
    fn place(&mut self, key: K) -> usize {
        let next = self.0.len();
        *self.0.entry(key).or_insert(next)
    }
}

/// By what two CPUs know that they mean the same cache.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Sharing {
    Between(u32, Vec<usize>),
    /// Who shares it is not told, but the system numbers its caches.
    Numbered(u32, usize),
    Alone(u32, usize),
}

impl Sharing {
    fn of(cache: &CacheFacts, cpu: usize) -> Sharing {
        match (&cache.cpus, cache.id) {
            (Some(cpus), _) => Sharing::Between(cache.level, with_itself(Some(cpus.clone()), cpu)),
            (None, Some(id)) => Sharing::Numbered(cache.level, id),
            (None, None) => Sharing::Alone(cache.level, cpu),
        }
    }
}

fn with_itself(set: Option<Vec<usize>>, cpu: usize) -> Vec<usize> {
    let mut set = set.unwrap_or_default();
    if let Err(place) = set.binary_search(&cpu) {
        set.insert(place, cpu);
    }
    set
}

fn nodes(facts: &Facts) -> Vec<Node> {
    let numbers: Vec<usize> = facts.nodes.iter().map(|node| node.number).collect();
    let is_online = |cpu: &usize| {
        facts.cpus.binary_search_by_key(cpu, |facts| facts.number).is_ok_and(|at| facts.cpus[at].online)
    };
    let distances = |node: &NodeFacts| -> Vec<Option<u32>> {
        // A row has a column for each node that was online when it was written.
        let mut columns = [Some(&numbers), facts.nodes_online.as_ref()].into_iter().flatten();
        let columns = columns.find(|columns| columns.len() == node.distances.len());
        let of = |number| columns?.iter().position(|column| column == number).map(|at| node.distances[at]);
        numbers.iter().map(of).collect()
    };
    let node = |node: &NodeFacts| Node {
        number: node.number,
        cpus: node.cpus.iter().copied().filter(is_online).collect(),
        distances: distances(node),
    };
    facts.nodes.iter().map(node).collect()
}

/// Sets the kinds that no list gave, and the capacities.
fn rate(topology: &mut Topology, facts: &[CpuFacts]) {
    let told = |of: fn(&CpuFacts) -> Option<u64>| -> Option<Vec<u64>> {
        // Of some only, it would compare what cannot be compared.
        facts.iter().filter(|cpu| cpu.online).map(of).collect()
    };
    let scheduler = told(|cpu| cpu.capacity);
    let frequencies = told(|cpu| cpu.frequency);
    let listed = facts.iter().any(|cpu| cpu.kind != CpuKind::Unknown);
    let slowest_fast = match (&scheduler, &frequencies) {
        _ if listed => None,
        (Some(capacities), _) => widest_step(capacities),
        (None, Some(frequencies)) => first_step(frequencies),
        (None, None) => None,
    };
    let highest = frequencies.iter().flatten().copied().max().unwrap_or(0);
    let speeds = scheduler.clone().or(frequencies).unwrap_or_default();
    let online = topology.cpus.iter_mut().filter(|cpu| cpu.online);
    for (cpu, speed) in online.zip(speeds) {
        if let Some(slowest_fast) = slowest_fast {
            cpu.kind = if speed >= slowest_fast { CpuKind::Performance } else { CpuKind::Efficient };
        }
        let scaled = match scheduler {
            Some(_) => u128::from(speed),
            None => u128::from(speed) * u128::from(FULL_CAPACITY) / u128::from(highest.max(1)),
        };
        cpu.capacity = u32::try_from(scaled).ok();
    }
}

/// The values on the fast sides of steps that are wide enough to part kinds, the fastest first, with the slow sides.
fn steps(values: &[u64]) -> Vec<(u64, u64)> {
    let mut values = values.to_vec();
    values.sort_unstable_by(|a, b| b.cmp(a));
    let pairs = values.windows(2).map(|pair| (pair[0], pair[1]));
    let apart = |(fast, slow): &(u64, u64)| {
        u128::from(*fast) * u128::from(APART.1) >= u128::from(*slow) * u128::from(APART.0)
    };
    pairs.filter(apart).collect()
}

/// A frequency says little about what a CPU does with it, so the first step down parts the kinds.
fn first_step(frequencies: &[u64]) -> Option<u64> {
    steps(frequencies).first().map(|(fast, _)| *fast)
}

/// Capacities compare: the widest step parts the kinds, so that the middle cores of three belong to the ones that they are
/// more like.
fn widest_step(capacities: &[u64]) -> Option<u64> {
    let wider = |a: &(u64, u64), b: &(u64, u64)| {
        (u128::from(a.0) * u128::from(b.1)).cmp(&(u128::from(b.0) * u128::from(a.1)))
    };
    steps(capacities).into_iter().max_by(wider).map(|(fast, _)| fast)
}
