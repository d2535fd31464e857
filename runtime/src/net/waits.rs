//! Waiting until a socket is ready, and I/O of the caller's own: the same for every kind of socket.

/// The methods, for an `impl` block of a type with a field `io`.
///
/// `$pair` are hidden lines that make `client` and `server`, two sockets that are connected; `$say` makes `client` send
/// five bytes.
macro_rules! waits {
    ($pair:literal, $say:literal) => {
        /// Waits until `interest` is ready, and says what is. It may be wrong: what is tried next may still find nothing.
        ///
        /// # Errors
        ///
        /// The driver cannot watch the socket.
        ///
        /// # Panics
        ///
        /// On a thread that is neither a core nor inside a `block_on`. The same holds for all that waits.
        ///
        /// # Cancel safety
        ///
        /// Readiness is not lost when the future is dropped: the next one finds it.
        ///
        /// # Examples
        ///
        /// ```
        /// use multikernel::io::Interest;
        ///
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// let ready = client.ready(Interest::READABLE | Interest::WRITABLE).await?;
        /// assert!(ready.is_writable() && !ready.is_readable());
        /// # drop(server);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub async fn ready(&self, interest: crate::io::Interest) -> std::io::Result<crate::io::Ready> {
            self.io.ready(interest).await
        }

        /// Waits until there is something to read, the end or an error included. As [`ready`](Self::ready).
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        #[doc = $say]
        /// server.readable().await?; // what tries to read now finds five bytes
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub async fn readable(&self) -> std::io::Result<()> {
            self.io.ready(crate::io::Interest::READABLE).await.map(drop)
        }

        /// Waits until there is room to write, or writing fails. As [`ready`](Self::ready).
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// client.writable().await?;
        #[doc = $say]
        /// # drop(server);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub async fn writable(&self) -> std::io::Result<()> {
            self.io.ready(crate::io::Interest::WRITABLE).await.map(drop)
        }

        /// Calls `f`, which does I/O of its own on this socket's descriptor, once and without waiting.
        ///
        /// # Errors
        ///
        /// `WouldBlock`, without calling `f`, when this core knows that nothing is ready. Else what `f` returns; when that
        /// is `WouldBlock`, the readiness seen so far is forgotten, so `f` may say so only when the descriptor did.
        ///
        /// A stream that was read with `recv` or through the traits may, on io_uring, have bytes that were received ahead of this
        /// call and that `f` would pass over. To try to read is an error of kind `Other` then, without calling `f`; `try_read` gives
        /// them, and `readable` returns at once while there are any.
        ///
        /// # Examples
        ///
        /// ```
        /// use multikernel::io::Interest;
        ///
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        #[doc = $say]
        /// server.readable().await?;
        /// let socket = socket2::SockRef::from(&server);
        /// let mut buf = Vec::with_capacity(64);
        /// let got = server.try_io(Interest::READABLE, || socket.recv(buf.spare_capacity_mut()))?;
        /// assert_eq!(got, 5);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn try_io<R>(
            &self,
            interest: crate::io::Interest,
            f: impl FnOnce() -> std::io::Result<R>,
        ) -> std::io::Result<R> {
            self.io.try_io(interest, f)
        }

        /// Calls `f`, which does I/O of its own on this socket's descriptor, until it does not return `WouldBlock`.
        ///
        /// # Errors
        ///
        /// As `f`; `Interrupted` is retried. Of bytes received ahead, as [`try_io`](Self::try_io).
        ///
        /// # Cancel safety
        ///
        /// As `f`: when the future is dropped, `f` has not been called or has said `WouldBlock`.
        ///
        /// # Examples
        ///
        /// ```
        /// use multikernel::io::Interest;
        ///
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        #[doc = $say]
        /// let socket = socket2::SockRef::from(&server);
        /// let mut buf = Vec::with_capacity(64);
        /// let got = server.async_io(Interest::READABLE, || socket.recv(buf.spare_capacity_mut())).await?;
        /// assert_eq!(got, 5);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub async fn async_io<R>(
            &self,
            interest: crate::io::Interest,
            f: impl FnMut() -> std::io::Result<R>,
        ) -> std::io::Result<R> {
            self.io.async_io(interest, f).await
        }

        /// Fetches and clears the error pending on the socket (`SO_ERROR`), if there is one.
        ///
        /// # Errors
        ///
        /// The system's.
        ///
        /// # Examples
        ///
        /// ```
        /// # multikernel::runtime::Builder::new_test().run(|| async {
        #[doc = $pair]
        /// assert!(client.take_error()?.is_none());
        /// # drop(server);
        /// # std::io::Result::Ok(())
        /// # }).unwrap().unwrap();
        /// ```
        pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
            self.io.socket().take_error()
        }
    };
}

pub(super) use waits;
