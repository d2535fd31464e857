//! Which core runs on which CPU.
//!
//! Pinning pays when a CPU is ours alone: its caches stay warm, and a core's memory stays near. On a CPU that others
//! use as well it hurts, because the system may no longer move our thread out of their way. What the system tells
//! about that is in [`Available`]; what other Machines of this process have taken is in the [`Registry`].

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::slice;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use multikernel_channels::sync::{Arc, Ordering};

use super::cpus::{self, Available, Share};
use super::mailbox::{Mailbox, Standing};
use super::seat::Seat;
use super::topology::topology;

/// Whether each core stays on one CPU.
///
/// ```
/// use multikernel::runtime::Pinning;
///
/// assert_eq!("always".parse(), Ok(Pinning::Always));
/// assert_eq!(Pinning::default().to_string(), "auto");
/// let error = "sometimes".parse::<Pinning>().unwrap_err();
/// assert!(error.to_string().contains("auto, always and never"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pinning {
    /// Pin when the CPUs are ours and there is at most one core for each; otherwise leave it to the system.
    ///
    /// The CPUs count as ours when no CPU quota holds us below them, no other Machine of this process has claimed
    /// the ones we need, and one of these is true:
    /// - they were set aside for us: an exclusive cpuset, or CPUs isolated at boot;
    /// - the process may use every CPU of the computer, and this Machine has a core for each of them.
    ///
    /// A Machine with fewer cores than a computer it shares is not pinned: a second copy of the same program would
    /// choose the same CPUs, and the system could no longer spread the two.
    #[default]
    Auto,
    /// Pin every core, whoever else uses the CPUs. CPUs that no other Machine of this process has claimed come
    /// first; with more cores than CPUs, they are dealt round robin.
    ///
    /// Of several, a Machine takes the faster ones first, and one hardware thread of each physical core before it takes second
    /// ones, as [`Topology::by_capacity`](crate::machine::Topology::by_capacity) has them; of those that are alike, near ones.
    Always,
    /// Never pin.
    Never,
}

impl Pinning {
    const NAMES: [(&'static str, Pinning); 3] =
        [("auto", Pinning::Auto), ("always", Pinning::Always), ("never", Pinning::Never)];
}

impl FromStr for Pinning {
    type Err = ParsePinningError;

    /// Reads `auto`, `always` or `never`, the values of the attribute's option `pinning`.
    fn from_str(text: &str) -> Result<Pinning, ParsePinningError> {
        let found = Pinning::NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, pinning)| *pinning).ok_or_else(|| ParsePinningError { given: text.to_owned() })
    }
}

impl fmt::Display for Pinning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pinning::Auto => "auto",
            Pinning::Always => "always",
            Pinning::Never => "never",
        })
    }
}

/// The text names no [`Pinning`]. Its message lists those that exist.
///
/// ```
/// use multikernel::runtime::Pinning;
///
/// let error = "perhaps".parse::<Pinning>().unwrap_err();
/// assert_eq!(error.to_string(), "unknown pinning \"perhaps\"; the valid values are auto, always and never");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsePinningError {
    given: String,
}

impl fmt::Display for ParsePinningError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown pinning {:?}; the valid values are auto, always and never", self.given)
    }
}

impl std::error::Error for ParsePinningError {}

/// The CPUs that Machines of this process have claimed.
#[derive(Debug)]
pub(crate) struct Registry {
    claims: Mutex<Claims>,
}

/// By CPU.
#[derive(Debug)]
struct Claims(BTreeMap<usize, Claim>);

#[derive(Debug)]
struct Claim {
    cores: usize,
    /// The CPUs that the first claimant could choose from, or whoever has chosen anew since.
    from: Vec<usize>,
}

impl Claims {
    fn of(&self, cpu: usize) -> usize {
        self.0.get(&cpu).map_or(0, |claim| claim.cores)
    }

    fn add(&mut self, cpu: usize, from: &[usize]) -> &mut Claim {
        let claim = self.0.entry(cpu).or_insert_with(|| Claim { cores: 0, from: from.to_vec() });
        claim.cores += 1;
        claim
    }

    fn give_back(&mut self, cpu: usize) {
        if let Some(claim) = self.0.get_mut(&cpu) {
            claim.cores -= 1;
            if claim.cores == 0 {
                self.0.remove(&cpu);
            }
        }
    }

    /// The first in this order of those that the fewest cores have claimed.
    fn least(&self, order: &[Seat]) -> Seat {
        *order.iter().min_by_key(|seat| self.of(seat.cpu)).expect("a process has a CPU")
    }
}

/// The one registry that matters outside tests.
pub(crate) static REGISTRY: Registry = Registry::new();

impl Registry {
    pub(crate) const fn new() -> Registry {
        Registry { claims: Mutex::new(Claims(BTreeMap::new())) }
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        // No code panics between two changes that belong together, so a poisoned map is still a right one.
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Undoes our own narrowing in the mask of a thread.
    ///
    /// A thread that a pinned core starts inherits the core's mask of one CPU. A Machine built there must not
    /// believe that the computer has one CPU, and that this one is taken.
    pub(crate) fn widen(&self, affinity: Vec<usize>) -> Vec<usize> {
        match affinity.as_slice() {
            [cpu] => self.claims().0.get(cpu).map(|claim| claim.from.clone()).unwrap_or(affinity),
            _ => affinity,
        }
    }
}

/// What the calling thread may use, as if no Machine of ours had pinned it.
pub(crate) fn available() -> Available {
    let affinity = cpus::affinity().unwrap_or_else(|error| {
        tracing::debug!(%error, "the affinity mask cannot be read; taking all CPUs that are online");
        Vec::new()
    });
    Available::here(REGISTRY.widen(affinity))
}

/// Where a thread that the calling one starts should run: `None` where it may run anyway. A pinned core would leave it
/// the core's one CPU.
pub(crate) fn unpinned() -> Option<Vec<usize>> {
    let affinity = cpus::affinity().ok()?;
    let wider = REGISTRY.widen(affinity.clone());
    (wider != affinity).then_some(wider)
}

/// Undoes our own narrowing of the mask that the calling thread has inherited.
pub(crate) fn unpin_current_thread() -> io::Result<()> {
    unpinned().as_deref().map_or(Ok(()), cpus::set_affinity)
}

/// Calls `f`, which starts a process, with the mask that the thread had before we pinned it: the process inherits it, and
/// may go by it when it decides on its number of threads.
pub(crate) fn while_unpinned<R>(f: impl FnOnce() -> R) -> R {
    let Some(wider) = unpinned() else { return f() };
    let widen = || -> io::Result<KeepAffinity> {
        let before = KeepAffinity::of_current_thread()?;
        cpus::set_affinity(&wider)?;
        Ok(before)
    };
    match widen() {
        Ok(_restored_at_the_end) => f(),
        Err(error) => {
            tracing::warn!(%error, "a process is tied to the CPU of the core that starts it");
            f()
        }
    }
}

/// A CPU for each core of a Machine, or none. The CPUs stay claimed until they are given back.
#[derive(Debug)]
pub(crate) struct Plan<'r> {
    ties: Mutex<Vec<Tie>>,
    registry: &'r Registry,
}

/// Of one core.
#[derive(Clone, Debug, Default)]
struct Tie {
    seat: Option<Seat>,
    /// The system has refused it, and that has been said.
    is_refused: bool,
}

impl Plan<'_> {
    fn ties(&self) -> MutexGuard<'_, Vec<Tie>> {
        self.ties.lock().unwrap_or_else(PoisonError::into_inner) // as the claims
    }

    /// The CPU that core `core` is to be pinned to.
    pub(crate) fn cpu(&self, core: usize) -> Option<usize> {
        self.ties().get(core).and_then(|tie| tie.seat).map(|seat| seat.cpu)
    }

    /// Whether any core is to be pinned.
    pub(crate) fn pins(&self) -> bool {
        self.ties().iter().any(|tie| tie.seat.is_some())
    }

    /// Tells all where the cores are pinned to.
    pub(crate) fn publish(&self, cores: &[Arc<Mailbox>]) {
        cores.iter().zip(&*self.ties()).for_each(|(core, tie)| core.load.seat.set(tie.seat));
    }

    /// Chooses anew for the cores that were pinned, because `available` has changed. Who serves chooses first.
    ///
    /// A core keeps its CPU if that is there and nobody else's. The others get those that the fewest cores have claimed,
    /// of this Machine or another.
    pub(crate) fn choose_again(
        &self,
        available: &Available,
        order: impl FnOnce(&[usize]) -> Vec<Seat>,
        serves: impl Fn(usize) -> bool,
    ) {
        let order = if self.pins() { order(&available.cpus) } else { return };
        let mut ties = self.ties();
        let mut claims = self.registry.claims();
        ties.iter().filter_map(|tie| tie.seat).for_each(|seat| claims.give_back(seat.cpu));
        let mut pinned: Vec<_> =
            ties.iter_mut().enumerate().filter_map(|(core, tie)| Some((core, tie.seat.as_mut()?))).collect();
        pinned.sort_by_key(|(core, _)| !serves(*core));
        let take = |claims: &mut Claims, cpu| {
            claims.add(cpu, &available.cpus).from.clone_from(&available.cpus);
        };
        pinned.retain_mut(|(_, seat)| {
            let keeps = available.cpus.contains(&seat.cpu) && claims.of(seat.cpu) == 0;
            if keeps {
                take(&mut claims, seat.cpu);
                **seat = order.iter().find(|new| new.cpu == seat.cpu).copied().unwrap_or(**seat);
            }
            !keeps
        });
        for (_, seat) in pinned {
            *seat = claims.least(&order);
            take(&mut claims, seat.cpu);
        }
    }

    /// Has the threads of the cores run where they are to: on the CPU of each, or, if it leaves or has left, on those of the
    /// cores that serve.
    pub(crate) fn tie(&self, cores: &[Arc<Mailbox>]) {
        self.publish(cores);
        let mut ties = self.ties();
        let is_pinned = ties.iter().any(|tie| tie.seat.is_some());
        if !is_pinned {
            return;
        }
        let members = cores.iter().zip(&*ties).filter(|(core, _)| core.load.standing() == Standing::Member);
        let mut serving: Vec<_> = members.filter_map(|(_, tie)| tie.seat).map(|seat| seat.cpu).collect();
        serving.sort_unstable();
        serving.dedup();
        for (core, tie) in cores.iter().zip(&mut *ties) {
            let (standing, thread) = (core.load.standing(), core.thread.load(Ordering::Relaxed)); // the lock orders it
            let Some(seat) = tie.seat.filter(|_| thread != 0 && standing.lives()) else { continue };
            let is_away = matches!(standing, Standing::Leaving | Standing::Retired) && !serving.is_empty();
            let wanted = if is_away { &serving } else { slice::from_ref(&seat.cpu) };
            tie.put(core, thread, wanted);
        }
    }

    /// The thread of a core is about to end, or to be something else: its mask is not ours any more.
    pub(crate) fn let_go(&self, core: &Mailbox) {
        let _nobody_ties = self.ties();
        core.thread.store(0, Ordering::Relaxed); // the lock orders it
    }

    /// No core is pinned any more.
    pub(crate) fn give_back(&self) {
        let mut ties = self.ties();
        let mut claims = self.registry.claims();
        ties.iter_mut().filter_map(|tie| tie.seat.take()).for_each(|seat| claims.give_back(seat.cpu));
    }
}

impl Tie {
    fn put(&mut self, core: &Mailbox, thread: libc::pid_t, cpus: &[usize]) {
        let is_off = cpus::affinity_of(thread).is_ok_and(|mask| mask != cpus);
        let put = if is_off { cpus::set_affinity_of(thread, cpus) } else { Ok(()) };
        let was_refused = std::mem::replace(&mut self.is_refused, put.is_err());
        if let Err(error) = put
            && !was_refused
        {
            tracing::warn!(core = core.index, ?cpus, %error, "the core cannot be tied to its CPUs");
        }
    }
}

impl Drop for Plan<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// In which order cores are given `cpus`: the fast ones first, and one thread of each physical core before the second, which
/// would share it; then those that are near. As they are numbered, where the system does not tell.
pub(crate) fn order(cpus: &[usize]) -> Vec<Seat> {
    topology().map_or_else(
        |error| {
            tracing::debug!(%error, "cores are pinned to CPUs in the order of their numbers");
            cpus.iter().copied().map(Seat::unknown).collect()
        },
        |topology| topology.for_cores(cpus),
    )
}

/// Chooses the CPUs of `cores` cores, in the order that `order` gives to those there are, and claims them in `registry`.
pub(crate) fn plan<'r>(
    policy: Pinning,
    cores: usize,
    available: &Available,
    order: impl FnOnce(&[usize]) -> Vec<Seat>,
    registry: &'r Registry,
) -> Plan<'r> {
    let may = policy == Pinning::Always || policy == Pinning::Auto && ours(cores, available);
    let order = if may { order(&available.cpus) } else { Vec::new() };
    // Held from looking to claiming, so that two Machines that start at once see each other.
    let mut claims = registry.claims();
    let free = order.iter().filter(|seat| claims.of(seat.cpu) == 0).count();
    let pins = may && (policy == Pinning::Always || free >= cores);
    let choose = |_| {
        let seat = pins.then(|| claims.least(&order));
        seat.iter().for_each(|seat| _ = claims.add(seat.cpu, &available.cpus));
        Tie { seat, is_refused: false }
    };
    let ties = Mutex::new((0..cores).map(choose).collect());
    Plan { ties, registry }
}

/// Whether a Machine of `cores` cores has its CPUs for itself; see [`Pinning::Auto`].
fn ours(cores: usize, available: &Available) -> bool {
    let alone = match available.share {
        Share::Exclusive => true,
        Share::Whole => cores == available.cpus.len(),
        Share::Part => false,
    };
    alone && !available.quota_binds()
}

/// Keeps the calling thread on `cpu` until it ends, or until its mask is set again.
///
/// # Errors
///
/// `InvalidInput` when the CPU is offline or was taken from our cpuset in the meantime; the thread then runs where
/// it could run before.
pub(crate) fn pin_current_thread(cpu: usize) -> io::Result<()> {
    cpus::set_affinity(&[cpu])
}

/// Gives a thread back the mask that it had, when dropped.
///
/// For a thread that is a core for a while only, as the one that calls `Builder::run`.
#[derive(Debug)]
pub(crate) struct KeepAffinity {
    before: Vec<usize>,
    /// A mask belongs to a thread: the guard is not `Send`.
    _thread: PhantomData<*const ()>,
}

impl KeepAffinity {
    /// Notes the mask of the calling thread.
    ///
    /// # Errors
    ///
    /// Those of reading the mask. The thread must then not be pinned, as nothing could undo it.
    pub(crate) fn of_current_thread() -> io::Result<KeepAffinity> {
        Ok(KeepAffinity { before: cpus::affinity()?, _thread: PhantomData })
    }
}

impl Drop for KeepAffinity {
    fn drop(&mut self) {
        if let Err(error) = cpus::set_affinity(&self.before) {
            // All these CPUs went offline or to others meanwhile; the system then chose new ones itself.
            tracing::warn!(%error, before = ?self.before, "the thread's affinity mask is not restored");
        }
    }
}

#[cfg(test)]
#[path = "pinning_tests.rs"]
mod tests;
