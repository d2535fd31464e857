//! What the tasks of a run speak to that is not in their Machine, and what it knows when they are gone.

use std::fmt;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};

use multikernel::CoreId;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::common::Folder;
use crate::ends::{BLOCK, CORES, block};
use crate::files;

pub struct Outside {
    folder: Folder,
    /// Nobody can connect to them: one connection waits to be accepted, and there is no room for more.
    full_tcp: (TcpListener, TcpStream),
    full_unix: (Socket, UnixStream),
    /// It reads when the Machine is gone.
    sink: TcpListener,
    gate: Arc<Gate>,
    /// Blocks that have been sent to the sink.
    pub sent: [AtomicU64; CORES],
    /// Blocks that have been written to each file.
    written: [[AtomicU64; files::NAMES.len()]; CORES],
}

impl Outside {
    pub fn new() -> Outside {
        let folder = Folder::new("ends");
        let full = |domain, address: SockAddr| {
            let socket = Socket::new(domain, Type::STREAM, None).unwrap();
            socket.bind(&address).unwrap();
            socket.listen(0).unwrap();
            socket
        };
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let tcp = TcpListener::from(full(Domain::IPV4, any.into()));
        let first = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        let path = folder.join("full");
        let unix = full(Domain::UNIX, SockAddr::unix(&path).unwrap());
        Outside {
            full_tcp: (tcp, first),
            full_unix: (unix, UnixStream::connect(path).unwrap()),
            folder,
            sink: TcpListener::bind(any).unwrap(),
            gate: Arc::default(),
            sent: Default::default(),
            written: Default::default(),
        }
    }

    pub fn full_tcp(&self) -> SocketAddr {
        let (listener, _in_the_way) = &self.full_tcp;
        listener.local_addr().unwrap()
    }

    pub fn full_unix(&self) -> PathBuf {
        let (_listener, _in_the_way) = &self.full_unix;
        self.folder.join("full")
    }

    pub fn sink(&self) -> SocketAddr {
        self.sink.local_addr().unwrap()
    }

    pub fn gate(&self) -> Arc<Gate> {
        self.gate.clone()
    }

    pub fn open_gates(&self) {
        self.gate.open();
    }

    pub fn path_on(&self, core: CoreId, name: &str) -> PathBuf {
        self.folder.join(format!("{name}-{}", core.index()))
    }

    pub fn acknowledged(&self, core: CoreId, name: &str) -> &AtomicU64 {
        let file = files::NAMES.iter().position(|one| *one == name).expect("a file that is written");
        &self.written[core.index()][file]
    }

    /// Some of each kind.
    pub fn has_acknowledged_everywhere(&self) -> bool {
        self.sent.iter().chain(self.written.iter().flatten()).all(|count| count.load(SeqCst) > 0)
    }

    /// Whether all that was acknowledged is there. When the Machine is gone.
    pub fn check(&self) {
        for core in 0..CORES {
            for (file, name) in files::NAMES.iter().enumerate() {
                let path = self.path_on(CoreId::new(core), name);
                files::check(&path, self.written[core][file].load(SeqCst));
            }
        }
        for _ in 0..CORES {
            self.check_connection(self.sink.accept().unwrap().0);
        }
    }

    fn check_connection(&self, mut connection: TcpStream) {
        let mut core = [0];
        connection.read_exact(&mut core).unwrap();
        let acknowledged = self.sent[usize::from(core[0])].load(SeqCst);
        let mut got = Vec::new();
        connection.read_to_end(&mut got).unwrap();
        assert!(got.len() as u64 >= acknowledged * BLOCK as u64, "{} of {acknowledged} blocks", got.len());
        for (n, found) in got.chunks(BLOCK).enumerate() {
            assert!(found == &block(n as u64)[..found.len()], "block {n} is not what was sent");
        }
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").field("sent", &self.sent).field("written", &self.written).finish()
    }
}

/// Calls on threads of the pool wait for it.
#[derive(Default)]
pub struct Gate {
    is_open: Mutex<bool>,
    opens: Condvar,
}

impl Gate {
    pub fn wait(&self) {
        drop(self.opens.wait_while(self.is_open.lock().unwrap(), |is_open| !*is_open).unwrap());
    }

    pub fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opens.notify_all();
    }
}
