//! Accepting: many, from each core, and when descriptors run out.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use multikernel::net::{TcpListener, TcpStream};
use multikernel::{CoreId, spawn, spawn_local, spawn_on};

use crate::common::{on_both, own_address, poll_once, read, read_exact, write_all};

#[test]
fn incoming_gives_connections() {
    on_both(1, || async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let clients = spawn(async move {
            let mut clients = Vec::new();
            for _ in 0..10 {
                clients.push(TcpStream::connect(addr).await?);
            }
            io::Result::Ok(clients)
        });
        let servers: Vec<_> = listener.incoming().take(10).collect().await;
        let clients = clients.await.unwrap()?;
        for (client, server) in clients.iter().zip(servers) {
            assert_eq!(server?.peer_addr()?, client.local_addr()?);
        }
        Ok(())
    });
}

#[test]
fn accepted_connections_spread_over_cores() {
    on_both(4, || async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let clients: Vec<_> = (0..8).map(|_| spawn_local(TcpStream::connect(addr))).collect();
        let mut on_core = [0; 4];
        let mut open = Vec::new();
        for _ in 0..8 {
            let (server, _) = listener.accept().await?;
            let (tell, core) = futures::channel::oneshot::channel();
            open.push(spawn(async move {
                tell.send(CoreId::current().index()).unwrap();
                read(&server, &mut [0]).await
            }));
            on_core[core.await.unwrap()] += 1;
        }
        assert_eq!(on_core, [2; 4]);
        for client in clients {
            drop(client.await.unwrap()?);
        }
        for server in open {
            assert_eq!(server.await.unwrap()?, 0);
        }
        Ok(())
    });
}

#[test]
fn several_cores_accept_from_one_listener() {
    on_both(4, || async {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await?);
        let addr = listener.local_addr()?;
        let acceptors: Vec<_> = multikernel::cores()
            .map(|core| {
                let listener = listener.clone();
                spawn_on(core, move || async move {
                    loop {
                        let (stream, _) = listener.accept().await?;
                        let mut buf = [0; 1];
                        read_exact(&stream, &mut buf).await?;
                        write_all(&stream, &buf).await?;
                        if buf == *b"q" {
                            return io::Result::Ok(());
                        }
                    }
                })
            })
            .collect();
        for round in 0..104 {
            let client = TcpStream::connect(addr).await?;
            write_all(&client, if round < 100 { b"x" } else { b"q" }).await?;
            read_exact(&client, &mut [0]).await?;
        }
        for acceptor in acceptors {
            acceptor.await.unwrap()?;
        }
        Ok(())
    });
}

#[test]
fn a_listener_for_each_core() {
    on_both(4, || async {
        let listeners = TcpListener::bind_each_core(own_address()).await?;
        let addr = listeners[0].local_addr()?;
        assert_eq!(listeners.len(), 4);
        // Who comes later gets nothing, shared or not.
        let error = TcpListener::bind_each_core(addr).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert_eq!(TcpListener::bind(addr).await.unwrap_err().kind(), ErrorKind::AddrInUse);
        let mut servers = Vec::new();
        for (core, listener) in multikernel::cores().zip(listeners) {
            assert_eq!(listener.local_addr()?, addr);
            servers.push(spawn_on(core, move || async move {
                loop {
                    let (stream, _) = listener.accept().await?;
                    write_all(&stream, &[CoreId::current().index() as u8]).await?;
                }
                #[expect(unreachable_code, reason = "it names the task's type")]
                io::Result::Ok(())
            }));
        }
        let mut seen = [0; 4];
        for _ in 0..200 {
            let client = TcpStream::connect(addr).await?;
            let mut core = [0];
            read_exact(&client, &mut core).await?;
            seen[core[0] as usize] += 1;
        }
        // By a hash of 200 different ports: that one of four gets none has a chance of 4 * 0.75^200.
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
        servers.iter().for_each(|server| server.abort());
        for server in servers {
            assert!(server.await.unwrap_err().is_cancelled());
        }
        until_free(addr).await
    });
}

#[test]
fn a_listener_dropped_while_another_core_accepts() {
    on_both(2, || async {
        let listener = Arc::new(TcpListener::bind(own_address()).await?);
        let addr = listener.local_addr()?;
        let shared = listener.clone();
        let (tell, waiting) = futures::channel::oneshot::channel();
        let acceptor = spawn_on(CoreId::new(1), move || async move {
            let mut accept = pin!(shared.accept());
            assert!(poll_once(&mut accept).await.is_pending());
            tell.send(()).unwrap();
            accept.await.map(drop)
        });
        waiting.await.unwrap();
        // Until the other core has let go of it too, it is open.
        acceptor.abort();
        drop(listener);
        assert!(acceptor.await.unwrap_err().is_cancelled());
        until_free(addr).await
    });
}

/// A listener that several cores had registered is closed when the last of them has heard of its end.
async fn until_free(addr: SocketAddr) -> io::Result<()> {
    loop {
        match TcpListener::bind(addr).await {
            Ok(_) => return Ok(()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse),
        }
        multikernel::task::yield_now().await;
    }
}

#[test]
fn poll_accept_is_woken() {
    on_both(1, || async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let client = spawn_local(TcpStream::connect(listener.local_addr()?));
        let (server, peer) = poll_fn(|cx| listener.poll_accept(cx)).await?;
        assert_eq!(client.await.unwrap()?.local_addr()?, peer);
        drop(server);
        listener.set_ttl(44)?;
        assert_eq!(listener.ttl()?, 44);
        Ok(())
    });
}

mod out_of_descriptors {
    use super::*;
    use std::fs::File;
    use std::process::Command;
    use std::time::Duration;

    use multikernel::time::timeout;

    const CHILD: &str = "MULTIKERNEL_TEST_OUT_OF_DESCRIPTORS";

    /// In a process of its own, since the limit is the process's.
    #[test]
    fn accept_waits_and_goes_on() {
        if std::env::var_os(CHILD).is_some() {
            return in_child();
        }
        let name = "listener::out_of_descriptors::accept_waits_and_goes_on";
        let test = std::env::current_exe().unwrap();
        let output = Command::new(test).args([name, "--exact"]).env(CHILD, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the child ran nothing");
    }

    fn in_child() {
        let limit = libc::rlimit { rlim_cur: 128, rlim_max: 128 };
        // SAFETY: it reads one valid structure.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
        on_both(1, || async {
            let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await?);
            let client = std::net::TcpStream::connect(listener.local_addr()?)?;
            client.set_nonblocking(true)?;
            let client = TcpStream::from_std(client)?;
            let mut hoard = Vec::new();
            while let Ok(file) = File::open("/dev/null") {
                hoard.push(file);
            }
            // Neither an error nor a hot loop: it waits, both ways.
            let mut polls = 0;
            let mut accept = pin!(listener.accept());
            let counted = poll_fn(|cx| {
                polls += 1;
                accept.as_mut().poll(cx)
            });
            assert!(timeout(Duration::from_millis(100), counted).await.is_err());
            assert!((2..=12).contains(&polls), "{polls} polls in 100 ms");
            let through_poll = poll_fn(|cx| listener.poll_accept(cx));
            assert!(timeout(Duration::from_millis(20), through_poll).await.is_err());
            drop(hoard);
            // The connection has waited.
            let (server, peer) = accept.await?;
            assert_eq!(peer, client.local_addr()?);
            write_all(&server, b"late").await?;
            let mut buf = [0; 4];
            read_exact(&client, &mut buf).await?;
            assert_eq!(&buf, b"late");
            Ok(())
        });
    }
}

#[test]
fn an_address_is_free_again_when_its_listener_is_dropped() {
    on_both(1, || async {
        for wait_first in [false, true] {
            let listener = TcpListener::bind(own_address()).await?;
            let address = listener.local_addr()?;
            if wait_first {
                assert!(poll_once(&mut pin!(listener.accept())).await.is_pending());
            }
            drop(listener);
            drop(TcpListener::bind(address).await?);
        }
        Ok(())
    });
}
