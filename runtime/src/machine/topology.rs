//! What the computer is made of: packages, caches, NUMA nodes, physical cores, and CPUs of more than one kind.
//!
//! Plain data, and pure questions to it. `topology_sysfs` reads the files, `topology_build` makes sense of them.

use std::cmp::Reverse;
use std::path::Path;

use super::seat::Seat;
use super::topology_build::build;
use super::topology_sysfs;

pub use super::topology_sysfs::TopologyError;

/// The capacity of the fastest CPU, as the kernel scales it.
pub(super) const FULL_CAPACITY: u32 = 1024;

/// Reads what this computer is made of; the same as [`Topology::read`].
///
/// Some twenty small files for each CPU are read, with calls that block, so keep the answer.
///
/// # Errors
///
/// See [`TopologyError`].
///
/// # Examples
///
/// ```
/// let topology = multikernel::machine::topology()?;
/// println!("{} CPUs in {} packages", topology.online().count(), topology.packages.len());
/// # Ok::<(), multikernel::machine::TopologyError>(())
/// ```
pub fn topology() -> Result<Topology, TopologyError> {
    Topology::read()
}

/// The CPUs of a computer and what they have in common.
///
/// CPUs and NUMA nodes go by the numbers that Linux gives them, which may have gaps. `cores`, `caches` and `packages`
/// list CPUs that are online, each online CPU in exactly one core and one package. All lists ascend.
///
/// # Examples
///
/// ```
/// use multikernel::machine::{Distance, Topology};
///
/// let topology = Topology::read()?;
/// let first = topology.online().next().expect("this runs on a CPU");
/// assert_eq!(topology.distance(first.number, first.number), Some(Distance::SameCore));
/// # Ok::<(), multikernel::machine::TopologyError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topology {
    /// Every CPU that is built in, also those that are offline, in ascending order.
    pub cpus: Vec<Cpu>,
    /// The CPUs of each physical core. More than one are its hardware threads, SMT siblings.
    pub cores: Vec<Vec<usize>>,
    /// The caches of data, of all levels.
    pub caches: Vec<Cache>,
    /// The NUMA nodes, also those without CPUs; none if the system knows no NUMA.
    pub nodes: Vec<Node>,
    /// The packages (sockets). CPUs that name none are together in one whose `id` is `None`.
    pub packages: Vec<Package>,
}

/// One CPU: what Linux runs one thread on at a time.
///
/// A field is `None` where the system does not tell, which is usual for CPUs that are offline.
///
/// # Examples
///
/// ```
/// let topology = multikernel::machine::topology()?;
/// for cpu in &topology.cpus {
///     println!("CPU {} is in package {:?} on NUMA node {:?}", cpu.number, cpu.package, cpu.node);
/// }
/// # Ok::<(), multikernel::machine::TopologyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cpu {
    /// Its number.
    pub number: usize,
    /// Whether anything runs on it now.
    pub online: bool,
    /// The package's own number.
    pub package: Option<usize>,
    /// The number of the die within the package.
    pub die: Option<usize>,
    /// The NUMA node's number; the lowest, if the system lists the CPU with several, as it does when it emulates nodes.
    pub node: Option<usize>,
    /// The physical core, an index into [`Topology::cores`]; `None` only while the CPU is offline.
    pub core: Option<usize>,
    /// Its caches of data from the first level to the last, indices into [`Topology::caches`].
    pub caches: Vec<usize>,
    /// Whether it is of a faster or a thriftier kind than other CPUs here.
    pub kind: CpuKind,
    /// How fast it is beside the fastest CPU here, which has 1024: the scheduler's capacity, or else the highest clock
    /// frequency to scale, which says too little where CPUs are of different kinds.
    pub capacity: Option<u32>,
}

impl Cpu {
    /// The last level's cache, an index into [`Topology::caches`].
    ///
    /// ```
    /// let topology = multikernel::machine::topology()?;
    /// for cpu in topology.online() {
    ///     if let Some(cache) = cpu.last_level_cache() {
    ///         assert!(topology.caches[cache].cpus.contains(&cpu.number));
    ///     }
    /// }
    /// # Ok::<(), multikernel::machine::TopologyError>(())
    /// ```
    pub fn last_level_cache(&self) -> Option<usize> {
        self.caches.last().copied()
    }
}

/// Of what kind a CPU is, on computers that have more than one.
///
/// The system's own lists decide (`cpu_core`, `cpu_atom`). Without them the scheduler's capacities do, or else the
/// highest frequencies, if they differ by more than the cores of one kind do.
///
/// ```
/// use multikernel::machine::{CpuKind, topology};
///
/// let topology = topology()?;
/// let hybrid = topology.cpus.iter().any(|cpu| cpu.kind == CpuKind::Efficient);
/// println!("has efficient cores: {hybrid}");
/// # Ok::<(), multikernel::machine::TopologyError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CpuKind {
    /// A P-core, or a big one.
    Performance,
    /// All are alike, or the system does not tell.
    #[default]
    Unknown,
    /// An E-core, or a little one.
    Efficient,
}

/// A cache for data, or for data and instructions.
///
/// ```
/// let topology = multikernel::machine::topology()?;
/// for cache in &topology.caches {
///     println!("L{} of {:?} bytes for CPUs {:?}", cache.level, cache.size, cache.cpus);
/// }
/// # Ok::<(), multikernel::machine::TopologyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cache {
    /// 1 is nearest to the core.
    pub level: u32,
    /// In bytes.
    pub size: Option<u64>,
    /// The system's number for it, which need only be unique among the caches of its level.
    pub id: Option<usize>,
    /// The CPUs that share it.
    pub cpus: Vec<usize>,
}

/// A NUMA node: memory, and usually the CPUs that are nearest to it.
///
/// ```
/// let topology = multikernel::machine::topology()?;
/// for node in &topology.nodes {
///     println!("node {}: CPUs {:?}, distances {:?}", node.number, node.cpus, node.distances);
/// }
/// # Ok::<(), multikernel::machine::TopologyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Its number.
    pub number: usize,
    /// Its CPUs that are online; none if the node is only memory.
    pub cpus: Vec<usize>,
    /// How far each node's memory is, in the order of [`Topology::nodes`]: 10 is its own. `None` for all of them if the
    /// firmware tells nothing, or not for as many nodes as there are.
    pub distances: Vec<Option<u32>>,
}

/// A package: what is put into one socket.
///
/// ```
/// let topology = multikernel::machine::topology()?;
/// let cpus: usize = topology.packages.iter().map(|package| package.cpus.len()).sum();
/// assert_eq!(cpus, topology.online().count());
/// # Ok::<(), multikernel::machine::TopologyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Package {
    /// Its number, which may be any.
    pub id: Option<usize>,
    /// Its CPUs that are online.
    pub cpus: Vec<usize>,
}

/// How far apart two CPUs are: what the message between them has to pass, from near to far.
///
/// A package may hold several NUMA nodes, and a node several packages, so there are two of each. Where the system
/// tells neither CPU's package, they count as being in one; nodes likewise.
///
/// ```
/// use multikernel::machine::Distance;
///
/// assert!(Distance::SameCore < Distance::SameCache);
/// assert!(Distance::SamePackage < Distance::OtherPackage);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Distance {
    /// Two hardware threads of one physical core, or a CPU and itself.
    SameCore,
    /// They share the last level's cache.
    SameCache,
    /// In the same package and on the same NUMA node.
    SameNode,
    /// In the same package, on different NUMA nodes.
    SamePackage,
    /// In different packages of one NUMA node.
    OtherPackage,
    /// In different packages and on different NUMA nodes.
    OtherNode,
}

impl Topology {
    /// Reads what this computer is made of, from `/sys`.
    ///
    /// # Errors
    ///
    /// See [`TopologyError`].
    ///
    /// ```
    /// use multikernel::machine::Topology;
    ///
    /// assert!(!Topology::read()?.cpus.is_empty());
    /// # Ok::<(), multikernel::machine::TopologyError>(())
    /// ```
    pub fn read() -> Result<Topology, TopologyError> {
        Topology::read_from(Path::new("/"))
    }

    /// Reads a captured tree: `root` stands for `/`, or for `/sys` if there is no `sys` below it.
    ///
    /// Files that are not there leave their facts unknown; an id of -1 means the same. Caches and cores whose CPUs the
    /// files do not agree on are taken apart: two CPUs share one if both say so.
    ///
    /// # Errors
    ///
    /// See [`TopologyError`].
    ///
    /// ```
    /// use multikernel::machine::{Topology, TopologyError};
    ///
    /// let error = Topology::read_from("/nowhere".as_ref()).unwrap_err();
    /// assert!(matches!(error, TopologyError::NoCpus { .. }));
    /// assert_eq!(Topology::read_from("/sys".as_ref())?, Topology::read()?);
    /// # Ok::<(), TopologyError>(())
    /// ```
    pub fn read_from(root: &Path) -> Result<Topology, TopologyError> {
        topology_sysfs::read(root).map(build)
    }

    /// The CPU of this number, if there is one.
    ///
    /// ```
    /// let topology = multikernel::machine::topology()?;
    /// assert!(topology.cpu(usize::MAX).is_none());
    /// # Ok::<(), multikernel::machine::TopologyError>(())
    /// ```
    pub fn cpu(&self, number: usize) -> Option<&Cpu> {
        let place = self.cpus.binary_search_by_key(&number, |cpu| cpu.number);
        place.ok().map(|place| &self.cpus[place])
    }

    /// The CPUs that are online.
    ///
    /// ```
    /// let topology = multikernel::machine::topology()?;
    /// assert!(topology.online().count() >= 1);
    /// # Ok::<(), multikernel::machine::TopologyError>(())
    /// ```
    pub fn online(&self) -> impl Iterator<Item = &Cpu> {
        self.cpus.iter().filter(|cpu| cpu.online)
    }

    /// How far apart two CPUs are. `None` if one of them is not there, or offline.
    ///
    /// ```
    /// let topology = multikernel::machine::topology()?;
    /// println!("from 0 to 1: {:?}", topology.distance(0, 1));
    /// assert_eq!(topology.distance(0, 1), topology.distance(1, 0));
    /// # Ok::<(), multikernel::machine::TopologyError>(())
    /// ```
    pub fn distance(&self, a: usize, b: usize) -> Option<Distance> {
        let online = |number| self.cpu(number).filter(|cpu| cpu.online);
        Some(between(online(a)?, online(b)?))
    }

    /// How far the memory of node `to` is from the CPUs of node `from`: 10 is as near as memory gets, 20 is twice as far.
    /// `None` if the system does not tell.
    ///
    /// ```
    /// let topology = multikernel::machine::topology()?;
    /// if let [node, ..] = &topology.nodes[..] {
    ///     println!("node {} to itself: {:?}", node.number, topology.node_distance(node.number, node.number));
    /// }
    /// # Ok::<(), multikernel::machine::TopologyError>(())
    /// ```
    pub fn node_distance(&self, from: usize, to: usize) -> Option<u32> {
        let place = |number| self.nodes.iter().position(|node| node.number == number);
        self.nodes[place(from)?].distances.get(place(to)?).copied().flatten()
    }

    /// `cpus` in the order of their nearness to the CPU `to`: for placing what talks to it.
    ///
    /// `to` itself comes first if it is among them. The others follow by [`distance`](Self::distance); at the same one,
    /// nearer NUMA nodes, CPUs of the same die and those with more caches in common come first, then those with more
    /// [`capacity`](Cpu::capacity), then those of the lower number. Nothing is left out: CPUs that are not there or
    /// offline come last.
    ///
    /// ```
    /// let topology = multikernel::machine::topology()?;
    /// let cpus: Vec<usize> = topology.online().map(|cpu| cpu.number).collect();
    /// let order = topology.nearest(cpus[0], &cpus);
    /// assert_eq!(order[0], cpus[0]);
    /// assert_eq!(order.len(), cpus.len());
    /// # Ok::<(), multikernel::machine::TopologyError>(())
    /// ```
    pub fn nearest(&self, to: usize, cpus: &[usize]) -> Vec<usize> {
        let from = self.cpu(to).filter(|cpu| cpu.online);
        let mut order = cpus.to_vec();
        order.sort_by_cached_key(|&number| {
            let known = from.zip(self.cpu(number).filter(|cpu| cpu.online));
            let nearness = known.map(|(from, cpu)| {
                let nodes = from.node.zip(cpu.node).and_then(|(from, to)| self.node_distance(from, to));
                let shared = cpu.caches.iter().filter(|cache| from.caches.contains(cache)).count();
                let capacity = cpu.capacity.unwrap_or(0);
                (
                    between(from, cpu),
                    nodes.unwrap_or(u32::MAX),
                    from.package != cpu.package || from.die != cpu.die,
                    Reverse(shared),
                    Reverse(capacity),
                )
            });
            (number != to, nearness.is_none(), nearness, number)
        });
        order
    }

    /// `cpus` with the most capable first: for placing work that keeps a CPU busy.
    ///
    /// CPUs of the faster [`kind`](Cpu::kind) come first; within a kind, one hardware thread of each physical core
    /// comes before the second ones, because siblings share what a core can do; then those with more
    /// [`capacity`](Cpu::capacity), then those of the lower number. Siblings count if they are among `cpus`. Nothing is left
    /// out: CPUs that are not there or offline come last.
    ///
    /// ```
    /// let topology = multikernel::machine::topology()?;
    /// let cpus: Vec<usize> = topology.online().map(|cpu| cpu.number).collect();
    /// let order = topology.by_capacity(&cpus);
    /// assert_eq!(order.len(), cpus.len());
    /// # Ok::<(), multikernel::machine::TopologyError>(())
    /// ```
    pub fn by_capacity(&self, cpus: &[usize]) -> Vec<usize> {
        let mut order = cpus.to_vec();
        order.sort_by_cached_key(|&number| (self.rank(number, cpus), number));
        order
    }

    /// The order in which the cores of a Machine take `cpus`: as [`by_capacity`](Self::by_capacity), but among those that are
    /// alike, the nearer ones to the first.
    pub(super) fn for_cores(&self, cpus: &[usize]) -> Vec<Seat> {
        let Some(first) = self.by_capacity(cpus).first().copied() else { return Vec::new() };
        let mut order = self.nearest(first, cpus);
        order.sort_by_cached_key(|number| self.rank(*number, cpus)); // stable
        order.into_iter().map(|number| self.seat(number)).collect()
    }

    fn seat(&self, number: usize) -> Seat {
        let Some(cpu) = self.cpu(number).filter(|cpu| cpu.online) else { return Seat::unknown(number) };
        Seat { cpu: number, cache: cpu.last_level_cache(), capacity: cpu.capacity }
    }

    /// Less is more capable, among `cpus`.
    fn rank(&self, number: usize, cpus: &[usize]) -> impl Ord + use<> {
        let cpu = self.cpu(number).filter(|cpu| cpu.online);
        let worth = cpu.map(|cpu| {
            let siblings = cpu.core.and_then(|core| self.cores.get(core));
            let before = |sibling: &&usize| **sibling < number && cpus.contains(sibling);
            let thread = siblings.map_or(0, |siblings| siblings.iter().filter(before).count());
            (cpu.kind, thread, Reverse(cpu.capacity.unwrap_or(0)))
        });
        (worth.is_none(), worth)
    }
}

fn between(a: &Cpu, b: &Cpu) -> Distance {
    let shares_cache = a.last_level_cache().is_some() && a.last_level_cache() == b.last_level_cache();
    match (a.package == b.package, a.node == b.node) {
        _ if a.number == b.number || a.core.is_some() && a.core == b.core => Distance::SameCore,
        _ if shares_cache => Distance::SameCache,
        (true, true) => Distance::SameNode,
        (true, false) => Distance::SamePackage,
        (false, true) => Distance::OtherPackage,
        (false, false) => Distance::OtherNode,
    }
}

#[cfg(test)]
#[path = "topology_tests.rs"]
mod tests;
