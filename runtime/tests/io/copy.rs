//! Copying from stream to stream, one way and both ways.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;

use multikernel::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, copy, copy_bidirectional,
    copy_bidirectional_with_sizes, duplex,
};
use multikernel::net::{TcpListener, TcpStream};
use multikernel::runtime::Builder;
use multikernel::task::{JoinHandle, yield_now};
use multikernel::{CoreId, spawn, spawn_on};
use socket2::SockRef;

use crate::common::{on_both, pair, pattern, poll_once};

/// A client, a server, and between them the two ends that a proxy holds.
struct Chain {
    client: TcpStream,
    near: TcpStream,
    far: TcpStream,
    server: TcpStream,
}

async fn chain() -> io::Result<Chain> {
    let (client, near) = pair().await?;
    let (far, server) = pair().await?;
    Ok(Chain { client, near, far, server })
}

/// A client and a server, with a copy both ways between them.
async fn proxied() -> io::Result<(TcpStream, TcpStream, JoinHandle<io::Result<(u64, u64)>>)> {
    let Chain { client, mut near, mut far, server } = chain().await?;
    let copying = spawn(async move { copy_bidirectional(&mut near, &mut far).await });
    Ok((client, server, copying))
}

fn send(mut stream: TcpStream, bytes: Vec<u8>) -> JoinHandle<io::Result<TcpStream>> {
    spawn(async move {
        stream.write_all(&bytes).await?;
        stream.shutdown().await?;
        Ok(stream)
    })
}

#[test]
fn either_side_may_end_first_and_the_other_goes_on() {
    on_both(1, || async {
        for length in [0, 1, 100, 8192, 8193, 1_000_000] {
            let (mut client, mut server, copying) = proxied().await?;
            let (question, answer) = (pattern(length), pattern(length + 3));
            // The client ends first, and is answered all the same.
            let sending = send(client, question.clone());
            let mut got = Vec::new();
            server.read_to_end(&mut got).await?;
            assert!(got == question);
            client = sending.await.unwrap()?;
            let sending = send(server, answer.clone());
            got.clear();
            client.read_to_end(&mut got).await?;
            assert!(got == answer);
            drop(sending.await.unwrap()?);
            assert_eq!(copying.await.unwrap()?, (length as u64, length as u64 + 3));

            // The server ends first, as who sends a greeting and then listens.
            let (mut client, server, copying) = proxied().await?;
            let mut server = send(server, answer).await.unwrap()?;
            got.clear();
            client.read_to_end(&mut got).await?;
            assert_eq!(got.len(), length + 3);
            let sending = send(client, question.clone());
            got.clear();
            server.read_to_end(&mut got).await?;
            assert!(got == question);
            drop(sending.await.unwrap()?);
            assert_eq!(copying.await.unwrap()?, (length as u64, length as u64 + 3));
        }
        Ok(())
    });
}

#[test]
fn questions_and_answers_pass_at_once_however_small() {
    on_both(1, || async {
        let (mut client, mut server, copying) = proxied().await?;
        for round in 0..500_usize {
            // Now and then one that is large, so that both ways of copying take turns.
            let question = pattern(if round.is_multiple_of(50) { 200_000 } else { 1 + round });
            let mut got = vec![0; question.len()];
            let asking = async { client.write_all(&question).await };
            let (asked, heard) = multikernel::join!(asking, server.read_exact(&mut got));
            asked?;
            heard?;
            assert!(got == question);
            server.write_all(&question[..1]).await?;
            client.read_exact(&mut got[..1]).await?;
            assert_eq!(got[0], question[0]);
        }
        drop(client);
        drop(server);
        copying.await.unwrap().ok();
        Ok(())
    });
}

/// Makes what Linux keeps on the way small, so that what the copy keeps would show.
fn with_small_buffers(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_send_buffer_size(32 * 1024)?;
    socket.set_recv_buffer_size(32 * 1024)
}

#[test]
fn a_slow_reader_slows_the_writer_down_and_gets_everything() {
    const LENGTH: usize = 100 << 20;
    /// The socket buffers of four ends, doubled by Linux and more, and what the copy holds.
    const ON_THE_WAY: usize = 2 << 20;
    on_both(1, || async {
        let Chain { mut client, mut near, mut far, mut server } = chain().await?;
        for stream in [&client, &near, &far, &server] {
            with_small_buffers(stream)?;
        }
        let copying = spawn(async move { copy_bidirectional(&mut near, &mut far).await });
        let sent = Arc::new(AtomicUsize::new(0));
        let count = sent.clone();
        let sending = spawn(async move {
            for piece in pattern(1 << 16).chunks(4096).cycle().take(LENGTH / 4096) {
                client.write_all(piece).await?;
                count.fetch_add(piece.len(), SeqCst);
            }
            client.shutdown().await?;
            io::Result::Ok(client)
        });
        let expected = pattern(1 << 16);
        let mut block = vec![0; 1 << 16];
        let (mut received, mut longest) = (0, 0);
        while received < LENGTH {
            // It hesitates before each piece, for long enough that all others have come to rest.
            for _ in 0..10 {
                yield_now().await;
            }
            longest = longest.max(sent.load(SeqCst).saturating_sub(received));
            server.read_exact(&mut block).await?;
            assert!(block == expected, "after {received} bytes");
            received += block.len();
        }
        assert!(longest < ON_THE_WAY, "{longest} bytes were on the way");
        assert!(longest > 1 << 14, "it was the writer that was slow");
        assert_eq!(server.read(&mut block).await?, 0);
        drop(server);
        drop(sending.await.unwrap()?);
        assert_eq!(copying.await.unwrap()?, (LENGTH as u64, 0));
        Ok(())
    });
}

#[test]
fn a_receiver_that_resets_ends_the_copy_with_an_error() {
    on_both(1, || async {
        for length in [100, 50 << 20] {
            let (client, mut server, copying) = proxied().await?;
            let sending = send(client, pattern(length));
            server.read_exact(&mut [0; 50]).await?;
            SockRef::from(&server).set_linger(Some(std::time::Duration::ZERO))?;
            drop(server);
            let error = copying.await.unwrap().unwrap_err();
            let broken = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
            assert!(broken.contains(&error.kind()), "{error}");
            // The copy's task and its streams are gone, so the client hears of it too, at the latest when it sends.
            let _ = sending.await.unwrap();
        }
        Ok(())
    });
}

#[test]
fn bytes_received_ahead_of_the_copy_go_first() {
    on_both(2, || async {
        for cross in [false, true] {
            let Chain { client, near, mut far, mut server } = chain().await?;
            let bytes = pattern(3 << 20);
            let sending = send(client, bytes.clone());
            // On io_uring this core receives ahead from now on.
            let head = near.recv().await?.to_vec();
            for _ in 0..20 {
                yield_now().await;
            }
            let mut near = near;
            let task = move || async move { copy_bidirectional(&mut near, &mut far).await };
            let copying = spawn_on(CoreId::new(usize::from(cross)), task);
            let mut got = head;
            server.read_to_end(&mut got).await?;
            assert!(got == bytes);
            drop((server, sending.await.unwrap()?));
            assert_eq!(copying.await.unwrap()?.1, 0);
        }
        Ok(())
    });
}

#[test]
fn urgent_data_does_not_hold_up_the_rest() {
    on_both(1, || async {
        let (mut client, mut server, copying) = proxied().await?;
        let block = pattern(1 << 18);
        let mut got = vec![0; block.len()];
        for _ in 0..5 {
            let (wrote, heard) = multikernel::join!(client.write_all(&block), server.read_exact(&mut got));
            wrote?;
            heard?;
            assert!(got == block);
            // The byte itself is not part of the stream; what follows is.
            assert_eq!(SockRef::from(&client).send_out_of_band(b"!")?, 1);
        }
        client.shutdown().await?;
        assert_eq!(server.read(&mut got).await?, 0);
        drop((client, server));
        assert_eq!(copying.await.unwrap()?, (5 << 18, 0));
        Ok(())
    });
}

/// Both directions, through whatever the two ends are.
async fn copies<A, B>(mut near: A, mut far: B, client: TcpStream, mut server: TcpStream) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin + 'static,
    B: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let bytes = pattern(1 << 20);
    let copying = multikernel::spawn_local(async move { copy_bidirectional(&mut near, &mut far).await });
    let sending = send(client, bytes.clone());
    let mut got = Vec::new();
    server.read_to_end(&mut got).await?;
    assert!(got == bytes);
    server.write_all(b"thanks").await?;
    drop(server);
    let mut client = sending.await.unwrap()?;
    got.clear();
    client.read_to_end(&mut got).await?;
    assert_eq!(got, b"thanks");
    assert_eq!(copying.await.unwrap()?, (1 << 20, 6));
    Ok(())
}

trait Both: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Both for T {}

#[test]
fn other_types_are_copied_too() {
    on_both(1, || async {
        let Chain { client, near, far, server } = chain().await?;
        copies(BufReader::new(near), far, client, server).await?;
        let Chain { client, near, far, server } = chain().await?;
        copies(near, Box::new(far) as Box<dyn Both>, client, server).await?;
        let Chain { client, near, far, server } = chain().await?;
        let (reader, writer) = far.into_split();
        copies(near, multikernel::io::join(reader, writer), client, server).await?;

        // Unsized, and behind references.
        let Chain { client, mut near, mut far, mut server } = chain().await?;
        let copying = spawn(async move {
            let (near, mut far): (&mut (dyn Both + Send), _) = (&mut near, &mut far);
            copy_bidirectional(near, &mut far).await
        });
        drop(send(client, b"hello".to_vec()).await.unwrap()?);
        let mut got = Vec::new();
        server.read_to_end(&mut got).await?;
        assert_eq!(got, b"hello");
        drop(server);
        assert_eq!(copying.await.unwrap()?, (5, 0));

        let (mut ours, mut theirs) = duplex(64);
        let (mut reader, mut writer) = (&b"hello"[..], Vec::new());
        assert_eq!(copy(&mut reader, &mut ours).await?, 5);
        drop(ours);
        assert_eq!(copy(&mut theirs, &mut writer).await?, 5);
        assert_eq!(writer, b"hello");
        Ok(())
    });
}

#[test]
fn halves_are_copied_between_as_streams_are() {
    on_both(2, || async {
        for owned in [false, true] {
            let (client, mut server) = pair().await?;
            let bytes = pattern(3 << 20);
            let echo = spawn(async move {
                if owned {
                    let (mut reader, mut writer) = server.into_split();
                    copy(&mut reader, &mut writer).await
                } else {
                    let (mut reader, mut writer) = server.split();
                    copy(&mut reader, &mut writer).await
                }
            });
            let (mut reader, writer) = client.into_split();
            let sent = bytes.clone();
            let sending = spawn(async move {
                let mut writer = writer;
                writer.write_all(&sent).await?;
                writer.shutdown().await
            });
            let mut got = Vec::new();
            reader.read_to_end(&mut got).await?;
            assert!(got == bytes);
            sending.await.unwrap()?;
            assert_eq!(echo.await.unwrap()?, 3 << 20);
        }
        Ok(())
    });
}

#[test]
fn sizes_are_taken_as_they_come() {
    on_both(1, || async {
        for (there, back) in [(1, 1), (7, 100_000), (1 << 20, 8192)] {
            let Chain { client, mut near, mut far, mut server } = chain().await?;
            let copying =
                spawn(async move { copy_bidirectional_with_sizes(&mut near, &mut far, there, back).await });
            let bytes = pattern(if there == 1 { 3000 } else { 2 << 20 });
            let sending = send(client, bytes.clone());
            let mut got = Vec::new();
            server.read_to_end(&mut got).await?;
            assert!(got == bytes);
            drop((server, sending.await.unwrap()?));
            assert_eq!(copying.await.unwrap()?.0, bytes.len() as u64);
        }
        Ok(())
    });
}

#[test]
#[should_panic(expected = "room for at least one byte")]
fn a_buffer_without_room_is_a_mistake() {
    on_both(1, || async {
        let Chain { mut near, mut far, .. } = chain().await?;
        copy_bidirectional_with_sizes(&mut near, &mut far, 0, 1).await.map(drop)
    });
}

#[test]
fn dropped_at_any_await_it_leaves_a_prefix() {
    on_both(1, || async {
        // Small ones wait for bytes only, large ones for room too.
        for length in [10, 20_000, 8 << 20] {
            let bytes = pattern(length);
            // Further and further, until the server has seen the end: the copy goes on for the other direction.
            for waits in (0..).step_by(1 + length / 1_000_000) {
                let Chain { client, mut near, mut far, mut server } = chain().await?;
                let sending = send(client, bytes.clone());
                let mut got = vec![0; length + 1];
                let (mut received, mut has_ended) = (0, false);
                let mut copying = Box::pin(copy_bidirectional(&mut near, &mut far));
                for _ in 0..waits {
                    assert!(poll_once(&mut copying.as_mut()).await.is_pending(), "the server has not ended");
                    yield_now().await;
                    let end = got.len().min(received + 100_000);
                    let mut reading = Box::pin(server.read(&mut got[received..end]));
                    if let Poll::Ready(count) = poll_once(&mut reading.as_mut()).await {
                        let count = count?;
                        received += count;
                        has_ended |= count == 0;
                    }
                }
                drop(copying);
                // The streams live on.
                near.shutdown().await?;
                // Refused when the copy had passed the end on, and with it everything.
                let ending = spawn(async move { far.write_all(b"END").await.is_ok() });
                let mut rest = got[..received].to_vec();
                server.read_to_end(&mut rest).await?;
                let may_write = ending.await.unwrap();
                let end = if may_write { rest.len() - 3 } else { length };
                assert_eq!(&rest[end..], if may_write { &b"END"[..] } else { b"" });
                assert!(end <= length && rest[..end] == bytes[..end], "{length} bytes, {waits} waits");
                drop(near);
                let _ = sending.await.unwrap();
                if has_ended {
                    assert_eq!(received, length);
                    break;
                }
            }
        }
        Ok(())
    });
}

#[test]
fn guests_copy_too() {
    let runtime = Builder::new_test().build().unwrap();
    runtime.block_on(async {
        let Chain { client, mut near, mut far, mut server } = chain().await.unwrap();
        let bytes = pattern(3 << 20);
        let sending = send(client, bytes.clone());
        let receiving = runtime.spawn(async move {
            let mut got = Vec::new();
            server.read_to_end(&mut got).await.map(|_| got)
        });
        assert_eq!(copy_bidirectional(&mut near, &mut far).await.unwrap(), (3 << 20, 0));
        assert!(receiving.await.unwrap().unwrap() == bytes);
        drop(sending.await.unwrap().unwrap());
    });
}

#[test]
fn a_write_side_that_is_shut_already_ends_the_copy() {
    on_both(1, || async {
        let Chain { mut client, mut near, mut far, server } = chain().await?;
        SockRef::from(&far).shutdown(Shutdown::Write)?;
        client.write_all(b"nobody can have this").await?;
        let copied = copy_bidirectional(&mut near, &mut far).await;
        assert_eq!(copied.unwrap_err().kind(), ErrorKind::BrokenPipe);
        drop(server);
        Ok(())
    });
}

#[test]
fn a_listener_that_copies_each_connection_leaves_no_descriptor_behind() {
    // In a process of its own: other tests open and close descriptors meanwhile.
    crate::common::alone("copy::inner_descriptors", "every descriptor came back");
}

#[test]
#[ignore = "run by another test, alone in its process"]
fn inner_descriptors() {
    on_both(1, || async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let before = crate::common::descriptors();
        for round in 0..6 {
            for waits in 0..20 {
                let mut client = TcpStream::connect(listener.local_addr()?).await?;
                let (mut near, _) = listener.accept().await?;
                let (mut far, server) = pair().await?;
                let sending = spawn(async move { client.write_all(&pattern(1 << 20)).await });
                let mut copying = Box::pin(copy_bidirectional(&mut near, &mut far));
                for _ in 0..waits {
                    assert!(poll_fn(|cx| Poll::Ready(copying.as_mut().poll(cx).is_pending())).await);
                    yield_now().await;
                }
                drop(copying);
                sending.abort();
                drop((near, far, server, sending.await));
            }
            for _ in 0..10 {
                yield_now().await;
            }
            // One copy at a time, with two directions: no more than two pipes are kept for the next.
            let open = crate::common::descriptors();
            assert!((before..=before + 4).contains(&open), "{open} in round {round}, {before} before");
        }
        Ok(())
    });
    println!("every descriptor came back");
}
