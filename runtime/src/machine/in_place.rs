//! Blocking a core on purpose.

use multikernel_channels::budget;
use multikernel_channels::sync::Ordering;

use crate::executor::{self, Core};
use crate::machine::placement;

/// Runs a function that blocks, here and now.
///
/// The core does nothing else meanwhile, so its tasks, its sockets and timers wait, and so does the agreement of the
/// Machine. Before, the tasks in its run queue that may run anywhere (by [`spawn`](crate::spawn) and the like, not
/// [`spawn_on`](crate::spawn_on)) are handed over to other cores; meanwhile, no new ones are placed here. In tokio
/// everything else moves to another thread as well, so code that relies on that, such as waiting in `f` for a task of
/// this core that waits for a socket, hangs here.
///
/// That makes it a tool for short calls, or for cores with little else to do, where `f` borrows or is not `Send`.
/// Everything else belongs in [`spawn_blocking`](crate::task::spawn_blocking). On a thread that is no core, and on a
/// Machine with one core, `f` just runs; that the number of CPUs should make a program panic would help nobody. Within
/// a [`LocalSet`](crate::task::LocalSet), its tasks wait too. As anywhere on a core, and unlike tokio, `block_on` panics in
/// there; in `spawn_blocking`, it does not.
///
/// # Panics
/// If `f` does.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new().cores(2).run(|| async {
/// use multikernel::task::block_in_place;
///
/// let path = String::from("/proc/sys/kernel/ostype");
/// let kind = block_in_place(|| std::fs::read_to_string(&path)); // borrows
/// assert_eq!(kind.unwrap().trim(), "Linux");
/// # }).unwrap();
/// ```
pub fn block_in_place<R>(f: impl FnOnce() -> R) -> R {
    let _blocking = executor::with(|core| core.map(make_way));
    budget::unlimited(f)
}

/// The core of the calling thread serves again when this is dropped.
struct Blocking {
    /// It was blocked already: this call is within another.
    was_blocking: bool,
    delay: u32,
}

fn make_way(core: &Core) -> Blocking {
    let (own, machine) = (core.home.mailbox(), &core.machine);
    let was_blocking = own.load.set_blocks(true);
    // Spawned meanwhile, a task goes elsewhere: here it would wait for longer than anywhere.
    let delay = own.load.delay.swap(u32::MAX, Ordering::Relaxed); // a figure
    if machine.cores.len() > 1 {
        core.home.hand_over(|| {
            let target = placement::balanced(machine, core.random());
            target.load.would_take_tasks().then_some(target)
        });
    }
    core.flush();
    Blocking { was_blocking, delay }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        executor::with(|core| {
            let load = &core.expect("a thread is a core throughout a poll").home.mailbox().load;
            load.set_blocks(self.was_blocking);
            load.delay.store(self.delay, Ordering::Relaxed); // a figure
        });
    }
}
