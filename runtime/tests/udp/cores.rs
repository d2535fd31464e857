//! One socket, several tasks on several cores; threads that are no core.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use multikernel::net::UdpSocket;
use multikernel::net::udp::{Datagram, RecvBatch};
use multikernel::runtime::Builder;
use multikernel::{CoreId, spawn_local, spawn_on};

use crate::support::{DRIVERS, OpenSocket, assert_driver, on_both, poll_once};

async fn echo_until_told(socket: Arc<UdpSocket>) -> io::Result<usize> {
    let mut served = 0;
    let mut buf = [0; 16];
    loop {
        let (length, from) = socket.recv_from(&mut buf).await?;
        socket.send_to(&buf[..length], from).await?;
        if &buf[..length] == b"stop" {
            return Ok(served);
        }
        served += 1;
    }
}

#[test]
fn several_tasks_on_several_cores_serve_one_socket() {
    on_both(4, || async {
        let server = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
        let addr = server.local_addr()?;
        let servers: Vec<_> = multikernel::cores()
            .flat_map(|core| [core; 2])
            .map(|core| {
                let server = server.clone();
                spawn_on(core, move || echo_until_told(server))
            })
            .collect();
        // Each of these waits for its answer before it asks again, so that nothing overflows.
        let clients: Vec<_> = multikernel::cores()
            .map(|core| {
                spawn_on(core, move || async move {
                    let client = UdpSocket::bind("127.0.0.1:0").await?;
                    client.connect(addr).await?;
                    for number in 0..100_u32 {
                        client.send(&number.to_le_bytes()).await?;
                        let mut back = [0; 16];
                        assert_eq!(client.recv(&mut back).await?, 4);
                        assert_eq!(back[..4], number.to_le_bytes());
                    }
                    io::Result::Ok(())
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap()?;
        }
        let client = UdpSocket::bind("127.0.0.1:0").await?;
        let mut served = 0;
        for _ in 0..servers.len() {
            client.send_to(b"stop", addr).await?;
            client.recv(&mut [0; 16]).await?;
        }
        for server in servers {
            served += server.await.unwrap()?;
        }
        assert_eq!(served, 400);
        Ok(())
    });
}

/// As quinn does: one task receives batches, others send whenever they like.
#[test]
fn batches_go_both_ways_through_one_socket() {
    on_both(2, || async {
        const ROUNDS: usize = 50;
        let near = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
        let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
        near.connect(far.local_addr()?).await?;
        far.connect(near.local_addr()?).await?;
        let echo = {
            let far = far.clone();
            spawn_on(CoreId::new(1), move || async move {
                let mut batch = RecvBatch::new(8, 16);
                let mut total = 0;
                while total < 10 * ROUNDS {
                    total += far.recv_batch(&mut batch).await?;
                    let answers: Vec<_> = batch.iter().map(|got| Datagram::new(got.payload())).collect();
                    let mut rest = &answers[..];
                    while !rest.is_empty() {
                        rest = &rest[far.send_batch(rest).await?..];
                    }
                }
                io::Result::Ok(())
            })
        };
        let receiving = {
            let near = near.clone();
            spawn_local(async move {
                let mut seen = [false; 10];
                let mut total = 0;
                let mut batch = RecvBatch::new(8, 16);
                while total < 10 {
                    total += near.recv_batch(&mut batch).await?;
                    for got in batch.iter() {
                        assert!(!std::mem::replace(&mut seen[got.payload()[0] as usize], true));
                    }
                }
                io::Result::Ok(())
            })
        };
        let bytes: [u8; 10] = std::array::from_fn(|n| n as u8);
        let one_round: Vec<_> = bytes.chunks(1).map(Datagram::new).collect();
        assert_eq!(near.send_batch(&one_round).await?, 10);
        receiving.await.unwrap()?;
        let mut batch = RecvBatch::new(10, 16);
        for _ in 1..ROUNDS {
            assert_eq!(near.send_batch(&one_round).await?, 10);
            let mut back = 0;
            while back < 10 {
                back += near.recv_batch(&mut batch).await?;
            }
        }
        echo.await.unwrap()
    });
}

#[test]
fn a_socket_that_other_cores_wait_for_is_closed_when_it_is_dropped() {
    on_both(3, || async {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
        let open = OpenSocket::of(&*socket);
        for core in multikernel::cores() {
            let socket = socket.clone();
            let waited = spawn_on(core, move || async move {
                assert!(poll_once(&mut pin!(socket.recv(&mut [0; 8]))).await.is_pending());
            });
            waited.await.unwrap();
        }
        assert_eq!(open.descriptors(), 1);
        drop(socket);
        open.until_closed().await;
        Ok(())
    });
}

#[test]
fn threads_that_are_no_core_use_sockets_in_block_on() {
    for (choice, kind) in DRIVERS {
        let runtime = Builder::new_test().cores(2).driver(choice).build().unwrap();
        assert_driver(runtime.handle(), kind);
        let server = Arc::new(runtime.block_on(UdpSocket::bind("127.0.0.1:0")).unwrap());
        let addr = server.local_addr().unwrap();
        let serving = runtime.spawn(echo_until_told(server));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let handle = runtime.handle().clone();
                scope.spawn(move || {
                    handle.block_on(async {
                        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                        for round in 0..50_u32 {
                            client.send_to(&round.to_le_bytes(), addr).await.unwrap();
                            let mut back = [0; 4];
                            client.recv(&mut back).await.unwrap();
                            assert_eq!(u32::from_le_bytes(back), round);
                        }
                    });
                });
            }
        });
        let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"stop", addr).unwrap();
        assert_eq!(runtime.block_on(serving).unwrap().unwrap(), 200);
    }
}
