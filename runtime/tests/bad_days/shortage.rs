//! Descriptors used up: whatever needs one says so, and what has one works on.

use std::io;
use std::process::Stdio;

use multikernel::channels::oneshot;
use multikernel::fs::{self, File, OpenError, SharedFile};
use multikernel::io::unix::AsyncFd;
use multikernel::net::{
    TcpListener, TcpSocket, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream, lookup_host,
};
use multikernel::process::Command;
use multikernel::replicate::ReplicatedCell;
use multikernel::runtime::Builder;
use multikernel::signal::unix::{SignalKind, signal};
use multikernel::task::spawn_blocking;
use multikernel::time::{Duration, Instant, machine, sleep};
use multikernel::{CoreId, on_each_core, spawn_on};

use crate::common::{DRIVERS, Folder, alone, census, hoard, on_both, pattern, until_as_before};
use crate::sockets::pair;

fn is_out<T>(what: &str, result: io::Result<T>) {
    let error = result.err().unwrap_or_else(|| panic!("{what}: it needs no descriptor"));
    // Some say more about it than its number.
    let text = error.to_string();
    let is_told = error.raw_os_error() == Some(libc::EMFILE) || text.contains("Too many open files");
    assert!(is_told, "{what}: {error:?}");
}

/// Each of them needs a descriptor at least.
async fn everything_is_refused(folder: &Folder, address: std::net::SocketAddr) {
    is_out("TCP listener", TcpListener::bind("127.0.0.1:0").await);
    is_out("TCP listeners", TcpListener::bind_each_core("127.0.0.1:0").await);
    is_out("TCP stream", TcpStream::connect(address).await);
    is_out("TCP socket", TcpSocket::new_v4());
    is_out("UDP socket", UdpSocket::bind("127.0.0.1:0").await);
    is_out("Unix listener", UnixListener::bind(folder.join("refused")));
    is_out("Unix stream", UnixStream::connect(folder.join("refused")).await);
    is_out("Unix pair", UnixStream::pair());
    is_out("Unix datagrams", UnixDatagram::unbound());
    is_out("file", File::open("/proc/self/exe").await);
    is_out("reading a file", fs::read("/proc/self/exe").await);
    is_out("reading a folder", fs::read_dir("/proc/self").await);
    is_out("AsyncFd", AsyncFd::new(std::io::stdin()));
    let shared = SharedFile::open("/proc/self/exe", std::fs::OpenOptions::new().read(true)).await;
    match shared {
        Err(OpenError::Io(error)) => is_out::<()>("shared file", Err(error)),
        other => panic!("shared file: {other:?}"),
    }
    is_out("child", Command::new("true").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn());
    is_out("output of a child", Command::new("true").output().await);
    is_out("another runtime", Builder::new_test().cores(2).build());
    // The system's resolver reads files, and says what it likes when it cannot.
    assert!(lookup_host("nobody.invalid:80").await.is_err());
}

async fn everything_is_had(folder: &Folder) -> io::Result<()> {
    drop(pair().await?);
    drop(TcpListener::bind_each_core("127.0.0.1:0").await?);
    drop(UdpSocket::bind("127.0.0.1:0").await?);
    drop(UnixStream::pair()?);
    drop(UnixListener::bind(folder.join("had"))?);
    std::fs::remove_file(folder.join("had"))?;
    assert!(fs::read("/proc/self/exe").await?.starts_with(b"\x7fELF"));
    let options = std::fs::OpenOptions::new().read(true).clone();
    let shared = SharedFile::open("/proc/self/exe", &options).await.map_err(io::Error::other)?;
    shared.close().await.map_err(io::Error::other)?;
    assert!(Command::new("true").status().await?.success());
    Builder::new_test().cores(2).build().map(drop)
}

/// What is open is used by every core, and time, messages, threads and agreement need no descriptors.
async fn everything_works_on(
    near: &TcpStream,
    far: &TcpStream,
    file: &File,
    cell: &ReplicatedCell<u64>,
) -> io::Result<()> {
    let sent = pattern(100_000);
    let sending = near.send_all(sent.clone());
    let receiving = async {
        let mut got = Vec::new();
        while got.len() < sent.len() {
            got.extend_from_slice(&far.recv().await?);
        }
        Ok::<_, io::Error>(got)
    };
    let (outcome, got) = futures::future::join(sending, receiving).await;
    outcome.result?;
    assert!(got? == sent);
    assert_eq!(file.read_at(Vec::with_capacity(4), 0).await.buffer.unwrap(), b"\x7fELF");
    sleep(Duration::from_millis(1)).await;
    let (told, hears) = oneshot::channel();
    let due = Instant::now() + Duration::from_millis(1);
    machine::once(due, move || _ = told.send(7)).await.map_err(io::Error::other)?;
    assert_eq!(hears.await, Ok(7));
    assert_eq!(spawn_blocking(|| 7).await?, 7);
    cell.set(cell.get().wrapping_add(1)).await.map_err(io::Error::other)?;
    let seen = on_each_core({
        let cell = cell.clone();
        move || {
            let cell = cell.clone();
            async move { *cell.get() }
        }
    });
    for seen in seen {
        assert_eq!(seen.await?, *cell.get());
    }
    Ok(())
}

async fn a_day() -> io::Result<()> {
    let folder = Folder::new("shortage");
    let (near, far) = pair().await?;
    let address = std::net::TcpListener::bind("127.0.0.1:0")?;
    let file = File::open("/proc/self/exe").await?;
    let cell = ReplicatedCell::new(0_u64).await.map_err(io::Error::other)?;
    let before = census().descriptors;
    everything_is_had(&folder).await?;
    for _ in 0..3 {
        // What was dropped is closed a little later.
        while census().descriptors != before {
            sleep(Duration::from_millis(1)).await;
        }
        let hoarded = hoard();
        assert!(hoarded.len() > 50);
        everything_is_refused(&folder, address.local_addr()?).await;
        // There, as here.
        let refused = spawn_on(CoreId::new(1), || TcpListener::bind("127.0.0.1:0"));
        is_out("on another core", refused.await?);
        everything_works_on(&near, &far, &file, &cell).await?;
        drop(hoarded);
        everything_is_had(&folder).await?;
    }
    Ok(())
}

#[test]
fn without_descriptors_each_says_so_and_what_is_open_works_on() {
    alone("shortage::without_descriptors_each_says_so_and_what_is_open_works_on", || {
        let limit = libc::rlimit { rlim_cur: 256, rlim_max: 256 };
        // SAFETY: it reads one valid structure.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
        let _listener = signal(SignalKind::user_defined1()).unwrap();
        let before = census();
        assert_eq!(DRIVERS.len(), 2);
        on_both(2, a_day);
        until_as_before(&before, "after both drivers");
    });
}
