//! A task that always finds its sockets, files, pipes and signals ready lets the others run, unless it asks not to.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::TcpStream as StdTcpStream;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Stdio;
use std::rc::Rc;

use multikernel::io::Interest;
use multikernel::io::unix::AsyncFd;
use multikernel::net::{TcpListener, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use multikernel::process::Command;
use multikernel::signal::unix::{SignalKind, signal};
use multikernel::spawn_local;
use multikernel::task::{unconstrained, yield_now};

use crate::coop::assert_lets_others_run;
use crate::support::{Folder, on_both};

/// Holds that `step`, over and over, ends after the budget, and does not where there is none.
async fn assert_takes_budget<F: Future>(what: &str, mut step: impl FnMut() -> F) {
    assert_lets_others_run(what, &mut step).await;
    yield_now().await;
    let others = Rc::new(Cell::new(false));
    let seen = others.clone();
    let other = spawn_local(async move { seen.set(true) });
    unconstrained(async {
        for _ in 0..200 {
            step().await;
        }
    })
    .await;
    assert!(!others.get(), "{what} waits though it is unconstrained");
    other.await.unwrap();
}

#[test]
fn udp_sockets_take_budget() {
    on_both(1, || async {
        let near = UdpSocket::bind("127.0.0.1:0").await?;
        let far = UdpSocket::bind("127.0.0.1:0").await?;
        far.connect(near.local_addr()?).await?;
        let (near, far, from) = (&near, &far, far.local_addr()?);
        assert_takes_budget("recv", || async {
            far.try_send(b"x").unwrap();
            assert_eq!(near.recv(&mut [0; 8]).await.unwrap(), 1);
        })
        .await;
        assert_takes_budget("recv_from", || async {
            far.try_send(b"x").unwrap();
            assert_eq!(near.recv_from(&mut [0; 8]).await.unwrap(), (1, from));
        })
        .await;
        assert_takes_budget("send", || async { far.send(b"x").await.unwrap() }).await;
        near.readable().await?;
        assert_takes_budget("readable", || async { near.readable().await.unwrap() }).await;
        assert_takes_budget("peek_from", || async { near.peek_from(&mut [0]).await.unwrap() }).await;
        near.writable().await?;
        assert_takes_budget("writable", || async { near.writable().await.unwrap() }).await;
        let peek = || socket2::SockRef::from(near).peek(&mut []).map(drop);
        assert_takes_budget("async_io", || async {
            near.async_io(Interest::READABLE, peek).await.unwrap();
        })
        .await;
        Ok(())
    });
}

#[test]
fn unix_sockets_take_budget() {
    on_both(1, || async {
        let (near, far) = UnixDatagram::pair()?;
        assert_takes_budget("datagrams", || async {
            far.try_send(b"x").unwrap();
            assert_eq!(near.recv(&mut [0; 8]).await.unwrap(), 1);
        })
        .await;
        assert_takes_budget("sending datagrams", || async {
            assert_eq!(far.send(b"x").await.unwrap(), 1);
            near.try_recv(&mut [0; 8]).unwrap();
        })
        .await;
        let (near, far) = UnixStream::pair()?;
        far.writable().await?;
        assert_eq!(far.try_write(&[7; 1000])?, 1000);
        near.readable().await?;
        near.writable().await?;
        assert_takes_budget("readable", || async { near.readable().await.unwrap() }).await;
        assert_takes_budget("peek", || async { near.peek(&mut [0]).await.unwrap() }).await;
        assert_takes_budget("writable", || async { near.writable().await.unwrap() }).await;
        Ok(())
    });
}

#[test]
fn listeners_take_budget() {
    on_both(1, || async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        assert_takes_budget("TcpListener", || async {
            StdTcpStream::connect(address).unwrap();
            listener.accept().await.unwrap()
        })
        .await;
        let folder = Folder::new("coop");
        let listener = UnixListener::bind(folder.join("server.sock"))?;
        assert_takes_budget("UnixListener", || async {
            StdUnixStream::connect(folder.join("server.sock")).unwrap();
            listener.accept().await.unwrap()
        })
        .await;
        Ok(())
    });
}

#[test]
fn watched_descriptors_take_budget() {
    on_both(1, || async {
        let (near, far) = StdUnixStream::pair()?;
        near.set_nonblocking(true)?;
        let near = AsyncFd::new(near)?;
        io::Write::write_all(&mut &far, &[7; 1000])?;
        drop((near.readable().await?, near.writable().await?));
        assert_takes_budget("readable", || async { near.readable().await.unwrap().retain_ready() }).await;
        assert_takes_budget("writable", || async { near.writable().await.unwrap().retain_ready() }).await;
        let read = |mut near: &StdUnixStream| io::Read::read(&mut near, &mut [0]);
        assert_takes_budget("async_io", || async {
            assert_eq!(near.async_io(Interest::READABLE, read).await.unwrap(), 1);
        })
        .await;
        Ok(())
    });
}

#[test]
fn signals_take_budget() {
    on_both(1, || async {
        let listener = Rc::new(std::cell::RefCell::new(signal(SignalKind::user_defined2())?));
        assert_takes_budget("a signal", || {
            // SAFETY: the call takes a number. Its handler is there, and has run when this returns.
            assert_eq!(unsafe { libc::raise(libc::SIGUSR2) }, 0);
            let listener = listener.clone();
            std::future::poll_fn(move |cx| listener.borrow_mut().poll_recv(cx))
        })
        .await;
        Ok(())
    });
}

#[test]
fn pipes_of_children_take_budget() {
    on_both(1, || async {
        // It reads nothing, and writes all it writes at once.
        let mut child = Command::new("sh")
            .args(["-c", "head -c 4000 /dev/zero; exec sleep 600"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        output.readable().await?;
        input.writable().await?;
        assert_takes_budget("readable", || async { output.readable().await.unwrap() }).await;
        assert_takes_budget("writable", || async { input.writable().await.unwrap() }).await;
        assert_takes_budget("send_all", || async { input.send_all(&b"x"[..]).await.result.unwrap() }).await;
        child.kill().await?;
        while !output.recv().await?.is_empty() {}
        assert_takes_budget("recv at the end", || async { output.recv().await.unwrap() }).await;
        Ok(())
    });
}

#[cfg(feature = "tokio")]
mod by_traits {
    use std::cell::RefCell;
    use std::io::SeekFrom;

    use multikernel::fs::File;
    use multikernel::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

    use super::*;
    use crate::common::give_up_after;

    /// Lends out what one step after the other needs alone.
    struct Lent<T>(RefCell<Option<T>>);

    impl<T> Lent<T> {
        fn new(value: T) -> Self {
            Lent(RefCell::new(Some(value)))
        }

        async fn with<R>(&self, step: impl AsyncFnOnce(&mut T) -> R) -> R {
            let mut value = self.0.take().expect("one step at a time");
            let result = step(&mut value).await;
            self.0.replace(Some(value));
            result
        }
    }

    #[test]
    fn streams_take_budget() {
        on_both(1, || async {
            let (near, far) = UnixStream::pair()?;
            let near = Lent::new(near);
            assert_takes_budget("read", || {
                far.try_write(b"x").unwrap();
                near.with(async |near| near.read_u8().await.unwrap())
            })
            .await;
            assert_takes_budget("write", || near.with(async |near| near.write_u8(7).await.unwrap())).await;
            Ok(())
        });
    }

    #[test]
    fn files_take_budget() {
        on_both(1, || async {
            let folder = Folder::new("coop");
            std::fs::write(folder.join("file"), [7; 4096])?;
            let mut file = File::open(folder.join("file")).await?;
            yield_now().await; // from here on with a budget for what begins a read
            // What was given up is in the file's buffer when the next read has come so far.
            while give_up_after(1, file.read(&mut [0; 4096])).await.is_some() {
                file.rewind().await?;
                yield_now().await;
            }
            assert_eq!(file.read_u8().await?, 7);
            let file = Lent::new(file);
            assert_takes_budget("read", || file.with(async |file| file.read_u8().await.unwrap())).await;
            assert_takes_budget("seek", || {
                file.with(async |file| file.seek(SeekFrom::Start(100)).await.unwrap())
            })
            .await;
            Ok(())
        });
    }

    #[test]
    fn reading_what_a_child_writes_takes_budget() {
        on_both(1, || async {
            let command = Command::new("sh")
                .args(["-c", "head -c 4000 /dev/zero; exec sleep 600"])
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn();
            let mut child = command?;
            let mut output = child.stdout.take().unwrap();
            output.read_exact(&mut [0; 1000]).await?;
            let output = Lent::new(output);
            assert_takes_budget("read", || output.with(async |output| output.read_u8().await.unwrap())).await;
            child.kill().await
        });
    }
}
