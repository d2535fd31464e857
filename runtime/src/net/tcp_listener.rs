//! A socket that accepts TCP connections.

use std::future::poll_fn;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{fmt, io, net::SocketAddr};

use multikernel_replicate::CoreId;

use socket2::{SockAddr, SockRef};

use super::acceptor::Acceptor;
use super::addr::{bind_first, ip_address};
use super::bind_each_core::{self, Sharing, bound};
use super::incoming::Incoming;
use super::listener_group::Seat;
use super::shortage::Pause;
use super::steering::Steering;
use super::{TcpStream, ToSocketAddrs};
use crate::limits::BACKLOG;
use crate::runtime::Handle;

/// A socket that accepts TCP connections.
///
/// Any core may accept from it, several at once too. The first task spawned in the poll in which `accept` gave a
/// connection is taken to serve it, and goes to the core with the fewest connections; that is how one listener keeps
/// all cores busy. Where connections are short, [`bind_each_core`](Self::bind_each_core) saves the way between cores.
///
/// # Examples
///
/// ```
/// use multikernel::CoreId;
/// use multikernel::net::TcpListener;
///
/// #[multikernel::main(cores = 2)]
/// async fn main() -> std::io::Result<()> {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     # let _client = multikernel::net::TcpStream::connect(listener.local_addr()?).await?;
///     loop {
///         let (stream, peer) = listener.accept().await?;
///         multikernel::spawn(async move {
///             println!("{peer} is served by {}", CoreId::current());
///             drop(stream);
///         });
///         # return Ok(());
///     }
/// }
/// ```
pub struct TcpListener {
    acceptor: Arc<Acceptor>,
    /// Among those that were made with it, one for each core.
    seat: Option<Seat>,
}

impl TcpListener {
    pub(super) fn from_fd(fd: OwnedFd) -> TcpListener {
        TcpListener { acceptor: Arc::new(Acceptor::new(fd)), seat: None }
    }

    pub(super) fn of_group(acceptor: Arc<Acceptor>, seat: Seat) -> TcpListener {
        TcpListener { acceptor, seat: Some(seat) }
    }

    /// Listens on the first address of `addr` that can be bound. Port 0 asks for any free port:
    /// [`local_addr`](Self::local_addr) says which it became.
    ///
    /// Sets `SO_REUSEADDR`, so that a server can start again while connections of its last run linger.
    ///
    /// # Errors
    ///
    /// When `addr` cannot be resolved, as [`lookup_host`](super::lookup_host). Else why the last address tried cannot be
    /// bound, with that address in the message: `AddrInUse`, `PermissionDenied` and so on.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::TcpListener;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let addr = listener.local_addr()?;
    ///
    /// let error = TcpListener::bind(addr).await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    /// assert!(error.to_string().starts_with(&addr.to_string()));
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        bind_first(addr, |addr| {
            let socket = bound(addr, Sharing::No)?;
            socket.listen(BACKLOG)?;
            Ok(TcpListener::from_fd(socket.into()))
        })
        .await
    }

    /// Makes one listener for each core of the Machine, all on one address (`SO_REUSEPORT`), in the order of
    /// [`cores`](crate::cores), without those that have retired: all of them or none.
    ///
    /// The cores agree on that. Each binds a socket of its own, and if one cannot, none listens: no connection has been made
    /// that would have to be reset. It takes as long as the longest poll on any core.
    ///
    /// The system spreads connections over the listeners by a hash of both addresses, without regard to load: with few
    /// connections some cores get none, and a listener that nobody accepts from strands its share. So give each core its
    /// own, and serve with [`spawn_local`](crate::spawn_local), which keeps a connection where it was accepted.
    ///
    /// They belong together. If one is dropped, by a task that ends, is aborted or goes down with its core, its socket stays
    /// open, for to close it would reset who waits in its queue: whoever accepts from one of the others accepts from it as
    /// well. When the last is dropped, all are closed. [`for_core`](Self::for_core) gives a core its own again.
    ///
    /// A core that [retires](crate::runtime::Handle::retire) hands its listener over with the task that accepts, if that may
    /// go; a task that has to stay accepts on that core until it ends.
    ///
    /// An address that somebody listens on already is refused, even if they would share it.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind); where one core refuses, the message names it. In the rare case that all have bound their sockets
    /// and then one cannot listen, all are closed again, and who had connected to another by then is reset.
    ///
    /// # Panics
    ///
    /// On a thread that is neither a core nor a guest of a runtime.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is left listening, at the latest when the cores have agreed.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::TcpListener;
    ///
    /// # multikernel::runtime::Builder::new().cores(2).run(|| async {
    /// let listeners = TcpListener::bind_each_core("127.0.0.1:0").await?;
    /// for (core, listener) in multikernel::cores().zip(listeners) {
    ///     multikernel::spawn_on(core, move || async move {
    ///         while let Ok((stream, _peer)) = listener.accept().await {
    ///             multikernel::spawn_local(async move { drop(stream) });
    ///         }
    ///     });
    /// }
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn bind_each_core<A: ToSocketAddrs>(addr: A) -> io::Result<Vec<TcpListener>> {
        bind_each_core::bind_each_core(addr, Steering::Hash).await
    }

    /// As [`bind_each_core`](Self::bind_each_core), and says how the system is to spread connections over the listeners. Where
    /// it does not take that, the hash decides; [`steering`](Self::steering) says what was taken.
    ///
    /// # Errors
    ///
    /// As there, and so are panics and cancel safety.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::{TcpListener, tcp::Steering};
    ///
    /// # multikernel::runtime::Builder::new().cores(2).run(|| async {
    /// let listeners = TcpListener::bind_each_core_with("127.0.0.1:0", Steering::IncomingCpu).await?;
    /// println!("connections are spread by {:?}", listeners[0].steering());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn bind_each_core_with<A: ToSocketAddrs>(
        addr: A,
        steering: Steering,
    ) -> io::Result<Vec<TcpListener>> {
        bind_each_core::bind_each_core(addr, steering).await
    }

    /// How the system spreads connections over this listener and those that were made with it. A listener that was made
    /// alone says [`Hash`](Steering::Hash).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, tcp::Steering};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let listeners = TcpListener::bind_each_core("127.0.0.1:0").await?;
    /// assert_eq!(listeners[0].steering(), Steering::Hash);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn steering(&self) -> Steering {
        self.seat.as_ref().map_or(Steering::Hash, Seat::steering)
    }

    /// Of listeners made by [`bind_each_core`](Self::bind_each_core): gives that core a listener again whose own was dropped,
    /// with all that waits in its queue. A core that had none gets a new one. For cores that have been
    /// [revived](crate::runtime::Handle::revive), or whose task that accepted has failed.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if the core has its listener; `InvalidInput` if there is no such core, or if this listener was made alone. For
    /// a new one, those of [`bind`](Self::bind).
    ///
    /// # Panics
    ///
    /// On a thread that is neither a core nor a guest of a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use multikernel::{CoreId, net::TcpListener, runtime::Handle};
    ///
    /// async fn serve(listener: TcpListener) {
    ///     while let Ok((stream, _peer)) = listener.accept().await {
    ///         multikernel::spawn_local(async move { drop(stream) });
    ///     }
    /// }
    ///
    /// # multikernel::runtime::Builder::new().cores(2).run(|| async {
    /// let mut listeners = TcpListener::bind_each_core("127.0.0.1:0").await?;
    /// let (machine, core) = (Handle::current(), CoreId::new(1));
    /// let its = listeners.pop().unwrap();
    /// multikernel::spawn_on(core, move || serve(its));
    ///
    /// machine.retire_within(core, Duration::from_millis(10)).await?; // its clients are ours now
    /// machine.revive(core).await?;
    /// let its = listeners[0].for_core(core)?; // and its own again
    /// multikernel::spawn_on(core, move || serve(its));
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn for_core(&self, core: CoreId) -> io::Result<TcpListener> {
        let invalid = |text| io::Error::new(io::ErrorKind::InvalidInput, text);
        let machine = Handle::current().machine;
        let Some(seat) = &self.seat else { return Err(invalid("the listener was made alone".to_owned())) };
        if core.index() >= machine.cores.len() {
            return Err(invalid(format!("there is no {core} among {}", machine.cores.len())));
        }
        seat.take(&machine, core).map(|(acceptor, seat)| TcpListener::of_group(acceptor, seat))
    }

    /// Waits for a connection; gives it and the peer's address.
    ///
    /// When the process or the system is out of descriptors or memory, this says so once through `tracing`, waits a
    /// little (10 to 100 ms) and goes on; the connection waits with the system meanwhile. A connection that ended before
    /// it was accepted is passed over.
    ///
    /// # Errors
    ///
    /// The listener itself is unusable.
    ///
    /// # Panics
    ///
    /// When it has to wait on a thread that is neither a core nor inside a `block_on`.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost when the future is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let _client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (stream, peer) = listener.accept().await?;
    /// assert_eq!(stream.peer_addr()?, peer);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let mut pause = Pause::default();
        poll_fn(|cx| self.poll_accept_pausing(cx, &mut pause)).await
    }

    /// Polls for a connection, as [`accept`](Self::accept). Only the last task that polled is sure to be woken.
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
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let _client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (stream, peer) = poll_fn(|cx| listener.poll_accept(cx)).await?;
    /// # drop((stream, peer));
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.acceptor.with_shared_pause(|pause| self.poll_accept_pausing(cx, pause))
    }

    /// The connections as a [`Stream`](futures::Stream) that never ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::StreamExt;
    /// use multikernel::net::{TcpListener, TcpStream};
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let server = listener.incoming().next().await.unwrap()?;
    /// assert_eq!(server.peer_addr()?, client.local_addr()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming::new(self)
    }

    /// As [`poll_accept`](Self::poll_accept), for a caller with a pause of its own.
    pub(super) fn poll_accept_pausing(
        &self,
        cx: &mut Context<'_>,
        pause: &mut Pause,
    ) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let polled = match &self.seat {
            None => self.acceptor.poll_accept_pausing(cx, pause),
            Some(seat) => seat.poll_accept(&self.acceptor, cx, pause),
        };
        polled.map(|accepted| accepted.and_then(connection))
    }

    /// The address it listens on, with the port that the system chose if it was bound to port 0.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let port = listener.local_addr()?.port();
    /// assert_ne!(port, 0);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        ip_address(SockRef::from(self).local_addr()?)
    }

    /// Takes over a listener of the standard library and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// The system refuses to make it non-blocking.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::TcpListener;
    ///
    /// let inherited = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let listener = TcpListener::from_std(inherited)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        Ok(TcpListener::from_fd(listener.into()))
    }

    /// Gives the listener to the standard library, non-blocking still.
    ///
    /// Where a core was watching it, its descriptor has another number now. If it was made with others, one for each core,
    /// these do not take care of it any more, and the hash decides where connections go.
    ///
    /// # Errors
    ///
    /// No descriptor number is free; the listener is closed then.
    ///
    /// # Examples
    ///
    /// To hand it to a new version of the program:
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let descriptor = std::os::fd::OwnedFd::from(listener.into_std()?);
    /// # drop(descriptor);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn into_std(self) -> io::Result<std::net::TcpListener> {
        let TcpListener { acceptor, seat } = self;
        seat.iter().for_each(Seat::give_away);
        drop(seat);
        match Arc::try_unwrap(acceptor) {
            Ok(acceptor) => Ok(acceptor.into_fd()?.into()),
            // Somebody who has kept it has yet to let go.
            Err(shared) => Ok(shared.fd().try_clone_to_owned()?.into()),
        }
    }

    /// The most routers an answer may pass (`IP_TTL`); connections inherit it. Of IPv4 listeners.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// assert!(listener.ttl()? > 0);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        SockRef::from(self).ttl_v4()
    }

    /// Sets the most routers an answer may pass, from 1 to 255. Of IPv4 listeners.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// listener.set_ttl(1)?; // for the local network only
    /// assert_eq!(listener.ttl()?, 1);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        SockRef::from(self).set_ttl_v4(ttl)
    }
}

fn connection((fd, peer): (OwnedFd, SockAddr)) -> io::Result<(TcpStream, SocketAddr)> {
    Ok((TcpStream::from_fd(fd), ip_address(peer)?))
}

impl TryFrom<std::net::TcpListener> for TcpListener {
    type Error = io::Error;

    /// As [`TcpListener::from_std`].
    fn try_from(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        TcpListener::from_std(listener)
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.acceptor.fd()
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.acceptor.fd().as_raw_fd()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpListener");
        if let Ok(addr) = self.local_addr() {
            debug.field("addr", &addr);
        }
        debug.field("fd", &self.as_raw_fd()).finish()
    }
}

const _: fn() = || {
    fn is_send_sync<T: Send + Sync + Unpin>() {}
    is_send_sync::<TcpListener>();
};
