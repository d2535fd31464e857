//! What /proc says about a server's process.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

/// The process's resident memory in bytes.
pub(crate) fn resident(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the server runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    let kib: usize = line.trim_end_matches("kB").trim().parse().expect("a number of KiB");
    kib * 1024
}

/// How many descriptors the process has open.
pub(crate) fn descriptors(pid: u32) -> usize {
    descriptors_below(pid, usize::MAX)
}

/// How many of the descriptors with a number below `limit` the process has open. Those that it inherited may be above.
pub(crate) fn descriptors_below(pid: u32, limit: usize) -> usize {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("the server runs");
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<usize>().ok());
    numbers.filter(|&number| number < limit).count()
}

/// The time that the process's threads have spent on a CPU.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the server runs");
    let nanoseconds = threads.filter_map(|thread| {
        // A thread may end between the listing and the reading.
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// How many bytes a server has received on one connection and has not read yet; `None` when the connection is gone.
pub(crate) fn unread(server: SocketAddr, client: SocketAddr) -> Option<usize> {
    let table = fs::read_to_string("/proc/self/net/tcp").expect("Linux lists its connections");
    let ports = (format!("{:04X}", server.port()), format!("{:04X}", client.port()));
    table.lines().skip(1).find_map(|line| {
        // The number of the line, the local and the remote address, the state, then tx_queue:rx_queue in hexadecimal.
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = |field: &str| field.split(':').nth(1).map(str::to_owned);
        let is_it = port(fields[1])? == ports.0 && port(fields[2])? == ports.1;
        let (_, received) = fields[4].split_once(':')?;
        is_it.then(|| usize::from_str_radix(received, 16).expect("a hexadecimal number"))
    })
}
