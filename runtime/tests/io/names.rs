//! What servers written for tokio name is here under the same name.

#![expect(unused_imports, reason = "that they are found is the test")]

use multikernel::io::unix::{
    AsyncFd, AsyncFdReadyGuard, AsyncFdReadyMutGuard, AsyncFdRegisterError, TryIoError,
};
use multikernel::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncSeek, AsyncSeekExt, AsyncWrite,
    AsyncWriteExt, BufReader, BufStream, BufWriter, Chain, DuplexStream, Empty, Error, ErrorKind, Interest,
    Join, Lines, ReadBuf, ReadHalf, Ready, Repeat, Result, SeekFrom, SimplexStream, Sink, Split, Stderr,
    Stdin, Stdout, Take, WriteHalf, copy, copy_bidirectional, copy_bidirectional_with_sizes, copy_buf,
    duplex, empty, join, repeat, simplex, sink, split, stderr, stdin, stdout,
};

/// Futures that are spawned have to be `Send`, whatever they copy between.
fn is_send<T: Send>(future: T) -> T {
    future
}

#[test]
fn futures_of_copies_may_be_spawned() {
    let (mut a, mut b) = (multikernel::io::duplex(1).0, multikernel::io::duplex(1).0);
    drop(is_send(copy_bidirectional(&mut a, &mut b)));
    drop(is_send(copy(&mut a, &mut b)));
    fn of_streams(a: &mut multikernel::net::TcpStream, b: &mut multikernel::net::TcpStream) {
        drop(is_send(copy_bidirectional(a, b)));
        drop(is_send(copy(a, b)));
    }
    let _ = of_streams;
    is_send((stdin(), stdout(), stderr()));
}
