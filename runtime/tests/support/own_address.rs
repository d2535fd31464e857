//! Addresses that tests of one process do not take from each other.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};

/// An address of this machine that only the caller uses, with any port: what is free there stays free until the caller
/// takes it, whatever other tests do meanwhile.
pub fn own_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    // Not 127.0.x.x, where all others are. Relaxed: only the count matters.
    let host = Ipv4Addr::new(127, 1 + high % 254, low, NEXT.fetch_add(1, Ordering::Relaxed));
    SocketAddr::from((host, 0))
}
