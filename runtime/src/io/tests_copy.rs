//! Copying when the system will not splice or has no pipe, which only a look inside can tell.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use super::pipe::SPARES;
use super::pump::Pump;
use super::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use crate::driver::tests_seccomp::{Gate, gate};
use crate::limits::{COPY_BYTES, PIPE_BYTES, SPARE_PIPES};
use crate::net::{TcpListener, TcpStream, UnixStream};
use crate::runtime::{Builder, DriverChoice};
use crate::task::{JoinHandle, yield_now};
use crate::{CoreId, spawn_on};

/// Runs `test` on a core of its own, on each driver, with a gate for `call` there.
fn on_both<F>(call: libc::c_long, test: impl Fn(Option<Arc<Gate>>) -> F + Copy + Send + 'static)
where
    F: Future<Output = io::Result<()>> + 'static,
{
    for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
        let on_core = move || spawn_on(CoreId::new(1), move || async move { test(gate(call)).await });
        Builder::new_test().cores(2).driver(driver).run(on_core).unwrap().unwrap().unwrap();
    }
}

async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let near = TcpStream::connect(listener.local_addr()?).await?;
    Ok((near, listener.accept().await?.0))
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect()
}

/// Sends `length` bytes through a copy between two streams, and looks whether they arrive.
async fn through_a_copy(length: usize) -> io::Result<()> {
    through(pair().await?, pair().await?, length).await
}

async fn through<A, B>(sender: (A, A), receiver: (B, B), length: usize) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin + 'static,
    B: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let ((mut client, mut from), (mut to, mut server)) = (sender, receiver);
    let sending = crate::spawn_local(async move { client.write_all(&pattern(length)).await });
    let copying = crate::spawn_local(async move { copy(&mut from, &mut to).await });
    let mut got = Vec::new();
    server.read_to_end(&mut got).await?;
    sending.await.unwrap()?;
    assert_eq!(copying.await.unwrap()?, length as u64);
    assert!(got == pattern(length));
    Ok(())
}

fn spare_pipes() -> usize {
    SPARES.with(|spares| spares.borrow().pipes.len())
}

#[test]
fn a_lot_goes_through_a_pipe_which_then_serves_others() {
    on_both(libc::SYS_splice, |gate| async move {
        through_a_copy(COPY_BYTES / 2).await?;
        assert_eq!(spare_pipes(), 0, "a small copy took a pipe");
        for _ in 0..3 {
            through_a_copy(4 << 20).await?;
            assert_eq!(spare_pipes(), 1, "a pipe was not given back, or made in vain");
        }
        assert_eq!(gate.map_or(0, |gate| gate.refused()), 0);
        Ok(())
    });
}

#[test]
fn unix_streams_and_their_halves_are_spliced_as_well() {
    on_both(libc::SYS_splice, |gate| async move {
        let Some(gate) = gate else { return Ok(()) };
        // Refused once, each has asked.
        gate.refuse(libc::EINVAL);
        through(UnixStream::pair()?, UnixStream::pair()?, 4 << 20).await?;
        through(UnixStream::pair()?, pair().await?, 4 << 20).await?;
        through(pair().await?, UnixStream::pair()?, 4 << 20).await?;
        assert_eq!(gate.refused(), 3);
        for owned in [false, true] {
            let (mut client, mut server) = UnixStream::pair()?;
            let echo = crate::spawn_local(async move {
                if owned {
                    let (mut reader, mut writer) = server.into_split();
                    copy(&mut reader, &mut writer).await
                } else {
                    let (mut reader, mut writer) = server.split();
                    copy(&mut reader, &mut writer).await
                }
            });
            let bytes = pattern(1 << 20);
            let (mut reader, mut writer) = client.split();
            let mut got = Vec::new();
            let (sent, received) = crate::join!(
                async {
                    writer.write_all(&bytes).await?;
                    writer.shutdown().await
                },
                reader.read_to_end(&mut got)
            );
            sent?;
            received?;
            assert!(got == bytes);
            assert_eq!(echo.await.unwrap()?, 1 << 20);
        }
        assert_eq!(gate.refused(), 5);
        // And allowed, nobody is told to copy.
        gate.allow();
        through(UnixStream::pair()?, UnixStream::pair()?, 4 << 20).await?;
        through(UnixStream::pair()?, pair().await?, 4 << 20).await?;
        through(pair().await?, UnixStream::pair()?, 4 << 20).await?;
        assert_eq!((gate.refused(), spare_pipes()), (5, 1));
        Ok(())
    });
}

#[test]
fn what_does_not_splice_is_copied_and_asked_once() {
    on_both(libc::SYS_splice, |gate| async move {
        let Some(gate) = gate else { return Ok(()) };
        for errno in [libc::ENOSYS, libc::EPERM, libc::EINVAL] {
            let before = gate.refused();
            gate.refuse(errno);
            through_a_copy(4 << 20).await?;
            assert_eq!(gate.refused(), before + 1);
        }
        Ok(())
    });
}

#[test]
fn bytes_in_a_pipe_that_the_receiver_refuses_take_the_other_way() {
    on_both(libc::SYS_splice, |gate| async move {
        let Some(gate) = gate else { return Ok(()) };
        let length = 32 << 20;
        let (mut client, from) = pair().await?;
        let (to, mut server) = pair().await?;
        let sending = crate::spawn_local(async move { client.write_all(&pattern(length)).await });
        let mut pump = Pump::new(COPY_BYTES);
        fill_pipe(&mut pump, &from, &to).await?;
        assert!(pump.held_in_pipe() <= PIPE_BYTES);
        gate.refuse(libc::EINVAL);
        let copying = crate::spawn_local(async move {
            let copied = poll_fn(|cx| pump.poll(cx, from.io(), to.io())).await;
            drop(to);
            copied
        });
        let mut got = Vec::new();
        server.read_to_end(&mut got).await?;
        sending.await.unwrap()?;
        assert_eq!(copying.await.unwrap()?, length as u64);
        assert!(got == pattern(length));
        assert_eq!(gate.refused(), 1);
        Ok(())
    });
}

/// Polls until the receiver has no room, as nobody reads, and bytes stay in the pipe.
async fn fill_pipe(pump: &mut Pump, from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    loop {
        let polled = poll_fn(|cx| Poll::Ready(pump.poll(cx, from.io(), to.io()))).await;
        assert!(polled?.is_pending(), "it has ended");
        if pump.held_in_pipe() > 0 {
            return Ok(());
        }
        yield_now().await;
    }
}

fn send_forever(mut client: TcpStream) -> JoinHandle<io::Result<()>> {
    crate::spawn_local(async move {
        let block = pattern(1 << 16);
        loop {
            client.write_all(&block).await?;
        }
    })
}

#[test]
fn without_descriptors_for_a_pipe_the_buffer_does_it() {
    on_both(libc::SYS_pipe2, |gate| async move {
        let Some(gate) = gate else { return Ok(()) };
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
            gate.refuse(errno);
            let before = gate.refused();
            through_a_copy(1 << 20).await?;
            assert_eq!(gate.refused(), before + 1, "it is asked for again at once");
        }
        assert_eq!(spare_pipes(), 0);
        gate.allow();
        through_a_copy(1 << 20).await?;
        assert_eq!(spare_pipes(), 1);
        Ok(())
    });
}

#[test]
fn a_core_keeps_a_bounded_number_of_pipes_and_buffers() {
    on_both(libc::SYS_splice, |_| async move {
        // All are in use at once: nobody reads.
        let mut pumps = Vec::new();
        for _ in 0..SPARE_PIPES + 4 {
            let (client, from) = pair().await?;
            let (to, server) = pair().await?;
            let mut pump = Pump::new(COPY_BYTES);
            let sending = send_forever(client);
            fill_pipe(&mut pump, &from, &to).await?;
            pumps.push((pump, sending, from, to, server));
        }
        assert_eq!(spare_pipes(), 0);
        for (mut pump, sending, from, to, mut server) in pumps {
            sending.abort();
            let receiving = crate::spawn_local(async move { server.read_to_end(&mut Vec::new()).await });
            poll_fn(|cx| pump.poll(cx, from.io(), to.io())).await?;
            drop(to);
            receiving.await.unwrap()?;
        }
        assert!((1..=SPARE_PIPES).contains(&spare_pipes()));
        assert!(SPARES.with(|spares| spares.borrow().buffers.len()) <= SPARE_PIPES);
        Ok(())
    });
}

#[test]
fn a_pipe_with_bytes_in_it_is_not_kept() {
    on_both(libc::SYS_splice, |_| async move {
        let (client, from) = pair().await?;
        let (to, _server) = pair().await?;
        let mut pump = Pump::new(COPY_BYTES);
        let sending = send_forever(client);
        fill_pipe(&mut pump, &from, &to).await?;
        drop(pump);
        assert_eq!(spare_pipes(), 0);
        sending.abort();
        Ok(())
    });
}
