//! Reads the files below `/sys/devices` that tell what the computer is made of. What they mean together is worked out in
//! `topology_build`.

use std::error::Error;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::cpus::{MAX_CPUS, parse_list};
use super::topology::CpuKind;
use crate::limits::SYSFS_FILE_BYTES;

/// Why the [`Topology`](super::Topology) of a computer cannot be told.
///
/// A file that is not there is no error.
///
/// ```
/// use multikernel::machine::Topology;
///
/// let error = Topology::read_from("/nowhere".as_ref()).unwrap_err();
/// assert!(error.to_string().contains("/nowhere"));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum TopologyError {
    /// No CPU is named where they should be.
    NoCpus {
        /// The folder that should name them.
        path: PathBuf,
    },
    /// A file or folder is there and cannot be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file says what the system would not.
    Malformed {
        /// Which.
        path: PathBuf,
        /// What it says, or how it begins.
        text: String,
        /// What it should say.
        expected: &'static str,
    },
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopologyError::NoCpus { path } => write!(f, "{}: there are no CPUs", path.display()),
            TopologyError::Unreadable { path, error } => write!(f, "{}: {error}", path.display()),
            TopologyError::Malformed { path, text, expected } => {
                write!(f, "{}: {text:?} is not {expected}", path.display())
            }
        }
    }
}

impl Error for TopologyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            TopologyError::Unreadable { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// What the files say, each for itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Ascending.
    pub(super) cpus: Vec<CpuFacts>,
    /// Ascending.
    pub(super) nodes: Vec<NodeFacts>,
    /// The nodes that the system lists as online.
    pub(super) nodes_online: Option<Vec<usize>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct CpuFacts {
    pub(super) number: usize,
    pub(super) online: bool,
    pub(super) package: Option<usize>,
    pub(super) die: Option<usize>,
    pub(super) siblings: Option<Vec<usize>>,
    pub(super) caches: Vec<CacheFacts>,
    pub(super) kind: CpuKind,
    pub(super) capacity: Option<u64>,
    pub(super) frequency: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct CacheFacts {
    pub(super) level: u32,
    pub(super) size: Option<u64>,
    pub(super) id: Option<usize>,
    pub(super) cpus: Option<Vec<usize>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct NodeFacts {
    pub(super) number: usize,
    pub(super) cpus: Vec<usize>,
    pub(super) distances: Vec<u32>,
}

type Found<T> = Result<Option<T>, TopologyError>;

pub(super) fn read(root: &Path) -> Result<Facts, TopologyError> {
    let whole = root.join("sys");
    let devices = Folder(if whole.is_dir() { whole } else { root.to_owned() }.join("devices"));
    let cpu = devices.folder("system/cpu");
    let mut numbers = cpu.numbered("cpu")?;
    let online = cpu.list("online")?;
    for named in [cpu.list("present")?, online.clone()].into_iter().flatten() {
        numbers.extend(named);
    }
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.is_empty() {
        return Err(TopologyError::NoCpus { path: cpu.0 });
    }
    let kinds = Kinds::read(&devices)?;
    let cpus = numbers.into_iter().map(|number| {
        // The system's list may be missing, and so is the file of a CPU that cannot go offline.
        let listed = online.as_ref().is_none_or(|online| online.binary_search(&number).is_ok());
        let mut facts = cpu.folder(&format!("cpu{number}")).cpu(number, listed)?;
        facts.kind = kinds.of(number);
        Ok(facts)
    });
    let cpus = cpus.collect::<Result<_, _>>()?;
    let node = devices.folder("system/node");
    Ok(Facts { cpus, nodes: node.nodes()?, nodes_online: node.list("online")? })
}

/// The lists of a processor that has cores of several kinds: each kind has a device that counts its events. Ascending.
struct Kinds {
    performance: Vec<usize>,
    efficient: Vec<usize>,
}

impl Kinds {
    fn read(devices: &Folder) -> Result<Kinds, TopologyError> {
        let performance = devices.list("cpu_core/cpus")?.unwrap_or_default();
        let mut efficient = devices.list("cpu_atom/cpus")?.unwrap_or_default();
        efficient.extend(devices.list("cpu_lowpower/cpus")?.unwrap_or_default());
        efficient.sort_unstable();
        if let Some(both) = performance.iter().find(|cpu| efficient.binary_search(cpu).is_ok()) {
            let path = devices.0.join("cpu_core/cpus");
            return Err(malformed(path, &both.to_string(), "a CPU of one kind"));
        }
        Ok(Kinds { performance, efficient })
    }

    fn of(&self, cpu: usize) -> CpuKind {
        if self.performance.binary_search(&cpu).is_ok() {
            CpuKind::Performance
        } else if self.efficient.binary_search(&cpu).is_ok() {
            CpuKind::Efficient
        } else {
            CpuKind::Unknown
        }
    }
}

struct Folder(PathBuf);

impl Folder {
    fn folder(&self, name: &str) -> Folder {
        Folder(self.0.join(name))
    }

    fn cpu(&self, number: usize, listed: bool) -> Result<CpuFacts, TopologyError> {
        let online = self.number("online")?.is_none_or(|online| online != 0);
        let topology = self.folder("topology");
        let siblings = match topology.set("core_cpus_list", "core_cpus")? {
            // The same by the name that it has had for longer.
            None => topology.set("thread_siblings_list", "thread_siblings")?,
            siblings => siblings,
        };
        let mut caches = Vec::new();
        let cache = self.folder("cache");
        for index in cache.numbered("index")? {
            caches.extend(cache.folder(&format!("index{index}")).cache()?);
        }
        Ok(CpuFacts {
            number,
            online: online && listed,
            package: topology.id("physical_package_id")?,
            die: topology.id("die_id")?,
            siblings,
            caches,
            kind: CpuKind::Unknown,
            capacity: self.number("cpu_capacity")?.filter(|capacity| *capacity > 0),
            frequency: self.frequency()?,
        })
    }

    fn frequency(&self) -> Found<u64> {
        match self.number("cpufreq/cpuinfo_max_freq") {
            // Drivers ask the firmware, which may be unable to tell. It is only a hint.
            Err(TopologyError::Unreadable { .. }) => Ok(None),
            frequency => Ok(frequency?.filter(|frequency| *frequency > 0)),
        }
    }

    /// `None` for a cache of instructions, and for one that does not say where it stands.
    fn cache(&self) -> Found<CacheFacts> {
        let holds_data = self.text("type")?.is_none_or(|kind| kind.trim() != "Instruction");
        let Some(level) = self.number("level")?.filter(|_| holds_data) else { return Ok(None) };
        let level = u32::try_from(level)
            .map_err(|_| malformed(self.0.join("level"), &level.to_string(), "the level of a cache"))?;
        let size = self.parsed("size", "a number of bytes, as in 512K", bytes)?;
        Ok(Some(CacheFacts {
            level,
            size,
            id: self.id("id")?,
            cpus: self.set("shared_cpu_list", "shared_cpu_map")?,
        }))
    }

    fn nodes(&self) -> Result<Vec<NodeFacts>, TopologyError> {
        let mut nodes = Vec::new();
        for number in self.numbered("node")? {
            let node = self.folder(&format!("node{number}"));
            let cpus = match node.set("cpulist", "cpumap")? {
                None => node.numbered("cpu")?,
                Some(cpus) => cpus,
            };
            let distances = node.parsed("distance", "a row of distances", row)?.unwrap_or_default();
            nodes.push(NodeFacts { number, cpus, distances });
        }
        Ok(nodes)
    }

    /// The numbers N of the entries `prefixN`, ascending. A folder that is not there has none.
    fn numbered(&self, prefix: &str) -> Result<Vec<usize>, TopologyError> {
        let unreadable = |error| TopologyError::Unreadable { path: self.0.clone(), error };
        let entries = match fs::read_dir(&self.0) {
            Err(error) if is_absence(&error) => return Ok(Vec::new()),
            entries => entries.map_err(unreadable)?,
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry.map_err(unreadable)?.file_name();
            let digits = name.to_str().and_then(|name| name.strip_prefix(prefix));
            // `cpu01` and a number that no system has name nothing.
            let number =
                digits.and_then(|digits| digits.parse().ok().filter(|n: &usize| n.to_string() == digits));
            numbers.extend(number.filter(|number| *number < MAX_CPUS));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn text(&self, name: &str) -> Found<String> {
        let path = self.0.join(name);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(SYSFS_FILE_BYTES).read_to_end(&mut bytes)) {
            Ok(_) => {
                // Some kernels count the NUL that ends their string as a part of it.
                let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                Ok(Some(String::from_utf8_lossy(text).into_owned()))
            }
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(TopologyError::Unreadable { path, error }),
        }
    }

    fn parsed<T>(&self, name: &str, expected: &'static str, parse: impl Fn(&str) -> Option<T>) -> Found<T> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match parse(text.trim()) {
            Some(value) => Ok(Some(value)),
            None => Err(malformed(self.0.join(name), &text, expected)),
        }
    }

    fn list(&self, name: &str) -> Found<Vec<usize>> {
        self.parsed(name, "a list, as in 0-3,8", parse_list)
    }

    /// A set of CPUs, from the list of that name or else from the mask. An empty one tells nothing.
    fn set(&self, list: &str, mask: &str) -> Found<Vec<usize>> {
        let set = match self.list(list)?.filter(|set| !set.is_empty()) {
            None => self.parsed(mask, "a mask, as in 00000000,0000ffff", parse_mask)?,
            set => set,
        };
        Ok(set.filter(|set| !set.is_empty()))
    }

    fn number(&self, name: &str) -> Found<u64> {
        let number = |text: &str| if text.is_empty() { Some(None) } else { digits(text).map(Some) };
        self.parsed(name, "a number", number).map(Option::flatten)
    }

    /// A number where -1 stands for none.
    fn id(&self, name: &str) -> Found<usize> {
        let id = |text: &str| match text.strip_prefix('-') {
            _ if text.is_empty() => Some(None),
            Some(negative) => digits(negative).map(|_| None),
            None => digits(text)?.try_into().ok().map(Some),
        };
        self.parsed(name, "an id", id).map(Option::flatten)
    }
}

/// Whether there is nothing to read: no such file, no such folder, or the device went away while we looked.
fn is_absence(error: &io::Error) -> bool {
    [libc::ENOENT, libc::ENOTDIR, libc::ENODEV, libc::ENXIO].map(Some).contains(&error.raw_os_error())
}

fn malformed(path: PathBuf, text: &str, expected: &'static str) -> TopologyError {
    TopologyError::Malformed { path, text: text.trim().chars().take(80).collect(), expected }
}

/// `parse` alone would take a sign.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Reads a mask as the kernel writes it: hexadecimal words of 32 bits, the highest first, parted by commas.
pub(super) fn parse_mask(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    if text.is_empty() {
        return Some(cpus);
    }
    for (word, digits) in text.rsplit(',').enumerate() {
        let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bits = u32::from_str_radix(digits, 16).ok().filter(|_| plain)?;
        cpus.extend((0..32).filter(|bit| bits >> bit & 1 == 1).map(|bit| word * 32 + bit));
    }
    cpus.last().is_none_or(|last| *last < MAX_CPUS).then_some(cpus)
}

/// Reads a size with its unit: `512K`.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1 << 10),
        b'M' => (&text[..text.len() - 1], 1 << 20),
        b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    digits(number)?.checked_mul(unit)
}

fn row(text: &str) -> Option<Vec<u32>> {
    text.split_ascii_whitespace().map(|word| digits(word)?.try_into().ok()).collect()
}
