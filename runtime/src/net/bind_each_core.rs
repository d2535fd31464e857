//! Listeners on every core or on none, by agreement.
//!
//! ```text
//!   who asks        reserves the port; proposes to bind
//!   each core       prepare: binds a socket of its own, or refuses        abort: closes it, and nobody was reset
//!                   commit: listens, and hands the socket to who asks, one core after the other
//!   who asks        wakes cores that sleep, so that they commit; takes the sockets, in the order in which they began to listen
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

use multikernel_replicate::{CoreId, ProposeError, Replicated, StateMachine};
use socket2::{Domain, Socket, Type};

use super::addr::{ip_address, no_address, resolve};
use super::listener_group;
use super::steering::Steering;
use super::{TcpListener, ToSocketAddrs};
use crate::limits::BACKLOG;
use crate::machine::objects;
use crate::runtime::Handle;

/// What one core gives to who asks.
type Part = (CoreId, io::Result<Socket>);

/// Binds a socket on each core.
struct Bind {
    id: u64,
    addr: SocketAddr,
    /// A send never waits. Whoever asks may have gone: then the socket is closed where it was made. Locked while one begins to
    /// listen, so that the parts come in the order in which the system counts them.
    parts: Mutex<mpsc::Sender<Part>>,
}

/// One core's sockets that are bound and do not listen yet. Nothing of it outlives a round.
#[derive(Default)]
struct Listeners(Vec<(u64, Socket)>);

impl StateMachine for Listeners {
    type Command = Bind;
    type Refusal = io::Error;
    type Snapshot = ();
    const VETO: bool = true;

    fn prepare(&mut self, bind: &Bind) -> io::Result<()> {
        self.0.push((bind.id, bound(bind.addr, Sharing::Yes)?));
        Ok(())
    }

    fn commit(&mut self, bind: &Bind) {
        let Some(at) = self.0.iter().position(|(id, _)| *id == bind.id) else { return };
        let (_, socket) = self.0.swap_remove(at);
        let parts = bind.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let part = socket.listen(BACKLOG).map(|()| socket);
        let _nobody_waits = parts.send((CoreId::current(), part));
    }

    fn abort(&mut self, bind: &Bind) {
        self.0.retain(|(id, _)| *id != bind.id);
    }

    fn snapshot(&self) {}

    fn restore((): &()) -> io::Result<Self> {
        Ok(Self::default())
    }
}

/// Listens on the first address that can be bound on every core.
pub(super) async fn bind_each_core<A: ToSocketAddrs>(
    addr: A,
    steering: Steering,
) -> io::Result<Vec<TcpListener>> {
    let handle = Handle::current();
    let mut last = no_address();
    for addr in resolve(&addr).await? {
        let answer = match CoreId::try_current() {
            Some(_) => agree(addr, steering).await,
            // A guest has no part in the agreement.
            None => {
                let agreed = handle.spawn(agree(addr, steering)).await;
                agreed.unwrap_or_else(|ended| Err(io::Error::other(ended)))
            }
        };
        match answer {
            Ok(listeners) => return Ok(listeners),
            Err(error) => last = io::Error::new(error.kind(), format!("{addr}: {error}")),
        }
    }
    Err(last)
}

async fn agree(addr: SocketAddr, steering: Steering) -> io::Result<Vec<TcpListener>> {
    // Relaxed: only uniqueness matters.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    // It finds the port, refuses to share with who is there already, and keeps others out until all are bound.
    let reserved = bound(addr, Sharing::FromNowOn)?;
    let addr = ip_address(reserved.local_addr()?)?;
    let listeners =
        Replicated::fixed(objects::LISTENERS, Listeners::default).await.map_err(io::Error::other)?;
    let (parts, given) = mpsc::channel();
    listeners.propose(Bind { id, addr, parts: Mutex::new(parts) }).await.map_err(refused)?;
    // A core that sleeps is told by nobody that it is decided.
    for core in crate::on_each_core(|| async {}) {
        let _has_ended = core.await;
    }
    let listening = given.try_iter().map(|(core, part)| match part {
        Ok(socket) => Ok((core, socket)),
        Err(error) => Err(on_core(core, &error)),
    });
    let sockets = listening.collect::<io::Result<Vec<_>>>()?;
    let mut seats = listener_group::group(&Handle::current().machine, sockets, steering);
    seats.sort_unstable_by_key(|(core, ..)| *core);
    Ok(seats.into_iter().map(|(_, acceptor, seat)| TcpListener::of_group(acceptor, seat)).collect())
}

fn refused(error: ProposeError<Listeners>) -> io::Error {
    match &error {
        ProposeError::Refused { by, reason, .. } => on_core(*by, reason),
        _ => io::Error::other(error.to_string()),
    }
}

fn on_core(core: CoreId, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{core}: {error}"))
}

/// Whether a listening socket shares its port with others of the same user.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    No,
    /// Not with who is there already, but with who comes.
    FromNowOn,
    Yes,
}

pub(super) fn bound(addr: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    if sharing == Sharing::Yes {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&addr.into())?;
    if sharing == Sharing::FromNowOn {
        socket.set_reuse_port(true)?;
    }
    Ok(socket)
}
