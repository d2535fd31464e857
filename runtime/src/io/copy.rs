//! Copying from stream to stream.

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use super::pump::Pump;
use crate::fs::File;
use crate::limits::{COPY_BYTES, COPY_FILE_BYTES};
use crate::net::tcp::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::net::{StreamIo, TcpStream, UnixStream, unix};

macro_rules! streams {
    ($($name:ty),*) => {
        /// What is below `end`, if it is one of our streams or a half of one.
        fn stream_io<T: ?Sized>(end: &T) -> Option<&StreamIo> {
            let is = typeid::of::<T>();
            $(if is == typeid::of::<$name>() {
                // SAFETY: the ids are equal, so the two types are the same, or differ in lifetimes only. Those within
                // `T` outlive the reference to it. `$name` is taken here with a lifetime that lasts as long as that
                // reference and no longer, to which it may be shortened, for it is covariant. It is only read.
                let stream = unsafe { &*ptr::from_ref(end).cast::<$name>() };
                return Some(stream.io());
            })*
            None
        }
    };
}

// A new kind of stream, and its halves, are more names here.
streams!(
    TcpStream,
    ReadHalf<'_>,
    WriteHalf<'_>,
    OwnedReadHalf,
    OwnedWriteHalf,
    UnixStream,
    unix::ReadHalf<'_>,
    unix::WriteHalf<'_>,
    unix::OwnedReadHalf,
    unix::OwnedWriteHalf
);

/// `end`, if it is one of our files.
fn file<T: ?Sized>(end: &mut T) -> Option<&mut File> {
    let is = typeid::of::<T>() == typeid::of::<File>();
    // SAFETY: the ids are equal, and a file has no lifetimes to differ in, so the two types are the same.
    is.then(|| unsafe { &mut *ptr::from_mut(end).cast::<File>() })
}

/// Copies all that `reader` has to `writer`, and says how many bytes that were. As tokio's.
///
/// From one of our streams to another, TCP or Unix, or between halves of them, large amounts are moved through a pipe by the
/// system and not copied at all; see [`copy_bidirectional`].
///
/// From a [`File`], the bytes are written out of the file's own buffer, which takes up to 64 KiB at once, or as much as
/// [`set_max_buf_size`](File::set_max_buf_size) says if that is less. The system is not told to send the file by itself: what
/// somebody then wrote to the file after the copy could still reach the peer. Where that does no harm, see [`File::send_to`].
///
/// # Errors
///
/// The error of whichever end fails. Some bytes may have been read and not written then.
///
/// # Cancel safety
///
/// Bytes that were read and not yet written are lost when the future is dropped, as in tokio: at most a buffer of 8 KiB,
/// or 64 KiB in a pipe. From a [`File`], none are: its position is right behind what was written.
///
/// # Examples
///
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let (mut reader, mut writer) = (&b"hello"[..], Vec::new());
/// assert_eq!(multikernel::io::copy(&mut reader, &mut writer).await?, 5);
/// assert_eq!(writer, b"hello");
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn copy<R, W>(reader: &mut R, writer: &mut W) -> io::Result<u64>
where
    R: AsyncRead + Unpin + ?Sized,
    W: AsyncWrite + Unpin + ?Sized,
{
    if let (Some(from), Some(to)) = (stream_io(reader), stream_io(writer)) {
        let mut pump = Pump::new(COPY_BYTES);
        return poll_fn(|cx| pump.poll(cx, from, to)).await;
    }
    if let Some(file) = file(reader) {
        return copy_file(file, Pin::new(writer)).await;
    }
    tokio::io::copy(reader, writer).await
}

/// Copies a file without a buffer of its own, so that nothing is lost with the future.
async fn copy_file<W>(file: &mut File, mut writer: Pin<&mut W>) -> io::Result<u64>
where
    W: AsyncWrite + ?Sized,
{
    let file = file.stream_mut();
    let (mut copied, mut is_flushed, mut has_ended) = (0, true, false);
    poll_fn(|cx| {
        while !has_ended {
            let bytes = match file.poll_unread(cx, COPY_FILE_BYTES) {
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                Poll::Ready(bytes) => bytes?,
                Poll::Pending => {
                    // What there is may be what others wait for before they write more.
                    if !is_flushed {
                        ready!(writer.as_mut().poll_flush(cx))?;
                        is_flushed = true;
                    }
                    return Poll::Pending;
                }
            };
            if bytes.is_empty() {
                has_ended = true;
                break;
            }
            match ready!(writer.as_mut().poll_write(cx, bytes)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    file.take(count);
                    copied += count as u64;
                    is_flushed = false;
                }
            }
        }
        ready!(writer.as_mut().poll_flush(cx))?;
        Poll::Ready(Ok(copied))
    })
    .await
}

/// Copies both ways between two streams until both have ended: what a proxy does. As tokio's.
///
/// When one stream ends, the other is told by a shutdown of its writing side, and the other direction goes on. A stream
/// whose peer reads slowly is not read ahead of: each direction holds at most 64 KiB. The result says how many bytes went
/// from `a` to `b`, and from `b` to `a`.
///
/// Between two of our streams, TCP or Unix, what comes in large amounts is moved through a pipe by the system (splice(2))
/// and not copied at all. Small pieces, and all that goes between other types, are copied through a buffer. A pipe takes two
/// descriptors, while bytes are in it; each core keeps up to 16 for the next copy. Where none can be had, or the system
/// refuses to splice, or SIGPIPE has its default action (which would end the process), the buffer does it all.
///
/// # Errors
///
/// The first error of either stream. Some bytes may have been read and not written then.
///
/// # Cancel safety
///
/// Bytes that were read and not yet written are lost when the future is dropped, as in tokio: up to 64 KiB each way.
///
/// # Examples
///
/// ```
/// use multikernel::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
/// use multikernel::net::{TcpListener, TcpStream};
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let back = TcpListener::bind("127.0.0.1:0").await?;
/// let front = TcpListener::bind("127.0.0.1:0").await?;
/// let (target, address) = (back.local_addr()?, front.local_addr()?);
/// let proxy = multikernel::spawn(async move {
///     let (mut client, _) = front.accept().await?;
///     let mut server = TcpStream::connect(target).await?;
///     copy_bidirectional(&mut client, &mut server).await
/// });
///
/// let mut client = TcpStream::connect(address).await?;
/// client.write_all(b"question").await?;
/// client.shutdown().await?;
/// let (mut server, _) = back.accept().await?;
/// let mut question = Vec::new();
/// server.read_to_end(&mut question).await?; // ends because the client's end was passed on
/// server.write_all(b"answer").await?;
/// drop(server);
/// assert_eq!(proxy.await??, (8, 6));
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn copy_bidirectional<A, B>(a: &mut A, b: &mut B) -> io::Result<(u64, u64)>
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    copy_bidirectional_with_sizes(a, b, COPY_BYTES, COPY_BYTES).await
}

/// As [`copy_bidirectional`], with buffers of these sizes in bytes, for the two directions. Those are also the sizes from
/// which on a pipe is used.
///
/// # Errors and cancel safety
///
/// As there.
///
/// # Panics
///
/// When a size is 0.
///
/// # Examples
///
/// ```
/// use multikernel::io::{AsyncWriteExt, copy_bidirectional_with_sizes, duplex};
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let (mut client, mut a) = duplex(64);
/// let (mut b, server) = duplex(64);
/// client.write_all(b"hello").await?;
/// drop((client, server));
/// // Short answers, long questions.
/// let copied = copy_bidirectional_with_sizes(&mut a, &mut b, 65_536, 1024).await;
/// assert!(copied.is_err()); // nobody is left to read the question
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn copy_bidirectional_with_sizes<A, B>(
    a: &mut A,
    b: &mut B,
    a_to_b_buf_size: usize,
    b_to_a_buf_size: usize,
) -> io::Result<(u64, u64)>
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    assert!(a_to_b_buf_size > 0 && b_to_a_buf_size > 0, "a buffer has room for at least one byte");
    if let (Some(near), Some(far)) = (stream_io(a), stream_io(b)) {
        let mut there = Direction::Moving(Pump::new(a_to_b_buf_size));
        let mut back = Direction::Moving(Pump::new(b_to_a_buf_size));
        return poll_fn(|cx| {
            let there = there.poll(cx, near, far)?;
            let back = back.poll(cx, far, near)?;
            Poll::Ready(Ok((ready!(there), ready!(back))))
        })
        .await;
    }
    tokio::io::copy_bidirectional_with_sizes(a, b, a_to_b_buf_size, b_to_a_buf_size).await
}

/// One direction of a copy both ways.
enum Direction {
    Moving(Pump),
    Done(u64),
}

impl Direction {
    fn poll(&mut self, cx: &mut Context<'_>, from: &StreamIo, to: &StreamIo) -> Poll<io::Result<u64>> {
        if let Direction::Moving(pump) = self {
            let copied = ready!(pump.poll(cx, from, to))?;
            to.shutdown(Shutdown::Write)?;
            *self = Direction::Done(copied);
        }
        match self {
            Direction::Done(copied) => Poll::Ready(Ok(*copied)),
            Direction::Moving(_) => unreachable!("it has just ended"),
        }
    }
}
