//! A child of this process that nobody has waited for yet, and the system calls for it.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::task::{Context, Poll, ready};

use crate::driver::{Interest, Source};
use crate::signal::unix::{Signal, SignalKind, signal};

/// A child that has been started and not been reaped: it runs, or it has ended and is a zombie. Either way its number
/// is taken.
pub(super) struct Running {
    pid: libc::pid_t,
    /// Readable once the child has ended. `None` where the system has no such descriptors, or none left.
    pidfd: Option<Source>,
    /// What is waited for where there is no `pidfd`. Made by the first wait.
    signals: Option<Signal>,
}

impl Running {
    /// Takes over a child of this process, which nobody else may reap.
    pub(super) fn new(pid: u32) -> Running {
        let pid = pid.cast_signed();
        let pidfd = match open_pidfd(pid) {
            Ok(fd) => Some(Source::new(fd)),
            Err(error) => {
                tracing::debug!(%error, pid, "a child is waited for by SIGCHLD");
                None
            }
        };
        Running { pid, pidfd, signals: None }
    }

    pub(super) fn id(&self) -> u32 {
        self.pid.cast_unsigned()
    }

    pub(super) fn pidfd(&self) -> Option<&Source> {
        self.pidfd.as_ref()
    }

    /// Reaps the child if it has ended.
    ///
    /// # Errors
    ///
    /// Somebody else has reaped it (`ECHILD`).
    pub(super) fn try_reap(&self) -> io::Result<Option<ExitStatus>> {
        self.reap(libc::WNOHANG)
    }

    /// Reaps the child, and waits on this thread until it has ended.
    pub(super) fn reap_blocking(&self) -> io::Result<Option<ExitStatus>> {
        loop {
            match self.reap(0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Waits until the child has ended, and reaps it. Nothing is lost when the caller stops polling.
    pub(super) fn poll_reap(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<ExitStatus>> {
        if let Some(pidfd) = &self.pidfd {
            let attempt = || self.try_reap()?.ok_or_else(|| io::ErrorKind::WouldBlock.into());
            return pidfd.poll_io(cx, Interest::READABLE, attempt);
        }
        if self.signals.is_none() {
            self.signals = Some(signal(SignalKind::child())?);
        }
        loop {
            // Tried after the signals are listened to, and after each: none can fall between.
            if let Some(status) = self.try_reap()? {
                return Poll::Ready(Ok(status));
            }
            let signals = self.signals.as_mut().expect("made above");
            ready!(signals.poll_recv(cx));
        }
    }

    /// Sends `SIGKILL`. No error when the child has ended.
    pub(super) fn kill(&self) -> io::Result<()> {
        if let Some(pidfd) = &self.pidfd {
            let fd = pidfd.fd().as_raw_fd();
            let info = std::ptr::null::<libc::siginfo_t>();
            // SAFETY: the call takes numbers, and no information along with the signal.
            let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, info, 0) };
            if sent == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            // Where a sandbox knows only the older call.
            if !matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) {
                return Err(error);
            }
        }
        // SAFETY: the call takes numbers. The child has not been reaped, so the number is still its own.
        if unsafe { libc::kill(self.pid, libc::SIGKILL) } == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// `waitid` for this child, as exact as the system allows: by descriptor, a number used again is no danger.
    fn reap(&self, flags: libc::c_int) -> io::Result<Option<ExitStatus>> {
        if let Some(pidfd) = &self.pidfd {
            match wait_id(libc::P_PIDFD, pidfd.fd().as_raw_fd().cast_unsigned(), flags) {
                // Linux 5.3 opens such descriptors and cannot wait for them.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                result => return result,
            }
        }
        wait_id(libc::P_PID, self.id(), flags)
    }
}

fn open_pidfd(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: the call takes numbers; the descriptor is closed on exec.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = libc::c_int::try_from(fd).expect("a descriptor is an int");
    // SAFETY: just opened, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn wait_id(kind: libc::idtype_t, id: u32, flags: libc::c_int) -> io::Result<Option<ExitStatus>> {
    // SAFETY: all zeroes is a valid `siginfo_t`, which is made of numbers and pointers that nobody follows.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is the caller's to be written, and lives across the call.
    if unsafe { libc::waitid(kind, id, &mut info, libc::WEXITED | flags) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call filled in the fields of a child's end, or left the zeroes: nobody has ended.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok((pid != 0).then(|| exit_status(info.si_code, status)))
}

/// What `waitpid` would have said.
fn exit_status(code: libc::c_int, status: libc::c_int) -> ExitStatus {
    const DUMPED: libc::c_int = 0x80;
    ExitStatus::from_raw(match code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_DUMPED => status | DUMPED,
        _ => status,
    })
}
