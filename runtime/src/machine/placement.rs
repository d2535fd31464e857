//! Where a new task goes. Never into a shared queue: a core is chosen by what cores publish, and sent a message.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::AtomicU32;

use multikernel_channels::doorbell::State;
use multikernel_channels::sync::{Arc, Ordering};

use crate::executor::Core;
use crate::limits::REMOTE_WAKE;
use crate::machine::Machine;
use crate::machine::mailbox::{Load, Mailbox};
use crate::machine::placer::by_loads;
use crate::machine::policy::{CoreLoad, Placement};
use crate::task::key::Key;

/// The core through which a thread that is none registers its sockets and sleeps: the same one each time, while it
/// lives and serves.
pub(crate) fn delegate(machine: &Machine) -> &Arc<Mailbox> {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(std::thread::current().id());
    let first = hash as usize % machine.cores.len();
    let all = || machine.cores.iter().cycle().skip(first).take(machine.cores.len());
    let serves = |core: &&Arc<Mailbox>| core.load.standing().lives() && !core.load.is_held_up();
    let is_free = |core: &&Arc<Mailbox>| serves(core) && !core.load.is_reserved();
    all().find(is_free).or_else(|| all().find(serves)).unwrap_or(&machine.cores[first])
}

/// What a core publishes, for whoever places tasks.
pub(crate) fn load_of(core: &Mailbox) -> CoreLoad {
    let sums = core.figures.read();
    let load = CoreLoad {
        takes_tasks: core.load.takes_tasks(),
        is_reserved: core.load.is_reserved(),
        parked: core.doorbell.state() == State::Parked,
        tasks: sums.tasks,
        connections: core.load.connections.load(Ordering::Relaxed), // a figure
        queue: sums.queue,
        delay: sums.delay.into(),
        busy: sums.awake,
        run_delay: sums.run_delay,
        polls: sums.polls,
        ..CoreLoad::default()
    };
    load.on(core.load.seat.get())
}

/// The core for a task that is placed without a [`Placer`](super::placer::Placer)'s memory: from outside, or by a core that
/// has no time. Fewest tasks, then shortest delay, ties at random.
pub(crate) fn balanced(machine: &Machine, random: u32) -> &Mailbox {
    let chosen = least(machine, random, |core| {
        (core.load.tasks.load(Ordering::Relaxed), core.load.delay.load(Ordering::Relaxed)) // figures
    });
    // Until the core publishes its count again, so that a burst does not see one core as the emptiest throughout.
    chosen.load.tasks.fetch_add(1, Ordering::Relaxed);
    chosen
}

/// The core for a task of a thread that is none.
pub(crate) fn from_outside(machine: &Machine, placement: Placement) -> &Mailbox {
    let chosen = match placement {
        Placement::Local | Placement::Spread => None,
        Placement::ByKey(hash) => of_key(machine, Key::of(hash)),
        _ => {
            let loads: Vec<_> = machine.cores.iter().map(|core| load_of(core)).collect();
            by_loads(placement, &loads).map(|core| &*machine.cores[core])
        }
    };
    chosen.unwrap_or_else(|| balanced_from_outside(machine))
}

/// As [`balanced`], but ties go round. A thread that is no core has no numbers to draw, and it may place so slowly that
/// each task has ended before the next: then all of it would go to the first core.
pub(crate) fn balanced_from_outside(machine: &Machine) -> &Mailbox {
    // Not through the door: nothing hangs on it.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    balanced(machine, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Where tasks of a key go that have to leave their core: where [`Placer`](super::placer::Placer) places new ones.
pub(crate) fn of_key(machine: &Machine, key: Key) -> Option<&Mailbox> {
    let those = |may: fn(&Load) -> bool| {
        let cores = machine.cores.iter().enumerate().filter(move |(_, core)| may(&core.load));
        key.choose(cores.map(|(index, _)| index))
    };
    those(Load::takes_tasks).or_else(|| those(Load::would_take_tasks)).map(|index| &*machine.cores[index])
}

/// Another core, if a task spawned here would wait for so long that sending it pays.
pub(crate) fn less_delayed<'a>(machine: &'a Machine, from: &Core) -> Option<&'a Mailbox> {
    let own = from.home.mailbox();
    let delay = |core: &Mailbox| core.load.delay.load(Ordering::Relaxed); // a figure
    let worth = delay(own).checked_sub(REMOTE_WAKE.as_nanos() as u32)?;
    let others = machine.cores.len() - 1;
    if others == 0 {
        return None;
    }
    // The better of two at random (Mitzenmacher 2001): no need to read every core's line for each spawn.
    let pick =
        || &*machine.cores[(own.index as usize + 1 + from.random() as usize % others) % machine.cores.len()];
    let (one, other) = (pick(), pick());
    let target = if delay(other) < delay(one) { other } else { one };
    (delay(target) < worth && target.load.takes_tasks()).then_some(target)
}

fn least<K: Ord>(machine: &Machine, random: u32, key: impl Fn(&Mailbox) -> K) -> &Mailbox {
    let count = machine.cores.len();
    let start = random as usize % count;
    let rotated = (0..count).map(|offset| &machine.cores[(start + offset) % count]);
    // Between two looks the last one may retire that took tasks; then any will do, and say that it takes none.
    let rank = |core: &Mailbox| (!core.load.takes_tasks(), !core.load.would_take_tasks());
    rotated.min_by_key(|core| (rank(core), key(core))).expect("a Machine has a core")
}
