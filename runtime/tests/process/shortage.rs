//! Processes while the process is out of descriptors.

use std::fs::File;
use std::io;
use std::process::Stdio;

use multikernel::process::Command;

use crate::common::{alone, children, descriptors, endless, is_there, on_both, sh, until_async};

/// Has the process out of descriptors but for `free`, until it is dropped.
struct Short {
    _taken: Vec<File>,
    before: libc::rlimit,
}

impl Short {
    fn of(free: usize) -> Short {
        let highest = *descriptors("self").keys().max().unwrap() as libc::rlim_t;
        // SAFETY: both calls use a struct that lives across them.
        let before = unsafe {
            let mut before = std::mem::zeroed();
            assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut before), 0);
            let limit = libc::rlimit { rlim_cur: highest + 16, ..before };
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
            before
        };
        let mut taken: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        taken.truncate(taken.len() - free);
        Short { _taken: taken, before }
    }
}

impl Drop for Short {
    fn drop(&mut self) {
        // SAFETY: the struct lives across the call.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &self.before) }, 0);
    }
}

#[test]
fn a_start_without_descriptors_fails_or_works_and_leaves_nothing() {
    let _alone = alone();
    let commands: [fn() -> Command; 4] = [
        || sh("exit 3"),
        || {
            let mut all = sh("exit 3");
            all.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            all
        },
        || {
            let mut null = sh("exit 3");
            null.stdin(Stdio::null());
            null
        },
        || {
            let mut forks = sh("exit 3");
            // SAFETY: it does nothing. With it, std forks.
            unsafe { forks.pre_exec(|| Ok(())) };
            forks
        },
    ];
    on_both(1, || async move {
        let (mut failed, mut worked) = (0, 0);
        assert!(sh("exit 0").output().await?.status.success());
        for command in commands {
            for free in 0..12 {
                let before = descriptors("self").len();
                let short = Short::of(free);
                let spawned = command().spawn();
                match spawned {
                    Err(error) => {
                        drop(short);
                        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                        failed += 1;
                    }
                    Ok(mut child) => {
                        // Where even waiting needs a descriptor, it can be done later.
                        let waited = child.wait().await;
                        assert!(waited.is_ok() || free == 0, "{waited:?} with {free}");
                        drop(short);
                        assert_eq!(child.wait().await?.code(), Some(3));
                        worked += 1;
                    }
                }
                assert!(children().is_empty());
                until_async("all is closed", || descriptors("self").len() <= before + 2).await;
            }
        }
        assert!(failed > 3 && worked > 20, "{failed} failed, {worked} worked");
        Ok(())
    });
}

#[test]
fn a_child_without_a_descriptor_of_its_own_is_killed_waited_for_and_reaped() {
    let _alone = alone();
    on_both(1, || async {
        let start = || -> io::Result<_> {
            let mut command = endless();
            let short = Short::of(0);
            let child = command.kill_on_drop(true).spawn();
            drop(short);
            child
        };
        // std may need a descriptor itself.
        let Ok(mut child) = start() else { return Ok(()) };
        child.kill().await?;
        let child = start()?;
        let pid = child.id().unwrap();
        drop(child);
        until_async("it is reaped", || !is_there(pid)).await;
        Ok(())
    });
}
