//! The peers: one file each, every server in its runtime's best form.
//!
//! A server runs in a process of its own, listens on loopback, says which port, and leaves when its stdin closes.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread;

use socket2::{Domain, Socket, Type};

mod compio;
mod glommio;
mod http;
mod monoio;
mod multikernel;
mod raw;
mod raw_epoll;
mod ready;
mod smol;
mod tokio;

/// Bytes that a connection's own read buffer holds.
const BUFFER: usize = 4096;

/// What a server can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Sends back what it gets.
    Echo,
    /// Answers each HTTP/1.1 request with a short text.
    Http,
    /// Passes everything on to the target, and back.
    Proxy,
    /// Reads blocks of a file when told so.
    Fs,
    /// Sends back each datagram.
    Udp,
    /// Keeps keys and values, and speaks the protocol of Redis.
    Resp,
    /// Computes as much as each request asks for, and says which thread did.
    Uneven,
}

impl Protocol {
    const ALL: [Self; 7] =
        [Self::Echo, Self::Http, Self::Proxy, Self::Fs, Self::Udp, Self::Resp, Self::Uneven];

    /// What the command line calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Http => "http",
            Self::Proxy => "proxy",
            Self::Fs => "fs",
            Self::Udp => "udp",
            Self::Resp => "resp",
            Self::Uneven => "uneven",
        }
    }

    /// The protocol of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }
}

/// How many cores a server uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    /// One, kept on the server's CPU.
    One,
    /// As many as asked for, free to run anywhere.
    Many,
}

/// One server that can be started.
#[derive(Debug)]
pub struct Server {
    /// What `--only` and the tables call it.
    pub name: &'static str,
    /// How many cores it uses.
    pub cores: Cores,
    /// What it can do.
    pub protocols: &'static [Protocol],
    /// Serves until the process ends.
    pub run: fn(&Job) -> io::Result<()>,
}

/// All servers, in the order of the tables.
pub fn all() -> impl Iterator<Item = &'static Server> {
    [
        raw::SERVERS,
        raw_epoll::SERVERS,
        tokio::SERVERS,
        smol::SERVERS,
        monoio::SERVERS,
        glommio::SERVERS,
        compio::SERVERS,
        multikernel::SERVERS,
    ]
    .into_iter()
    .chain(crate::fs::SERVERS)
    .chain(crate::udp::SERVERS)
    .chain(crate::resp::SERVERS)
    .flatten()
}

/// The server of that name for that protocol.
#[must_use]
pub fn find(name: &str, protocol: Protocol) -> Option<&'static Server> {
    all().find(|server| server.name == name && server.protocols.contains(&protocol))
}

/// What one server process has to do.
#[derive(Debug)]
pub struct Job {
    /// What to serve.
    pub protocol: Protocol,
    /// On how many cores.
    pub cores: usize,
    /// Where a proxy connects to.
    pub target: Option<SocketAddr>,
    /// What a reader reads.
    pub file: Option<PathBuf>,
}

impl Job {
    /// Where to connect to.
    ///
    /// # Errors
    /// When nobody has said.
    pub fn target(&self) -> io::Result<SocketAddr> {
        self.target.ok_or_else(|| io::Error::other("a proxy needs a target"))
    }

    /// A non-blocking listener on a free port, which is announced. Accepted sockets inherit TCP_NODELAY from it.
    ///
    /// # Errors
    /// When the system gives out no socket or port.
    pub fn listener(&self) -> io::Result<TcpListener> {
        Ok(self.listeners(1)?.remove(0))
    }

    /// So many listeners on one port, among which the kernel spreads connections.
    ///
    /// # Errors
    /// When the system gives out no socket or port.
    pub fn listeners(&self, count: usize) -> io::Result<Vec<TcpListener>> {
        let mut addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut listeners = Vec::with_capacity(count);
        for _ in 0..count {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_reuse_port(count > 1)?;
            socket.set_tcp_nodelay(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&addr.into())?;
            socket.listen(4096)?;
            let listener = TcpListener::from(socket);
            addr = listener.local_addr()?;
            listeners.push(listener);
        }
        announce(addr.port())?;
        Ok(listeners)
    }
}

/// Serves `job` with `server` until this process's stdin closes.
///
/// # Errors
/// When the server cannot start, or ends by itself.
pub fn serve(server: &Server, job: &Job) -> anyhow::Result<()> {
    thread::spawn(|| {
        // Whether it closes or fails: nobody is left to serve.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    (server.run)(job)?;
    anyhow::bail!("{} stopped serving", server.name)
}

/// Tells the parent where to connect.
pub(crate) fn announce(port: u16) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "port {port}")?;
    stdout.flush()
}
