//! The calls of streams that exchange whole buffers: on io_uring they cost no system call of their own.

/// The methods, for an `impl` block of a type with a field `io`, a [`StreamIo`](super::StreamIo).
///
/// `$pair` are hidden lines that make `client` and `server`, the two ends of a connection.
macro_rules! exchanges {
    ($pair:literal) => {
        /// Waits for bytes and copies them out without taking them: the next read finds them again.
        ///
        /// # Errors
        ///
        /// The error of the connection.
        ///
        /// # Cancel safety
        ///
        /// Nothing is lost when the future is dropped.
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.try_write(b"\x16\x03")?;
        /// let mut first = [0];
        /// server.peek(&mut first).await?;
        /// let is_tls = first == [0x16];
        /// # assert!(is_tls);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub async fn peek(&self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.io.peek(buf).await
        }

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
        /// The body of an echo server, which copies nothing:
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// # client.try_write(b"hello")?;
        /// loop {
        ///     let bytes = server.recv().await?;
        ///     if bytes.is_empty() {
        ///         break;
        ///     }
        ///     server.send_all(bytes).await.result?;
        ///     # break;
        /// }
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub async fn recv(&self) -> std::io::Result<crate::driver::RecvBuf> {
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
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.try_write(b"hello")?;
        /// let bytes = poll_fn(|cx| server.poll_recv(cx)).await?;
        /// assert_eq!(&bytes[..], b"hello");
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn poll_recv(
            &self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<crate::driver::RecvBuf>> {
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
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// let sent = server.send_all(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()).await;
        /// sent.result?;
        /// let mut buffer = sent.buffer.unwrap_or_default(); // for the next answer
        /// buffer.clear();
        /// # drop(client);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn send_all<B: crate::driver::StableBuf>(&self, buffer: B) -> crate::driver::SendAll<'_, B> {
            self.io.send_all(buffer)
        }
    };
}

pub(super) use exchanges;
