//! tokio's traits.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockAddr;
use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

use crate::fs::File;
use crate::net::addr::ip_address;
use crate::net::datagram_io::{DatagramIo, Take};
use crate::net::stream::Stream;
use crate::net::tcp::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::net::unix::pipe::{Receiver, Sender};
use crate::net::unix_addr::unix_address;
use crate::net::{StreamIo, TcpStream, UdpSocket, UnixDatagram, UnixStream, unix};
use crate::process::{ChildStderr, ChildStdin, ChildStdout};

/// Lets `receive` fill the unfilled part of `buf`; it says how many bytes it wrote to the front.
///
/// # Safety
///
/// `receive` writes only initialised bytes, and as many as it says.
unsafe fn fill(
    buf: &mut ReadBuf<'_>,
    receive: impl FnOnce(&mut [MaybeUninit<u8>]) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    // SAFETY: by the caller's promise no byte is made uninitialised.
    let got = ready!(receive(unsafe { buf.unfilled_mut() }))?;
    // SAFETY: by the caller's promise that many bytes at the front have been written.
    unsafe { buf.assume_init(got) };
    buf.advance(got);
    Poll::Ready(Ok(got))
}

pub(crate) fn poll_read(io: &StreamIo, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
    // SAFETY: what is received is all that is written.
    unsafe { fill(buf, |unfilled| io.poll_read(cx, unfilled)) }.map_ok(drop)
}

fn poll_peek(io: &StreamIo, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
    // SAFETY: what is received is all that is written.
    unsafe { fill(buf, |unfilled| io.poll_peek(cx, unfilled)) }
}

macro_rules! reads {
    ($([$($generic:tt)*] $name:ty),*) => {$(
        impl<$($generic)*> AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                poll_read(self.io(), cx, buf)
            }
        }

        impl<$($generic)*> $name {
            /// Polls what `peek` waits for, and copies it to the unfilled part of `buf`. The bytes stay to be read.
            ///
            /// # Errors
            ///
            /// The error of the connection.
            ///
            /// # Panics
            ///
            /// When it has to wait on a thread that is neither a core nor inside a `block_on`.
            ///
            /// # Examples
            ///
            /// ```
            /// use multikernel::io::ReadBuf;
            /// use std::future::poll_fn;
            ///
            /// # use multikernel::net::{TcpListener, TcpStream};
            /// # multikernel::runtime::Builder::new_test().run(|| async {
            /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
            /// # let client = TcpStream::connect(listener.local_addr()?).await?;
            /// # let (server, _) = listener.accept().await?;
            /// client.try_write(b"hello")?;
            /// let mut room = [0; 2];
            /// let mut buf = ReadBuf::new(&mut room);
            /// poll_fn(|cx| server.poll_peek(cx, &mut buf)).await?;
            /// assert_eq!(buf.filled(), b"he");
            /// # std::io::Result::Ok(())
            /// # }).unwrap().unwrap();
            /// ```
            pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
                poll_peek(self.io(), cx, buf)
            }
        }
    )*};
}

macro_rules! writes {
    ($([$($generic:tt)*] $name:ty),*) => {$(
        impl<$($generic)*> AsyncWrite for $name {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                self.io().poll_write(cx, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.io().poll_write_vectored(cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            /// Ready at once: nothing is kept back.
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Ready at once: what was written arrives before the end does.
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.get_mut().end())
            }
        }
    )*};
}

reads!([] TcpStream, [] UnixStream, [S: Stream] ReadHalf<'_, S>, [S: Stream] OwnedReadHalf<S>);
writes!([] TcpStream, [] UnixStream, [S: Stream] WriteHalf<'_, S>, [S: Stream] OwnedWriteHalf<S>);

macro_rules! reads_pipe {
    ($($name:ty),*) => {$(
        impl AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                // SAFETY: what is read is all that is written.
                unsafe { fill(buf, |unfilled| self.io().poll_read(cx, unfilled)) }.map_ok(drop)
            }
        }
    )*};
}

reads_pipe!(ChildStdout, ChildStderr, Receiver);
writes!([] ChildStdin, [] Sender);

/// The calls of datagram sockets that receive into tokio's buffer.
macro_rules! receives {
    ($name:ty, $addr:ty, $named:path, $pair:literal) => {
        impl $name {
            /// Polls what `recv` waits for, and fills `buf` with the datagram.
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Examples
            ///
            /// ```
            /// use multikernel::io::ReadBuf;
            /// use std::future::poll_fn;
            ///
            /// # multikernel::runtime::Builder::new_test().run(|| async {
            #[doc = $pair]
            /// client.send(b"hello").await?;
            /// let mut room = [0; 1500];
            /// let mut buf = ReadBuf::new(&mut room);
            /// poll_fn(|cx| server.poll_recv(cx, &mut buf)).await?;
            /// assert_eq!(buf.filled(), b"hello");
            /// # std::io::Result::Ok(())
            /// # }).unwrap().unwrap();
            /// ```
            pub fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                poll_receive(&self.io, cx, buf, Take::Datagram).map_ok(drop)
            }

            /// As [`poll_recv`](Self::poll_recv), and says who sent it.
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Examples
            ///
            /// ```
            /// use multikernel::io::ReadBuf;
            /// use std::future::poll_fn;
            ///
            /// # multikernel::runtime::Builder::new_test().run(|| async {
            #[doc = $pair]
            /// client.send(b"hello").await?;
            /// let mut room = [0; 1500];
            /// let mut buf = ReadBuf::new(&mut room);
            /// let _from = poll_fn(|cx| server.poll_recv_from(cx, &mut buf)).await?;
            /// assert_eq!(buf.filled(), b"hello");
            /// # std::io::Result::Ok(())
            /// # }).unwrap().unwrap();
            /// ```
            pub fn poll_recv_from(
                &self,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<$addr>> {
                poll_receive(&self.io, cx, buf, Take::Datagram).map(|found| $named(found?.1))
            }

            /// As [`poll_recv`](Self::poll_recv), and leaves the datagram. Says how many bytes of it there was room for.
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Examples
            ///
            /// ```
            /// use multikernel::io::ReadBuf;
            /// use std::future::poll_fn;
            ///
            /// # multikernel::runtime::Builder::new_test().run(|| async {
            #[doc = $pair]
            /// client.send(b"hello").await?;
            /// let mut room = [0; 2];
            /// let mut buf = ReadBuf::new(&mut room);
            /// assert_eq!(poll_fn(|cx| server.poll_peek(cx, &mut buf)).await?, 2);
            /// # std::io::Result::Ok(())
            /// # }).unwrap().unwrap();
            /// ```
            pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
                poll_receive(&self.io, cx, buf, Take::Copy).map_ok(|(length, _)| length)
            }

            /// As [`poll_peek`](Self::poll_peek), and says who sent it.
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Examples
            ///
            /// ```
            /// use multikernel::io::ReadBuf;
            /// use std::future::poll_fn;
            ///
            /// # multikernel::runtime::Builder::new_test().run(|| async {
            #[doc = $pair]
            /// client.send(b"hello").await?;
            /// let mut room = [0; 2];
            /// let mut buf = ReadBuf::new(&mut room);
            /// let _from = poll_fn(|cx| server.poll_peek_from(cx, &mut buf)).await?;
            /// assert_eq!(buf.filled(), b"he");
            /// # std::io::Result::Ok(())
            /// # }).unwrap().unwrap();
            /// ```
            pub fn poll_peek_from(
                &self,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<$addr>> {
                poll_receive(&self.io, cx, buf, Take::Copy).map(|found| $named(found?.1))
            }
        }
    };
}

fn poll_receive(
    io: &DatagramIo,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
    take: Take,
) -> Poll<io::Result<(usize, SockAddr)>> {
    let mut from = None;
    let receive = |unfilled: &mut [MaybeUninit<u8>]| {
        io.poll_receive_from(cx, unfilled, take).map_ok(|(length, addr)| {
            from = Some(addr);
            length
        })
    };
    // SAFETY: what is received is all that is written.
    let length = ready!(unsafe { fill(buf, receive) })?;
    Poll::Ready(Ok((length, from.expect("a datagram was received"))))
}

receives!(
    UdpSocket,
    std::net::SocketAddr,
    ip_address,
    "# use multikernel::net::UdpSocket;
# let (client, server) = (UdpSocket::bind(\"127.0.0.1:0\").await?, UdpSocket::bind(\"127.0.0.1:0\").await?);
# client.connect(server.local_addr()?).await?;"
);
receives!(
    UnixDatagram,
    unix::SocketAddr,
    unix_address,
    "# let (client, server) = multikernel::net::UnixDatagram::pair()?;"
);

impl AsyncRead for File {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut().stream_mut();
        // SAFETY: what has been read is all that is written.
        unsafe { fill(buf, |unfilled| stream.poll_read(cx, unfilled)) }.map_ok(drop)
    }
}

impl AsyncWrite for File {
    /// Takes what it can, at most [`File::max_buf_size`] bytes, and begins to write it. How that ends, the next write, flush
    /// or sync tells.
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().stream_mut().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().stream_mut().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Ready when the system has all that was written. Whether a disk has it, `sync_all` tells.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream_mut().poll_flush(cx)
    }

    /// The same as a flush.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream_mut().poll_flush(cx)
    }
}

impl AsyncSeek for File {
    fn start_seek(self: Pin<&mut Self>, position: io::SeekFrom) -> io::Result<()> {
        self.get_mut().stream_mut().start_seek(position)
    }

    fn poll_complete(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        self.get_mut().stream_mut().poll_seek(cx)
    }
}
