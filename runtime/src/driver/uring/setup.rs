//! Opening a ring: as modern as the system allows, as large as memory allows.

use std::io;

use io_uring::{IoUring, Probe, opcode};

/// One step of the ladder; each asks for less than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rung {
    /// Linux 6.6: completions run when the owner enters; no index array.
    Direct,
    /// Linux 6.1: completions run when the owner enters.
    Deferred,
    /// Linux 5.19: completions interrupt nobody.
    Cooperative,
    /// Linux 5.18.
    Plain,
}

const LADDER: [Rung; 4] = [Rung::Direct, Rung::Deferred, Rung::Cooperative, Rung::Plain];
/// The smallest ring that is worth having.
const FEWEST_ENTRIES: u32 = 8;
/// Completions per submission: multishot polls complete many times each.
const COMPLETIONS_PER_ENTRY: u32 = 8;

/// The first ring that can be had, from the top of the ladder and at most `entries` long.
pub(super) fn open(entries: u32) -> io::Result<IoUring> {
    climb_down(entries, build)
}

fn build(rung: Rung, entries: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.dontfork().setup_clamp().setup_submit_all().setup_cqsize(entries * COMPLETIONS_PER_ENTRY);
    match rung {
        Rung::Direct => {
            builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_no_sqarray()
        }
        Rung::Deferred => builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag(),
        Rung::Cooperative => builder.setup_coop_taskrun().setup_taskrun_flag(),
        Rung::Plain => &mut builder,
    };
    builder.build(entries)
}

/// Steps down the ladder on `EINVAL` and to smaller rings on `ENOMEM`; any other error is final.
pub(super) fn climb_down<R>(
    entries: u32,
    mut attempt: impl FnMut(Rung, u32) -> io::Result<R>,
) -> io::Result<R> {
    let mut entries = entries.max(FEWEST_ENTRIES).next_power_of_two();
    let mut lower = LADDER.into_iter();
    let mut rung = lower.next().expect("the ladder has rungs");
    loop {
        let error = match attempt(rung, entries) {
            Ok(ring) => return Ok(ring),
            Err(error) => error,
        };
        match error.raw_os_error() {
            Some(libc::EINVAL) => match lower.next() {
                Some(next) => rung = next,
                None => return Err(error),
            },
            Some(libc::ENOMEM) if entries > FEWEST_ENTRIES => entries /= 2,
            _ => return Err(error),
        }
    }
}

/// What was refused, in the words of [`super::super::DriverInfo::why`], and the error.
pub(in super::super) struct Refusal {
    pub(in super::super) what: &'static str,
    pub(in super::super) error: io::Error,
}

/// Finds out whether this process may use io_uring, by setting up a tiny ring.
pub(in super::super) fn probe() -> Result<(), Refusal> {
    let refused = |what| move |error| Refusal { what, error };
    let too_old = |what| Refusal { what, error: io::Error::from_raw_os_error(libc::ENOSYS) };
    let ring = open(FEWEST_ENTRIES).map_err(refused("io_uring_setup"))?;
    let params = ring.params();
    if !(params.is_feature_nodrop() && params.is_feature_ext_arg() && params.is_feature_skip_cqe_on_success())
    {
        return Err(too_old("a needed feature of io_uring"));
    }
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(refused("io_uring_register"))?;
    let needed = [
        opcode::PollAdd::CODE,
        opcode::AsyncCancel::CODE,
        opcode::Close::CODE,
        opcode::MsgRingData::CODE,
        opcode::Send::CODE,
        opcode::Recv::CODE,
    ];
    if !needed.into_iter().all(|code| probe.is_supported(code)) {
        return Err(too_old("a needed operation of io_uring"));
    }
    // A sandbox may allow the set-up and refuse this.
    ring.submit().map_err(refused("io_uring_enter"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errno(errno: i32) -> io::Error {
        io::Error::from_raw_os_error(errno)
    }

    #[test]
    fn an_older_system_gets_a_lower_rung() {
        let reached = climb_down(256, |rung, entries| match rung {
            Rung::Plain => Ok((rung, entries)),
            _ => Err(errno(libc::EINVAL)),
        });
        assert_eq!(reached.unwrap(), (Rung::Plain, 256));
    }

    #[test]
    fn little_memory_gets_a_smaller_ring_on_the_same_rung() {
        let reached = climb_down(1000, |rung, entries| match entries {
            0..=64 => Ok((rung, entries)),
            _ => Err(errno(libc::ENOMEM)),
        });
        assert_eq!(reached.unwrap(), (Rung::Direct, 64));
    }

    #[test]
    fn a_refusal_is_final() {
        let mut attempts = 0;
        for refusal in [libc::EPERM, libc::ENOSYS, libc::EACCES] {
            let reached: io::Result<()> = climb_down(256, |_, _| {
                attempts += 1;
                Err(errno(refusal))
            });
            assert_eq!(reached.unwrap_err().raw_os_error(), Some(refusal));
        }
        assert_eq!(attempts, 3);
        let reached: io::Result<()> = climb_down(256, |_, _| Err(errno(libc::EINVAL)));
        assert_eq!(reached.unwrap_err().raw_os_error(), Some(libc::EINVAL));
        let reached: io::Result<()> = climb_down(256, |_, _| Err(errno(libc::ENOMEM)));
        assert_eq!(reached.unwrap_err().raw_os_error(), Some(libc::ENOMEM));
    }

    #[test]
    fn every_rung_of_this_system_opens() {
        for rung in LADDER {
            match build(rung, FEWEST_ENTRIES) {
                Ok(ring) => assert!(ring.params().cq_entries() >= FEWEST_ENTRIES * 2),
                Err(error) => assert!(
                    matches!(
                        error.raw_os_error(),
                        Some(libc::EINVAL | libc::EPERM | libc::EACCES | libc::ENOSYS | libc::ENOMEM)
                    ),
                    "{error}"
                ),
            }
        }
    }
}
