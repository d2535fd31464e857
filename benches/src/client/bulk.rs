//! As much as goes through a proxy: the client is at both of its ends.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::Socket;

use super::{PATIENCE, Slice, Work};
use crate::harness::sched::CpuTime;

/// What one answer stands for.
pub const UNIT: u64 = 1 << 20;

/// Bytes given to one send, and taken by one receive at most.
const PIECE: usize = 256 * 1024;

/// Where a proxy is to connect to.
pub struct Target {
    listener: TcpListener,
}

impl Target {
    /// A free port.
    ///
    /// # Errors
    /// When the system gives out none.
    pub fn open() -> Result<Self> {
        Ok(Self { listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))? })
    }

    /// What to tell the proxy.
    ///
    /// # Errors
    /// When the system does not know.
    pub fn addr(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }
}

/// Connections through one proxy, on which bytes go one way.
pub struct Bulk {
    routes: Vec<Route>,
    piece: Vec<u8>,
    patience: Duration,
}

struct Route {
    near: Socket,
    far: TcpStream,
    under_way: u64,
}

impl Bulk {
    /// Connects to the proxy at `addr` and accepts from it, and looks once on each connection whether what goes in comes
    /// out.
    ///
    /// # Errors
    /// When a connection is not passed on, or changes bytes.
    pub fn connect(addr: SocketAddr, target: &Target, connections: usize) -> Result<Self> {
        let patience = PATIENCE;
        let mut routes = Vec::with_capacity(connections);
        for number in 0..connections {
            let near = super::dial(addr, number)?;
            ready(&target.listener, PollFlags::IN, patience).context("the proxy does not connect")?;
            let (far, _) = target.listener.accept()?;
            near.set_nonblocking(true)?;
            far.set_nonblocking(true)?;
            routes.push(Route { near, far, under_way: 0 });
        }
        let piece: Vec<u8> = (0..PIECE).map(|n| (n % 251) as u8).collect();
        for route in &routes {
            route.check(&piece[..100_000], patience)?;
        }
        Ok(Self { routes, piece, patience })
    }

    /// Sends while `go_on`, receives, and says how many bytes came.
    fn turn(&mut self, go_on: bool) -> Result<u64> {
        let mut asked: Vec<_> = self
            .routes
            .iter()
            .flat_map(|route| {
                let sends = if go_on { PollFlags::OUT } else { PollFlags::empty() };
                [PollFd::new(&route.near, sends), PollFd::new(&route.far, PollFlags::IN)]
            })
            .collect();
        let patience = Timespec::try_from(self.patience)?;
        ensure!(poll(&mut asked, Some(&patience))? > 0, "nothing moves");
        let found: Vec<_> = asked.iter().map(PollFd::revents).collect();
        let mut came = 0;
        for (route, found) in self.routes.iter_mut().zip(found.chunks(2)) {
            if go_on && found[0].contains(PollFlags::OUT) {
                route.send(&self.piece)?;
            }
            if found[1].contains(PollFlags::IN) {
                came += route.receive()?;
            }
        }
        Ok(came)
    }
}

impl Route {
    fn send(&mut self, piece: &[u8]) -> Result<()> {
        match send(&self.near, piece, SendFlags::NOSIGNAL) {
            Ok(sent) => self.under_way += sent as u64,
            Err(error) if io::Error::from(error).kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => bail!("sending failed: {error}"),
        }
        Ok(())
    }

    /// Takes what there is without looking at it, so that the client costs little.
    fn receive(&mut self) -> Result<u64> {
        match discard(&self.far) {
            Ok(0) => bail!("the proxy hung up"),
            Ok(got) => {
                ensure!(got <= self.under_way, "more came out than went in");
                self.under_way -= got;
                Ok(got)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => bail!("receiving failed: {error}"),
        }
    }

    fn check(&self, bytes: &[u8], patience: Duration) -> Result<()> {
        let (mut sent, mut got) = (0, 0);
        let mut room = vec![0; bytes.len()];
        while got < bytes.len() {
            if sent < bytes.len()
                && let Ok(count) = send(&self.near, &bytes[sent..], SendFlags::NOSIGNAL)
            {
                sent += count;
            }
            ready(&self.far, PollFlags::IN, patience).context("the proxy passes nothing on")?;
            let (count, _) = recv(&self.far, &mut room[got..], RecvFlags::empty())?;
            ensure!(count > 0, "the proxy hung up");
            got += count;
        }
        ensure!(room == bytes, "the proxy changes bytes");
        Ok(())
    }
}

impl Work for Bulk {
    /// Latencies are not measured: of a stream there are none.
    fn slice(&mut self, length: Duration, _: &mut Histogram<u64>) -> Result<Slice> {
        let before = CpuTime::of_this_thread()?;
        let start = Instant::now();
        let mut bytes = 0;
        while start.elapsed() < length {
            bytes += self.turn(true)?;
        }
        let (wall, counted) = (start.elapsed(), bytes);
        while self.routes.iter().any(|route| route.under_way > 0) {
            bytes += self.turn(false)?;
        }
        let client = CpuTime::of_this_thread()? - before;
        Ok(Slice { wall, counted: counted / UNIT, total: bytes / UNIT, whole: start.elapsed(), client })
    }
}

fn ready(fd: &impl AsFd, wanted: PollFlags, patience: Duration) -> Result<()> {
    let patience = Timespec::try_from(patience)?;
    ensure!(poll(&mut [PollFd::new(fd, wanted)], Some(&patience))? > 0, "nothing comes");
    Ok(())
}

/// Receives into nothing: TCP throws the bytes away instead of copying them.
fn discard(socket: &TcpStream) -> io::Result<u64> {
    // SAFETY: with MSG_TRUNC, TCP writes nothing; the pointer is not used.
    let got = unsafe { libc::recv(socket.as_raw_fd(), std::ptr::null_mut(), PIECE, libc::MSG_TRUNC) };
    u64::try_from(got).map_err(|_| io::Error::last_os_error())
}
