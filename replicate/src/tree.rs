//! Trees along which a message may go from one core to all others, over a machine of packages.
//!
//! Pure construction. The protocol that ships is flat; `multikernel-sim --latency` says what relays along these trees would take.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::{CoreId, CoreSet};

/// What a message costs on its way from one core to another, in cycles.
///
/// ```
/// use multikernel_replicate::Hop;
///
/// let across = Hop { send: 193, flight: 0, receive: 693 };
/// assert_eq!(across.total(), 886);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The sender is busy for so long.
    pub send: u64,
    /// Then the message is on its way for so long.
    pub flight: u64,
    /// Then the receiver is busy for so long.
    pub receive: u64,
}

impl Hop {
    /// From the beginning of the send until the message is read.
    ///
    /// ```
    /// use multikernel_replicate::Hop;
    ///
    /// assert_eq!(Hop { send: 1, flight: 2, receive: 3 }.total(), 6);
    /// ```
    #[must_use]
    pub const fn total(self) -> u64 {
        self.send + self.flight + self.receive
    }
}

/// Which cores are near each other: those of one package.
///
/// ```
/// use multikernel_replicate::Topology;
///
/// assert_eq!(Topology::in_packages_of(4, 8).packages().len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    packages: Vec<CoreSet>,
}

impl Topology {
    /// Packages that hold these cores. Empty ones do not count.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet, Topology};
    ///
    /// let packages = vec![CoreSet::below(2), CoreSet::only(CoreId::new(2)), CoreSet::EMPTY];
    /// assert_eq!(Topology::new(packages).packages().len(), 2);
    /// ```
    ///
    /// # Panics
    ///
    /// If a core is in two of them.
    #[must_use]
    pub fn new(packages: Vec<CoreSet>) -> Self {
        let topology =
            Self { packages: packages.into_iter().filter(|package| !package.is_empty()).collect() };
        let number: usize = topology.packages.iter().map(CoreSet::len).sum();
        assert_eq!(number, topology.cores().len(), "a core is in one package");
        topology
    }

    /// So many cores, in packages of `each`; the last may have fewer.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, Topology};
    ///
    /// let topology = Topology::in_packages_of(4, 6);
    /// let [first, last] = [3, 4].map(CoreId::new);
    /// assert!(topology.are_near(CoreId::new(0), first) && !topology.are_near(first, last));
    /// ```
    ///
    /// # Panics
    ///
    /// If `each` is zero, or there are more than [`MAX_CORES`](crate::limits::MAX_CORES).
    #[must_use]
    pub fn in_packages_of(each: usize, cores: usize) -> Self {
        let first = (0..cores).step_by(each);
        let package = |first: usize| (first..cores.min(first + each)).map(CoreId::new).collect();
        Self::new(first.map(package).collect())
    }

    /// This, as far as it is about these cores.
    ///
    /// ```
    /// use multikernel_replicate::{CoreSet, Topology};
    ///
    /// let part = Topology::in_packages_of(2, 8).only(CoreSet::below(3));
    /// assert_eq!(part.cores(), CoreSet::below(3));
    /// ```
    #[must_use]
    pub fn only(&self, cores: CoreSet) -> Self {
        Self::new(self.packages.iter().map(|package| package.intersection(cores)).collect())
    }

    /// All cores.
    ///
    /// ```
    /// use multikernel_replicate::{CoreSet, Topology};
    ///
    /// assert_eq!(Topology::in_packages_of(4, 6).cores(), CoreSet::below(6));
    /// ```
    #[must_use]
    pub fn cores(&self) -> CoreSet {
        self.packages.iter().fold(CoreSet::EMPTY, |all, package| all.union(*package))
    }

    /// The packages, each with its cores.
    ///
    /// ```
    /// use multikernel_replicate::{CoreSet, Topology};
    ///
    /// assert_eq!(Topology::in_packages_of(4, 6).packages()[0], CoreSet::below(4));
    /// ```
    #[must_use]
    pub fn packages(&self) -> &[CoreSet] {
        &self.packages
    }

    /// The number of the package of that core.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, Topology};
    ///
    /// assert_eq!(Topology::in_packages_of(4, 6).package_of(CoreId::new(5)), 1);
    /// ```
    ///
    /// # Panics
    ///
    /// If it is in none.
    #[must_use]
    pub fn package_of(&self, core: CoreId) -> usize {
        let package = self.packages.iter().position(|package| package.contains(core));
        package.expect("the core is in a package")
    }

    /// Whether two cores are in one package.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, Topology};
    ///
    /// let [a, b, c] = [0, 3, 4].map(CoreId::new);
    /// let topology = Topology::in_packages_of(4, 6);
    /// assert!(topology.are_near(a, b) && !topology.are_near(b, c));
    /// ```
    #[must_use]
    pub fn are_near(&self, a: CoreId, b: CoreId) -> bool {
        self.package_of(a) == self.package_of(b)
    }
}

/// Who tells whom, and in which order.
///
/// ```
/// use multikernel_replicate::{CoreId, CoreSet, Tree};
///
/// let tree: Tree = Tree::k_ary(CoreSet::below(7), CoreId::new(0), 2);
/// assert_eq!(tree.depth(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    root: CoreId,
    cores: CoreSet,
    /// By number of the core.
    parents: Vec<Option<CoreId>>,
    children: Vec<Vec<CoreId>>,
}

impl Tree {
    fn of(cores: CoreSet, root: CoreId) -> Self {
        assert!(cores.contains(root), "the root is one of the cores");
        let length = cores.iter().last().map_or(0, |last| last.index() + 1);
        Self { root, cores, parents: vec![None; length], children: vec![Vec::new(); length] }
    }

    fn add(&mut self, parent: CoreId, child: CoreId) {
        self.parents[child.index()] = Some(parent);
        self.children[parent.index()].push(child);
    }

    /// The root tells everybody, from the lowest core up, as the protocol does that ships.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet, Tree};
    ///
    /// let tree = Tree::flat(CoreSet::below(4), CoreId::new(1));
    /// assert_eq!(tree.children(CoreId::new(1)), [0, 2, 3].map(CoreId::new));
    /// ```
    ///
    /// # Panics
    ///
    /// If the root is not one of the cores.
    #[must_use]
    pub fn flat(cores: CoreSet, root: CoreId) -> Self {
        let mut tree = Self::of(cores, root);
        cores.without(root).iter().for_each(|core| tree.add(root, core));
        tree
    }

    /// The root tells one core of each other package, then its own package; those tell theirs.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, Topology, Tree};
    ///
    /// let tree = Tree::two_level(&Topology::in_packages_of(2, 6), CoreId::new(0));
    /// let told_by = |core| tree.children(CoreId::new(core)).iter().map(|c| c.index()).collect::<Vec<_>>();
    /// assert_eq!(told_by(0), [2, 4, 1]);
    /// assert_eq!(told_by(4), [5]);
    /// ```
    ///
    /// # Panics
    ///
    /// If the root is not one of the cores.
    #[must_use]
    pub fn two_level(topology: &Topology, root: CoreId) -> Self {
        let mut tree = Self::of(topology.cores(), root);
        let (own, others): (Vec<&CoreSet>, Vec<&CoreSet>) =
            topology.packages().iter().partition(|package| package.contains(root));
        let heads = others.iter().filter_map(|package| package.first());
        heads.for_each(|head| tree.add(root, head));
        for package in own.into_iter().chain(others) {
            let head = if package.contains(root) { root } else { package.first().expect("not empty") };
            package.without(head).iter().for_each(|core| tree.add(head, core));
        }
        tree
    }

    /// Everybody tells `k` others, as the levels are filled from the lowest core up. It does not look at packages.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet, Tree};
    ///
    /// let tree = Tree::k_ary(CoreSet::below(8), CoreId::new(0), 2);
    /// assert_eq!(tree.parent(CoreId::new(6)), Some(CoreId::new(2)));
    /// assert_eq!(tree.depth(), 3);
    /// ```
    ///
    /// # Panics
    ///
    /// If the root is not one of the cores, or `k` is zero.
    #[must_use]
    pub fn k_ary(cores: CoreSet, root: CoreId, k: usize) -> Self {
        assert!(k > 0, "somebody has to be told");
        let mut tree = Self::of(cores, root);
        let order: Vec<_> = std::iter::once(root).chain(cores.without(root).iter()).collect();
        for (at, core) in order.iter().enumerate().skip(1) {
            tree.add(order[(at - 1) / k], *core);
        }
        tree
    }

    /// The tree of Smelt (Kaestle et al., OSDI 2016): of the cores that know, the one that is free first tells the next. Far
    /// ones come first, for what they tell others takes longest; but a package is told from outside once, by a message to the core
    /// there that is cheapest to send to, and all else it is told from within.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, Hop, Topology, Tree};
    ///
    /// let topology = Topology::in_packages_of(3, 6);
    /// let hop = |a, b| match topology.are_near(a, b) {
    ///     true => Hop { send: 1, flight: 0, receive: 2 },
    ///     false => Hop { send: 2, flight: 0, receive: 9 },
    /// };
    /// let tree = Tree::greedy(&topology, CoreId::new(0), hop);
    /// let told_by = |core| tree.children(CoreId::new(core)).iter().map(|c| c.index()).collect::<Vec<_>>();
    /// assert_eq!(told_by(0), [3, 1, 2]);
    /// assert_eq!(told_by(3), [4, 5]);
    /// ```
    ///
    /// # Panics
    ///
    /// If the root is not one of the cores.
    #[must_use]
    pub fn greedy(topology: &Topology, root: CoreId, hop: impl Fn(CoreId, CoreId) -> Hop) -> Self {
        let mut tree = Self::of(topology.cores(), root);
        // What each package has not been told; a core that is told at once counts as told.
        let mut untold = topology.packages.clone();
        let mut is_told: Vec<bool> = untold.iter().map(|package| package.contains(root)).collect();
        untold[topology.package_of(root)].remove(root);
        let mut free = BinaryHeap::from([Reverse((0, root, topology.package_of(root)))]);
        while let Some(Reverse((now, core, package))) = free.pop() {
            let far = (0..untold.len()).filter(|other| !is_told[*other]);
            let open =
                far.chain(std::iter::once(package)).flat_map(|at| untold[at].iter().map(move |to| (at, to)));
            // The dearest, and of those the lowest.
            let dearest = open.max_by_key(|(_, to)| (hop(core, *to).total(), Reverse(*to)));
            // Nothing that is closed to a core opens again: it tells nobody more.
            let Some((at, mut to)) = dearest else { continue };
            if at != package {
                to = untold[at].iter().min_by_key(|to| hop(core, *to).send).expect("there is one");
            }
            untold[at].remove(to);
            is_told[at] = true;
            tree.add(core, to);
            let cost = hop(core, to);
            free.push(Reverse((now + cost.send, core, package)));
            free.push(Reverse((now + cost.total(), to, at)));
        }
        tree
    }

    /// Who begins.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet, Tree};
    ///
    /// assert_eq!(Tree::flat(CoreSet::below(4), CoreId::new(1)).root(), CoreId::new(1));
    /// ```
    #[must_use]
    pub const fn root(&self) -> CoreId {
        self.root
    }

    /// All cores.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet, Tree};
    ///
    /// assert_eq!(Tree::flat(CoreSet::below(4), CoreId::new(1)).cores(), CoreSet::below(4));
    /// ```
    #[must_use]
    pub const fn cores(&self) -> CoreSet {
        self.cores
    }

    /// Who tells that core; nobody tells the root.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet, Tree};
    ///
    /// let tree = Tree::flat(CoreSet::below(4), CoreId::new(1));
    /// assert_eq!(tree.parent(CoreId::new(3)), Some(tree.root()));
    /// assert_eq!(tree.parent(tree.root()), None);
    /// ```
    ///
    /// # Panics
    ///
    /// If the number of the core is above all that are in the tree.
    #[must_use]
    pub fn parent(&self, core: CoreId) -> Option<CoreId> {
        self.parents[core.index()]
    }

    /// Whom that core tells, in that order.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet, Tree};
    ///
    /// let tree = Tree::flat(CoreSet::below(4), CoreId::new(0));
    /// assert_eq!(tree.children(CoreId::new(0)).len(), 3);
    /// assert!(tree.children(CoreId::new(3)).is_empty());
    /// ```
    ///
    /// # Panics
    ///
    /// If the number of the core is above all that are in the tree.
    #[must_use]
    pub fn children(&self, core: CoreId) -> &[CoreId] {
        &self.children[core.index()]
    }

    /// From the root down, level by level.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet, Tree};
    ///
    /// let tree = Tree::flat(CoreSet::below(3), CoreId::new(1));
    /// assert_eq!(tree.from_the_root(), [1, 0, 2].map(CoreId::new));
    /// ```
    #[must_use]
    pub fn from_the_root(&self) -> Vec<CoreId> {
        let mut order = vec![self.root];
        let mut at = 0;
        while let Some(core) = order.get(at) {
            order.extend_from_slice(self.children(*core));
            at += 1;
        }
        order
    }

    /// How many messages one after the other the last core is told by.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet, Tree};
    ///
    /// assert_eq!(Tree::flat(CoreSet::below(9), CoreId::new(0)).depth(), 1);
    /// ```
    #[must_use]
    pub fn depth(&self) -> usize {
        let mut depths = vec![0; self.parents.len()];
        for core in self.from_the_root() {
            depths[core.index()] = self.parent(core).map_or(0, |parent| depths[parent.index()] + 1);
        }
        depths.into_iter().max().unwrap_or(0)
    }
}
