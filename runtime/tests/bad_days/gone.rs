//! A pipe or a connection whose other end is gone, in every state that it can be in: the end or an error, and no signal.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::process::Stdio;

use multikernel::io::unix::AsyncFd;
use multikernel::net::{TcpStream, UnixStream};
use multikernel::process::Command;
use multikernel::runtime::{Builder, Handle};
use multikernel::task::yield_now;
use multikernel::time::timeout;
use multikernel::{CoreId, spawn_on};

use crate::common::{
    Alive, Buffer, DRIVERS, PATIENCE, alone, assert_driver, census, poll_once, until_as_before,
};
use crate::sockets::pair;
use crate::support::own_address;

/// More than a socket or a pipe takes without a reader.
const TOO_MUCH: usize = 16 << 20;

fn on_broken_pipes(action: libc::sighandler_t) {
    // SAFETY: both actions that it is called with are valid, and no handler.
    unsafe { libc::signal(libc::SIGPIPE, action) };
}

fn is_broken(what: &str, result: io::Result<()>) {
    let error = result.expect_err(what);
    let kinds = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    assert!(kinds.contains(&error.kind()), "{what}: {error:?}");
}

/// Waits, has `end` happen, and gives what comes of it.
async fn when<F: Future>(what: &str, waits: F, end: impl FnOnce()) -> F::Output {
    let mut waits: Pin<&mut F> = pin!(waits);
    for _ in 0..3 {
        assert!(poll_once(&mut waits).await.is_pending(), "{what} has nothing to wait for");
        yield_now().await;
    }
    end();
    waits.await
}

/// What has waited when the other end goes, and what comes afterwards.
macro_rules! streams {
    ($name:ident, $pair:expr, $what:expr) => {
        async fn $name(buffers: &Alive) -> io::Result<()> {
            let (near, far) = $pair;
            assert!(when("recv", near.recv(), move || drop(far)).await?.is_empty());
            let (near, far) = $pair;
            when("readable", near.readable(), move || drop(far)).await?;
            assert_eq!(near.try_read(&mut [0; 8])?, 0);
            let (near, far) = $pair;
            let sending = near.send_all(Buffer::new(vec![1; TOO_MUCH], buffers));
            let sent = when("send_all", sending, move || drop(far)).await;
            is_broken($what, sent.result);
            assert!(sent.buffer.is_some(), "it comes back");
            // Once it is known, each later attempt says so, and more than once.
            for _ in 0..3 {
                is_broken($what, near.send_all(Buffer::new(vec![1; 10], buffers)).await.result);
                is_broken($what, near.try_write(b"x").map(drop));
            }
            // The half of another core.
            let (near, far) = $pair;
            let (reader, writer) = near.into_split();
            let reading = spawn_on(CoreId::new(1), move || async move { reader.as_ref().recv().await });
            let sending = writer.as_ref().send_all(Buffer::new(vec![1; TOO_MUCH], buffers));
            is_broken($what, when("a half", sending, move || drop(far)).await.result);
            // The end, or the reset that says that it did not read all.
            let read = reading.await?;
            assert!(
                read.map_or_else(
                    |error| error.kind() == ErrorKind::ConnectionReset,
                    |bytes| bytes.is_empty()
                )
            );
            Ok(())
        }
    };
}

streams!(tcp, pair().await?, "TCP");
streams!(unix, UnixStream::pair()?, "Unix");

async fn pipes(buffers: &Alive) -> io::Result<()> {
    // A child that closes both ends and lives on.
    let mut command = Command::new("sh");
    command.args(["-c", "read x; exec <&- >&-; exec sleep 1000"]).kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let mut reading = pin!(output.recv());
    assert!(poll_once(&mut reading).await.is_pending());
    let sent = input.send_all(Buffer::new(vec![b'\n'; TOO_MUCH], buffers)).await;
    is_broken("a child's input", sent.result);
    assert!(sent.buffer.is_some());
    assert!(reading.await?.is_empty());
    child.kill().await?;
    // A pipe of one's own.
    let (reader, writer) = std::io::pipe()?;
    let (reader, writer) = (OwnedFd::from(reader), AsyncFd::new(OwnedFd::from(writer))?);
    drop(reader);
    drop(writer.writable().await?);
    let (reader, writer) = std::io::pipe()?;
    let reader = AsyncFd::new(OwnedFd::from(reader))?;
    drop(when("a pipe", reader.readable(), move || drop(writer)).await?);
    Ok(())
}

async fn without_a_copy(buffers: &Alive) -> io::Result<()> {
    let (near, far) = pair().await?;
    let sending = near.send_zero_copy(Buffer::new(vec![1; TOO_MUCH], buffers));
    let sent = when("send_zero_copy", sending, move || drop(far)).await;
    is_broken("without a copy", sent.result);
    assert!(sent.buffer.is_some(), "it comes back");
    is_broken("again", near.send_zero_copy(Buffer::new(vec![1; TOO_MUCH], buffers)).await.result);
    Ok(())
}

/// The peer has sent, and is gone before any of it was read: all of it is there.
async fn what_was_sent_before_is_there() -> io::Result<()> {
    let (near, far) = pair().await?;
    far.send_all(vec![5; 100_000]).await.result?;
    drop(far);
    let mut got = 0;
    loop {
        let bytes = near.recv().await?;
        assert!(bytes.iter().all(|byte| *byte == 5));
        got += bytes.len();
        if bytes.is_empty() {
            break;
        }
    }
    assert_eq!(got, 100_000);
    let nobody = {
        let listener = std::net::TcpListener::bind(own_address())?;
        listener.local_addr()?
    };
    assert_eq!(TcpStream::connect(nobody).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    Ok(())
}

#[test]
fn the_other_end_goes_and_each_that_waits_is_told() {
    alone("gone::the_other_end_goes_and_each_that_waits_is_told", || {
        // The thread that handles signals stays once it is there.
        let _listener = multikernel::signal::unix::signal(multikernel::signal::unix::SignalKind::child());
        let before = census();
        for (driver, kind) in DRIVERS {
            for _ in 0..3 {
                let buffers = Alive::default();
                let all = buffers.clone();
                let run = Builder::new_test().cores(2).driver(driver).run(|| async move {
                    assert_driver(&Handle::current(), kind);
                    let day = async {
                        // Sockets raise no signal; it would end the process.
                        on_broken_pipes(libc::SIG_DFL);
                        tcp(&all).await?;
                        without_a_copy(&all).await?;
                        unix(&all).await?;
                        // Pipes cannot be told so. Rust programs ignore it.
                        on_broken_pipes(libc::SIG_IGN);
                        pipes(&all).await?;
                        what_was_sent_before_is_there().await
                    };
                    timeout(PATIENCE, day).await
                });
                run.unwrap().expect("it hangs").unwrap();
                assert_eq!(buffers.count(), 0);
                until_as_before(&before, &kind.to_string());
            }
        }
    });
}
