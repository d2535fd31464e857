//! TCP, UDP and Unix sockets, and pipes, with tokio's names and meaning.
//!
//! Sockets are `Send + Sync` and belong to no core: any core, and any thread inside a `block_on`, may use one at any
//! time, and several at once. A call is first tried where it is made; only when it would block does that core's driver
//! watch the socket. An idle connection holds no buffer.
//!
//! There are three ways to read and write: through the traits in [`compat`](crate::compat); in whole buffers, with
//! [`recv`](TcpStream::recv) and [`send_all`](TcpStream::send_all), which is the cheapest on io_uring; or by waiting for
//! readiness and trying:
//!
//! ```
//! use multikernel::net::{TcpListener, TcpStream};
//!
//! # multikernel::runtime::Builder::new_test().run(|| async {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let client = TcpStream::connect(listener.local_addr()?).await?;
//! let (server, _peer) = listener.accept().await?;
//!
//! client.writable().await?;
//! assert_eq!(client.try_write(b"hello")?, 5);
//!
//! server.readable().await?;
//! let mut bytes = [0; 16];
//! assert_eq!(server.try_read(&mut bytes)?, 5);
//! # std::io::Result::Ok(())
//! # }).unwrap().unwrap();
//! ```

mod acceptor;
pub(crate) mod addr;
mod bind_each_core;
#[cfg(test)]
mod bind_each_core_tests;
pub(crate) mod datagram_io;
mod datagrams;
mod incoming;
mod listener_group;
mod mmsg;
mod owned;
mod owned_halves;
mod pipe;
pub(crate) mod pipe_io;
mod pipe_receiver;
mod pipe_sender;
mod readiness;
mod shortage;
mod split;
mod split_owned;
mod steering;
pub(crate) mod stream;
pub(crate) mod stream_io;
mod tcp_listener;
mod tcp_options;
mod tcp_socket;
mod tcp_socket_options;
mod tcp_stream;
mod ucred;
mod udp_batch;
mod udp_calls;
mod udp_options;
mod udp_socket;
pub(crate) mod unix_addr;
mod unix_datagram;
mod unix_listener;
mod unix_socket;
mod unix_stream;
mod waits;

pub use crate::driver::{RecvBuf, SendAll, Sent, StableBuf};
pub use addr::{ToSocketAddrs, lookup_host};
pub use tcp_listener::TcpListener;
pub use tcp_socket::TcpSocket;
pub use tcp_stream::TcpStream;
pub use udp_socket::UdpSocket;
pub use unix_datagram::UnixDatagram;
pub use unix_listener::UnixListener;
pub use unix_socket::UnixSocket;
pub use unix_stream::UnixStream;

/// The halves of a [`TcpStream`], the stream of a [`TcpListener`]'s connections, and how these come to a core.
pub mod tcp {
    pub use super::incoming::Incoming;
    pub use super::split::{ReadHalf, WriteHalf};
    pub use super::split_owned::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};
    pub use super::steering::Steering;
}

/// Many datagrams in one call: see [`UdpSocket::recv_batch`] and [`UdpSocket::send_batch`].
pub mod udp {
    pub use super::udp_batch::{Datagram, Received, RecvBatch};
}

/// The addresses and credentials of Unix sockets, the halves of a [`UnixStream`], and pipes.
pub mod unix {
    use super::{UnixStream, tcp};

    pub use libc::{gid_t, pid_t, uid_t};

    pub use super::ucred::UCred;
    pub use super::unix_addr::SocketAddr;

    /// The reading half that [`UnixStream::split`] lends out.
    pub type ReadHalf<'a> = tcp::ReadHalf<'a, UnixStream>;
    /// The writing half that [`UnixStream::split`] lends out.
    pub type WriteHalf<'a> = tcp::WriteHalf<'a, UnixStream>;
    /// The reading half of [`UnixStream::into_split`].
    pub type OwnedReadHalf = tcp::OwnedReadHalf<UnixStream>;
    /// The writing half of [`UnixStream::into_split`].
    pub type OwnedWriteHalf = tcp::OwnedWriteHalf<UnixStream>;
    /// Two halves that are not of the same stream.
    pub type ReuniteError = tcp::ReuniteError<UnixStream>;

    /// Pipes: anonymous ones, and those that have a name in the file system (FIFOs).
    pub mod pipe {
        pub use crate::net::pipe::{OpenOptions, pipe};
        pub use crate::net::pipe_receiver::Receiver;
        pub use crate::net::pipe_sender::Sender;
    }
}

pub(crate) use pipe_io::PipeIo;
pub(crate) use stream_io::StreamIo;
