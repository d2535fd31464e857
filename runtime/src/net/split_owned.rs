//! The halves that a stream is taken apart into.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;

use super::stream::Stream;
use super::{StreamIo, TcpStream};

pub(super) fn split<S: Stream>(stream: S) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>) {
    let stream = Arc::new(stream);
    (OwnedReadHalf { stream: stream.clone() }, OwnedWriteHalf { stream, ends_with_us: true })
}

/// The reading half of a stream, from [`TcpStream::into_split`] or that of another stream `S`.
/// It may live on another core than the writing half.
///
/// # Examples
///
/// ```
/// # use multikernel::net::{TcpListener, TcpStream};
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// let (reader, writer) = server.into_split();
/// let first = multikernel::spawn(async move { reader.as_ref().recv().await });
/// client.try_write(b"hello")?;
/// assert_eq!(&first.await??[..], b"hello");
/// # drop(writer);
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
pub struct OwnedReadHalf<S: Stream = TcpStream> {
    pub(super) stream: Arc<S>,
}

/// The writing half of a stream, from [`TcpStream::into_split`] or that of another stream `S`.
/// It may live on another core than the reading half.
///
/// Dropping it ends its direction: the peer reads what was written and then the end of the stream. The connection is
/// closed when the reading half is dropped too.
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
/// writer.try_write(b"goodbye")?;
/// drop(writer);
/// assert_eq!(&client.recv().await?[..], b"goodbye");
/// assert!(client.recv().await?.is_empty()); // the end of the stream
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
pub struct OwnedWriteHalf<S: Stream = TcpStream> {
    pub(super) stream: Arc<S>,
    /// The direction has not been ended and is to end when this is dropped.
    ends_with_us: bool,
}

impl<S: Stream> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        if self.ends_with_us {
            // An error means that there is nothing left to end.
            let _ = self.io().shutdown(Shutdown::Write);
        }
    }
}

fn reunite<S: Stream>(reader: OwnedReadHalf<S>, writer: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
    if !Arc::ptr_eq(&reader.stream, &writer.stream) {
        return Err(ReuniteError(reader, writer));
    }
    writer.forget();
    Ok(Arc::into_inner(reader.stream)
        .unwrap_or_else(|| unreachable!("a stream has two halves, and both are here")))
}

/// The halves given to `reunite` are of two streams. They come back in it.
///
/// # Examples
///
/// ```
/// use multikernel::net::tcp::ReuniteError;
///
/// # use multikernel::net::{TcpListener, TcpStream};
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// let (from_client, _to_client) = server.into_split();
/// let (_from_server, to_server) = client.into_split();
/// let ReuniteError(_reader, _writer) = from_client.reunite(to_server).unwrap_err();
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
pub struct ReuniteError<S: Stream = TcpStream>(
    /// The reading half.
    pub OwnedReadHalf<S>,
    /// The writing half.
    pub OwnedWriteHalf<S>,
);

impl<S: Stream> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("these two halves are not of the same stream")
    }
}

impl<S: Stream + fmt::Debug> Error for ReuniteError<S> {}

impl<S: Stream> OwnedReadHalf<S> {
    pub(crate) fn io(&self) -> &StreamIo {
        self.stream.io()
    }

    /// Puts the stream together again.
    ///
    /// # Errors
    ///
    /// When the halves are of two streams; the error holds both.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::{TcpListener, TcpStream};
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let (reader, writer) = TcpStream::connect(listener.local_addr()?).await?.into_split();
    /// let stream: TcpStream = reader.reunite(writer)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn reunite(self, other: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
        reunite(self, other)
    }
}

impl<S: Stream> OwnedWriteHalf<S> {
    pub(crate) fn io(&self) -> &StreamIo {
        self.stream.io()
    }

    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.io().shutdown(Shutdown::Write)?;
        self.ends_with_us = false;
        Ok(())
    }

    /// Puts the stream together again. As [`OwnedReadHalf::reunite`].
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
    /// let (reader, writer) = server.into_split();
    /// let server: TcpStream = writer.reunite(reader)?;
    /// # drop((client, server));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn reunite(self, other: OwnedReadHalf<S>) -> Result<S, ReuniteError<S>> {
        reunite(other, self)
    }

    /// Drops this half without ending the direction. The connection ends when the other half is dropped too.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (reader, writer) = server.into_split();
    /// writer.forget();
    /// let no_end_yet = client.try_read(&mut [0; 8]).unwrap_err();
    /// assert_eq!(no_end_yet.kind(), std::io::ErrorKind::WouldBlock);
    /// # drop(reader);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn forget(mut self) {
        self.ends_with_us = false;
    }
}

impl<S: Stream> AsRef<S> for OwnedReadHalf<S> {
    fn as_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: Stream> AsRef<S> for OwnedWriteHalf<S> {
    fn as_ref(&self) -> &S {
        &self.stream
    }
}
