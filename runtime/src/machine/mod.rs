//! The Machine: all cores of this process.

pub(crate) mod cgroup;
pub(crate) mod cpus;
#[cfg(test)]
mod fixture;
pub(crate) mod pinning;
