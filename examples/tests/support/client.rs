//! Clients that behave, and the ones that watch them being served.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{PATIENCE, wait_for};

/// A whole request.
pub(crate) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A connection on which no call waits longer than [`PATIENCE`].
pub(crate) fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A client that keeps its connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> io::Result<Client> {
        connect(addr).map(Client::on)
    }

    pub(crate) fn on(stream: TcpStream) -> Client {
        Client { stream: BufReader::new(stream) }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// The status and the body of the next answer.
    pub(crate) fn answer(&mut self) -> io::Result<(u16, String)> {
        let strange = || io::Error::from(io::ErrorKind::InvalidData);
        let mut length = 0;
        let first = self.head_line()?;
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).ok_or_else(strange)?;
        let status = status.parse().map_err(|_| strange())?;
        loop {
            let line = self.head_line()?.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(|_| strange())?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((status, String::from_utf8(body).map_err(|_| strange())?))
    }

    fn head_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Asks, and gives the answer's body, which names the core that serves this connection.
    pub(crate) fn ask(&mut self) -> io::Result<String> {
        self.send(REQUEST)?;
        match self.answer()? {
            (200, body) => Ok(body),
            (status, _) => Err(io::Error::other(format!("status {status}"))),
        }
    }

    /// Waits until the server closes the connection.
    pub(crate) fn wait_for_end(mut self) -> io::Result<()> {
        match self.stream.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(io::Error::other("the server sent more than it should")),
        }
    }
}

/// Clients that behave, with connections on every core, asking all the time on a thread of their own.
///
/// With them open before a client misbehaves, its core has others to serve, whichever core it lands on.
pub(crate) struct Bystanders {
    thread: JoinHandle<Served>,
    rounds: Arc<AtomicUsize>,
    stop: Sender<()>,
}

#[derive(Default)]
struct Served {
    cores: BTreeSet<String>,
    slowest: Duration,
}

impl Bystanders {
    /// Connects to a server with so many cores; on return each connection has been served.
    pub(crate) fn of(addr: SocketAddr, cores: usize) -> Bystanders {
        let (stop, stopped) = channel::<()>();
        let rounds = Arc::new(AtomicUsize::new(0));
        let counter = rounds.clone();
        let thread = std::thread::spawn(move || {
            let mut served = Served::default();
            let mut clients = Vec::new();
            // A server gives a core whose CPU is busy fewer of them, for as long as others have room.
            while clients.len() < 2 * cores || served.cores.len() < cores {
                assert!(clients.len() < 32 * cores, "bystanders are on every core: {:?}", served.cores);
                let mut client = Client::connect(addr).expect("a bystander can connect");
                served.cores.insert(client.ask().expect("a bystander is served"));
                clients.push(client);
            }
            // The pause leaves the CPUs to the server and to the other tests.
            let pause = Duration::from_millis(2);
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(pause) {
                for client in &mut clients {
                    let start = Instant::now();
                    served.cores.insert(client.ask().expect("a bystander is served"));
                    served.slowest = served.slowest.max(start.elapsed());
                }
                // Relaxed: a number to look at, which orders nothing.
                counter.fetch_add(1, Ordering::Relaxed);
            }
            served
        });
        let bystanders = Bystanders { thread, rounds, stop };
        bystanders.are_served();
        bystanders
    }

    /// Waits until each of them has been served once more from now on.
    #[track_caller]
    pub(crate) fn are_served(&self) {
        // Relaxed: as above. The round under way may have begun before now, the one after it has not.
        let now = self.rounds.load(Ordering::Relaxed);
        wait_for("the bystanders are served", || {
            assert!(!self.thread.is_finished(), "a bystander was not served");
            (self.rounds.load(Ordering::Relaxed) >= now + 2).then_some(())
        });
    }

    /// Ends them.
    ///
    /// # Panics
    /// When one of them was not served properly, or had to wait long.
    #[track_caller]
    pub(crate) fn finish(self) {
        self.are_served();
        drop(self.stop);
        let served = self.thread.join().expect("bystanders are served throughout");
        assert!(served.slowest < PATIENCE / 4, "a bystander waited {:?} for its answer", served.slowest);
    }
}
