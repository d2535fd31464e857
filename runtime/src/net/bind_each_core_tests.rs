//! Listeners on every core or on none, with cores whose system calls fail.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::{TcpListener, TcpStream};
use crate::driver::tests_seccomp::{Gate, gate};
use crate::runtime::{Builder, DriverChoice, Handle};
use crate::{CoreId, spawn_on};

#[path = "../../tests/support/own_address.rs"]
mod own_address;

const PATIENCE: Duration = Duration::from_secs(10);

fn on_both<F: Future<Output = io::Result<()>> + 'static>(cores: usize, test: impl Fn() -> F) {
    for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
        Builder::new_test().cores(cores).driver(driver).run(&test).unwrap().unwrap();
    }
}

/// A gate for that system call of that core.
async fn gate_on(core: usize, call: libc::c_long) -> Option<Arc<Gate>> {
    spawn_on(CoreId::new(core), move || async move { gate(call) }).await.unwrap()
}

async fn a_free_address() -> io::Result<SocketAddr> {
    TcpListener::bind_each_core(own_address::own_address()).await?[0].local_addr()
}

/// This process has no socket that listens there; nor has anybody else, in a moment: a child that another test starts has all our
/// descriptors until it runs its program.
async fn assert_nobody_listens(addr: SocketAddr) {
    assert_eq!(listening_at(addr), [""; 0]);
    let started = Instant::now();
    let error = loop {
        match TcpStream::connect(addr).await {
            Ok(_) => assert!(started.elapsed() < PATIENCE, "somebody listens at {addr}"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

/// The sockets of this process that listen there, as the system calls them.
fn listening_at(addr: SocketAddr) -> Vec<String> {
    let SocketAddr::V4(addr) = addr else { panic!("{addr} is not of the fourth version") };
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(addr.ip().octets()), addr.port());
    let sockets = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let listening = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listening = listening.filter(|fields| fields[1] == local && fields[3] == "0A");
    let names: Vec<_> = listening.map(|fields| format!("socket:[{}]", fields[9])).collect();
    let ours = std::fs::read_dir("/proc/self/fd").unwrap();
    let ours: Vec<_> = ours.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok()).collect();
    names.into_iter().filter(|name| ours.iter().any(|our| our.as_os_str() == name.as_str())).collect()
}

/// Until each of them has accepted a connection.
async fn assert_all_accept(listeners: Vec<TcpListener>, addr: SocketAddr) -> io::Result<()> {
    let mut servers = Vec::new();
    for (core, listener) in crate::cores().zip(listeners) {
        assert_eq!(listener.local_addr()?, addr);
        servers.push(spawn_on(core, move || async move {
            listener.accept().await?;
            // Who does not accept any more would keep connections to itself.
            io::Result::Ok(())
        }));
    }
    while !servers.iter().all(|server| server.is_finished()) {
        // It may find that all have accepted meanwhile, and be refused.
        drop(TcpStream::connect(addr).await);
    }
    for server in servers {
        server.await.unwrap()?;
    }
    Ok(())
}

#[test]
fn if_one_core_refuses_none_listens_and_the_error_names_it() {
    on_both(2, || async {
        let Some(gate) = gate_on(1, libc::SYS_bind).await else { return Ok(()) };
        let addr = a_free_address().await?;
        gate.refuse(libc::EACCES);
        let error = TcpListener::bind_each_core(addr).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let expected = format!("{addr}: core 1: {}", io::Error::from_raw_os_error(libc::EACCES));
        assert_eq!(error.to_string(), expected);
        assert_nobody_listens(addr).await;
        gate.allow();
        let listeners = TcpListener::bind_each_core(addr).await?;
        assert_eq!(listeners.len(), 2);
        assert_all_accept(listeners, addr).await
    });
}

#[test]
fn if_one_core_cannot_listen_all_are_closed() {
    on_both(3, || async {
        let Some(gate) = gate_on(2, libc::SYS_listen).await else { return Ok(()) };
        let addr = a_free_address().await?;
        gate.refuse(libc::EADDRINUSE);
        let error = TcpListener::bind_each_core(addr).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().contains("core 2"), "{error}");
        assert_nobody_listens(addr).await;
        gate.allow();
        assert_all_accept(TcpListener::bind_each_core(addr).await?, addr).await
    });
}

/// Polls `future` that often, each time when it is woken, and drops it then. Says whether it was ready.
async fn drop_after<F: Future>(polls: usize, future: F) -> bool {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|cx| {
        if left > 0 && future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        left = left.saturating_sub(1);
        if left == 0 { Poll::Ready(false) } else { Poll::Pending }
    })
    .await
}

#[test]
fn who_asks_and_goes_away_leaves_nothing_listening() {
    on_both(3, || async {
        let listener = std::net::TcpListener::bind(own_address::own_address())?;
        assert_eq!(listening_at(listener.local_addr()?).len(), 1, "it would be seen");
        let addr = a_free_address().await?;
        let mut polls = 0;
        while !drop_after(polls, TcpListener::bind_each_core(addr)).await {
            polls += 1;
            // All that was decided before is committed when this is.
            a_free_address().await?;
            assert_nobody_listens(addr).await;
        }
        assert!(polls > 2, "it was dropped at an await");
        assert_nobody_listens(addr).await;
        assert_eq!(TcpListener::bind_each_core(addr).await?.len(), 3);
        Ok(())
    });
}

#[test]
fn each_live_core_gets_one_and_a_guest_may_ask() {
    let runtime = Builder::new_test().cores(3).build().unwrap();
    runtime.block_on(async {
        let (machine, core) = (Handle::current(), CoreId::new(1));
        assert_eq!(TcpListener::bind_each_core("127.0.0.1:0").await.unwrap().len(), 3);
        machine.retire(core).await.unwrap();
        assert_eq!(TcpListener::bind_each_core("127.0.0.1:0").await.unwrap().len(), 2);
        machine.revive(core).await.unwrap();
        let listeners = TcpListener::bind_each_core("127.0.0.1:0").await.unwrap();
        let error = TcpListener::bind_each_core(listeners[0].local_addr().unwrap()).await.unwrap_err();
        assert_eq!((listeners.len(), error.kind()), (3, ErrorKind::AddrInUse));
    });
}
