//! One stream, several cores; threads that are no core; the end of a runtime.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use multikernel::net::{TcpListener, TcpStream};
use multikernel::runtime::Builder;
use multikernel::{CoreId, spawn_on};

use crate::common::{DRIVERS, assert_driver, on_both, pair, pattern, poll_once, read, read_exact, write_all};

#[test]
fn several_cores_read_one_stream() {
    const TOTAL: usize = 1 << 20;
    on_both(4, || async {
        let (near, far) = pair().await?;
        let far = Arc::new(far);
        let got = Arc::new(AtomicUsize::new(0));
        let readers: Vec<_> = multikernel::cores()
            .map(|core| {
                let (far, got) = (far.clone(), got.clone());
                spawn_on(core, move || async move {
                    let mut buf = [0; 4096];
                    loop {
                        match read(&far, &mut buf).await? {
                            0 => return io::Result::Ok(()),
                            length => got.fetch_add(length, Ordering::Relaxed),
                        };
                    }
                })
            })
            .collect();
        let data = pattern(TOTAL);
        for piece in data.chunks(10_000) {
            write_all(&near, piece).await?;
            multikernel::task::yield_now().await;
        }
        drop(near);
        // All of them see the end.
        for reader in readers {
            reader.await.unwrap()?;
        }
        assert_eq!(got.load(Ordering::Relaxed), TOTAL);
        Ok(())
    });
}

#[test]
fn a_stream_moves_between_cores_in_mid_conversation() {
    on_both(4, || async {
        let (near, mut far) = pair().await?;
        let echo = spawn_on(CoreId::new(3), move || async move {
            let mut buf = [0; 64];
            loop {
                match read(&near, &mut buf).await? {
                    0 => return io::Result::Ok(()),
                    got => write_all(&near, &buf[..got]).await?,
                }
            }
        });
        for round in 0..40u32 {
            let there = spawn_on(CoreId::new(round as usize % 3), move || async move {
                write_all(&far, &round.to_le_bytes()).await?;
                let mut back = [0; 4];
                read_exact(&far, &mut back).await?;
                assert_eq!(u32::from_le_bytes(back), round);
                io::Result::Ok(far)
            });
            far = there.await.unwrap()?;
        }
        // Dropped here, while other cores have it registered: the peer sees the end all the same.
        drop(far);
        echo.await.unwrap()
    });
}

#[test]
fn data_written_before_a_drop_on_another_core_arrives() {
    on_both(3, || async {
        for size in [1, 50_000] {
            let (near, far) = pair().await?;
            let near = Arc::new(near);
            let waiting = near.clone();
            let registered = spawn_on(CoreId::new(1), move || async move {
                assert!(poll_once(&mut pin!(waiting.readable())).await.is_pending());
            });
            registered.await.unwrap();
            let data = pattern(size);
            let expected = data.clone();
            let writer = spawn_on(CoreId::new(2), move || async move { write_all(&near, &data).await });
            let mut got = vec![0; size];
            read_exact(&far, &mut got).await?;
            assert!(got == expected);
            assert_eq!(read(&far, &mut [0]).await?, 0);
            writer.await.unwrap()?;
        }
        Ok(())
    });
}

#[test]
fn owned_halves_on_two_cores() {
    const TOTAL: usize = 1 << 20;
    on_both(3, || async {
        let (near, far) = pair().await?;
        let (reader, writer) = near.into_split();
        let data = pattern(TOTAL);
        let expected = data.clone();
        let sending = spawn_on(CoreId::new(1), move || async move {
            let mut rest = &data[..];
            while !rest.is_empty() {
                writer.writable().await?;
                match writer.try_write(rest) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => rest = &rest[result?..],
                }
            }
            io::Result::Ok(()) // and drops the half, which ends the direction
        });
        let echo = spawn_on(CoreId::new(2), move || async move {
            let mut buf = vec![0; 30_000];
            loop {
                match read(&far, &mut buf).await? {
                    0 => return io::Result::Ok(()),
                    got => write_all(&far, &buf[..got]).await?,
                }
            }
        });
        let mut got = Vec::new();
        loop {
            reader.readable().await?;
            match reader.try_read_buf(&mut got) {
                Ok(0) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => drop(result?),
            }
        }
        assert!(got == expected);
        sending.await.unwrap()?;
        echo.await.unwrap()
    });
}

#[test]
fn halves_find_together_again() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        let (reader, writer) = near.into_split();
        let (far_reader, far_writer) = far.into_split();
        let error = reader.reunite(far_writer).unwrap_err();
        assert_eq!(error.to_string(), "these two halves are not of the same stream");
        let (reader, far_writer) = (error.0, error.1);
        let near = writer.reunite(reader).unwrap();
        let far = far_reader.reunite(far_writer).unwrap();
        // Neither direction has been ended by that.
        write_all(&near, b"a").await?;
        read_exact(&far, &mut [0]).await?;
        let (far_reader, far_writer) = far.into_split();
        far_writer.forget();
        assert!(poll_once(&mut pin!(near.readable())).await.is_pending());
        drop(far_reader);
        assert_eq!(read(&near, &mut [0]).await?, 0);
        Ok(())
    });
}

#[test]
fn threads_that_are_no_core_use_sockets_in_block_on() {
    for (choice, kind) in DRIVERS {
        let runtime = Builder::new_test().cores(2).driver(choice).build().unwrap();
        assert_driver(runtime.handle(), kind);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                multikernel::spawn(async move {
                    let mut buf = [0; 64];
                    while let Ok(got @ 1..) = read(&stream, &mut buf).await {
                        write_all(&stream, &buf[..got]).await.unwrap();
                    }
                });
            }
        });
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let handle = runtime.handle().clone();
                scope.spawn(move || {
                    handle.block_on(async {
                        let stream = TcpStream::connect(addr).await.unwrap();
                        for round in 0..50u32 {
                            write_all(&stream, &round.to_le_bytes()).await.unwrap();
                            let mut back = [0; 4];
                            read_exact(&stream, &mut back).await.unwrap();
                            assert_eq!(u32::from_le_bytes(back), round);
                        }
                    });
                });
            }
        });
    }
}

#[test]
fn sockets_outlive_their_runtime() {
    for (choice, kind) in DRIVERS {
        let runtime = Builder::new_test().cores(2).driver(choice).build().unwrap();
        assert_driver(runtime.handle(), kind);
        let (tell, told) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            let (near, far) = pair().await.unwrap();
            assert!(poll_once(&mut pin!(near.readable())).await.is_pending());
            let near = Arc::new(near);
            tell.send((near.clone(), far)).unwrap();
            // Still waiting when the runtime ends.
            read(&near, &mut [0]).await.unwrap();
        });
        let (near, far) = told.recv().unwrap();
        drop(runtime);
        // Calls that do not wait work as before, and another runtime may take them over.
        assert_eq!(far.try_write(b"x").unwrap(), 1);
        assert_eq!(near.try_read(&mut [0; 8]).unwrap(), 1);
        let other = Builder::new_test().driver(choice).build().unwrap();
        other.block_on(async {
            write_all(&far, b"again").await.unwrap();
            read_exact(&near, &mut [0; 5]).await.unwrap();
            drop(far);
            assert_eq!(read(&near, &mut [0]).await.unwrap(), 0);
        });
    }
}
