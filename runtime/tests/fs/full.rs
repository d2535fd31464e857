//! A disk that is full.

use std::ffi::CStr;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

use multikernel::fs::{self, File};

use crate::common::{on_both, pattern};
use crate::support::skip;

/// A small file system of its own, mounted nowhere: it ends with its descriptor.
struct SmallDisk(OwnedFd);

impl SmallDisk {
    fn new(size: &CStr) -> io::Result<SmallDisk> {
        const SET_STRING: i32 = 1;
        const CREATE: i32 = 6;
        let done = |result: libc::c_long| {
            if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
        };
        // SAFETY: all strings end with a zero and live across the calls; each number that is taken over is a new descriptor.
        unsafe {
            let context = done(libc::syscall(libc::SYS_fsopen, c"tmpfs".as_ptr(), 0))?;
            let context = OwnedFd::from_raw_fd(context);
            let key = c"size".as_ptr();
            done(libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), SET_STRING, key, size.as_ptr(), 0))?;
            let none = std::ptr::null::<libc::c_char>();
            done(libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), CREATE, none, none, 0))?;
            let root = done(libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), 0, 0))?;
            Ok(SmallDisk(OwnedFd::from_raw_fd(root)))
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }
}

fn small_disk() -> Option<SmallDisk> {
    SmallDisk::new(c"262144").inspect_err(|error| skip(format_args!("no file system to fill: {error}"))).ok()
}

#[test]
fn a_full_disk_is_an_error_and_what_was_confirmed_is_there() {
    on_both(1, |_| async move {
        let Some(disk) = small_disk() else { return Ok(()) };
        let file = File::create_new(disk.path("file")).await?;
        let block = pattern(10_000);
        let mut confirmed = 0;
        let error = loop {
            let written = file.write_at(block.clone(), confirmed as u64).await;
            match written.result {
                Ok(count) => confirmed += count,
                Err(error) => {
                    assert_eq!(written.buffer.unwrap(), block);
                    break error;
                }
            }
            // What is written in part goes on where it stopped.
            assert!(confirmed <= 262_144);
            if confirmed % 10_000 != 0 {
                break file.write_all_at(block.clone(), confirmed as u64).await.result.unwrap_err();
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(file.allocate(0, 1 << 20).await.unwrap_err().kind(), ErrorKind::StorageFull);
        let back = fs::read(disk.path("file")).await?;
        assert!(back.len() >= confirmed);
        assert!(back[..confirmed].chunks(10_000).all(|part| part == &block[..part.len()]));
        assert_eq!(fs::write(disk.path("other"), &block).await.unwrap_err().kind(), ErrorKind::StorageFull);
        file.set_len(0).await?;
        file.write_all_at(block, 0).await.result?;
        Ok(())
    });
}

#[cfg(feature = "tokio")]
#[test]
fn a_stream_tells_of_a_full_disk_with_the_flush_and_keeps_what_was_flushed() {
    use multikernel::io::AsyncWriteExt;
    on_both(1, |_| async move {
        let Some(disk) = small_disk() else { return Ok(()) };
        let block = pattern(10_000);
        let mut file = File::create_new(disk.path("file")).await?;
        let mut flushed = 0;
        let error = loop {
            file.write_all(&block).await?;
            match file.flush().await {
                Ok(()) => flushed += block.len(),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert!(flushed >= 200_000, "{flushed}");
        file.sync_all().await?;
        let back = fs::read(disk.path("file")).await?;
        assert!(back[..flushed].chunks(10_000).all(|part| part == block));
        // Without a flush in between: the next write tells.
        let told = async {
            loop {
                file.write_all(&block).await?;
            }
        };
        let error: io::Result<()> = told.await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::StorageFull);
        Ok(())
    });
}
