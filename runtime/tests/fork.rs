//! A child made by fork(2) that does not become another program: to drop what is the runtime's is inert there, and the parent
//! goes on as if nothing had been. Alone in its process, so that no other thread is in the middle of something at the fork.
#![cfg(not(loom))]

mod support;

use std::future::Future;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::{Pin, pin};
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};

use multikernel::fs::File;
use multikernel::io::unix::AsyncFd;
use multikernel::net::{RecvBuf, TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};
use multikernel::process::{Child, Command};
use multikernel::runtime::Builder;
use multikernel::task::{JoinHandle, yield_now};
use multikernel::time::{Duration, Instant, Sleep, sleep};
use multikernel::{CoreId, spawn_on};

use crate::support::{DRIVERS, Folder, PATIENCE, assert_driver, on_both, poll_once, read_exact, write_all};

fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forks. The child drops the objects and ends; the parent sees it end well, and has them back.
fn drop_in_a_child<T>(objects: T) -> T {
    // SAFETY: the child has this thread only. It does nothing but drop what the runtime promises to be droppable there, which
    // frees memory (glibc holds no lock of its own across a fork), and call functions that are safe after one.
    unsafe {
        match libc::fork() {
            -1 => panic!("{}", io::Error::last_os_error()),
            0 => {
                libc::alarm(PATIENCE.as_secs() as u32); // it may not wait for threads that it does not have
                let dropped = catch_unwind(AssertUnwindSafe(|| drop(objects)));
                libc::_exit(i32::from(dropped.is_err()))
            }
            child => {
                let mut status = 0;
                assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
                let status = ExitStatus::from_raw(status);
                assert!(status.success(), "the child, in which everything was dropped: {status}");
                objects
            }
        }
    }
}

/// More than the buffers of a connection hold.
const LARGE: usize = 16 << 20;

/// One of each, most of them in the middle of something.
struct Everything {
    /// Their readers wait.
    quiet: (TcpStream, TcpStream),
    unix: (UnixStream, UnixStream),
    udp: UdpSocket,
    pipe: (AsyncFd<PipeReader>, PipeWriter),
    /// Its core receives ahead, if it has a ring.
    streaming: (TcpStream, TcpStream),
    received: RecvBuf,
    tcp_listener: TcpListener,
    unix_listener: UnixListener,
    /// A send that goes on until its peer has read all.
    sending: (Pin<Box<dyn Future<Output = bool>>>, TcpStream),
    file: File,
    process: Child,
    /// Here, and on another core.
    sleeps: [Pin<Box<Sleep>>; 2],
    task: JoinHandle<u8>,
    elsewhere: JoinHandle<u8>,
}

async fn pair(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    let near = TcpStream::connect(listener.local_addr()?).await?;
    Ok((near, listener.accept().await?.0))
}

/// Lets a future begin to wait, and gives it up.
async fn begin(future: impl Future) {
    let mut future = pin!(future);
    assert!(poll_once(&mut future.as_mut()).await.is_pending());
}

async fn everything(path: &Path) -> io::Result<Everything> {
    let tcp_listener = TcpListener::bind("127.0.0.1:0").await?;
    let unix_listener = UnixListener::bind(path)?;
    begin(unix_listener.accept()).await;
    let (quiet, streaming) = (pair(&tcp_listener).await?, pair(&tcp_listener).await?);
    begin(tcp_listener.accept()).await;
    begin(quiet.0.readable()).await;
    let unix = UnixStream::pair()?;
    begin(unix.0.readable()).await;
    let udp = UdpSocket::bind("127.0.0.1:0").await?;
    begin(udp.readable()).await;
    let (reader, writer) = io::pipe()?;
    // SAFETY: takes no pointers.
    assert_eq!(unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }, 0);
    let pipe = (AsyncFd::new(reader)?, writer);
    begin(pipe.0.readable()).await;
    write_all(&streaming.1, b"first").await?;
    let received = streaming.0.recv().await?;
    begin(streaming.0.recv()).await;
    let (near, far) = pair(&tcp_listener).await?;
    let mut send: Pin<Box<dyn Future<Output = bool>>> =
        Box::pin(async move { near.send_all(vec![7; LARGE]).await.result.is_ok() });
    begin(send.as_mut()).await;
    let sending = (send, far);
    let file = File::open("/proc/self/exe").await?;
    assert_eq!(file.read_at(Vec::with_capacity(4), 0).await.result?, 4);
    let process = Command::new("sleep").arg("1000").kill_on_drop(true).spawn()?;
    #[expect(clippy::async_yields_async, reason = "it goes on sleeping")]
    let begun = || async {
        let mut sleep = Box::pin(sleep(Duration::from_millis(50)));
        begin(sleep.as_mut()).await;
        sleep
    };
    let sleeps = [begun().await, spawn_on(CoreId::new(1), begun).await?];
    let answer = || async {
        yield_now().await;
        7
    };
    let (task, elsewhere) = (spawn_on(CoreId::new(0), answer), spawn_on(CoreId::new(1), answer));
    Ok(Everything {
        quiet,
        unix,
        udp,
        pipe,
        streaming,
        received,
        tcp_listener,
        unix_listener,
        sending,
        file,
        process,
        sleeps,
        task,
        elsewhere,
    })
}

/// What waited is woken, what was open is open, and who lived lives.
async fn still_works(mut all: Everything, path: &Path) -> io::Result<()> {
    let mut bytes = [0; 4];
    write_all(&all.quiet.1, b"ping").await?;
    read_exact(&all.quiet.0, &mut bytes).await?;
    write_all(&all.quiet.0, b"pong").await?;
    read_exact(&all.quiet.1, &mut bytes).await?;
    assert_eq!(&bytes, b"pong");
    assert_eq!(all.unix.1.try_write(b"unix")?, 4);
    all.unix.0.readable().await?;
    assert_eq!(all.unix.0.try_read(&mut bytes)?, 4);
    all.udp.send_to(b"self", all.udp.local_addr()?).await?;
    assert_eq!(all.udp.recv(&mut bytes).await?, 4);
    all.pipe.1.write_all(b"pipe")?;
    let read = |pipe: &PipeReader| {
        let mut pipe = pipe;
        pipe.read(&mut bytes)
    };
    assert_eq!(all.pipe.0.async_io(multikernel::io::Interest::READABLE, read).await?, 4);
    assert_eq!(&all.received[..], b"first");
    write_all(&all.streaming.1, b"second").await?;
    assert_eq!(&all.streaming.0.recv().await?[..], b"second");
    let (send, far) = all.sending;
    let receive = async {
        let mut received = vec![0; LARGE];
        read_exact(&far, &mut received).await?;
        io::Result::Ok(received)
    };
    let (is_sent, received) = futures::future::join(send, receive).await;
    assert!(is_sent && received? == vec![7; LARGE]);
    drop(pair(&all.tcp_listener).await?);
    let near = UnixStream::connect(path).await?;
    drop((all.unix_listener.accept().await?, near));
    let magic = all.file.read_at(Vec::with_capacity(4), 0).await;
    assert_eq!((magic.result?, &magic.buffer.unwrap()[..]), (4, &b"\x7fELF"[..]));
    for sleep in all.sleeps {
        sleep.await;
    }
    assert_eq!((all.task.await?, all.elsewhere.await?), (7, 7));
    assert!(all.process.try_wait()?.is_none(), "nobody has killed it");
    all.process.kill().await
}

#[test]
fn what_is_dropped_in_a_child_is_unharmed_in_the_parent() {
    let _one = one_at_a_time();
    on_both(2, || async {
        let folder = Folder::new("fork");
        let path = folder.join("socket");
        let all = drop_in_a_child(everything(&path).await?);
        still_works(all, &path).await
    });
}

#[test]
fn a_runtime_that_is_dropped_in_a_child_runs_on_in_the_parent() {
    let _one = one_at_a_time();
    for (driver, kind) in DRIVERS {
        let runtime = Builder::new_test().cores(2).driver(driver).build().unwrap();
        assert_driver(runtime.handle(), kind);
        // A thread for blocking calls, too.
        runtime.block_on(runtime.spawn_blocking(|| ())).unwrap();
        let runtime = drop_in_a_child(runtime);
        let start = Instant::now();
        let slept = runtime.spawn(async move {
            sleep(Duration::from_millis(1)).await;
            start.elapsed()
        });
        assert!(runtime.block_on(slept).unwrap() >= Duration::from_millis(1));
        assert_eq!(runtime.block_on(runtime.spawn_blocking(|| 7)).unwrap(), 7);
        drop(runtime); // in which its threads are joined
    }
}
