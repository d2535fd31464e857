//! CPU lists, the mask of a real thread, and what is left of it on different systems.

use super::super::fixture::Fixture;
use super::*;

const V2: [(&str, &str); 2] = [
    ("proc/self/cgroup", "0::/\n"),
    ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
];

fn available(files: &[(&str, &str)], affinity: &[usize]) -> Available {
    let fixture = Fixture::new(&[&V2, files].concat());
    Available::read(fixture.root(), affinity.to_vec())
}

#[test]
fn kernel_lists_are_read() {
    assert_eq!(parse_list("0-3,8,10-11\n"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
    assert_eq!(parse_list("5"), Some(vec![5]));
    assert_eq!(parse_list("\n"), Some(vec![]));
    assert_eq!(parse_list("4,0-1,1-2"), Some(vec![0, 1, 2, 4]), "ascending, each once");
    assert_eq!(parse_list("0-8191").map(|cpus| cpus.len()), Some(8192));
    for odd in ["a", "1-", "-", "-2", "3-1", "1,", "1 2", "0x1", "+1", "65536", "0-65535,0-65535"] {
        assert_eq!(parse_list(odd), None, "{odd}");
    }
}

#[test]
fn bits_beyond_the_first_thousand_count() {
    let mut mask: Vec<libc::c_ulong> = vec![0; 4096 / BITS];
    mask[0] = 0b101;
    mask[4095 / BITS] = 1 << (4095 % BITS);
    assert_eq!(bits(&mask), [0, 2, 4095]);
}

#[test]
fn a_thread_narrows_its_mask_and_gets_it_back() {
    // On a thread of its own: the mask dies with it.
    let narrow = || {
        let before = affinity().expect("the mask");
        assert!(!before.is_empty() && before.is_sorted());
        set_affinity(&before[..1]).expect("a CPU of the mask");
        assert_eq!(affinity().expect("the mask"), before[..1]);
        set_affinity(&before).expect("the mask it had");
        assert_eq!(affinity().expect("the mask"), before);
    };
    std::thread::spawn(narrow).join().expect("the thread ends well");
}

#[test]
fn cpus_that_do_not_exist_are_refused() {
    let before = affinity().expect("the mask");
    for cpus in [&[][..], &[MAX_CPUS - 1], &[MAX_CPUS], &[usize::MAX]] {
        let error = set_affinity(cpus).expect_err("no such CPU");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{cpus:?}");
    }
    assert_eq!(affinity().expect("the mask"), before);
}

#[test]
fn all_online_cpus_are_the_whole_computer() {
    let online = ("sys/devices/system/cpu/online", "0-3\n");
    let all = available(&[online], &[0, 1, 2, 3]);
    assert_eq!(all, Available { cpus: vec![0, 1, 2, 3], quota: None, share: Share::Whole });
    assert_eq!(all.count(), 4);
    assert_eq!(available(&[online], &[0, 1]).share, Share::Part);
    assert_eq!(available(&[], &[0, 1]).share, Share::Part, "nobody says what is online");
    assert_eq!(available(&[("sys/devices/system/cpu/online", "?")], &[0]).share, Share::Part);
}

#[test]
fn isolated_cpus_belong_to_who_asks_for_them() {
    let files = [("sys/devices/system/cpu/online", "0-7\n"), ("sys/devices/system/cpu/isolated", "4-7\n")];
    assert_eq!(available(&files, &[0, 1, 2, 3]).share, Share::Whole);
    assert_eq!(available(&files, &[4, 5]).share, Share::Exclusive);
    assert_eq!(available(&files, &[3, 4]).share, Share::Part);
    let none = [("sys/devices/system/cpu/online", "0-7\n"), ("sys/devices/system/cpu/isolated", "\n")];
    assert_eq!(available(&none, &[4, 5]).share, Share::Part);
}

#[test]
fn the_smaller_of_cpus_and_quota_counts() {
    let quota = |text| available(&[("sys/fs/cgroup/cpu.max", text)], &[0, 1, 2, 3]);
    for (text, count, binds) in [
        ("150000 100000", 2, true),
        ("350000 100000", 4, true),
        ("400000 100000", 4, false),
        ("6400000 100000", 4, false),
        ("10000 100000", 1, true),
        ("max 100000", 4, false),
    ] {
        let available = quota(text);
        assert_eq!((available.count(), available.quota_binds()), (count, binds), "{text}");
    }
}

#[test]
fn a_cpuset_narrows_the_mask_but_never_to_nothing() {
    let cpuset = |text| available(&[("sys/fs/cgroup/cpuset.cpus.effective", text)], &[1, 2, 3]);
    assert_eq!(cpuset("0-2\n").cpus, [1, 2]);
    assert_eq!(cpuset("0-9\n").cpus, [1, 2, 3]);
    assert_eq!(cpuset("8-9\n").cpus, [1, 2, 3]);
}

#[test]
fn without_a_mask_it_is_what_is_online_and_at_least_one() {
    assert_eq!(available(&[("sys/devices/system/cpu/online", "0,2\n")], &[]).cpus, [0, 2]);
    let nothing = available(&[], &[]);
    assert_eq!((nothing.cpus.as_slice(), nothing.count()), (&[0][..], 1));
    assert_eq!(available(&[("sys/devices/system/cpu/online", "\n")], &[]).cpus, [0]);
}

/// The same captured machine as in the tests of `cgroup`, all the way to a number of cores.
#[test]
fn a_batch_job_of_six_cpus_has_six_cores() {
    let fixture = Fixture::new(&[
        ("proc/self/cgroup", "0::/uid_2008/job_15389/step_0\n"),
        ("proc/self/mountinfo", "22 1 0:20 / /cgroup/unified rw - cgroup2 none rw\n"),
        ("cgroup/unified/uid_2008/job_15389/step_0/cpuset.cpus.effective", "0-5\n"),
        ("sys/devices/system/cpu/online", "0-31\n"),
    ]);
    let available = Available::read(fixture.root(), (0..32).collect());
    assert_eq!(available, Available { cpus: (0..6).collect(), quota: None, share: Share::Part });
    assert_eq!(available.count(), 6);
}

#[test]
fn this_computer_has_at_least_one_cpu() {
    let mask = affinity().expect("the mask");
    let here = Available::here(mask.clone());
    assert!((1..=mask.len()).contains(&here.count()), "{here:?}");
    assert!(here.cpus.iter().all(|cpu| mask.contains(cpu)), "{here:?}");
}
