//! The calls of streams that try without waiting.

/// The methods, for an `impl` block of a type with a field `io`, a [`StreamIo`](super::StreamIo).
///
/// `$pair` are hidden lines that make `client` and `server`, the two ends of a connection.
macro_rules! tries {
    ($pair:literal) => {
        /// Polls what [`readable`](Self::readable) waits for. Errors and panics are those of [`ready`](Self::ready).
        ///
        /// # Examples
        ///
        /// ```
        /// use std::future::poll_fn;
        ///
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.try_write(b"hello")?;
        /// poll_fn(|cx| server.poll_read_ready(cx)).await?;
        /// assert_eq!(server.try_read(&mut [0; 8])?, 5);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn poll_read_ready(
            &self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            self.io.poll_ready(cx, crate::io::Interest::READABLE).map_ok(drop)
        }

        /// Polls what [`writable`](Self::writable) waits for. Errors and panics are those of [`ready`](Self::ready).
        ///
        /// # Examples
        ///
        /// ```
        /// use std::future::poll_fn;
        ///
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// poll_fn(|cx| server.poll_write_ready(cx)).await?;
        /// assert_eq!(server.try_write(b"hello")?, 5);
        /// # drop(client);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn poll_write_ready(
            &self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            self.io.poll_ready(cx, crate::io::Interest::WRITABLE).map_ok(drop)
        }

        /// Reads what is there, without waiting. `Ok(0)` is the end of the stream, if `buf` is not empty.
        ///
        /// # Errors
        ///
        /// `WouldBlock` when there is nothing, or when this core has not heard of anything new since it last found nothing:
        /// wait with [`readable`](Self::readable) between attempts. Else the error of the connection.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::io::ErrorKind;
        ///
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// let mut buf = [0; 1024];
        /// assert_eq!(server.try_read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        ///
        /// client.try_write(b"hello")?;
        /// server.readable().await?;
        /// let count = server.try_read(&mut buf)?;
        /// assert_eq!(&buf[..count], b"hello");
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn try_read(&self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.io.try_read(buf)
        }

        /// As [`try_read`](Self::try_read), into several buffers in turn.
        ///
        /// # Errors
        ///
        /// As there.
        ///
        /// # Examples
        ///
        /// A header of four bytes and what follows, in one call:
        ///
        /// ```
        /// use std::io::IoSliceMut;
        ///
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.try_write(b"\0\0\0\x05hello")?;
        /// let (mut length, mut body) = ([0; 4], [0; 1020]);
        /// server.readable().await?;
        /// server.try_read_vectored(&mut [IoSliceMut::new(&mut length), IoSliceMut::new(&mut body)])?;
        /// assert_eq!(u32::from_be_bytes(length), 5);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn try_read_vectored(&self, bufs: &mut [std::io::IoSliceMut<'_>]) -> std::io::Result<usize> {
            self.io.try_read_vectored(bufs)
        }

        /// As [`try_read`](Self::try_read), into the spare room of `buf`, which advances; nothing is zeroed first.
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
        /// client.try_write(b"hello")?;
        /// let mut buf = Vec::with_capacity(64);
        /// server.readable().await?;
        /// server.try_read_buf(&mut buf)?;
        /// assert_eq!(buf, b"hello");
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn try_read_buf<B: bytes::BufMut>(&self, buf: &mut B) -> std::io::Result<usize> {
            self.io.try_read_buf(buf)
        }

        /// Writes what fits, without waiting, and says how much that was.
        ///
        /// # Errors
        ///
        /// `WouldBlock` when nothing fits: wait with [`writable`](Self::writable) between attempts. Else the error of the
        /// connection.
        ///
        /// # Examples
        ///
        /// A metric that is not worth waiting for:
        ///
        /// ```
        /// use std::io::ErrorKind;
        ///
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// match client.try_write(b"requests:1|c\n") {
        ///     Ok(_) => {}
        ///     Err(error) if error.kind() == ErrorKind::WouldBlock => println!("dropped"),
        ///     Err(error) => return Err(error),
        /// }
        /// # server.readable().await?;
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn try_write(&self, buf: &[u8]) -> std::io::Result<usize> {
            self.io.try_write(buf)
        }

        /// As [`try_write`](Self::try_write), from several buffers in turn.
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
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// let (head, body) = (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", b"hello");
        /// server.writable().await?;
        /// let sent = server.try_write_vectored(&[IoSlice::new(head), IoSlice::new(body)])?;
        /// assert_eq!(sent, head.len() + body.len());
        /// # drop(client);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn try_write_vectored(&self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
            self.io.try_write_vectored(bufs)
        }
    };
}

pub(super) use tries;
