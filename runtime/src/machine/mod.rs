//! The computer that a program runs on: its packages, caches, NUMA nodes and kinds of CPUs, who is near whom, and how
//! long a message takes.
//!
//! ```
//! use std::time::Duration;
//! use multikernel::machine;
//!
//! let topology = machine::topology()?;
//! for cpu in topology.online() {
//!     println!("CPU {}: package {:?}, NUMA node {:?}, {:?}", cpu.number, cpu.package, cpu.node, cpu.kind);
//! }
//! let trips = machine::measure_round_trips(Duration::from_millis(50))?;
//! println!("from CPU 0 to CPU 1 and back: {:?} ns", trips.between(0, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// Inside this crate it is also where the Machine is, all cores of one runtime: how they start, and how they end. Code here
// may speak of more than one core. What cores share is listed in `Machine`, and is read-only, a figure, or touched only
// when the Machine starts and ends.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use multikernel_channels::sync::{Arc, AtomicBool, AtomicUsize, Ordering};

use multikernel_channels::epoch::Deciding;
use multikernel_replicate::host::Gateway;

use crate::driver::{self, DriverInfo};
use crate::time::clock::Clock;

pub(crate) mod agreement;
pub(crate) mod balance;
#[cfg(test)]
mod balance_tests;
mod bell;
pub(crate) mod blocking;
pub(crate) mod boot;
pub(crate) mod builder;
mod builder_names;
pub(crate) mod call;
pub(crate) mod cgroup;
pub(crate) mod core_id;
pub(crate) mod core_local;
pub(crate) mod cpus;
pub mod estimate;
pub(crate) mod figures;
#[cfg(test)]
mod fixture;
pub(crate) mod follow;
pub(crate) mod handle;
pub(crate) mod in_place;
pub(crate) mod mailbox;
#[cfg(test)]
mod mailbox_tests;
pub(crate) mod make_way;
#[cfg(test)]
mod make_way_tests;
pub(crate) mod membership;
pub(crate) mod metrics;
pub(crate) mod objects;
pub(crate) mod pinning;
pub(crate) mod placement;
pub(crate) mod placer;
#[cfg(test)]
mod placer_tests;
pub(crate) mod policy;
pub(crate) mod registry;
mod resize;
mod round_trips;
pub(crate) mod runtime;
mod seat;
pub(crate) mod spawn;
pub(crate) mod stack;
pub(crate) mod stall;
mod thread_times;
mod topology;
mod topology_build;
mod topology_sysfs;
pub(crate) mod watch;

pub use round_trips::{RoundTrips, measure_round_trips, measure_round_trips_among};
pub use topology::{Cache, Cpu, CpuKind, Distance, Node, Package, Topology, TopologyError, topology};

pub(crate) use core_id::CoreId;

use agreement::Rings;
use blocking::Blocking;
use builder::{Builder, Hooks};
use follow::Following;
use handle::RuntimeFlavor;
use mailbox::Mailbox;
use policy::Placement;
use watch::Watch;

pub(crate) const NO_MACHINE: &str = "this must be called on a core of a multikernel runtime, inside \
    Runtime::block_on, or after Handle::enter";

/// What the cores of one runtime have in common.
pub(crate) struct Machine {
    pub(crate) cores: Box<[Arc<Mailbox>]>,
    pub(crate) driver: DriverInfo,
    pub(crate) polling: Option<Duration>,
    pub(crate) flavor: RuntimeFlavor,
    pub(crate) name: Option<String>,
    pub(crate) hooks: Hooks,
    pub(crate) blocking: Blocking,
    pub(crate) clock: Arc<Clock>,
    /// Through which the cores agree.
    pub(crate) rings: Arc<Rings>,
    /// The round that is being decided.
    pub(crate) deciding: Arc<Deciding>,
    /// How threads that are no cores reach the agreement.
    pub(crate) gateway: Arc<dyn Gateway>,
    /// None: nobody watches for stalls.
    pub(crate) watch: Option<Watch>,
    ring_entries: u32,
    /// Where connections go, and tasks that are to be placed.
    pub(crate) placement: Placement,
    /// Whether cores hand tasks over to make their loads alike.
    pub(crate) balancing: bool,
    pub(crate) following: Following,
    /// Which CPU each core runs on.
    pub(crate) pins: pinning::Plan<'static>,
    stopping: AtomicBool,
    /// Cores that hold no futures any more.
    quiet: AtomicUsize,
    /// Cores that have ended.
    ended: Mutex<usize>,
    all_ended: Condvar,
}

impl Machine {
    fn new(
        cores: Box<[Arc<Mailbox>]>,
        driver: DriverInfo,
        polling: Option<Duration>,
        blocking: Blocking,
        clock: Arc<Clock>,
        pins: pinning::Plan<'static>,
        builder: &Builder,
    ) -> Arc<Self> {
        let machine = Arc::new_cyclic(|this| Self {
            rings: agreement::rings(cores.len()),
            deciding: Arc::new(Deciding::new(0)),
            gateway: agreement::gateway(this.clone()),
            watch: builder.stall_threshold.map(|threshold| Watch::new(threshold, cores.len())),
            cores,
            driver,
            polling,
            flavor: builder.flavor,
            name: builder.name.clone(),
            hooks: builder.hooks.clone(),
            blocking,
            clock,
            ring_entries: builder.ring_entries,
            placement: builder.placement,
            balancing: builder.balancing,
            following: Following::default(),
            pins,
            stopping: AtomicBool::new(false),
            quiet: AtomicUsize::new(0),
            ended: Mutex::new(0),
            all_ended: Condvar::new(),
        });
        machine.blocking.belong_to(Arc::downgrade(&machine));
        machine.pins.publish(&machine.cores);
        machine
    }

    pub(crate) fn driver_settings(&self) -> driver::Settings {
        driver::Settings { entries: self.ring_entries }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed) // the fences of the doorbell order it against parking
    }

    /// Asks every core to end. Returns at once.
    pub(crate) fn stop(&self) {
        if !self.stopping.swap(true, Ordering::Relaxed) {
            self.ring_all();
            self.following.end();
        }
    }

    /// A core has come or gone.
    pub(crate) fn tie_cores(&self) {
        self.pins.tie(&self.cores);
    }

    pub(crate) fn ring_all(&self) {
        for core in &self.cores {
            if core.doorbell.must_ring() {
                core.doorbell.ring();
            }
        }
    }

    /// A core has dropped all its futures. It goes on serving its inbox until [`all_quiet`](Self::all_quiet).
    pub(crate) fn report_quiet(&self) {
        // AcqRel pairs with `all_quiet`: what the cores have posted before is in the inboxes when they close.
        if self.quiet.fetch_add(1, Ordering::AcqRel) + 1 == self.cores.len() {
            self.ring_all();
        }
    }

    pub(crate) fn all_quiet(&self) -> bool {
        self.quiet.load(Ordering::Acquire) >= self.cores.len() // pairs with `report_quiet`
    }

    /// A core has closed its driver; its thread is about to end.
    pub(crate) fn report_end(&self, index: usize) {
        registry::strike(self.cores[index].uid);
        self.pins.let_go(&self.cores[index]);
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        *ended += 1;
        if *ended == self.cores.len() {
            self.watch.iter().for_each(Watch::end);
            self.pins.give_back(); // handles may keep the Machine for long
        }
        self.all_ended.notify_all();
    }

    /// Waits until every core has ended; false if some have not by `deadline`.
    pub(crate) fn wait_for_end(&self, deadline: Option<Instant>) -> bool {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        while *ended < self.cores.len() {
            ended = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.all_ended.wait(ended).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return false,
                Some(left) => {
                    self.all_ended.wait_timeout(ended, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }
}
