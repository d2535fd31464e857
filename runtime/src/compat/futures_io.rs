//! The traits of `futures::io`.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncSeek, AsyncWrite};

use crate::fs::File;
use crate::net::stream::Stream;
use crate::net::stream_io::as_uninit;
use crate::net::tcp::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::net::unix::pipe::{Receiver, Sender};
use crate::net::{TcpStream, UnixStream};
use crate::process::{ChildStderr, ChildStdin, ChildStdout};

macro_rules! reads {
    ($([$($generic:tt)*] $name:ty),*) => {$(
        impl<$($generic)*> AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                // SAFETY: `StreamIo::poll_read` writes only what it received.
                self.io().poll_read(cx, unsafe { as_uninit(buf) })
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                self.io().poll_read_vectored(cx, bufs)
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

            /// Ready at once: nothing is kept back.
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Ends the direction, at once: what was written arrives before the end does.
            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
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
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                // SAFETY: `PipeIo::poll_read` writes only what it has read.
                self.io().poll_read(cx, unsafe { as_uninit(buf) })
            }
        }
    )*};
}

reads_pipe!(ChildStdout, ChildStderr, Receiver);
writes!([] ChildStdin, [] Sender);

impl AsyncRead for File {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        // SAFETY: `Stream::poll_read` writes only what it has read.
        self.get_mut().stream_mut().poll_read(cx, unsafe { as_uninit(buf) })
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

    /// Ready when the system has all that was written. Whether a disk has it, `sync_all` tells.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream_mut().poll_flush(cx)
    }

    /// The same as a flush.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream_mut().poll_flush(cx)
    }
}

impl AsyncSeek for File {
    fn poll_seek(self: Pin<&mut Self>, cx: &mut Context<'_>, to: io::SeekFrom) -> Poll<io::Result<u64>> {
        self.get_mut().stream_mut().poll_seek_to(cx, to)
    }
}
