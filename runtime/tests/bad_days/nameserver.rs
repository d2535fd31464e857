//! A nameserver that does as it is told, and a world for a test in which names are looked up there and nowhere else.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::common::{Folder, alone, alone_by, is_alone};
use crate::support::skip;

const ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 53), 53));

/// How long the system's resolver waits for an answer, in [`with_resolver`]. It asks once.
pub const WAITS: Duration = Duration::from_secs(1);
const RESOLV_CONF: &str = "nameserver 127.0.0.53\noptions timeout:1 attempts:1\n";

/// Runs `body` in a process as [`alone`], in which the system's resolver asks a [`Server`] only.
pub fn with_resolver(name: &str, body: impl FnOnce()) {
    if is_alone() {
        return alone(name, body);
    }
    let folder = Folder::new("resolver");
    let world = Arc::new(World::new(&folder).unwrap());
    if let Err(error) = world.clone().around(Command::new("true")).status() {
        return skip(format_args!("no mount and network namespace of its own: {error}"));
    }
    alone_by(world.around(Command::new(std::env::current_exe().unwrap())), name, body);
}

/// A mount and a network namespace. Prepared before the fork, as nothing is to be allocated after it.
struct World {
    /// What is mounted where.
    mounts: Vec<(CString, CString)>,
    /// It makes a user root in a namespace of their own.
    user: String,
}

impl World {
    fn new(folder: &Folder) -> io::Result<World> {
        let (resolv, switch, empty) =
            (folder.join("resolv.conf"), folder.join("nsswitch.conf"), folder.join("empty"));
        std::fs::write(&resolv, RESOLV_CONF)?;
        std::fs::write(&switch, "hosts: dns\n")?;
        std::fs::create_dir(&empty)?;
        let mut mounts = vec![(text(resolv), c"/etc/resolv.conf".to_owned())];
        // What a system need not have. The last is where a daemon that remembers answers listens.
        for (from, to) in [(switch, "/etc/nsswitch.conf"), (empty, "/var/run/nscd")] {
            if Path::new(to).exists() {
                mounts.push((text(from), text(to.into())));
            }
        }
        // SAFETY: takes nothing and returns a number.
        Ok(World { mounts, user: format!("0 {} 1", unsafe { libc::geteuid() }) })
    }

    fn around(self: Arc<Self>, mut command: Command) -> Command {
        // SAFETY: it makes system calls, and allocates nothing.
        unsafe { command.pre_exec(move || self.enter()) };
        command
    }

    fn enter(&self) -> io::Result<()> {
        let done = |result| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        let (own, none) = (libc::CLONE_NEWNS | libc::CLONE_NEWNET, std::ptr::null());
        // SAFETY: all strings end with a zero and live across the calls; what is null may be.
        unsafe {
            if libc::unshare(own) != 0 {
                done(libc::unshare(own | libc::CLONE_NEWUSER))?;
                std::fs::write("/proc/self/uid_map", &self.user)?;
            }
            // What is mounted here does not show elsewhere.
            let private = libc::MS_REC | libc::MS_PRIVATE;
            done(libc::mount(c"none".as_ptr(), c"/".as_ptr(), none, private, none.cast()))?;
            for (from, to) in &self.mounts {
                done(libc::mount(from.as_ptr(), to.as_ptr(), none, libc::MS_BIND, none.cast()))?;
            }
        }
        loopback_up()
    }
}

fn text(path: PathBuf) -> CString {
    CString::new(path.into_os_string().into_vec()).unwrap()
}

fn loopback_up() -> io::Result<()> {
    // SAFETY: the structure is plain numbers, is valid with the name and flags it gets, and lives across the call; the
    // descriptor is new.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(socket);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[..2].copy_from_slice(&[b'l' as _, b'o' as _]);
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as _;
        match libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// What those hear who ask for a name.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// This one and [`Ipv6Addr::LOCALHOST`].
    Address(Ipv4Addr),
    NoAddress,
    /// NXDOMAIN.
    NoName,
    /// SERVFAIL.
    Failure,
    Silence,
}

struct Name {
    answer: Answer,
    asked: usize,
}

/// The names that it knows, and the thread that answers. An error of that thread is a panic, and fails the test.
#[derive(Default)]
pub struct Server {
    names: Arc<Mutex<BTreeMap<String, Name>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    pub fn open() -> Arc<Server> {
        let server = Server::default();
        server.reopen();
        Arc::new(server)
    }

    pub fn reopen(&self) {
        let (socket, names) = (UdpSocket::bind(ADDRESS).unwrap(), self.names.clone());
        let thread =
            thread::Builder::new().name("nameserver".to_owned()).spawn(move || serve(&socket, &names));
        assert!(self.thread.lock().unwrap().replace(thread.unwrap()).is_none(), "it is open");
    }

    /// Nobody listens there any more.
    pub fn close(&self) {
        let thread = self.thread.lock().unwrap().take().expect("it is open");
        // To a thread that has panicked this may fail.
        let _ = UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[], ADDRESS);
        thread.join().expect("the nameserver has failed");
    }

    /// A name that nobody has asked for before, and that is looked up as it is: it ends with a dot.
    pub fn name(&self, answer: Answer) -> String {
        let mut names = self.names.lock().unwrap();
        let name = format!("host-{}.test.", names.len());
        names.insert(name.clone(), Name { answer, asked: 0 });
        name
    }

    /// From now on.
    pub fn answer(&self, name: &str, answer: Answer) {
        self.names.lock().unwrap().get_mut(name).unwrap().answer = answer;
    }

    /// How often its IPv4 address has been asked for.
    pub fn asked(&self, name: &str) -> usize {
        let has_ended = self.thread.lock().unwrap().as_ref().is_some_and(JoinHandle::is_finished);
        assert!(!has_ended, "the nameserver has failed");
        self.names.lock().unwrap()[name].asked
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let is_open = self.thread.lock().is_ok_and(|thread| thread.is_some());
        if is_open && !thread::panicking() {
            self.close();
        }
    }
}

/// Until it gets an empty datagram.
fn serve(socket: &UdpSocket, names: &Mutex<BTreeMap<String, Name>>) {
    let mut query = [0; 512];
    loop {
        let (length, from) = match socket.recv_from(&mut query) {
            Ok((0, _)) => return,
            Ok(got) => got,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => panic!("the nameserver cannot receive: {error}"),
        };
        let Some(reply) = reply(&query[..length], names) else { continue };
        loop {
            match socket.send_to(&reply, from) {
                Ok(sent) if sent == reply.len() => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => panic!("the nameserver cannot answer {from}: {other:?}"),
            }
        }
    }
}

const IPV4: u16 = 1;
const IPV6: u16 = 28;

/// RFC 1035, section 4.1.
fn reply(query: &[u8], names: &Mutex<BTreeMap<String, Name>>) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    const OTHER_THAN_RECURSION_DESIRED: u8 = 0xfe;
    assert!(query.len() > HEADER && query[2] & OTHER_THAN_RECURSION_DESIRED == 0, "not a query: {query:?}");
    assert_eq!(query[4..6], [0, 1], "not one question: {query:?}");
    let (mut name, mut at) = (String::new(), HEADER);
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        name.push_str(std::str::from_utf8(&query[at + 1..end]).unwrap());
        name.push('.');
        at = end;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    assert_eq!(query[at + 3..at + 5], [0, 1], "not of the Internet: {query:?}");
    let mut names = names.lock().unwrap();
    let known = names.get_mut(&name).unwrap_or_else(|| panic!("nobody has meant to look {name} up"));
    known.asked += usize::from(kind == IPV4);
    let (code, address) = match (known.answer, kind) {
        (Answer::Address(address), IPV4) => (0, address.octets().to_vec()),
        (Answer::Address(_), IPV6) => (0, Ipv6Addr::LOCALHOST.octets().to_vec()),
        (Answer::Address(_) | Answer::NoAddress, _) => (0, Vec::new()),
        (Answer::Failure, _) => (2, Vec::new()),
        (Answer::NoName, _) => (3, Vec::new()),
        (Answer::Silence, _) => return None,
    };
    let count = u8::from(!address.is_empty());
    // Number and question are those of the query.
    let mut reply = query[..at + 5].to_vec();
    reply[2] |= 0x80;
    reply[3] = 0x80 | code;
    reply[6..HEADER].copy_from_slice(&[0, count, 0, 0, 0, 0]);
    if count > 0 {
        reply.extend([0xc0, HEADER as u8, 0, kind as u8, 0, 1, 0, 0, 0, 0, 0, address.len() as u8]);
        reply.extend(address);
    }
    Some(reply)
}
