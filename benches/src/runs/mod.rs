//! The measurements themselves, one file each.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::harness::cpus::Cpus;
use crate::harness::pairs::{Entrant, Series};
use crate::harness::process;
use crate::servers::{self, Cores, Protocol, Server};

pub mod churn;
pub mod fs;
pub mod idle;
pub mod proxy;
pub mod resp;
pub mod served;
pub mod udp;

/// What all measurements can be told.
#[derive(Clone, Debug, Default)]
pub struct Common {
    /// Done within 30 seconds.
    pub quick: bool,
    /// How often each is visited, when not the default.
    pub rounds: Option<usize>,
    /// Names, or starts of names; empty means all.
    pub only: Vec<String>,
    /// Where all figures go.
    pub json: Option<PathBuf>,
}

/// Picks from `all` what `only` names: an exact name, or else everything that starts like it.
///
/// # Errors
/// When a name fits nothing; the message lists what there is.
pub fn choose<T>(all: Vec<T>, name: impl Fn(&T) -> &str, only: &[String]) -> Result<Vec<T>> {
    let names: Vec<String> = all.iter().map(|one| name(one).to_owned()).collect();
    if let Some(unknown) = only.iter().find(|asked| !names.iter().any(|name| name.starts_with(*asked))) {
        bail!("{unknown:?} is none of: {}", names.join(", "));
    }
    let fits = |name: &str, asked: &String| match names.contains(asked) {
        true => name == asked,
        false => name.starts_with(asked),
    };
    Ok(all
        .into_iter()
        .filter(|one| only.is_empty() || only.iter().any(|asked| fits(name(one), asked)))
        .collect())
}

/// The servers for `protocol` that `only` asks for.
///
/// # Errors
/// When a name fits nothing.
pub fn servers_for(protocol: Protocol, only: &[String]) -> Result<Vec<&'static Server>> {
    let all = servers::all().filter(|server| server.protocols.contains(&protocol)).collect();
    choose(all, |server| server.name, only)
}

/// Starts `server` in a process of its own, kept on the server's CPU if it uses one core.
///
/// # Errors
/// When it does not come up.
pub fn start(server: &Server, protocol: Protocol, cores: usize, cpus: Cpus) -> Result<process::Server> {
    start_with(server, protocol, cores, cpus, &[])
}

/// As [`start`], with `more` arguments.
///
/// # Errors
/// When it does not come up.
pub fn start_with(
    server: &Server,
    protocol: Protocol,
    cores: usize,
    cpus: Cpus,
    more: &[&str],
) -> Result<process::Server> {
    let exe = std::env::current_exe().context("cannot find this program")?;
    let mut args = ["serve", server.name, protocol.name(), &cores_of(server, cores).to_string()]
        .map(str::to_owned)
        .to_vec();
    args.extend(more.iter().copied().map(str::to_owned));
    let spawn = || process::Server::start(&exe, &args);
    match server.cores {
        Cores::One => crate::harness::cpus::pinned(cpus.server, spawn),
        Cores::Many => spawn(),
    }
}

/// How many cores `server` gets when `many` were asked for.
#[must_use]
pub fn cores_of(server: &Server, many: usize) -> usize {
    match server.cores {
        Cores::One => 1,
        Cores::Many => many,
    }
}

/// Lets this process, and servers it starts, have `needed` descriptors.
///
/// # Errors
/// When the hard limit is below that.
pub fn need_descriptors(needed: usize) -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    let needed = needed as u64 + 200;
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(maximum) = limit.maximum.filter(|maximum| *maximum < needed) {
        bail!(
            "{needed} descriptors are needed and the limit (ulimit -Hn) is {maximum}: ask for fewer connections"
        );
    }
    limit.current = Some(needed);
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of descriptors")
}

/// Servers that came up, and empty series for those that did not.
#[derive(Default)]
pub struct Field {
    /// To be measured.
    pub entrants: Vec<Entrant>,
    /// Not to be measured.
    pub absent: Vec<Series>,
    /// Dropped, and so ended, with the field.
    pub processes: Vec<process::Server>,
}

/// Why the run proves nothing, if so: failures, and whatever `also` finds in a series.
///
/// # Errors
/// Exactly then; every reason is printed first.
pub fn verdict(all: &[Series], also: impl Fn(&Series) -> Option<String>) -> Result<()> {
    let reasons =
        all.iter().filter_map(|series| Some((series, series.failure.clone().or_else(|| also(series))?)));
    let count =
        reasons.inspect(|(series, reason)| println!("PROVES NOTHING: {}: {reason}", series.name)).count();
    if count > 0 {
        bail!("the run proves nothing for {count} of {} servers", all.len());
    }
    Ok(())
}
