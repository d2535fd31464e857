//! Tasks that work with files until their Machine ends.

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use multikernel::fs::{self, AlignedBuf, File, SharedFile};

use crate::common::Buffer;
use crate::ends::{BLOCK, BLOCKS, Run, block, flights};
use crate::sockets::pair;

flights!(writes, writes_shared, reads, reads_directly, opens_and_closes, walks, sends_a_file,);

#[cfg(feature = "tokio")]
flights!(pub STREAMS: writes_a_stream,);

async fn writes(run: Run) -> io::Result<Infallible> {
    let file = File::create_new(run.path("written")).await?;
    run.under_way(async {
        for n in 0.. {
            let at = n % BLOCKS * BLOCK as u64;
            file.write_all_at(Buffer::new(block(n), &run.buffers), at).await.result?;
            run.acknowledge("written", n + 1);
        }
        Err(run.unexpected())
    })
    .await
}

async fn writes_shared(run: Run) -> io::Result<Infallible> {
    let options = OpenOptions::new().write(true).create_new(true).clone();
    let file = SharedFile::open(run.path("shared"), &options).await.map_err(io::Error::other)?;
    run.under_way(async {
        for n in 0.. {
            let at = n % BLOCKS * BLOCK as u64;
            let written = file.write_at(Buffer::new(block(n), &run.buffers), at).await;
            assert_eq!(written.result.map_err(io::Error::other)?, BLOCK);
            run.acknowledge("shared", n + 1);
        }
        Err(run.unexpected())
    })
    .await
}

#[cfg(feature = "tokio")]
async fn writes_a_stream(run: Run) -> io::Result<Infallible> {
    use multikernel::io::{AsyncSeekExt, AsyncWriteExt};
    let mut file = File::create_new(run.path("stream")).await?;
    run.under_way(async {
        for n in 0.. {
            if n % BLOCKS == 0 {
                file.rewind().await?;
            }
            file.write_all(&block(n)).await?;
            file.flush().await?;
            run.acknowledge("stream", n + 1);
        }
        Err(run.unexpected())
    })
    .await
}

async fn reads(run: Run) -> io::Result<Infallible> {
    let file = File::open("/proc/self/exe").await?;
    run.under_way(async {
        loop {
            let read = file.read_at(Buffer::new(vec![0; 1 << 18], &run.buffers), 0).await;
            read.result?;
        }
    })
    .await
}

async fn reads_directly(run: Run) -> io::Result<Infallible> {
    let file = File::open("/proc/self/exe").await?;
    let mut buffer = AlignedBuf::registered();
    run.under_way(async {
        loop {
            let read = file.read_at(buffer, 0).await;
            read.result?;
            buffer = read.buffer.expect("the core lives");
        }
    })
    .await
}

async fn opens_and_closes(run: Run) -> io::Result<Infallible> {
    let options = OpenOptions::new().read(true).clone();
    run.under_way(async {
        loop {
            let file = SharedFile::open("/proc/self/exe", &options).await.map_err(io::Error::other)?;
            let read = file.read_at(Buffer::new(vec![0; 4], &run.buffers), 0).await;
            read.result.map_err(io::Error::other)?;
            file.close().await.map_err(io::Error::other)?;
            drop(File::open("/proc/self/exe").await?);
        }
    })
    .await
}

async fn walks(run: Run) -> io::Result<Infallible> {
    let folder = run.path("folder");
    run.under_way(async {
        loop {
            fs::create_dir(&folder).await?;
            fs::write(folder.join("file"), b"x").await?;
            let mut entries = fs::read_dir(&folder).await?;
            while let Some(entry) = entries.next_entry().await? {
                entry.metadata().await?;
            }
            fs::remove_dir_all(&folder).await?;
        }
    })
    .await
}

async fn sends_a_file(run: Run) -> io::Result<Infallible> {
    let (near, _far) = pair().await?;
    let file = File::open("/proc/self/exe").await?;
    run.under_way(async {
        loop {
            file.send_to(&near, &mut 0, 1 << 30).await?;
        }
    })
    .await
}

/// The files whose writes are acknowledged block by block.
pub const NAMES: &[&str] =
    if cfg!(feature = "tokio") { &["written", "shared", "stream"] } else { &["written", "shared"] };

/// Whether all that was acknowledged is in a file of a run that has ended. The block that was under way may be torn; each of the
/// others is the last that was written there.
pub fn check(path: &Path, acknowledged: u64) {
    let file = std::fs::File::open(path).unwrap();
    for n in (acknowledged + 1).saturating_sub(BLOCKS)..acknowledged {
        let mut found = vec![0; BLOCK];
        file.read_exact_at(&mut found, n % BLOCKS * BLOCK as u64).unwrap();
        assert!(found == block(n), "{path:?} has lost block {n} of {acknowledged}");
    }
}
