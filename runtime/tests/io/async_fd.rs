//! Waiting for descriptors that others opened.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use multikernel::io::unix::AsyncFd;
use multikernel::io::{Interest, Ready};
use multikernel::task::yield_now;
use multikernel::{spawn_on, time};

use crate::common::{alone, descriptors, give_up_after, on_both, poll_once};

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(result: i32) -> io::Result<OwnedFd> {
    // SAFETY: the system call that gave it has just opened it.
    check(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) }).map(drop)
}

fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    set_nonblocking(reader.as_raw_fd())?;
    set_nonblocking(writer.as_raw_fd())?;
    Ok((reader, writer))
}

async fn read(fd: &AsyncFd<File>) -> io::Result<Vec<u8>> {
    let mut buf = vec![0; 512];
    loop {
        let mut guard = fd.readable().await?;
        if let Ok(result) = guard.try_io(|fd| fd.get_ref().read(&mut buf)) {
            buf.truncate(result?);
            return Ok(buf);
        }
    }
}

#[test]
fn pipes_bring_bytes_room_and_the_end() {
    on_both(1, || async {
        let (reader, writer) = pipe()?;
        let (reader, writer) = (AsyncFd::new(reader)?, AsyncFd::new(writer)?);
        let mut waiting = Box::pin(reader.readable());
        assert!(poll_once(&mut waiting.as_mut()).await.is_pending());
        assert_eq!(writer.async_io(Interest::WRITABLE, |mut pipe| pipe.write(b"ping")).await?, 4);
        assert!(waiting.await?.ready().is_readable());
        let mut buf = [0; 8];
        assert_eq!(reader.async_io(Interest::READABLE, |mut pipe| pipe.read(&mut buf)).await?, 4);
        // Until there is no room any more; then whoever reads makes some.
        while writer.try_io(Interest::WRITABLE, |mut pipe| pipe.write(&[7; 4096])).is_ok() {}
        let mut waiting = Box::pin(writer.writable());
        assert!(poll_once(&mut waiting.as_mut()).await.is_pending());
        while reader.get_ref().read(&mut [0; 4096]).is_ok() {}
        drop(waiting.await?);
        drop(writer);
        let end = reader.async_io(Interest::READABLE, |mut pipe| pipe.read(&mut buf)).await?;
        assert_eq!(end, 0);
        Ok(())
    });
}

#[test]
fn eventfds_timerfds_and_inotify_are_waited_for() {
    on_both(1, || async {
        // SAFETY: takes no pointers.
        let event = AsyncFd::new(File::from(owned(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK) })?))?;
        let mut reading = Box::pin(read(&event));
        assert!(poll_once(&mut reading.as_mut()).await.is_pending());
        event.get_ref().write_all(&7_u64.to_ne_bytes())?;
        assert_eq!(reading.await?, 7_u64.to_ne_bytes());

        // SAFETY: takes no pointers.
        let timer = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK) };
        let timer = AsyncFd::new(File::from(owned(timer)?))?;
        let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let soon =
            libc::itimerspec { it_interval: zero, it_value: libc::timespec { tv_sec: 0, tv_nsec: 1000 } };
        // SAFETY: `soon` lives across the call, and nothing is to be written back.
        check(unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &soon, std::ptr::null_mut()) })?;
        assert_eq!(read(&timer).await?, 1_u64.to_ne_bytes());

        // SAFETY: takes no pointers.
        let watch = AsyncFd::new(File::from(owned(unsafe { libc::inotify_init1(libc::IN_NONBLOCK) })?))?;
        let folder = std::env::temp_dir().join(format!("multikernel-inotify-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let path = std::ffi::CString::new(folder.to_str().expect("a plain name"))?;
        // SAFETY: `path` ends in zero and lives across the call.
        check(unsafe { libc::inotify_add_watch(watch.as_raw_fd(), path.as_ptr(), libc::IN_CREATE) })?;
        let mut reading = Box::pin(read(&watch));
        assert!(poll_once(&mut reading.as_mut()).await.is_pending());
        std::fs::write(folder.join("news"), b"")?;
        let got = reading.await?;
        std::fs::remove_dir_all(&folder)?;
        assert!(got.windows(4).any(|name| name == b"news"));
        Ok(())
    });
}

#[test]
fn what_is_always_ready_is_refused_alike_on_both_drivers() {
    on_both(1, || async {
        let files = ["/proc/self/exe", "/", "/dev/null"];
        for name in files {
            let (file, error) = AsyncFd::try_new(File::open(name)?).unwrap_err().into_parts();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{name}");
            assert!(error.to_string().contains("always ready"), "{error}");
            file.metadata()?;
            assert!(AsyncFd::new(file).is_err());
        }
        // A regular file by its kind, but one that has news now and then.
        drop(AsyncFd::new(File::open("/proc/self/mounts")?)?);
        let refused = AsyncFd::try_new(-1).unwrap_err();
        assert_eq!(refused.into_parts().1.raw_os_error(), Some(libc::EBADF));
        Ok(())
    });
}

#[test]
fn what_is_not_watched_for_is_refused() {
    on_both(1, || async {
        let (reader, _writer) = pipe()?;
        let reader = AsyncFd::with_interest(reader, Interest::READABLE)?;
        let error = reader.writable().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let tried = reader.try_io(Interest::WRITABLE, |_| Ok(()));
        assert_eq!(tried.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(!give_up_after(2, reader.ready(Interest::READABLE | Interest::WRITABLE)).await);
        Ok(())
    });
}

#[test]
fn readiness_stays_until_it_is_cleared_and_news_are_not_cleared_with_it() {
    on_both(1, || async {
        let (reader, mut writer) = pipe()?;
        let reader = AsyncFd::new(reader)?;
        writer.write_all(b"a")?;
        reader.readable().await?.retain_ready();
        let mut guard = reader.readable().await?;
        assert_eq!(guard.ready(), Ready::READABLE);
        // An event that comes in while the guard lives is news.
        writer.write_all(b"b")?;
        for _ in 0..3 {
            time::sleep(Duration::from_millis(1)).await;
        }
        guard.clear_ready();
        assert!(guard.ready().is_empty());
        let mut guard = reader.readable().await?;
        guard.clear_ready();
        // Two bytes are there, but nothing new: only a change is an event.
        assert!(!give_up_after(3, reader.readable()).await);
        writer.write_all(b"c")?;
        drop(reader.readable().await?);
        Ok(())
    });
}

#[test]
fn all_that_waits_can_be_dropped_where_it_waits() {
    on_both(2, || async {
        for waits in 1..4 {
            let (near, mut far) = UnixStream::pair()?;
            near.set_nonblocking(true)?;
            while (&near).write(&[1; 4096]).is_ok() {}
            let mut near = AsyncFd::new(near)?;
            let never = |_: &UnixStream| io::Result::<()>::Err(ErrorKind::WouldBlock.into());
            assert!(!give_up_after(waits, near.readable()).await);
            assert!(!give_up_after(waits, near.writable()).await);
            assert!(!give_up_after(waits, near.ready(Interest::READABLE | Interest::WRITABLE)).await);
            assert!(!give_up_after(waits, near.async_io(Interest::READABLE, never)).await);
            assert!(!give_up_after(waits, near.readable_mut()).await);
            assert!(!give_up_after(waits, near.writable_mut()).await);
            assert!(!give_up_after(waits, near.async_io_mut(Interest::WRITABLE, |near| never(near))).await);
            assert!(!give_up_after(waits, poll_fn(|cx| near.poll_read_ready_mut(cx).map(drop))).await);
            assert!(!give_up_after(waits, poll_fn(|cx| near.poll_write_ready_mut(cx).map(drop))).await);
            far.write_all(b"x")?;
            let mut byte = [0];
            near.async_io_mut(Interest::READABLE, |near| near.read(&mut byte)).await?;
            assert_eq!(&byte, b"x");
        }
        Ok(())
    });
}

#[test]
fn several_cores_wait_at_once_and_the_file_is_given_back_after_all() {
    on_both(2, || async {
        let (reader, mut writer) = pipe()?;
        let number = reader.as_raw_fd();
        let reader = Arc::new(AsyncFd::new(reader)?);
        let cores: Vec<_> = multikernel::cores().collect();
        let tasks: Vec<_> = cores
            .into_iter()
            .map(|core| {
                let reader = reader.clone();
                spawn_on(core, move || async move {
                    reader.async_io(Interest::READABLE, |mut pipe| pipe.read(&mut [0; 1])).await
                })
            })
            .collect();
        for _ in 0..20 {
            yield_now().await;
        }
        writer.write_all(b"ab")?;
        for task in tasks {
            assert_eq!(task.await.unwrap()?, 1);
        }
        let reader = Arc::into_inner(reader).expect("the tasks are over").into_inner();
        assert_eq!(reader.as_raw_fd(), number);
        drop(reader);
        // The other core lets go a moment later; then nobody reads.
        loop {
            match writer.write(b"x") {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                _ => time::sleep(Duration::from_millis(1)).await,
            }
        }
    });
}

#[test]
fn the_last_reader_is_gone_when_the_value_is() {
    on_both(1, || async {
        for given_back in [false, true] {
            let (reader, mut writer) = pipe()?;
            let reader = AsyncFd::new(reader)?;
            assert!(!give_up_after(2, reader.readable()).await);
            if given_back {
                drop(reader.into_inner())
            } else {
                drop(reader)
            }
            assert_eq!(writer.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        }
        Ok(())
    });
}

/// Closed behind the back of its owner, which must not close it again.
struct ClosedByOthers(RawFd);

impl AsRawFd for ClosedByOthers {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

#[test]
fn a_descriptor_closed_by_somebody_else_is_not_taken_for_its_number_s_next_owner() {
    on_both(1, || async {
        let (reader, mut writer) = pipe()?;
        let foreign = AsyncFd::new(ClosedByOthers(reader.as_raw_fd()))?;
        let mut waiting = Box::pin(foreign.readable());
        assert!(poll_once(&mut waiting.as_mut()).await.is_pending());
        drop(reader);
        // Likely to get the number just freed.
        let (_next, mut next_writer) = pipe()?;
        next_writer.write_all(b"not for it")?;
        for _ in 0..5 {
            yield_now().await;
        }
        assert!(poll_once(&mut waiting.as_mut()).await.is_pending());
        writer.write_all(b"for it")?;
        let ready = waiting.await?.ready();
        assert!(ready.is_readable());
        Ok(())
    });
}

#[test]
fn guests_wait_too() {
    let runtime = multikernel::runtime::Builder::new_test().build().unwrap();
    runtime.block_on(async {
        let (reader, mut writer) = pipe().unwrap();
        let reader = AsyncFd::new(reader).unwrap();
        let first = poll_fn(|cx| Poll::Ready(reader.poll_read_ready(cx).is_pending())).await;
        assert!(first);
        let late = runtime.spawn(async move { writer.write_all(b"x").map(|()| writer) });
        let mut guard = reader.readable().await.unwrap();
        assert_eq!(guard.try_io(|fd| fd.get_ref().read(&mut [0; 4])).unwrap().unwrap(), 1);
        drop(late.await.unwrap().unwrap());
    });
}

#[test]
fn every_descriptor_comes_back() {
    // In a process of its own: other tests open and close descriptors meanwhile.
    alone("async_fd::inner_descriptors", "every descriptor came back");
}

#[test]
#[ignore = "run by another test, alone in its process"]
fn inner_descriptors() {
    on_both(1, || async {
        let before = descriptors();
        for waits in 0..10 {
            let (reader, writer) = pipe()?;
            let (reader, writer) = (AsyncFd::new(reader)?, AsyncFd::new(writer)?);
            assert_eq!(descriptors(), before + 4);
            give_up_after(waits, reader.readable()).await;
            give_up_after(waits, writer.writable()).await;
            drop(writer);
            let reader = reader.into_inner();
            assert_eq!(descriptors(), before + 1);
            drop(reader);
            assert!(AsyncFd::new(File::open("/proc/self/exe")?).is_err());
            assert_eq!(descriptors(), before);
        }
        Ok(())
    });
    println!("every descriptor came back");
}
