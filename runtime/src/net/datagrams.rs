//! Sending to a peer and receiving: the same for every socket of datagrams.

/// The methods, for an `impl` block of a type with a field `io`, a [`DatagramIo`](super::datagram_io::DatagramIo).
/// `$addr` is how its peers are named, and `$name` makes one from what the system says. `$pair` are hidden lines that
/// make `client` and `server`, two sockets that are connected to each other.
macro_rules! datagrams {
    ($addr:ty, $name:path, $pair:literal) => {
        /// Sends one datagram to the peer that the socket is connected to, and says how long it was: all of `buf`.
        ///
        /// # Errors
        ///
        /// The system's when there is no such peer, and when `buf` is too long for one datagram: nothing is sent then. An error
        /// that an earlier datagram met, such as `ConnectionRefused`, may show here.
        ///
        /// # Panics
        ///
        /// As [`ready`](Self::ready).
        ///
        /// # Cancel safety
        ///
        /// When the future is dropped before it is ready, nothing has been sent.
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.send(b"hello").await?;
        /// let mut buf = [0; 1500];
        /// let length = server.recv(&mut buf).await?;
        /// assert_eq!(&buf[..length], b"hello");
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub async fn send(&self, buf: &[u8]) -> std::io::Result<usize> {
            std::future::poll_fn(|cx| self.io.poll_send(cx, buf)).await
        }

        /// Polls what [`send`](Self::send) waits for.
        ///
        /// # Errors
        ///
        /// As there.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::future::poll_fn;
        ///
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// poll_fn(|cx| client.poll_send(cx, b"hello")).await?;
        /// assert_eq!(server.recv(&mut [0; 1500]).await?, 5);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn poll_send(
            &self,
            cx: &mut std::task::Context<'_>,
            buf: &[u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            self.io.poll_send(cx, buf)
        }

        /// As [`send`](Self::send), without waiting.
        ///
        /// # Errors
        ///
        /// `WouldBlock` when there is no room; else as there.
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.try_send(b"hello")?;
        /// assert_eq!(server.recv(&mut [0; 1500]).await?, 5);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn try_send(&self, buf: &[u8]) -> std::io::Result<usize> {
            self.io.try_send(buf)
        }

        /// Receives one datagram, and says how long it is; what `buf` has no room for is cut off and gone.
        ///
        /// A socket that is connected receives from its peer only. A datagram may be empty: 0 is no end.
        ///
        /// # Errors
        ///
        /// The error of an earlier datagram that was sent from here, such as `ConnectionRefused`, may show here, once.
        ///
        /// # Cancel safety
        ///
        /// No datagram is lost when the future is dropped.
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.send(b"hello").await?;
        /// let mut buf = [0; 1500];
        /// let length = server.recv(&mut buf).await?;
        /// assert_eq!(&buf[..length], b"hello");
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub async fn recv(&self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.io.receive(buf, crate::net::datagram_io::Take::Datagram).await
        }

        /// As [`recv`](Self::recv), without waiting.
        ///
        /// # Errors
        ///
        /// `WouldBlock` when there is nothing, or when this core has not heard of anything new since it last found nothing:
        /// wait with [`readable`](Self::readable) between attempts. Else as there.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::io::ErrorKind;
        ///
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// let nothing = server.try_recv(&mut [0; 1500]).unwrap_err();
        /// assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        /// client.send(b"hello").await?;
        /// server.readable().await?;
        /// assert_eq!(server.try_recv(&mut [0; 1500])?, 5);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn try_recv(&self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.io.try_receive(buf, crate::net::datagram_io::Take::Datagram)
        }

        /// As [`recv`](Self::recv), into the spare room of `buf`, which advances; nothing is zeroed first.
        ///
        /// # Errors
        ///
        /// As there.
        ///
        /// # Cancel safety
        ///
        /// No datagram is lost when the future is dropped.
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.send(b"hello").await?;
        /// let mut buf = Vec::with_capacity(1500);
        /// server.recv_buf(&mut buf).await?;
        /// assert_eq!(buf, b"hello");
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub async fn recv_buf<B: bytes::BufMut>(&self, buf: &mut B) -> std::io::Result<usize> {
            self.io.receive_buf(buf).await
        }

        /// As [`try_recv`](Self::try_recv), into the spare room of `buf`, which advances.
        ///
        /// # Errors
        ///
        /// As there.
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.send(b"hello").await?;
        /// server.readable().await?;
        /// let mut buf = Vec::with_capacity(1500);
        /// server.try_recv_buf(&mut buf)?;
        /// assert_eq!(buf, b"hello");
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn try_recv_buf<B: bytes::BufMut>(&self, buf: &mut B) -> std::io::Result<usize> {
            self.io.try_receive_buf(buf)
        }

        /// As [`recv`](Self::recv), and says who sent it.
        ///
        /// # Errors
        ///
        /// As there.
        ///
        /// # Cancel safety
        ///
        /// No datagram is lost when the future is dropped.
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.send(b"hello").await?;
        /// let mut buf = [0; 1500];
        /// let (length, from) = server.recv_from(&mut buf).await?;
        /// println!("{length} bytes from {from:?}");
        /// # assert_eq!(length, 5);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub async fn recv_from(&self, buf: &mut [u8]) -> std::io::Result<(usize, $addr)> {
            let (length, from) = self.io.receive_from(buf, crate::net::datagram_io::Take::Datagram).await?;
            Ok((length, $name(from)?))
        }

        /// As [`recv_from`](Self::recv_from), without waiting. Errors are those of [`try_recv`](Self::try_recv).
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.send(b"hello").await?;
        /// server.readable().await?;
        /// let (length, _from) = server.try_recv_from(&mut [0; 1500])?;
        /// assert_eq!(length, 5);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn try_recv_from(&self, buf: &mut [u8]) -> std::io::Result<(usize, $addr)> {
            let (length, from) = self.io.try_receive_from(buf, crate::net::datagram_io::Take::Datagram)?;
            Ok((length, $name(from)?))
        }

        /// As [`recv_from`](Self::recv_from), into the spare room of `buf`, which advances; nothing is zeroed first.
        ///
        /// # Errors
        ///
        /// As there.
        ///
        /// # Cancel safety
        ///
        /// No datagram is lost when the future is dropped.
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.send(b"hello").await?;
        /// let mut buf = Vec::with_capacity(1500);
        /// let (length, _from) = server.recv_buf_from(&mut buf).await?;
        /// assert_eq!(buf.len(), length);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub async fn recv_buf_from<B: bytes::BufMut>(&self, buf: &mut B) -> std::io::Result<(usize, $addr)> {
            let (length, from) = self.io.receive_buf_from(buf).await?;
            Ok((length, $name(from)?))
        }

        /// As [`try_recv_from`](Self::try_recv_from), into the spare room of `buf`, which advances.
        ///
        /// # Errors
        ///
        /// As there.
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.send(b"hello").await?;
        /// server.readable().await?;
        /// let mut buf = Vec::with_capacity(1500);
        /// server.try_recv_buf_from(&mut buf)?;
        /// assert_eq!(buf, b"hello");
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn try_recv_buf_from<B: bytes::BufMut>(&self, buf: &mut B) -> std::io::Result<(usize, $addr)> {
            let (length, from) = self.io.try_receive_buf_from(buf)?;
            Ok((length, $name(from)?))
        }

        /// As [`recv`](Self::recv), and leaves the datagram to be received again, whole.
        ///
        /// # Errors
        ///
        /// As there.
        ///
        /// # Cancel safety
        ///
        /// No datagram is lost when the future is dropped.
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.send(b"hello").await?;
        /// let mut first = [0];
        /// server.peek(&mut first).await?;
        /// assert_eq!(&first, b"h");
        /// assert_eq!(server.recv(&mut [0; 1500]).await?, 5);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub async fn peek(&self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.io.receive(buf, crate::net::datagram_io::Take::Copy).await
        }

        /// As [`peek`](Self::peek), without waiting. Errors are those of [`try_recv`](Self::try_recv).
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.send(b"hello").await?;
        /// server.readable().await?;
        /// assert_eq!(server.try_peek(&mut [0; 1500])?, 5);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn try_peek(&self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.io.try_receive(buf, crate::net::datagram_io::Take::Copy)
        }

        /// As [`peek`](Self::peek), and says who sent it.
        ///
        /// # Errors
        ///
        /// As there.
        ///
        /// # Cancel safety
        ///
        /// No datagram is lost when the future is dropped.
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.send(b"hello").await?;
        /// let (length, _from) = server.peek_from(&mut [0; 1500]).await?;
        /// assert_eq!(length, 5);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub async fn peek_from(&self, buf: &mut [u8]) -> std::io::Result<(usize, $addr)> {
            let (length, from) = self.io.receive_from(buf, crate::net::datagram_io::Take::Copy).await?;
            Ok((length, $name(from)?))
        }

        /// As [`peek_from`](Self::peek_from), without waiting. Errors are those of [`try_recv`](Self::try_recv).
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.send(b"hello").await?;
        /// server.readable().await?;
        /// let (length, _from) = server.try_peek_from(&mut [0; 1500])?;
        /// assert_eq!(length, 5);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn try_peek_from(&self, buf: &mut [u8]) -> std::io::Result<(usize, $addr)> {
            let (length, from) = self.io.try_receive_from(buf, crate::net::datagram_io::Take::Copy)?;
            Ok((length, $name(from)?))
        }

        /// Waits for a datagram and says who sent it. The datagram stays.
        ///
        /// # Errors
        ///
        /// Those of [`recv`](Self::recv).
        ///
        /// # Cancel safety
        ///
        /// No datagram is lost when the future is dropped.
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.send(b"hello").await?;
        /// let _who = server.peek_sender().await?;
        /// assert_eq!(server.recv(&mut [0; 1500]).await?, 5);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub async fn peek_sender(&self) -> std::io::Result<$addr> {
            let (_, from) = self.io.receive_from(&mut [], crate::net::datagram_io::Take::Copy).await?;
            $name(from)
        }

        /// As [`peek_sender`](Self::peek_sender), without waiting. Errors are those of [`try_recv`](Self::try_recv).
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.send(b"hello").await?;
        /// server.readable().await?;
        /// let _who = server.try_peek_sender()?;
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn try_peek_sender(&self) -> std::io::Result<$addr> {
            let (_, from) = self.io.try_receive_from(&mut [], crate::net::datagram_io::Take::Copy)?;
            $name(from)
        }

        /// Polls what [`peek_sender`](Self::peek_sender) waits for.
        ///
        /// # Errors
        ///
        /// As there.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::future::poll_fn;
        ///
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.send(b"hello").await?;
        /// let _who = poll_fn(|cx| server.poll_peek_sender(cx)).await?;
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn poll_peek_sender(
            &self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<$addr>> {
            self.io
                .poll_receive_from(cx, &mut [], crate::net::datagram_io::Take::Copy)
                .map(|found| $name(found?.1))
        }

        /// Polls what [`readable`](Self::readable) waits for.
        ///
        /// # Errors
        ///
        /// As there.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::future::poll_fn;
        ///
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.send(b"hello").await?;
        /// poll_fn(|cx| server.poll_recv_ready(cx)).await?;
        /// assert_eq!(server.try_recv(&mut [0; 1500])?, 5);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn poll_recv_ready(
            &self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            self.io.poll_ready(cx, crate::io::Interest::READABLE).map_ok(drop)
        }

        /// Polls what [`writable`](Self::writable) waits for.
        ///
        /// # Errors
        ///
        /// As there.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::future::poll_fn;
        ///
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// poll_fn(|cx| client.poll_send_ready(cx)).await?;
        /// client.try_send(b"hello")?;
        /// # drop(server);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn poll_send_ready(
            &self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            self.io.poll_ready(cx, crate::io::Interest::WRITABLE).map_ok(drop)
        }
    };
}

pub(super) use datagrams;
