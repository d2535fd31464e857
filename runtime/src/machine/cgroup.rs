//! What the control groups of this process allow: a CPU quota and a set of CPUs.
//!
//! Both versions are read, and both at once on a hybrid system, where each controller lives in one of the two. All
//! paths are below a given root, so that tests bring a file tree of their own. A file that is not there sets no
//! limit. One with odd content is reported and sets none either: a program must not fail to start over it.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::cpus;

/// CPU time per period that a control group may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    quota_us: u64,
    period_us: u64,
}

impl Quota {
    /// `None` when either number cannot be one of the kernel's.
    pub(crate) fn new(quota_us: u64, period_us: u64) -> Option<Quota> {
        (quota_us > 0 && period_us > 0).then_some(Quota { quota_us, period_us })
    }

    /// How many CPUs can be busy all the time, rounded up: 1.5 CPUs keep two threads useful. At least 1.
    pub(crate) fn cpus(self) -> usize {
        usize::try_from(self.quota_us.div_ceil(self.period_us)).unwrap_or(usize::MAX)
    }

    /// Whether `cpus` CPUs, busy all the time, would be stopped by this quota.
    pub(crate) fn binds(self, cpus: usize) -> bool {
        u128::from(self.quota_us) < cpus as u128 * u128::from(self.period_us)
    }

    fn tighter(self, other: Quota) -> Quota {
        // Fractions compared crosswise: groups may have periods of their own.
        let left = u128::from(self.quota_us) * u128::from(other.period_us);
        let right = u128::from(other.quota_us) * u128::from(self.period_us);
        if left <= right { self } else { other }
    }
}

/// The limits of all control groups that this process is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The tightest quota on the way to the root.
    pub(crate) quota: Option<Quota>,
    /// The CPUs of the nearest group that names some, ascending.
    pub(crate) cpuset: Option<Vec<usize>>,
    /// That group promises these CPUs to nobody else.
    pub(crate) exclusive: bool,
}

/// Reads the limits of the process whose /proc/self is below `root`.
pub(crate) fn limits(root: &Path) -> Limits {
    let mut limits = Limits::default();
    let Some(groups) = read(&root.join("proc/self/cgroup")) else { return limits };
    let Some(mounts) = read(&root.join("proc/self/mountinfo")) else { return limits };
    let groups: Vec<Membership<'_>> = groups.lines().filter_map(Membership::parse).collect();
    for mount in mounts.lines().filter_map(Mount::parse) {
        for group in groups.iter().filter(|group| mount.shows(group)) {
            limits.tighten(root, &mount, group);
        }
    }
    limits
}

impl Limits {
    fn tighten(&mut self, root: &Path, mount: &Mount, group: &Membership<'_>) {
        let (cpu, cpuset) = match mount.version {
            Version::One => {
                (group.has("cpu") && mount.has("cpu"), group.has("cpuset") && mount.has("cpuset"))
            }
            Version::Two => (true, true),
        };
        let levels = mount.levels(group.path);
        if cpu {
            let quotas = levels.iter().filter_map(|level| mount.version.quota(&below(root, level)));
            self.quota = self.quota.into_iter().chain(quotas).reduce(Quota::tighter);
        }
        if cpuset && self.cpuset.is_none() {
            // The kernel has already narrowed the effective set by all ancestors: the nearest one is enough.
            let found =
                levels.iter().find_map(|level| Some((level, mount.version.cpuset(&below(root, level))?)));
            if let Some((level, cpus)) = found {
                self.cpuset = Some(cpus);
                // What an ancestor has for itself is shared by all of its groups. In version 1 the topmost group
                // always calls itself exclusive, and every other group's CPUs are among its own.
                self.exclusive = Some(level) == levels.first()
                    && (mount.version == Version::Two || group.path != "/")
                    && mount.version.exclusive(&below(root, level));
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    fn quota(self, dir: &Path) -> Option<Quota> {
        match self {
            Version::Two => {
                let path = dir.join("cpu.max");
                let text = read(&path)?;
                let mut words = text.split_ascii_whitespace();
                let quota = words.next().filter(|quota| *quota != "max")?;
                // The kernel's own default, which it also takes when only the quota is written.
                let period = words.next().unwrap_or("100000");
                understood(&path, &text, quota_of(quota, period))
            }
            Version::One => {
                let path = dir.join("cpu.cfs_quota_us");
                let text = read(&path)?;
                let quota = text.trim();
                if quota == "-1" {
                    return None;
                }
                let period = read(&dir.join("cpu.cfs_period_us"))?;
                understood(&path, &text, quota_of(quota, period.trim()))
            }
        }
    }

    /// `None` where the group names no CPUs, which means those of its parent.
    fn cpuset(self, dir: &Path) -> Option<Vec<usize>> {
        let names: &[&str] = match self {
            Version::One => &["cpuset.effective_cpus", "cpuset.cpus"],
            Version::Two => &["cpuset.cpus.effective"],
        };
        names.iter().find_map(|name| {
            let path = dir.join(name);
            let text = read(&path)?;
            understood(&path, &text, cpus::parse_list(&text)).filter(|cpus| !cpus.is_empty())
        })
    }

    fn exclusive(self, dir: &Path) -> bool {
        let (name, values): (_, &[&str]) = match self {
            Version::One => ("cpuset.cpu_exclusive", &["1"]),
            Version::Two => ("cpuset.cpus.partition", &["root", "isolated"]),
        };
        // "root invalid (..)" is a partition that the kernel could not grant.
        read(&dir.join(name)).is_some_and(|text| values.contains(&text.trim()))
    }
}

fn quota_of(quota: &str, period: &str) -> Option<Quota> {
    Quota::new(quota.parse().ok()?, period.parse().ok()?)
}

/// One line of /proc/self/cgroup: `hierarchy:controllers:path`.
struct Membership<'a> {
    version: Version,
    controllers: &'a str,
    path: &'a str,
}

impl<'a> Membership<'a> {
    fn parse(line: &'a str) -> Option<Membership<'a>> {
        let mut fields = line.splitn(3, ':');
        let (Some(hierarchy), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next())
        else {
            tracing::warn!(line, "a line of /proc/self/cgroup is not understood; it sets no limit");
            return None;
        };
        // The kernel marks a group that was removed while the process is still in it.
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        let version = if hierarchy == "0" && controllers.is_empty() { Version::Two } else { Version::One };
        Some(Membership { version, controllers, path })
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|name| name == controller)
    }
}

/// One mounted control group hierarchy, from /proc/self/mountinfo.
struct Mount {
    version: Version,
    /// The group that is seen at `point`.
    top: String,
    point: PathBuf,
    /// Version 1: the controllers, among other words.
    options: String,
}

impl Mount {
    /// `None` for all other kinds of file systems.
    fn parse(line: &str) -> Option<Mount> {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let version = match right.next()? {
            "cgroup" => Version::One,
            "cgroup2" => Version::Two,
            _ => return None,
        };
        let options = right.nth(1).unwrap_or_default().to_owned();
        let mut left = left.split(' ').skip(3);
        let (Some(top), Some(point)) = (left.next(), left.next()) else {
            tracing::warn!(line, "a line of /proc/self/mountinfo is not understood; it sets no limit");
            return None;
        };
        Some(Mount { version, top: unescape(top), point: unescape(point).into(), options })
    }

    fn has(&self, controller: &str) -> bool {
        self.options.split(',').any(|name| name == controller)
    }

    fn shows(&self, group: &Membership<'_>) -> bool {
        self.version == group.version
    }

    /// The folders of `group` and its ancestors as far as this mount shows them, nearest first.
    fn levels(&self, group: &str) -> Vec<PathBuf> {
        let Some(inside) = self.inside(Path::new(group)) else {
            tracing::debug!(group, mount = ?self.point, "this mount does not show the group of the process");
            return Vec::new();
        };
        let levels = inside.ancestors().count();
        let leaf = self.point.join(inside);
        leaf.ancestors().take(levels).map(Path::to_path_buf).collect()
    }

    /// Where below the mount point `group` is.
    fn inside(&self, group: &Path) -> Option<PathBuf> {
        let top = Path::new(&self.top);
        let mut above = top.components().filter(|part| *part != Component::RootDir).peekable();
        if above.peek().is_some() && above.all(|part| part == Component::ParentDir) {
            // The mount was made outside our cgroup namespace and shows an ancestor of it; the names on the way
            // down are hidden. The ancestor's own limits hold for us.
            return Some(PathBuf::new());
        }
        let inside = group.strip_prefix(top).ok()?;
        // A group outside the namespace begins with "..": such a path leads nowhere below the mount point.
        let known = inside.components().all(|part| matches!(part, Component::Normal(_)));
        known.then(|| inside.to_path_buf())
    }
}

/// Undoes the octal escapes of mountinfo: `\040` is a space.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        let byte = escaped
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 4 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `path` as seen in the tree below `root`.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

pub(super) fn read(path: &Path) -> Option<String> {
    match fs::read(path) {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => {
            tracing::trace!(?path, %error, "not read; it sets no limit");
            None
        }
    }
}

/// Passes `value` on, and reports the file when there is none.
pub(super) fn understood<T>(path: &Path, text: &str, value: Option<T>) -> Option<T> {
    if value.is_none() {
        let text: String = text.trim().chars().take(80).collect();
        tracing::warn!(?path, text, "this content is not understood; it sets no limit");
    }
    value
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;
