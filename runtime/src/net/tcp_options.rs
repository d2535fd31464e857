//! The options of a TCP connection.

use std::io;
use std::time::Duration;

use super::TcpStream;

impl TcpStream {
    /// Whether small writes are sent at once (`TCP_NODELAY`). Off at first.
    ///
    /// # Errors
    ///
    /// The system's. As for all options below.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// assert!(!stream.nodelay()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn nodelay(&self) -> io::Result<bool> {
        self.io().socket().tcp_nodelay()
    }

    /// Sets whether small writes are sent at once, instead of waiting for the answer to earlier ones.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_nodelay(true)?;
    /// assert!(stream.nodelay()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.io().socket().set_tcp_nodelay(nodelay)
    }

    /// Whether received data is acknowledged at once (`TCP_QUICKACK`), rather than with the next data sent back.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// println!("acknowledges at once: {}", stream.quickack()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn quickack(&self) -> io::Result<bool> {
        self.io().socket().tcp_quickack()
    }

    /// Sets whether received data is acknowledged at once. The system may take it back as the connection goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_quickack(true)?;
    /// assert!(stream.quickack()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_quickack(&self, quickack: bool) -> io::Result<()> {
        self.io().socket().set_tcp_quickack(quickack)
    }

    /// The most routers a packet may pass (`IP_TTL`). Of IPv4 connections.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// assert!(stream.ttl()? > 0);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        self.io().socket().ttl_v4()
    }

    /// Sets the most routers a packet may pass, from 1 to 255. Of IPv4 connections.
    ///
    /// # Examples
    ///
    /// A packet that must not leave the local network:
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_ttl(1)?;
    /// assert_eq!(stream.ttl()?, 1);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.io().socket().set_ttl_v4(ttl)
    }

    /// How long closing waits for written data to arrive (`SO_LINGER`); `None`, the default, sends it in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(stream.linger()?, None);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        self.io().socket().linger()
    }

    /// Sets how long closing waits for written data to arrive. The system counts whole seconds: a fraction is cut off,
    /// and less than a second is zero.
    ///
    /// Anything but `None` and zero makes dropping the stream **block its core** for as long. To reset the connection
    /// when it is dropped, use [`set_zero_linger`](Self::set_zero_linger).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_linger(Some(Duration::from_secs(1)))?;
    /// assert_eq!(stream.linger()?, Some(Duration::from_secs(1)));
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.io().socket().set_linger(linger)
    }

    /// Makes dropping the stream reset the connection, and throw away what has not been sent.
    ///
    /// # Examples
    ///
    /// A client that misbehaves gets no farewell:
    ///
    /// ```
    /// use std::io::ErrorKind;
    ///
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// server.set_zero_linger()?;
    /// drop(server);
    /// client.readable().await?;
    /// assert_eq!(client.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_zero_linger(&self) -> io::Result<()> {
        self.set_linger(Some(Duration::ZERO))
    }
}
