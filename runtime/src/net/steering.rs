//! Which listener of an address a connection comes to: the system's hash, or the CPU that has received its first packet.
//!
//! `SO_INCOMING_CPU` would say it for each socket alone, but from Linux 4.6 to 6.1 a group of listeners takes it and does not
//! look at it. A classic BPF program for the group works since 4.6, without privileges. It answers with an index: the
//! sockets of a group are numbered as they began to listen, and when one is closed the last takes its number. Ours are
//! closed all together. An index that nobody has leaves the choice to the hash.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use multikernel_channels::sync::Ordering;
use multikernel_replicate::CoreId;

use crate::machine::{Machine, cpus};

/// How Linux spreads connections over the listeners of [`TcpListener::bind_each_core_with`].
///
/// [`TcpListener::bind_each_core_with`]: crate::net::TcpListener::bind_each_core_with
///
/// # Examples
///
/// ```
/// use multikernel::net::TcpListener;
/// use multikernel::net::tcp::Steering;
///
/// # multikernel::runtime::Builder::new().cores(2).run(|| async {
/// let listeners = TcpListener::bind_each_core_with("127.0.0.1:0", Steering::IncomingCpu).await?;
/// if listeners[0].steering() == Steering::Hash {
///     println!("no core is tied to a CPU, or the system does not allow it");
/// }
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Steering {
    /// By a hash of both addresses: evenly, where there are many connections.
    #[default]
    Hash,
    /// To the core that is tied to the CPU that has received the connection's first packet, so that interrupt, system and
    /// program work in one cache. The network card spreads the load then (receive side scaling), so it needs a queue for each
    /// of those CPUs. Other connections go by the hash. Which CPU a core is tied to is looked up when the listeners are made and
    /// at each [`for_core`](crate::net::TcpListener::for_core).
    IncomingCpu,
}

/// The CPU that a core is tied to.
pub(super) fn cpu_of(machine: &Machine, core: CoreId) -> Option<usize> {
    let thread = machine.cores.get(core.index())?.thread.load(Ordering::Relaxed); // a number, which nothing hangs on
    match cpus::affinity_of(thread).ok()?.as_slice() {
        [cpu] if thread != 0 => Some(*cpu),
        _ => None,
    }
}

/// Steers the connections to the group that `listener` belongs to: `cpus` has the CPU of each listener, in the order in which they
/// began to listen. Without any CPU, the hash decides.
///
/// # Errors
///
/// The system knows no such thing, or does not allow it. Then all stays as it was.
pub(super) fn steer(listener: BorrowedFd<'_>, cpus: &[Option<usize>]) -> io::Result<()> {
    let mut lines = program(cpus);
    let len = lines.len().try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len, filter: lines.as_mut_ptr() };
    // SAFETY: `program` is what this option takes, with its size, and names `len` valid lines; both live across the call, which
    // copies them.
    let done = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Compares the CPU at work with each of `cpus`, and answers with the index of the first that it is.
fn program(cpus: &[Option<usize>]) -> Vec<libc::sock_filter> {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const ANSWER: u32 = libc::BPF_RET | libc::BPF_K;
    /// No group is so large.
    const NONE_OF_THEM: u32 = u32::MAX;
    let line =
        |code: u32, else_skip: u8, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: else_skip, k };
    let mut lines = vec![line(LOAD, 0, (libc::SKF_AD_OFF + libc::SKF_AD_CPU) as u32)];
    for (index, cpu) in cpus.iter().enumerate() {
        if let Some(cpu) = cpu {
            lines.extend([line(IF_EQUAL, 1, *cpu as u32), line(ANSWER, 0, index as u32)]);
        }
    }
    lines.push(line(ANSWER, 0, NONE_OF_THEM));
    lines
}
