//! Readiness of descriptors, and the traits of asynchronous input and output.
//!
//! With the feature `tokio` (on by default) the traits and helpers here are tokio's own, so that what is written
//! against them works with our sockets and with any other crate's.
//!
//! # Examples
//!
//! ```
//! # #[cfg(feature = "tokio")]
//! # multikernel::runtime::Builder::new_test().run(|| async {
//! use multikernel::io::{AsyncReadExt, AsyncWriteExt, duplex};
//!
//! let (mut near, mut far) = duplex(64);
//! near.write_all(b"hello").await?;
//! drop(near);
//! let mut text = String::new();
//! far.read_to_string(&mut text).await?;
//! assert_eq!(text, "hello");
//! # std::io::Result::Ok(())
//! # }).unwrap().unwrap();
//! ```

mod async_fd;
mod async_fd_error;
mod async_fd_guard;
mod async_fd_wait;
#[cfg(feature = "tokio")]
mod copy;
#[cfg(feature = "tokio")]
mod pipe;
#[cfg(feature = "tokio")]
mod pump;
#[cfg(feature = "tokio")]
mod stdin;
#[cfg(feature = "tokio")]
mod stdio;
#[cfg(feature = "tokio")]
mod stdout;
#[cfg(all(test, feature = "tokio"))]
mod tests_copy;

/// Waiting for descriptors of other libraries.
pub mod unix {
    pub use super::async_fd::AsyncFd;
    pub use super::async_fd_error::{AsyncFdRegisterError, TryIoError};
    pub use super::async_fd_guard::{AsyncFdReadyGuard, AsyncFdReadyMutGuard};
}

pub use std::io::{Error, ErrorKind, Result, SeekFrom};

pub use crate::driver::{Interest, Ready};

#[cfg(feature = "tokio")]
pub use copy::{copy, copy_bidirectional, copy_bidirectional_with_sizes};
#[cfg(feature = "tokio")]
pub use stdin::{Stdin, stdin};
#[cfg(feature = "tokio")]
pub use stdout::{Stderr, Stdout, stderr, stdout};
#[cfg(feature = "tokio")]
pub use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncSeek, AsyncSeekExt, AsyncWrite,
    AsyncWriteExt, BufReader, BufStream, BufWriter, Chain, DuplexStream, Empty, Join, Lines, ReadBuf,
    ReadHalf, Repeat, SimplexStream, Sink, Split, Take, WriteHalf, copy_buf, duplex, empty, join, repeat,
    simplex, sink, split,
};
