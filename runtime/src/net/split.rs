//! The halves that a stream lends out.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;

use bytes::BufMut;

use super::stream::Stream;
use super::{StreamIo, TcpStream};
use crate::driver::{Interest, Ready};

pub(super) fn split<S: Stream>(stream: &mut S) -> (ReadHalf<'_, S>, WriteHalf<'_, S>) {
    (ReadHalf(stream), WriteHalf(stream))
}

/// The reading half of a stream that is lent out by [`TcpStream::split`], or by that of another stream `S`.
///
/// # Examples
///
/// An echo, which reads from one half what it writes to the other:
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// use multikernel::io::{AsyncReadExt, AsyncWriteExt, copy};
/// use multikernel::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let mut client = TcpStream::connect(listener.local_addr()?).await?;
/// let (mut server, _) = listener.accept().await?;
///
/// client.write_all(b"hello").await?;
/// client.shutdown().await?;
/// let (mut reader, mut writer) = server.split();
/// assert_eq!(copy(&mut reader, &mut writer).await?, 5);
/// drop(server);
///
/// let mut back = String::new();
/// client.read_to_string(&mut back).await?;
/// assert_eq!(back, "hello");
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
pub struct ReadHalf<'a, S = TcpStream>(&'a S);

/// The writing half of a stream that is lent out by [`TcpStream::split`], or by that of another stream `S`.
///
/// Dropping it does not end the direction; `AsyncWriteExt::shutdown` does.
///
/// # Examples
///
/// ```
/// # use multikernel::net::{TcpListener, TcpStream};
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (mut server, _) = listener.accept().await?;
/// let (_reader, writer) = server.split();
/// writer.try_write(b"hello")?;
/// assert_eq!(&client.recv().await?[..], b"hello");
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
pub struct WriteHalf<'a, S = TcpStream>(&'a S);

impl<S: Stream> ReadHalf<'_, S> {
    pub(crate) fn io(&self) -> &StreamIo {
        self.0.io()
    }

    /// Waits for bytes and copies them out without taking them. As [`TcpStream::peek`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (mut server, _) = listener.accept().await?;
    /// client.try_write(b"\x16\x03")?;
    /// let (mut reader, _writer) = server.split();
    /// let mut first = [0];
    /// reader.peek(&mut first).await?;
    /// assert_eq!(first, [0x16]);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.io().peek(buf).await
    }

    /// Waits until `interest` is ready, and says what is. As [`TcpStream::ready`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::io::Interest;
    ///
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (mut server, _) = listener.accept().await?;
    /// client.try_write(b"hello")?;
    /// let (reader, _writer) = server.split();
    /// assert!(reader.ready(Interest::READABLE).await?.is_readable());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.io().ready(interest).await
    }

    /// Waits until there is something to read, the end included. As [`TcpStream::readable`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (mut server, _) = listener.accept().await?;
    /// client.try_write(b"hello")?;
    /// let (reader, _writer) = server.split();
    /// reader.readable().await?;
    /// assert_eq!(reader.try_read(&mut [0; 8])?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn readable(&self) -> io::Result<()> {
        self.io().ready(Interest::READABLE).await.map(drop)
    }

    /// Reads what is there, without waiting. As [`TcpStream::try_read`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (mut server, _) = listener.accept().await?;
    /// let (reader, _writer) = server.split();
    /// let nothing = reader.try_read(&mut [0; 8]).unwrap_err();
    /// assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    /// # drop(client);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io().try_read(buf)
    }

    /// Reads what is there into several buffers in turn, without waiting. As [`TcpStream::try_read_vectored`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::IoSliceMut;
    ///
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (mut server, _) = listener.accept().await?;
    /// client.try_write(b"ab")?;
    /// let (reader, _writer) = server.split();
    /// let (mut one, mut other) = ([0], [0]);
    /// reader.readable().await?;
    /// reader.try_read_vectored(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)])?;
    /// assert_eq!((one, other), (*b"a", *b"b"));
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.io().try_read_vectored(bufs)
    }

    /// Reads what is there into the spare room of `buf`, without waiting. As [`TcpStream::try_read_buf`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (mut server, _) = listener.accept().await?;
    /// client.try_write(b"hello")?;
    /// let (reader, _writer) = server.split();
    /// let mut line = Vec::with_capacity(80);
    /// reader.readable().await?;
    /// reader.try_read_buf(&mut line)?;
    /// assert_eq!(line, b"hello");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_read_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        self.io().try_read_buf(buf)
    }

    /// The other side's address. As [`TcpStream::peer_addr`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (mut server, _) = listener.accept().await?;
    /// let (reader, _writer) = server.split();
    /// assert_eq!(reader.peer_addr()?, client.local_addr()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn peer_addr(&self) -> io::Result<S::Addr> {
        self.0.peer_addr()
    }

    /// This side's address. As [`TcpStream::local_addr`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (mut server, _) = listener.accept().await?;
    /// let (reader, _writer) = server.split();
    /// assert_eq!(reader.local_addr()?, client.peer_addr()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<S::Addr> {
        self.0.local_addr()
    }
}

impl<S: Stream> WriteHalf<'_, S> {
    pub(crate) fn io(&self) -> &StreamIo {
        self.0.io()
    }

    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.io().shutdown(Shutdown::Write)
    }

    /// Waits until `interest` is ready, and says what is. As [`TcpStream::ready`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::io::Interest;
    ///
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (mut server, _) = listener.accept().await?;
    /// let (_reader, writer) = server.split();
    /// assert!(writer.ready(Interest::WRITABLE).await?.is_writable());
    /// # drop(client);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.io().ready(interest).await
    }

    /// Waits until there is room to write, or writing fails. As [`TcpStream::writable`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (mut server, _) = listener.accept().await?;
    /// let (_reader, writer) = server.split();
    /// writer.writable().await?;
    /// assert_eq!(writer.try_write(b"hello")?, 5);
    /// # drop(client);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn writable(&self) -> io::Result<()> {
        self.io().ready(Interest::WRITABLE).await.map(drop)
    }

    /// Writes what fits, without waiting, and says how much that was. As [`TcpStream::try_write`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (mut server, _) = listener.accept().await?;
    /// let (_reader, writer) = server.split();
    /// assert_eq!(writer.try_write(b"hello")?, 5);
    /// # drop(client);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.io().try_write(buf)
    }

    /// Writes what fits of several buffers in turn, without waiting. As [`TcpStream::try_write_vectored`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::IoSlice;
    ///
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (mut server, _) = listener.accept().await?;
    /// let (_reader, writer) = server.split();
    /// assert_eq!(writer.try_write_vectored(&[IoSlice::new(b"head"), IoSlice::new(b"body")])?, 8);
    /// # drop(client);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.io().try_write_vectored(bufs)
    }

    /// The other side's address. As [`TcpStream::peer_addr`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (mut server, _) = listener.accept().await?;
    /// let (_reader, writer) = server.split();
    /// assert_eq!(writer.peer_addr()?, client.local_addr()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn peer_addr(&self) -> io::Result<S::Addr> {
        self.0.peer_addr()
    }

    /// This side's address. As [`TcpStream::local_addr`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (mut server, _) = listener.accept().await?;
    /// let (_reader, writer) = server.split();
    /// assert_eq!(writer.local_addr()?, client.peer_addr()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<S::Addr> {
        self.0.local_addr()
    }
}

impl<S: Stream> AsRef<S> for ReadHalf<'_, S> {
    fn as_ref(&self) -> &S {
        self.0
    }
}

impl<S: Stream> AsRef<S> for WriteHalf<'_, S> {
    fn as_ref(&self) -> &S {
        self.0
    }
}
