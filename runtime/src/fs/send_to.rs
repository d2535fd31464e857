//! Sending a file over a connection without a copy: sendfile(2).
//!
//! The call reads from memory what is there, and otherwise waits for the disk, on the thread that makes it. So a core looks
//! first, with a read that may not wait (`RWF_NOWAIT`) of the first and the last byte of the next piece. If one is missing, the
//! piece and some more are brought into memory on a thread for calls that block. Two bytes do not prove the rest: where memory is
//! so short that a piece loses its middle, a core may wait for the disk. The socket never blocks; readiness is waited for.
//!
//! sendfile(2) has no way to say that a connection which its peer has left is to be an error only, and no SIGPIPE. Rust programs
//! ignore that signal from the start.

use std::fs::File as StdFile;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::task::{Poll, ready};

use super::File;
use super::asyncify::asyncify;
use crate::limits::{SEND_PIECE_BYTES, SEND_WARM_BYTES};
use crate::net::TcpStream;

/// The memory of one page, or less: a step at which nothing is passed over.
const PAGE: u64 = 4096;

impl File {
    /// Sends up to `length` bytes of the file from `offset` on over a connection, and says how many. Moves `offset` along.
    ///
    /// Fewer are sent only if the file ends before. The bytes go from the system's memory to the socket without a copy. What is
    /// not in memory is read on a thread for calls that block. The file's position plays no part; flush before, if you have
    /// written through the stream.
    ///
    /// Until the peer has received them, the bytes are the file's own: what is written to that part of the file meanwhile, even after
    /// this has returned, may reach the peer instead. `io::copy` reads the file first.
    ///
    /// # Errors
    ///
    /// Those of the connection and of the file; `InvalidInput` for a file that sendfile(2) does not take. `offset` says how far it
    /// got.
    ///
    /// # Panics
    ///
    /// On a thread that is neither a core nor a guest.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped early, `offset` says exactly how much the system has taken, and nothing is sent afterwards.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::File;
    /// # use multikernel::net::{TcpListener, TcpStream};
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// # let path = std::env::temp_dir().join(format!("multikernel-send-{}", std::process::id()));
    /// # std::fs::write(&path, "hello, all")?;
    /// let file = File::open(&path).await?;
    /// let mut offset = 7;
    /// assert_eq!(file.send_to(&server, &mut offset, u64::MAX).await?, 3);
    /// assert_eq!(offset, 10);
    /// assert_eq!(&client.recv().await?[..], b"all");
    /// # std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn send_to(&self, stream: &TcpStream, offset: &mut u64, length: u64) -> io::Result<u64> {
        let start = *offset;
        let end = start.saturating_add(length).min(i64::MAX as u64);
        let mut warm_to = start;
        while *offset < end {
            let piece = (end - *offset).min(SEND_PIECE_BYTES);
            if *offset + piece > warm_to && !is_in_memory(self.shared(), *offset, piece) {
                let (file, from) = (self.shared().clone(), *offset);
                let most = (end - from).min(SEND_WARM_BYTES);
                // What fails here fails again below, and is reported there.
                asyncify(move || warm(&file, from, most)).await;
                warm_to = from + most;
            }
            let sent = poll_fn(|cx| {
                let sent = ready!(stream.io().poll_send_file(cx, self.shared(), *offset, piece as usize))?;
                // Within the poll, so that nothing is sent that is not counted.
                *offset += sent as u64;
                Poll::Ready(io::Result::Ok(sent))
            });
            if sent.await? == 0 {
                break;
            }
        }
        Ok(*offset - start)
    }
}

/// Whether reading the first and the last byte would not wait. Beyond the end of the file nothing does.
fn is_in_memory(file: &StdFile, offset: u64, length: u64) -> bool {
    [offset, offset + length - 1].into_iter().all(|offset| {
        let mut byte = 0_u8;
        let room = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        // SAFETY: one piece of memory that lives across the call.
        unsafe { libc::preadv2(file.as_raw_fd(), &room, 1, offset as i64, libc::RWF_NOWAIT) >= 0 }
    })
}

/// Brings a part of a file into memory. Blocks.
fn warm(file: &Arc<StdFile>, offset: u64, length: u64) {
    // SAFETY: takes no pointers. Advice may be refused.
    unsafe {
        libc::posix_fadvise64(file.as_raw_fd(), offset as i64, length as i64, libc::POSIX_FADV_WILLNEED);
    }
    let mut byte = [0];
    for at in (offset..offset + length).step_by(PAGE as usize) {
        if !matches!(std::os::unix::fs::FileExt::read_at(&**file, &mut byte, at), Ok(1)) {
            break;
        }
    }
}
