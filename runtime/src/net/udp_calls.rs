//! What a UDP socket does with many datagrams in one call.

use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use multikernel_channels::budget;

use super::UdpSocket;
use super::mmsg;
use super::udp_batch::{Datagram, RecvBatch};
use crate::limits::{DATAGRAMS_PER_UNIT, SEGMENTS_PER_DATAGRAM};

impl UdpSocket {
    /// Receives what is there, at least one datagram and at most as many as `batch` has room for, and says how many.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv). The batch is empty then.
    ///
    /// # Cancel safety
    ///
    /// No datagram is lost when the future is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::{UdpSocket, udp::RecvBatch};
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (client, server) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// for text in ["one", "two"] {
    ///     client.send_to(text.as_bytes(), server.local_addr()?).await?;
    /// }
    /// let mut batch = RecvBatch::new(8, 1500);
    /// assert_eq!(server.recv_batch(&mut batch).await?, 2);
    /// assert!(batch.iter().map(|received| received.payload()).eq([b"one", b"two"]));
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        poll_fn(|cx| self.poll_recv_batch(cx, batch)).await
    }

    /// Polls what [`recv_batch`](Self::recv_batch) waits for.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::udp::RecvBatch;
    /// use std::future::poll_fn;
    ///
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (client, server) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// client.send_to(b"hello", server.local_addr()?).await?;
    /// let mut batch = RecvBatch::new(8, 1500);
    /// assert_eq!(poll_fn(|cx| server.poll_recv_batch(cx, &mut batch)).await?, 1);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn poll_recv_batch(&self, cx: &mut Context<'_>, batch: &mut RecvBatch) -> Poll<io::Result<usize>> {
        let count = ready!(self.io.poll_read_io(cx, || batch.receive(self.as_fd())))?;
        spend(count);
        Poll::Ready(Ok(count))
    }

    /// As [`recv_batch`](Self::recv_batch), without waiting. Errors are those of [`try_recv`](Self::try_recv).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{UdpSocket, udp::RecvBatch};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let server = UdpSocket::bind("127.0.0.1:0").await?;
    /// let nothing = server.try_recv_batch(&mut RecvBatch::new(8, 1500)).unwrap_err();
    /// assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        self.io.try_read_io(|| batch.receive(self.as_fd()))
    }

    /// Sends the first of `datagrams`, at least one if there is one, and says how many. Call it again with the rest: a call
    /// sends as many as there is room for, and at most [`RecvBatch::MAX`].
    ///
    /// # Errors
    ///
    /// Why the first datagram cannot be sent; go on without it. `InvalidInput` when it cannot be cut as asked, and
    /// `Unsupported` when the system refuses to cut it. Else as [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped before it is ready, none have been sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::{UdpSocket, udp::Datagram};
    ///
    /// async fn send_all(socket: &UdpSocket, mut datagrams: &[Datagram<'_>]) -> std::io::Result<()> {
    ///     while !datagrams.is_empty() {
    ///         datagrams = &datagrams[socket.send_batch(datagrams).await?..];
    ///     }
    ///     Ok(())
    /// }
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (client, server) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// # send_all(&client, &[Datagram::new(b"hello").to(server.local_addr()?)]).await
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn send_batch(&self, datagrams: &[Datagram<'_>]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send_batch(cx, datagrams)).await
    }

    /// Polls what [`send_batch`](Self::send_batch) waits for.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::udp::Datagram;
    /// use std::future::poll_fn;
    ///
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (client, server) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// let batch = [Datagram::new(b"hello").to(server.local_addr()?)];
    /// assert_eq!(poll_fn(|cx| client.poll_send_batch(cx, &batch)).await?, 1);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn poll_send_batch(
        &self,
        cx: &mut Context<'_>,
        datagrams: &[Datagram<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.io.poll_write_io(cx, || mmsg::send(self.as_fd(), datagrams)))?;
        spend(count);
        Poll::Ready(Ok(count))
    }

    /// As [`send_batch`](Self::send_batch), without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is no room for the first; else as there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{UdpSocket, udp::Datagram};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (client, server) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// assert_eq!(client.try_send_batch(&[Datagram::new(b"hello").to(server.local_addr()?)])?, 1);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_send_batch(&self, datagrams: &[Datagram<'_>]) -> io::Result<usize> {
        self.io.try_write_io(|| mmsg::send(self.as_fd(), datagrams))
    }
}

impl UdpSocket {
    /// Lets the system join datagrams that arrive one after the other from one sender (`UDP_GRO`), or stops it: one
    /// passage through the system instead of many.
    ///
    /// Receive with [`recv_batch`](Self::recv_batch), into 65,535 bytes for each: only it tells where the datagrams
    /// [end](super::udp::Received::segments). All other calls give what is joined as if it were one.
    ///
    /// # Errors
    ///
    /// `Unsupported` on a system that cannot do it; all calls work without.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// if socket.set_gro(true).is_err() {
    ///     println!("each datagram arrives by itself");
    /// }
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_gro(&self, on: bool) -> io::Result<()> {
        mmsg::set_gro(self.as_fd(), on)
    }

    /// The most segments that the system cuts one datagram of this socket into; 1 when it cannot cut.
    ///
    /// What the way to a peer can do shows only when something is [sent](Self::send_batch) there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// let at_once = 1200 * socket.max_segments();
    /// # assert!(at_once >= 1200);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn max_segments(&self) -> usize {
        if mmsg::can_segment(self.as_fd()) { SEGMENTS_PER_DATAGRAM } else { 1 }
    }
}

/// A call that moved many datagrams uses up more of the task's budget than the unit of every call.
fn spend(datagrams: usize) {
    budget::spend((datagrams / DATAGRAMS_PER_UNIT) as u8);
}
