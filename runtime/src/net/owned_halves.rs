//! What the owned halves do as their stream does it.

use std::io::{self, IoSlice, IoSliceMut};

use bytes::BufMut;

use super::split_owned::{OwnedReadHalf, OwnedWriteHalf};
use super::stream::Stream;
use crate::driver::{Interest, Ready};

impl<S: Stream> OwnedReadHalf<S> {
    /// Waits for bytes and copies them out without taking them. As the stream's [`peek`](super::TcpStream::peek).
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
    /// # let (server, _) = listener.accept().await?;
    /// client.try_write(b"\x16\x03")?;
    /// let (mut reader, _writer) = server.into_split();
    /// let mut first = [0];
    /// reader.peek(&mut first).await?;
    /// assert_eq!(first, [0x16]);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.io().peek(buf).await
    }

    /// Waits until `interest` is ready, and says what is. As the stream's [`ready`](super::TcpStream::ready).
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
    /// # let (server, _) = listener.accept().await?;
    /// client.try_write(b"hello")?;
    /// let (reader, _writer) = server.into_split();
    /// assert!(reader.ready(Interest::READABLE).await?.is_readable());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.io().ready(interest).await
    }

    /// Waits until there is something to read, the end included.
    /// As the stream's [`readable`](super::TcpStream::readable).
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
    /// # let (server, _) = listener.accept().await?;
    /// client.try_write(b"hello")?;
    /// let (reader, _writer) = server.into_split();
    /// reader.readable().await?;
    /// assert_eq!(reader.try_read(&mut [0; 8])?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn readable(&self) -> io::Result<()> {
        self.io().ready(Interest::READABLE).await.map(drop)
    }

    /// Reads what is there, without waiting. As the stream's [`try_read`](super::TcpStream::try_read).
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
    /// # let (server, _) = listener.accept().await?;
    /// let (reader, _writer) = server.into_split();
    /// let nothing = reader.try_read(&mut [0; 8]).unwrap_err();
    /// assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    /// # drop(client);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io().try_read(buf)
    }

    /// Reads what is there into several buffers in turn, without waiting.
    /// As the stream's [`try_read_vectored`](super::TcpStream::try_read_vectored).
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
    /// # let (server, _) = listener.accept().await?;
    /// client.try_write(b"ab")?;
    /// let (reader, _writer) = server.into_split();
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

    /// Reads what is there into the spare room of `buf`, without waiting.
    /// As the stream's [`try_read_buf`](super::TcpStream::try_read_buf).
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
    /// # let (server, _) = listener.accept().await?;
    /// client.try_write(b"hello")?;
    /// let (reader, _writer) = server.into_split();
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

    /// The other side's address. As the stream's [`peer_addr`](super::TcpStream::peer_addr).
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
    /// # let (server, _) = listener.accept().await?;
    /// let (reader, _writer) = server.into_split();
    /// assert_eq!(reader.peer_addr()?, client.local_addr()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn peer_addr(&self) -> io::Result<S::Addr> {
        self.stream.peer_addr()
    }

    /// This side's address. As the stream's [`local_addr`](super::TcpStream::local_addr).
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
    /// # let (server, _) = listener.accept().await?;
    /// let (reader, _writer) = server.into_split();
    /// assert_eq!(reader.local_addr()?, client.peer_addr()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<S::Addr> {
        self.stream.local_addr()
    }
}

impl<S: Stream> OwnedWriteHalf<S> {
    /// Waits until `interest` is ready, and says what is. As the stream's [`ready`](super::TcpStream::ready).
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
    /// # let (server, _) = listener.accept().await?;
    /// let (_reader, writer) = server.into_split();
    /// assert!(writer.ready(Interest::WRITABLE).await?.is_writable());
    /// # drop(client);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.io().ready(interest).await
    }

    /// Waits until there is room to write, or writing fails.
    /// As the stream's [`writable`](super::TcpStream::writable).
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
    /// # let (server, _) = listener.accept().await?;
    /// let (_reader, writer) = server.into_split();
    /// writer.writable().await?;
    /// assert_eq!(writer.try_write(b"hello")?, 5);
    /// # drop(client);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn writable(&self) -> io::Result<()> {
        self.io().ready(Interest::WRITABLE).await.map(drop)
    }

    /// Writes what fits, without waiting, and says how much that was.
    /// As the stream's [`try_write`](super::TcpStream::try_write).
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
    /// # let (server, _) = listener.accept().await?;
    /// let (_reader, writer) = server.into_split();
    /// assert_eq!(writer.try_write(b"hello")?, 5);
    /// # drop(client);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.io().try_write(buf)
    }

    /// Writes what fits of several buffers in turn, without waiting.
    /// As the stream's [`try_write_vectored`](super::TcpStream::try_write_vectored).
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
    /// # let (server, _) = listener.accept().await?;
    /// let (_reader, writer) = server.into_split();
    /// assert_eq!(writer.try_write_vectored(&[IoSlice::new(b"head"), IoSlice::new(b"body")])?, 8);
    /// # drop(client);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.io().try_write_vectored(bufs)
    }

    /// The other side's address. As the stream's [`peer_addr`](super::TcpStream::peer_addr).
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
    /// # let (server, _) = listener.accept().await?;
    /// let (_reader, writer) = server.into_split();
    /// assert_eq!(writer.peer_addr()?, client.local_addr()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn peer_addr(&self) -> io::Result<S::Addr> {
        self.stream.peer_addr()
    }

    /// This side's address. As the stream's [`local_addr`](super::TcpStream::local_addr).
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
    /// # let (server, _) = listener.accept().await?;
    /// let (_reader, writer) = server.into_split();
    /// assert_eq!(writer.local_addr()?, client.peer_addr()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<S::Addr> {
        self.stream.local_addr()
    }
}
