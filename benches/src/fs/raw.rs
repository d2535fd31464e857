//! A hand-written io_uring loop: no runtime, no futures, no tasks. The limit that the others are held against.
//!
//! All reads that came are looked at and asked for anew, then the kernel is entered once. In a second form the ring knows file
//! and buffers beforehand.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::types::{Fd, Fixed};
use io_uring::{IoUring, opcode, squeue};

use super::{BLOCK, IN_FLIGHT, Plan, Walk};
use crate::harness::uring;
use crate::servers::Cores::One;
use crate::servers::Protocol::Fs;
use crate::servers::{Job, Server};

pub(super) const SERVERS: &[Server] = &[
    Server { name: "raw", cores: One, protocols: &[Fs], run: plain },
    Server { name: "raw-registered", cores: One, protocols: &[Fs], run: registered },
];

fn plain(job: &Job) -> io::Result<()> {
    run(job, false)
}

fn registered(job: &Job) -> io::Result<()> {
    run(job, true)
}

/// The block that is being read, and where to.
struct Reader {
    walk: Walk,
    number: u64,
    /// Leaked, because a ring that closes does not wait for its reads.
    block: *mut u8,
}

impl AsRef<Walk> for Reader {
    fn as_ref(&self) -> &Walk {
        &self.walk
    }
}

fn run(job: &Job, is_registered: bool) -> io::Result<()> {
    let plan = Plan::of(job)?;
    let file = File::open(&plan.path)?;
    let blocks = vec![0_u8; BLOCK * IN_FLIGHT].leak().as_mut_ptr();
    // SAFETY: within the memory just made.
    let block = |number| unsafe { blocks.add(number * BLOCK) };
    let mut ring = uring::ring(64)?;
    if is_registered {
        ring.submitter().register_files(&[file.as_raw_fd()])?;
        let whole = libc::iovec { iov_base: blocks.cast(), iov_len: BLOCK * IN_FLIGHT };
        // SAFETY: leaked, and so valid for as long as the ring lives.
        unsafe { ring.submitter().register_buffers(&[whole])? };
    }
    let fd = (!is_registered).then(|| file.as_raw_fd());
    let readers = plan.walks().enumerate().map(|(n, walk)| Reader { walk, number: 0, block: block(n) });
    super::serve(job, readers.collect(), |readers| burst(&mut ring, fd, readers))
}

/// Reads until the time is over. Without a descriptor it is the registered file.
fn burst(ring: &mut IoUring, fd: Option<RawFd>, mut readers: Vec<Reader>) -> io::Result<Vec<Reader>> {
    for (place, reader) in readers.iter_mut().enumerate() {
        reader.ask(ring, fd, place)?;
    }
    let mut in_flight = readers.len();
    let mut came = Vec::with_capacity(IN_FLIGHT);
    while in_flight > 0 {
        match ring.submit_and_wait(1) {
            Err(error) if error.raw_os_error() != Some(libc::EINTR) => return Err(error),
            _ => {}
        }
        came.extend(ring.completion().map(|entry| (entry.user_data() as usize, entry.result())));
        for (place, result) in came.drain(..) {
            let reader = &mut readers[place];
            reader.came(result)?;
            if super::is_over() {
                in_flight -= 1;
            } else {
                reader.ask(ring, fd, place)?;
            }
        }
    }
    Ok(readers)
}

impl Reader {
    fn ask(&mut self, ring: &mut IoUring, fd: Option<RawFd>, place: usize) -> io::Result<()> {
        self.number = self.walk.next();
        let (offset, length) = (super::offset(self.number), BLOCK as u32);
        let read: squeue::Entry = match fd {
            Some(fd) => opcode::Read::new(Fd(fd), self.block, length).offset(offset).build(),
            None => opcode::ReadFixed::new(Fixed(0), self.block, length, 0).offset(offset).build(),
        };
        // SAFETY: the block is leaked and not looked at before the completion; the file is open as long as the ring is.
        unsafe { uring::push(ring, &read.user_data(place as u64)) }
    }

    fn came(&mut self, result: i32) -> io::Result<()> {
        let length = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))?;
        // SAFETY: the completion says so, and no read is under way.
        let block = unsafe { std::slice::from_raw_parts(self.block, length.min(BLOCK)) };
        self.walk.came(block, self.number)
    }
}
