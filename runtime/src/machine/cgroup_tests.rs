//! Trees of both cgroup versions, as different systems lay them out.

use super::super::fixture::Fixture;
use super::*;

const V2_HOST: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
const V1_HOST: &str = "\
31 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct
32 30 0:29 / /sys/fs/cgroup/cpuset rw shared:11 - cgroup cgroup rw,cpuset
";

fn read_limits(cgroup: &str, mountinfo: &str, files: &[(&str, &str)]) -> Limits {
    let own = [("proc/self/cgroup", cgroup), ("proc/self/mountinfo", mountinfo)];
    let fixture = Fixture::new(&[&own, files].concat());
    limits(fixture.root())
}

fn quota(quota_us: u64, period_us: u64) -> Option<Quota> {
    Some(Quota::new(quota_us, period_us).expect("a quota"))
}

#[test]
fn a_fraction_rounds_up_and_is_at_least_one() {
    for (quota_us, period_us, cpus) in [
        (150_000, 100_000, 2),
        (200_000, 100_000, 2),
        (200_001, 100_000, 3),
        (1_000, 100_000, 1),
        (50_000, 10_000, 5),
    ] {
        assert_eq!(quota(quota_us, period_us).map(Quota::cpus), Some(cpus), "{quota_us}/{period_us}");
    }
    assert_eq!((Quota::new(0, 100_000), Quota::new(100_000, 0)), (None, None));
}

#[test]
fn a_quota_binds_below_what_the_cpus_can_use() {
    let three_and_a_half = quota(350_000, 100_000).expect("a quota");
    assert!(!three_and_a_half.binds(3));
    assert!(three_and_a_half.binds(4));
    assert!(!quota(u64::MAX, 1).expect("a quota").binds(65_536));
}

#[test]
fn without_files_there_are_no_limits() {
    let fixture = Fixture::new(&[]);
    assert_eq!(limits(fixture.root()), Limits::default());
    assert_eq!(read_limits("0::/\n", "", &[]), Limits::default());
    assert_eq!(read_limits("0::/\n", V2_HOST, &[]), Limits::default());
    assert_eq!(read_limits("", V2_HOST, &[("sys/fs/cgroup/cpu.max", "1 2")]), Limits::default());
}

#[test]
fn v2_takes_the_tightest_quota_of_all_ancestors() {
    let base = "sys/fs/cgroup/system.slice";
    let limits = read_limits(
        "0::/system.slice/web.service/worker\n",
        V2_HOST,
        &[
            // 4, 1.5, none, 2 CPUs, with different periods.
            (&format!("{base}/web.service/worker/cpu.max"), "400000 100000\n"),
            (&format!("{base}/web.service/cpu.max"), "15000 10000\n"),
            (&format!("{base}/cpu.max"), "max 100000\n"),
            ("sys/fs/cgroup/cpu.max", "200000 100000\n"),
            // A neighbour's limit is not ours.
            (&format!("{base}/db.service/cpu.max"), "10000 100000\n"),
        ],
    );
    assert_eq!(limits.quota, quota(15_000, 10_000));
}

#[test]
fn v2_cpuset_is_that_of_the_nearest_group_that_has_one() {
    let files = [("sys/fs/cgroup/a/cpuset.cpus.effective", "2-3\n"), ("sys/fs/cgroup/a/b/cpu.max", "max\n")];
    let limits = read_limits("0::/a/b/c\n", V2_HOST, &files);
    assert_eq!(limits.cpuset, Some(vec![2, 3]));
    let nearer = [files[0], ("sys/fs/cgroup/a/b/c/cpuset.cpus.effective", "3\n")];
    assert_eq!(read_limits("0::/a/b/c\n", V2_HOST, &nearer).cpuset, Some(vec![3]));
}

#[test]
fn v2_partition_is_exclusive_for_its_own_group_only() {
    for (state, group, exclusive) in [
        ("root\n", "/a", true),
        ("isolated\n", "/a", true),
        ("member\n", "/a", false),
        ("root invalid (Parent is not a partition root)\n", "/a", false),
        ("root\n", "/a/b", false),
    ] {
        let files = [
            ("sys/fs/cgroup/a/cpuset.cpus.effective", "1\n"),
            ("sys/fs/cgroup/a/cpuset.cpus.partition", state),
        ];
        let limits = read_limits(&format!("0::{group}\n"), V2_HOST, &files);
        assert_eq!(limits.exclusive, exclusive, "{state} {group}");
    }
}

#[test]
fn v1_quota_and_cpuset_come_from_their_own_hierarchies() {
    let limits = read_limits(
        "5:cpuset:/jobs/7\n4:cpu,cpuacct:/jobs/7\n1:name=systemd:/user.slice\n",
        V1_HOST,
        &[
            ("sys/fs/cgroup/cpu,cpuacct/jobs/7/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/jobs/7/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", "250000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpuset/jobs/7/cpuset.effective_cpus", "0,4\n"),
            ("sys/fs/cgroup/cpuset/jobs/7/cpuset.cpus", "0,4-5\n"),
            ("sys/fs/cgroup/cpuset/jobs/7/cpuset.cpu_exclusive", "1\n"),
        ],
    );
    let expected = Limits { quota: quota(250_000, 100_000), cpuset: Some(vec![0, 4]), exclusive: true };
    assert_eq!(limits, expected);
}

#[test]
fn v1_root_cpuset_is_not_exclusive_and_an_empty_set_is_the_parents() {
    let files = [
        ("sys/fs/cgroup/cpuset/cpuset.cpus", "0-7\n"),
        ("sys/fs/cgroup/cpuset/cpuset.cpu_exclusive", "1\n"),
        ("sys/fs/cgroup/cpuset/a/cpuset.cpus", "\n"),
        ("sys/fs/cgroup/cpuset/a/cpuset.cpu_exclusive", "1\n"),
    ];
    for group in ["/", "/a"] {
        let limits = read_limits(&format!("5:cpuset:{group}\n"), V1_HOST, &files);
        assert_eq!(limits.cpuset, Some((0..8).collect()), "{group}");
        assert!(!limits.exclusive, "{group}");
    }
}

#[test]
fn docker_with_v1_mounts_its_own_group_as_the_top() {
    let id = "/docker/0f3a";
    let mountinfo = format!(
        "901 900 0:28 {id} /sys/fs/cgroup/cpu,cpuacct ro,nosuid master:10 - cgroup cgroup rw,cpu,cpuacct\n"
    );
    let files = [
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
    ];
    let limits = read_limits(&format!("4:cpu,cpuacct:{id}\n"), &mountinfo, &files);
    assert_eq!(limits.quota, quota(50_000, 100_000));
    // Another container's mount says nothing about us, nor does one whose name merely begins alike.
    for other in ["/docker/77", "/docker/0f3abc"] {
        let limits = read_limits(&format!("4:cpu,cpuacct:{other}\n"), &mountinfo, &files);
        assert_eq!(limits, Limits::default(), "{other}");
    }
}

#[test]
fn docker_with_v2_sees_itself_as_the_top() {
    let limits = read_limits(
        "0::/\n",
        "901 900 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n",
        &[
            ("sys/fs/cgroup/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/cpuset.cpus.effective", "8-11\n"),
            ("sys/fs/cgroup/cpuset.cpus.partition", "member\n"),
        ],
    );
    let expected =
        Limits { quota: quota(150_000, 100_000), cpuset: Some(vec![8, 9, 10, 11]), exclusive: false };
    assert_eq!(limits, expected);
}

#[test]
fn a_mount_made_outside_the_namespace_shows_an_ancestor() {
    let files = [("mnt/cpu.max", "300000 100000\n"), ("mnt/cpuset.cpus.effective", "0-2\n")];
    let limits = read_limits("0::/mine\n", "9 1 0:26 /../.. /mnt rw - cgroup2 none rw\n", &files);
    assert_eq!((limits.quota, limits.cpuset), (quota(300_000, 100_000), Some(vec![0, 1, 2])));
    // A group beside ours, and a process that is outside its own namespace.
    let beside = read_limits("0::/mine\n", "9 1 0:26 /../other /mnt rw - cgroup2 none rw\n", &files);
    assert_eq!(beside, Limits::default());
    let outside = read_limits("0::/../mnt\n", "9 1 0:26 / /mnt/x rw - cgroup2 none rw\n", &files);
    assert_eq!(outside, Limits::default());
}

#[test]
fn hybrid_reads_each_controller_where_it_lives() {
    let mountinfo =
        format!("{V1_HOST}41 30 0:38 / /sys/fs/cgroup/unified rw shared:8 - cgroup2 cgroup2 rw\n");
    let limits = read_limits(
        "4:cpu,cpuacct:/a\n5:cpuset:/\n1:name=systemd:/a.scope\n0::/a.scope\n",
        &mountinfo,
        &[
            ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "300000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/unified/a.scope/cpuset.cpus.effective", "0-1\n"),
            ("sys/fs/cgroup/unified/a.scope/cgroup.procs", "1\n"),
        ],
    );
    assert_eq!((limits.quota, limits.cpuset), (quota(300_000, 100_000), Some(vec![0, 1])));
}

#[test]
fn odd_names_are_found() {
    let limits = read_limits(
        "0::/a:b c (deleted)\n",
        "30 23 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw\n",
        &[("my groups/a:b c/cpu.max", "100000 50000\n")],
    );
    assert_eq!(limits.quota, quota(100_000, 50_000));
    assert_eq!(unescape("a\\134b\\04\\9\\777"), "a\\b\\04\\9\\777");
    assert_eq!(unescape("\\"), "\\");
    assert_eq!(unescape("é\\011"), "é\t");
}

#[test]
fn odd_content_sets_no_limit() {
    for text in
        ["", "\n", "x", "-5 100000", "0 100000", "100000 0", "1.5 100000", "99999999999999999999 1", "\u{0}"]
    {
        let limits = read_limits("0::/\n", V2_HOST, &[("sys/fs/cgroup/cpu.max", text)]);
        assert_eq!(limits, Limits::default(), "{text:?}");
    }
    for text in ["", "x", "3-1", "0-", "-1", "1,,2", "0-99999999999", "+1", "0-3:1/2"] {
        let limits = read_limits("0::/\n", V2_HOST, &[("sys/fs/cgroup/cpuset.cpus.effective", text)]);
        assert_eq!(limits, Limits::default(), "{text:?}");
    }
    let good = [("sys/fs/cgroup/cpu.max", "100000 100000\n")];
    for (cgroup, mountinfo) in [
        ("no colons\n::\n0:\n", V2_HOST),
        ("0::/\n", "short\n- cgroup2\n1 2 3 - cgroup2 a b\n - cgroup2\n1 2 3 4 5 6 -\n"),
    ] {
        assert_eq!(read_limits(cgroup, mountinfo, &good), Limits::default(), "{cgroup:?}");
    }
    // The lines beside an odd one still count.
    let limits = read_limits("odd\n0::/\n", &format!("odd\n{V2_HOST}"), &good);
    assert_eq!(limits.quota, quota(100_000, 100_000));
    let alone = [("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "100000\n")];
    assert_eq!(read_limits("4:cpu:/\n", V1_HOST, &alone), Limits::default(), "a quota without a period");
}

/// Facts of a captured machine: 32 CPUs, 4 sockets, a batch system that put the process into a group of CPUs 0-5.
#[test]
fn a_batch_job_on_a_32_cpu_machine() {
    let group = "/uid_2008/job_15389/step_0";
    let mountinfo = "\
        20 1 0:18 / /cgroup/freezer rw,relatime - cgroup none rw,freezer,release_agent=/var/conf/slurm/release\n\
        21 1 0:19 / /cgroup/memory rw,relatime - cgroup none rw,memory,release_agent=/var/conf/slurm/release\n\
        22 1 0:20 / /cgroup/unified rw - cgroup2 none rw\n";
    let limits = read_limits(
        &format!("3:freezer:{group}\n2:memory:{group}\n0::{group}\n"),
        mountinfo,
        &[
            ("cgroup/unified/cgroup.controllers", "foo bar cpuset baz\n"),
            ("cgroup/unified/uid_2008/job_15389/step_0/cpuset.cpus.effective", "0-5\n"),
            ("cgroup/unified/uid_2008/job_15389/step_0/cpuset.mems.effective", "0-5\n"),
            ("sys/devices/system/cpu/online", "0-31\n"),
        ],
    );
    assert_eq!(limits, Limits { quota: None, cpuset: Some((0..6).collect()), exclusive: false });
}
