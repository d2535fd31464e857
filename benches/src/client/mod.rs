//! The client: one thread, one io_uring per server, cheap enough that the server is what gets measured.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use socket2::{Domain, Socket, Type};

use crate::harness::sched::CpuTime;

pub mod bulk;
pub mod churn;
pub mod datagrams;
pub mod load;
pub mod message;
pub mod reads;
pub mod resp;

/// How long a server may stay silent before it counts as stalled.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// What one slice of load did.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// From the first request to the end of the counted time.
    pub wall: Duration,
    /// Answers that came within `wall`.
    pub counted: u64,
    /// All answers, with those that were still under way when `wall` was over.
    pub total: u64,
    /// From the first request to the last answer.
    pub whole: Duration,
    /// What the client's thread used within `whole`.
    pub client: CpuTime,
}

/// A kind of load on one server.
pub trait Work {
    /// Loads the server for `length`, then waits for what is under way. Latencies go to `latency`, in nanoseconds.
    ///
    /// # Errors
    /// On a wrong answer, a failed connection or a silent server. No part of such a slice counts.
    fn slice(&mut self, length: Duration, latency: &mut Histogram<u64>) -> Result<Slice>;
}

/// A histogram from 100 ns to 100 s with three significant digits.
#[must_use]
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 100_000_000_000, 3).expect("the bounds are in order")
}

/// Connection `number` to `addr`. Every 4,096 come from an address of their own, so that ports do not run out.
///
/// # Errors
/// When it is not accepted within [`PATIENCE`].
pub fn dial(addr: SocketAddr, number: usize) -> Result<Socket> {
    let socket = socket_from(Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + (number / 4096) as u32))?;
    socket.set_tcp_nodelay(true)?;
    socket.connect_timeout(&addr.into(), PATIENCE)?;
    Ok(socket)
}

/// A socket that will connect from `source`, and chooses its port only then: a port is taken when its whole
/// four-tuple is, and not before.
fn socket_from(source: Ipv4Addr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let yes: libc::c_int = 1;
    // SAFETY: the option takes an int, and is given the address and the size of one that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const yes).cast(),
            size_of_val(&yes) as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    Ok(socket)
}
