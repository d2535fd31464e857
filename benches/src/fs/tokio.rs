//! tokio: its files, which have no reads at offsets and so seek before; and pread(2) on its threads for calls that block.

use std::io::{self, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::runtime::{Builder, Runtime};

use super::{BLOCK, IN_FLIGHT, Plan, Walk};
use crate::servers::Cores::One;
use crate::servers::Protocol::Fs;
use crate::servers::{Job, Server};

pub(super) const SERVERS: &[Server] = &[
    Server { name: "tokio-ct", cores: One, protocols: &[Fs], run: seek_and_read },
    Server { name: "tokio-ct-pread", cores: One, protocols: &[Fs], run: pread },
];

struct Reader<F> {
    walk: Walk,
    file: F,
    block: Vec<u8>,
}

impl<F> AsRef<Walk> for Reader<F> {
    fn as_ref(&self) -> &Walk {
        &self.walk
    }
}

fn one_thread() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// A position belongs to an open file, so each task has a file of its own.
fn seek_and_read(job: &Job) -> io::Result<()> {
    let plan = Plan::of(job)?;
    let mut readers = Vec::with_capacity(IN_FLIGHT);
    for walk in plan.walks() {
        let file = File::from_std(std::fs::File::open(&plan.path)?);
        readers.push(Reader { walk, file, block: vec![0; BLOCK] });
    }
    let runtime = one_thread()?;
    super::serve(job, readers, |readers| {
        runtime.block_on(all(readers.into_iter().map(Reader::seek_and_read).map(tokio::spawn)))
    })
}

fn pread(job: &Job) -> io::Result<()> {
    let plan = Plan::of(job)?;
    let file = Arc::new(std::fs::File::open(&plan.path)?);
    let reader = |walk| Reader { walk, file: file.clone(), block: vec![0; BLOCK] };
    let runtime = one_thread()?;
    super::serve(job, plan.walks().map(reader).collect(), |readers| {
        runtime.block_on(all(readers.into_iter().map(Reader::pread).map(tokio::spawn)))
    })
}

async fn all<R>(tasks: impl Iterator<Item = tokio::task::JoinHandle<io::Result<R>>>) -> io::Result<Vec<R>> {
    let tasks: Vec<_> = tasks.collect();
    let mut readers = Vec::with_capacity(tasks.len());
    for task in tasks {
        readers.push(task.await??);
    }
    Ok(readers)
}

impl Reader<File> {
    async fn seek_and_read(mut self) -> io::Result<Self> {
        while !super::is_over() {
            let number = self.walk.next();
            self.file.seek(SeekFrom::Start(super::offset(number))).await?;
            self.file.read_exact(&mut self.block).await?;
            self.walk.came(&self.block, number)?;
        }
        Ok(self)
    }
}

impl Reader<Arc<std::fs::File>> {
    async fn pread(mut self) -> io::Result<Self> {
        while !super::is_over() {
            let number = self.walk.next();
            let (file, mut block) = (self.file.clone(), self.block);
            let read = move || {
                file.read_exact_at(&mut block, super::offset(number))?;
                io::Result::Ok(block)
            };
            self.block = tokio::task::spawn_blocking(read).await??;
            self.walk.came(&self.block, number)?;
        }
        Ok(self)
    }
}
