//! System calls of a thread that fail when a test wants them to, by a seccomp filter with a supervisor.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;

/// Decides what becomes of the calls.
#[derive(Default)]
pub(crate) struct Gate {
    errno: AtomicI32,
    refused: AtomicUsize,
}

impl Gate {
    /// From now on the calls fail with `errno`.
    pub(crate) fn refuse(&self, errno: i32) {
        self.errno.store(errno, SeqCst);
    }

    /// From now on the calls are let through.
    pub(crate) fn allow(&self) {
        self.errno.store(0, SeqCst);
    }

    /// How many calls have failed so far.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(SeqCst)
    }

    fn decide(&self) -> i32 {
        let errno = self.errno.load(SeqCst);
        self.refused.fetch_add(usize::from(errno != 0), SeqCst);
        errno
    }
}

/// Runs `test` on a thread on which the system call `number` passes a gate, which is open at first; if `operation` is
/// given, only calls with that second argument. Says so and returns where seccomp cannot do this.
pub(super) fn with_gate(
    number: libc::c_long,
    operation: Option<u64>,
    test: impl FnOnce(&Gate) + Send + 'static,
) {
    let gate = Arc::<Gate>::default();
    let (send, receive) = mpsc::channel();
    // Started here: a thread that the filter applies to would keep the filter, and so itself.
    let supervisor = {
        let gate = gate.clone();
        thread::spawn(move || receive.recv().map(|listener| supervise(&listener, &gate, operation)))
    };
    let gated = thread::spawn(move || match listen(number) {
        Ok(listener) => {
            send.send(listener).expect("the supervisor waits for it");
            test(&gate);
        }
        Err(error) => println!("skipped: seccomp does not let a thread supervise another here: {error}"),
    });
    let result = gated.join();
    let _ = supervisor.join().expect("the supervisor does not fail");
    if let Err(payload) = result {
        std::panic::resume_unwind(payload);
    }
}

/// Has the system call `number` of the calling thread pass a gate, open at first, until the thread ends. Nothing, where
/// seccomp cannot do this.
pub(crate) fn gate(number: libc::c_long) -> Option<Arc<Gate>> {
    let gate = Arc::<Gate>::default();
    let (send, receive) = mpsc::channel();
    let supervised = gate.clone();
    // Started here: see `with_gate`.
    thread::spawn(move || receive.recv().map(|listener| supervise(&listener, &supervised, None)));
    match listen(number) {
        Ok(listener) => {
            send.send(listener).expect("the supervisor waits for it");
            Some(gate)
        }
        Err(error) => {
            println!("skipped: seccomp does not let a thread supervise another here: {error}");
            None
        }
    }
}

/// Has the system call `number` of the calling thread wait for a decision through the descriptor returned.
fn listen(number: libc::c_long) -> io::Result<OwnedFd> {
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        step(LOAD_NUMBER, 0, 0, 0), // the system call's number is the first field of seccomp_data
        step(JUMP_IF_EQUAL, 0, 1, number as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: plain integer arguments, and a program that lives across the calls. A descriptor that is returned is new.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        let listener = libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &program,
        );
        if listener < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(listener as i32))
    }
}

/// Answers until the thread has ended.
fn supervise(listener: &OwnedFd, gate: &Gate, operation: Option<u64>) {
    const RECEIVE: libc::Ioctl = libc::_IOWR::<libc::seccomp_notif>(b'!' as u32, 0);
    const SEND: libc::Ioctl = libc::_IOWR::<libc::seccomp_notif_resp>(b'!' as u32, 1);
    let listener = listener.as_raw_fd();
    loop {
        let mut ask = libc::pollfd { fd: listener, events: libc::POLLIN, revents: 0 };
        // SAFETY: `ask` is one valid pollfd and lives across the call.
        let found = unsafe { libc::poll(&mut ask, 1, -1) };
        assert!(found == 1 || io::Error::last_os_error().kind() == io::ErrorKind::Interrupted);
        if ask.revents & libc::POLLIN == 0 {
            if ask.revents != 0 {
                return;
            }
            continue;
        }
        // SAFETY: plain data, for which zeroes are valid, and required by Linux.
        let (mut call, mut answer): (libc::seccomp_notif, libc::seccomp_notif_resp) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        // SAFETY: Linux fills `call`, which lives across the call.
        if unsafe { libc::ioctl(listener, RECEIVE, &raw mut call) } != 0 {
            continue; // a signal ended the system call meanwhile
        }
        let concerned = operation.is_none_or(|operation| call.data.args[1] == operation);
        answer.id = call.id;
        match if concerned { gate.decide() } else { 0 } {
            0 => answer.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
            errno => answer.error = -errno,
        }
        // SAFETY: Linux reads `answer`, which lives across the call. An error means that the call has ended.
        unsafe { libc::ioctl(listener, SEND, &raw mut answer) };
    }
}
