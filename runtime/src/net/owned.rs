//! The calls that exchange whole buffers: on io_uring they cost no system call of their own.

use std::io;
use std::task::{Context, Poll};

use crate::driver::{RecvBuf, SendAll, StableBuf};
use crate::net::TcpStream;

impl TcpStream {
    /// The next bytes, in a buffer of the runtime's; an empty one at the end of the stream.
    ///
    /// On io_uring the bytes are received into buffers that the core's sockets share, before they are asked for and
    /// without a system call; a connection that waits holds no buffer. On epoll the call reads into memory of the
    /// buffer's own.
    ///
    /// Bytes that were received ahead serve whichever call reads next. Reading with `readable`, `peek`, `try_read` and
    /// the like ends the receiving ahead for this socket.
    ///
    /// # Errors
    /// Those of the connection, such as `ConnectionReset`.
    ///
    /// # Panics
    /// On a thread that is neither a core nor inside `block_on`.
    ///
    /// # Cancel safety
    /// Cancel safe: bytes that have arrived wait for the next call.
    ///
    /// # Examples
    /// An echo server's connection, which copies nothing:
    /// ```
    /// use multikernel::net::{TcpListener, TcpStream};
    ///
    /// async fn echo(stream: TcpStream) -> std::io::Result<()> {
    ///     loop {
    ///         let bytes = stream.recv().await?;
    ///         if bytes.is_empty() {
    ///             return Ok(());
    ///         }
    ///         stream.send_all(bytes).await.result?;
    ///     }
    /// }
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let address = listener.local_addr()?;
    /// multikernel::spawn(async move { echo(listener.accept().await?.0).await });
    ///
    /// let stream = TcpStream::connect(address).await?;
    /// stream.send_all(&b"hello"[..]).await.result?;
    /// assert_eq!(&stream.recv().await?[..], b"hello");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn recv(&self) -> io::Result<RecvBuf> {
        self.io.recv().await
    }

    /// As [`recv`](Self::recv), for futures written by hand.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::poll_fn;
    ///
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// client.try_write(b"hello")?;
    /// let bytes = poll_fn(|cx| server.poll_recv(cx)).await?;
    /// assert_eq!(&bytes[..], b"hello");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<RecvBuf>> {
        self.io.poll_recv(cx)
    }

    /// Sends all of `buffer`, and gives it back.
    ///
    /// On io_uring the bytes are sent from where they are, in one batch with whatever else the core has to do.
    ///
    /// # Errors
    ///
    /// Those of the connection, such as `BrokenPipe`, as the `result` of [`Sent`](super::Sent). Some of the bytes may
    /// have been sent.
    ///
    /// # Panics
    ///
    /// The future panics on a thread that is neither a core nor inside `block_on`.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a future dropped early has sent a part of the buffer, or none. The memory stays untouched
    /// until the system has let go of it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let sent = server.send_all(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()).await;
    /// sent.result?;
    /// let mut buffer = sent.buffer.unwrap_or_default(); // for the next answer
    /// buffer.clear();
    /// # drop(client);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn send_all<B: StableBuf>(&self, buffer: B) -> SendAll<'_, B> {
        self.io.send_all(buffer)
    }
}
