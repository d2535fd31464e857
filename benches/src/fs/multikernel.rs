//! multikernel: files of one's own on either driver, and files that all cores share, which the ring knows beforehand.

use std::fs::OpenOptions;
use std::io;
use std::sync::Arc;

use multikernel::fs::{File, SharedFile, Transferred};
use multikernel::runtime::{Builder, DriverChoice, Runtime};
use multikernel::task::JoinHandle;

use super::{BLOCK, Plan, Walk};
use crate::servers::Cores::One;
use crate::servers::Protocol::Fs;
use crate::servers::{Job, Server};

pub(super) const SERVERS: &[Server] = &[
    Server { name: "multikernel", cores: One, protocols: &[Fs], run: uring },
    Server { name: "multikernel-shared", cores: One, protocols: &[Fs], run: shared },
    Server { name: "multikernel-epoll", cores: One, protocols: &[Fs], run: epoll },
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

fn uring(job: &Job) -> io::Result<()> {
    own(job, DriverChoice::Uring)
}

fn epoll(job: &Job) -> io::Result<()> {
    own(job, DriverChoice::Epoll)
}

fn one_core(driver: DriverChoice) -> io::Result<Runtime> {
    Builder::new().cores(1).driver(driver).build()
}

fn own(job: &Job, driver: DriverChoice) -> io::Result<()> {
    let plan = Plan::of(job)?;
    let file = Arc::new(File::from_std(std::fs::File::open(&plan.path)?));
    let reader = |walk| Reader { walk, file: file.clone(), block: Vec::with_capacity(BLOCK) };
    let runtime = one_core(driver)?;
    super::serve(job, plan.walks().map(reader).collect(), |readers| {
        all(&runtime, readers, |reader| multikernel::spawn(reader.read()))
    })
}

fn shared(job: &Job) -> io::Result<()> {
    let plan = Plan::of(job)?;
    let runtime = one_core(DriverChoice::Uring)?;
    let path = plan.path.clone();
    let open = async move { SharedFile::open(&path, OpenOptions::new().read(true)).await };
    let file = runtime.block_on(runtime.spawn(open)).map_err(io::Error::other)?.map_err(io::Error::other)?;
    let reader = |walk| Reader { walk, file, block: Vec::with_capacity(BLOCK) };
    super::serve(job, plan.walks().map(reader).collect(), |readers| {
        all(&runtime, readers, |reader| multikernel::spawn(reader.read()))
    })
}

/// Has all of them read, on the core, until each is back.
fn all<R: Send + 'static>(
    runtime: &Runtime,
    readers: Vec<R>,
    spawn: impl Fn(R) -> JoinHandle<io::Result<R>> + Send + 'static,
) -> io::Result<Vec<R>> {
    let crew = async move {
        let tasks: Vec<_> = readers.into_iter().map(spawn).collect();
        let mut readers = Vec::with_capacity(tasks.len());
        for task in tasks {
            readers.push(task.await.map_err(io::Error::other)??);
        }
        Ok(readers)
    };
    runtime.block_on(runtime.spawn(crew)).map_err(io::Error::other)?
}

impl Reader<Arc<File>> {
    async fn read(mut self) -> io::Result<Self> {
        while !super::is_over() {
            let number = self.walk.next();
            let Transferred { result, buffer } = self.file.read_at(self.block, super::offset(number)).await;
            result?;
            self.block = buffer.unwrap_or_default();
            self.walk.came(&self.block, number)?;
        }
        Ok(self)
    }
}

impl Reader<SharedFile> {
    async fn read(mut self) -> io::Result<Self> {
        while !super::is_over() {
            let number = self.walk.next();
            let Transferred { result, buffer } = self.file.read_at(self.block, super::offset(number)).await;
            result.map_err(io::Error::other)?;
            self.block = buffer.unwrap_or_default();
            self.walk.came(&self.block, number)?;
        }
        Ok(self)
    }
}
