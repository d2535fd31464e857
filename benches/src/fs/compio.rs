//! compio with its owned-buffer reads.

use std::io;

use compio::BufResult;
use compio::fs::File;
use compio::io::AsyncReadAt;
use compio::runtime::Runtime;

use super::{BLOCK, Plan, Walk};
use crate::servers::Cores::One;
use crate::servers::Protocol::Fs;
use crate::servers::{Job, Server};

pub(super) const SERVERS: &[Server] = &[Server { name: "compio", cores: One, protocols: &[Fs], run }];

struct Reader {
    walk: Walk,
    file: File,
    block: Vec<u8>,
}

impl AsRef<Walk> for Reader {
    fn as_ref(&self) -> &Walk {
        &self.walk
    }
}

fn run(job: &Job) -> io::Result<()> {
    let plan = Plan::of(job)?;
    let runtime = Runtime::new()?;
    let file = runtime.block_on(File::open(&plan.path))?;
    let reader = |walk| Reader { walk, file: file.clone(), block: Vec::with_capacity(BLOCK) };
    super::serve(job, plan.walks().map(reader).collect(), |readers| {
        runtime.block_on(async {
            let tasks: Vec<_> = readers.into_iter().map(Reader::read).map(compio::runtime::spawn).collect();
            let mut readers = Vec::with_capacity(tasks.len());
            for task in tasks {
                readers.push(task.await.map_err(|_| io::Error::other("a reader panicked"))??);
            }
            Ok(readers)
        })
    })
}

impl Reader {
    async fn read(mut self) -> io::Result<Self> {
        while !super::is_over() {
            let number = self.walk.next();
            self.block.clear();
            let BufResult(result, block) = self.file.read_at(self.block, super::offset(number)).await;
            self.block = block;
            result?;
            self.walk.came(&self.block, number)?;
        }
        Ok(self)
    }
}
