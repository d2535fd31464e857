//! `fs`: readers of one file that is in the page cache, each in its runtime's best form.
//!
//! A reader runs in a process of its own, as servers do, and reads when its client says so: so many bytes at random offsets,
//! so many reads in flight, until the time is over. It looks at each block it gets and tells the client how many were right.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::servers::{Job, Server};

mod compio;
mod glommio;
mod monoio;
mod multikernel;
mod raw;
mod tokio;

/// Bytes of a read.
pub const BLOCK: usize = 4096;
/// Reads at a time.
pub const IN_FLIGHT: usize = 32;
/// Bytes of a report: reads begun, reads that brought the right block, and nanoseconds.
pub const REPORT: usize = 24;

/// All readers, in the order of the tables.
pub(crate) const SERVERS: [&[Server]; 6] =
    [raw::SERVERS, tokio::SERVERS, monoio::SERVERS, glommio::SERVERS, compio::SERVERS, multikernel::SERVERS];

/// The time for reading is over. Read as often as anybody likes: nothing else is told by it, so it may be late.
static IS_OVER: AtomicBool = AtomicBool::new(false);

fn is_over() -> bool {
    IS_OVER.load(Ordering::Relaxed)
}

/// Writes a file of so many blocks, each of which begins and ends with its number.
///
/// # Errors
/// When it cannot be written.
pub fn make(path: &Path, blocks: u64) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
    for number in 0..blocks {
        let mut block = [number as u8; BLOCK];
        block[..8].copy_from_slice(&number.to_le_bytes());
        block[BLOCK - 8..].copy_from_slice(&(!number).to_le_bytes());
        file.write_all(&block)?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

fn check(block: &[u8], number: u64) -> io::Result<()> {
    let is_right = block.len() == BLOCK
        && block[..8] == number.to_le_bytes()
        && block[BLOCK - 8..] == (!number).to_le_bytes();
    if is_right {
        return Ok(());
    }
    Err(io::Error::other(format!("block {number} is not what was written ({} bytes)", block.len())))
}

/// One of the reads in flight: which block comes next, and how many there have been.
#[derive(Debug)]
struct Walk {
    random: u64,
    blocks: u64,
    begun: u64,
    right: u64,
}

impl Walk {
    /// The next block.
    fn next(&mut self) -> u64 {
        // Xorshift (Marsaglia 2003): the same blocks for everybody.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.begun += 1;
        // The upper half, scaled to what there is without a division.
        ((self.random >> 32) * self.blocks) >> 32
    }

    fn came(&mut self, block: &[u8], number: u64) -> io::Result<()> {
        check(block, number)?;
        self.right += 1;
        Ok(())
    }
}

fn offset(number: u64) -> u64 {
    number * BLOCK as u64
}

/// What a reader is asked to read.
struct Plan {
    path: PathBuf,
    blocks: u64,
}

impl Plan {
    fn of(job: &Job) -> io::Result<Self> {
        let path = job.file.clone().ok_or_else(|| io::Error::other("a reader needs a file"))?;
        let blocks = std::fs::metadata(&path)?.len() / BLOCK as u64;
        if blocks == 0 || blocks > u64::from(u32::MAX) {
            return Err(io::Error::other("the file is empty, or too long"));
        }
        Ok(Self { path, blocks })
    }

    /// One for each read in flight.
    fn walks(&self) -> impl Iterator<Item = Walk> {
        let walk = |seed: u64| Walk {
            random: (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15),
            blocks: self.blocks,
            begun: 0,
            right: 0,
        };
        (0..IN_FLIGHT as u64).map(walk)
    }
}

/// Does as the one client says until it hangs up. A `burst` reads until the time is over, with readers it has kept and returns
/// again.
fn serve<R: AsRef<Walk>>(
    job: &Job,
    mut readers: Vec<R>,
    mut burst: impl FnMut(Vec<R>) -> io::Result<Vec<R>>,
) -> io::Result<()> {
    let listener = job.listener()?;
    listener.set_nonblocking(false)?;
    let (mut control, _) = listener.accept()?;
    let sums = |readers: &[R]| {
        let walks = readers.iter().map(AsRef::as_ref);
        walks.fold((0, 0), |(begun, right), walk| (begun + walk.begun, right + walk.right))
    };
    for start in orders(control.try_clone()?) {
        let (begun_before, right_before) = sums(&readers);
        readers = burst(readers)?;
        let took = start.elapsed().as_nanos() as u64;
        let (begun, right) = sums(&readers);
        let report = [begun - begun_before, right - right_before, took].map(u64::to_le_bytes);
        control.write_all(report.as_flattened())?;
    }
    // The client has hung up, and ends this process.
    loop {
        thread::park();
    }
}

/// A thread that gives each order on, with the moment of its beginning, and says when its time is over.
fn orders(mut control: TcpStream) -> mpsc::Receiver<Instant> {
    let (give, orders) = mpsc::sync_channel(0);
    thread::spawn(move || {
        let mut nanoseconds = [0; 8];
        while control.read_exact(&mut nanoseconds).is_ok() {
            // Relaxed: the channel publishes it.
            IS_OVER.store(false, Ordering::Relaxed);
            if give.send(Instant::now()).is_err() {
                return;
            }
            thread::sleep(Duration::from_nanos(u64::from_le_bytes(nanoseconds)));
            IS_OVER.store(true, Ordering::Relaxed);
        }
    });
    orders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_block_is_noticed() {
        let path = std::env::temp_dir().join(format!("multikernel-blocks-{}", std::process::id()));
        make(&path, 3).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let blocks: Vec<_> = bytes.chunks(BLOCK).collect();
        assert_eq!(blocks.len(), 3);
        for (number, block) in (0..).zip(&blocks) {
            check(block, number).unwrap();
            check(block, number + 1).unwrap_err();
            check(&block[..BLOCK - 1], number).unwrap_err();
        }
        let torn = [&blocks[0][..8], &blocks[1][8..]].concat();
        check(&torn, 0).unwrap_err();
    }

    #[test]
    fn walks_stay_within_the_file_and_go_everywhere() {
        let plan = Plan { path: PathBuf::new(), blocks: 7 };
        for mut walk in plan.walks() {
            let mut seen = [false; 7];
            (0..500).for_each(|_| seen[walk.next() as usize] = true);
            assert_eq!((seen, walk.begun), ([true; 7], 500));
        }
    }
}
