//! Followers whose looks are made here, one by one, on real threads.

use std::fs;
use std::future::Future;
use std::time::{Duration, Instant};

use multikernel_channels::oneshot;
use multikernel_channels::sync::Ordering;

use super::super::fixture::Fixture;
use super::*;
use crate::machine::builder::Builder;
use crate::machine::pinning::Pinning;
use crate::machine::runtime::Runtime;
use crate::spawn_on;

const PATIENCE: Duration = Duration::from_secs(60);

const QUOTA: &str = "sys/fs/cgroup/cpu.max";
const NO_QUOTA: &str = "max 100000\n";
const FILES: [(&str, &str); 3] = [
    ("proc/self/cgroup", "0::/\n"),
    ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n"),
    (QUOTA, NO_QUOTA),
];

/// A Machine of two cores, the files that its follower reads, and the CPUs.
struct Setting {
    runtime: Runtime,
    follower: Follower,
    files: Fixture,
    cpus: Vec<usize>,
}

impl Setting {
    /// None where there is one CPU only.
    fn new(pinning: Pinning) -> Option<Self> {
        let cpus = cpus::affinity().expect("the mask");
        if cpus.len() < 2 {
            println!("one CPU: nothing to follow");
            return None;
        }
        let runtime = Builder::new_test().cores(2).pinning(pinning).build().expect("a Machine");
        let files = Fixture::new(&FILES);
        let follower = Follower {
            machine: runtime.handle().machine.clone(),
            root: files.root().into(),
            available: Available::read(files.root(), cpus.clone()),
            gone: BTreeMap::new(),
        };
        Some(Self { runtime, follower, files, cpus })
    }

    fn grant(&self, quota: &str) {
        fs::write(self.files.root().join(QUOTA), quota).expect("a file");
    }

    fn thread(&self, core: usize) -> libc::pid_t {
        self.follower.machine.cores[core].thread.load(Ordering::Relaxed)
    }

    fn mask(&self, core: usize) -> Vec<usize> {
        cpus::affinity_of(self.thread(core)).expect("the mask")
    }

    /// The one CPU of a core that is pinned.
    fn pin(&self, core: usize) -> [usize; 1] {
        [self.follower.machine.pins.cpu(core).expect("it is pinned")]
    }

    fn serving(&self) -> Vec<usize> {
        let cores = self.follower.machine.cores.iter().enumerate();
        let serve = cores.filter(|(_, core)| core.load.standing() == Standing::Member);
        serve.map(|(index, _)| index).collect()
    }

    fn look_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        self.follower.look();
        until(what, || {
            let does = holds(self);
            if !does {
                self.follower.look();
            }
            does
        });
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        thread::yield_now();
    }
}

fn retired(setting: &Setting, core: usize) -> bool {
    setting.follower.machine.cores[core].load.standing() == Standing::Retired
}

/// A task of the last core that ends when it is told.
fn stays(setting: &Setting) -> (oneshot::Sender<()>, impl Future<Output = bool> + use<>) {
    let (end, ended) = oneshot::channel();
    let _guest = setting.runtime.enter();
    let task = spawn_on(CoreId::new(1), || async move { ended.await.is_ok() });
    (end, async { task.await.expect("it ends well") })
}

#[test]
fn cores_go_and_come_with_the_quota() {
    let Some(mut setting) = Setting::new(Pinning::Never) else { return };
    for _ in 0..2 {
        setting.grant("150000 100000\n");
        setting.follower.look();
        assert_eq!(setting.serving(), [0, 1], "one and a half keep two busy");
        setting.grant("100000 100000\n");
        setting.look_until("the second stays", |setting| retired(setting, 1));
        assert_eq!(setting.serving(), [0]);
        setting.grant(NO_QUOTA);
        setting.look_until("the second does not come back", |setting| setting.serving() == [0, 1]);
    }
}

#[test]
fn a_core_whose_mask_somebody_has_reset_is_tied_again() {
    let Some(mut setting) = Setting::new(Pinning::Always) else { return };
    for core in [0, 1] {
        cpus::set_affinity_of(setting.thread(core), &setting.cpus).expect("our CPUs");
    }
    assert_eq!(setting.mask(1), setting.cpus);
    setting.follower.look();
    assert_eq!([setting.mask(0), setting.mask(1)], [setting.pin(0), setting.pin(1)]);
}

#[test]
fn a_core_that_retires_leaves_its_cpu_and_one_that_comes_back_gets_it_back() {
    let Some(mut setting) = Setting::new(Pinning::Always) else { return };
    let (handle, core) = (setting.runtime.handle().clone(), CoreId::new(1));
    assert_eq!(setting.mask(1), setting.pin(1));
    let (end, task) = stays(&setting);
    let retiring = handle.spawn({
        let handle = handle.clone();
        async move { handle.retire(core).await }
    });
    until("it keeps its CPU while it leaves", || setting.mask(1) == setting.pin(0));
    setting.follower.look();
    assert_eq!(setting.mask(1), setting.pin(0), "who follows lets it be");
    end.send(()).expect("it waits");
    assert!(setting.runtime.block_on(task));
    setting.runtime.block_on(retiring).expect("no panic").expect("it leaves");
    assert_eq!(setting.mask(1), setting.pin(0));
    setting.runtime.block_on(handle.revive(core)).expect("it comes back");
    assert_eq!([setting.mask(0), setting.mask(1)], [setting.pin(0), setting.pin(1)]);
}

#[test]
fn a_core_that_need_not_leave_after_all_gets_its_cpu_back() {
    let Some(setting) = Setting::new(Pinning::Always) else { return };
    let handle = setting.runtime.handle().clone();
    let (_end, _task) = stays(&setting);
    let retiring = handle.clone().spawn(async move { handle.retire(CoreId::new(1)).await });
    until("it keeps its CPU while it leaves", || setting.mask(1) == setting.pin(0));
    retiring.abort();
    until("it does not get it back", || setting.mask(1) == setting.pin(1));
}

#[test]
fn cores_that_somebody_else_has_sent_away_stay_away() {
    let Some(mut setting) = Setting::new(Pinning::Never) else { return };
    let handle = setting.runtime.handle().clone();
    setting.runtime.block_on(handle.resize(1)).expect("one goes");
    for quota in [NO_QUOTA, "100000 100000\n", NO_QUOTA] {
        setting.grant(quota);
        setting.follower.look();
        assert!(retired(&setting, 1) && setting.follower.gone.is_empty());
    }
    setting.runtime.block_on(handle.resize(2)).expect("it comes back");
    // What may not be used is taken back, however it came.
    setting.grant("100000 100000\n");
    setting.look_until("the second stays", |setting| retired(setting, 1));
    setting.runtime.block_on(handle.resize(2)).expect("it comes back");
    setting.look_until("the second stays", |setting| retired(setting, 1));
    setting.grant(NO_QUOTA);
    setting.look_until("the second does not come back", |setting| setting.serving() == [0, 1]);
}

/// The thread of this process that has such a name.
fn thread_called(name: &str) -> Option<libc::pid_t> {
    let threads = fs::read_dir("/proc/self/task").expect("threads").flatten();
    let mut called = threads.filter(|thread| {
        fs::read_to_string(thread.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    });
    called.next()?.file_name().to_str()?.parse().ok()
}

#[test]
fn who_follows_for_a_machine_built_on_a_pinned_core_sees_all_cpus() {
    let Some(setting) = Setting::new(Pinning::Always) else { return };
    let build = || async { Builder::new_test().cores(2).following(true).thread_name("below").build() };
    let below = setting.runtime.spawn(build());
    let below = setting.runtime.block_on(below).expect("no panic").expect("a Machine");
    until("it is tied to the CPU of the core that has started it", || {
        thread_called("below-cpus").and_then(|thread| cpus::affinity_of(thread).ok())
            == Some(setting.cpus.clone())
    });
    drop(below);
}

#[test]
fn nobody_follows_where_nobody_is_to() {
    let Some(setting) = Setting::new(Pinning::Never) else { return };
    let build = |follows: bool, name: &str| {
        let mut builder = Builder::new_test();
        builder.cores(2).pinning(Pinning::Always).following(follows);
        builder.thread_name(name).build().expect("a Machine")
    };
    let (with, without) = (build(true, "led"), build(false, "free"));
    let thread = |runtime: &Runtime| runtime.handle().machine.cores[1].thread.load(Ordering::Relaxed);
    let mask = |runtime: &Runtime| cpus::affinity_of(thread(runtime)).expect("the mask");
    for _ in 0..2 {
        for runtime in [&with, &without] {
            cpus::set_affinity_of(thread(runtime), &setting.cpus).expect("our CPUs");
        }
        until("it is not tied again", || mask(&with).len() == 1);
    }
    assert_eq!(mask(&without), setting.cpus);
    assert!(thread_called("led-cpus").is_some() && thread_called("free-cpus").is_none());
}
