//! A file of blocks: written by all cores at once, past the system's cache where it takes that, and read by all through one
//! handle.

use std::error::Error;
use std::io;
use std::path::Path;

use multikernel::fs::{AlignedBuf, File, OpenOptions, SharedFile};
use multikernel::{fs, on_each_core, spawn_balanced};
use rustix::fs::OFlags;

const BLOCK: usize = 4096;
const BLOCKS: u64 = 64;

#[multikernel::main(cores = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("multikernel-blocks-{}", std::process::id()));
    fs::create_dir_all(&folder).await?;
    let result = run(&folder.join("blocks")).await;
    fs::remove_dir_all(&folder).await?;
    result
}

async fn run(path: &Path) -> Result<(), Box<dyn Error>> {
    write(path).await?;
    let read = read_everywhere(path).await?;
    println!("{BLOCKS} blocks, read on {read} cores");
    Ok(())
}

// ANCHOR: direct
/// Without the system's cache if the file system takes that.
async fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    match options.clone().custom_flags(OFlags::DIRECT.bits().cast_signed()).open(path).await {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => options.open(path).await,
        result => result,
    }
}

// ANCHOR_END: direct

// ANCHOR: write
/// Many writes at once, each at its place. A buffer is given away, and comes back when the system is done with it.
async fn write(path: &Path) -> io::Result<()> {
    let file = std::sync::Arc::new(open(path).await?);
    let writes: Vec<_> = (0..BLOCKS)
        .map(|number| {
            let file = file.clone();
            spawn_balanced(async move {
                let mut block = AlignedBuf::with_capacity(BLOCK); // for direct I/O; else a Vec will do
                block.resize(BLOCK);
                block.fill(number as u8);
                file.write_all_at(block, number * BLOCK as u64).await.result
            })
        })
        .collect();
    for write in writes {
        write.await??;
    }
    file.sync_all().await // now it is on the disk
}
// ANCHOR_END: write

// ANCHOR: shared
/// Opened once, for all cores: the handle is a small value to copy.
async fn read_everywhere(path: &Path) -> Result<usize, Box<dyn Error>> {
    let options = std::fs::OpenOptions::new().read(true).clone();
    let file = SharedFile::open(path, &options).await?;
    let readers = on_each_core(move || async move {
        let mut buffer = Vec::with_capacity(BLOCK);
        for number in 0..BLOCKS {
            let read = file.read_at(buffer, number * BLOCK as u64).await;
            assert_eq!(read.result?, BLOCK);
            buffer = read.buffer.expect("the core lives");
            assert!(buffer.iter().all(|byte| *byte == number as u8));
            buffer.clear();
        }
        Ok::<_, multikernel::fs::FileError>(())
    });
    let count = readers.len();
    for reader in readers {
        reader.await??;
    }
    file.close().await?; // when no core is at work on it any more
    assert!(file.read_at(Vec::with_capacity(1), 0).await.result.is_err(), "and never another file");
    Ok(count)
}
// ANCHOR_END: shared
