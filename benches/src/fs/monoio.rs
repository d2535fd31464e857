//! monoio on its io_uring driver, with its owned-buffer reads.

use std::io;
use std::rc::Rc;

use monoio::fs::File;
use monoio::{IoUringDriver, RuntimeBuilder};

use super::{BLOCK, Plan, Walk};
use crate::servers::Cores::One;
use crate::servers::Protocol::Fs;
use crate::servers::{Job, Server};

pub(super) const SERVERS: &[Server] = &[Server { name: "monoio", cores: One, protocols: &[Fs], run }];

struct Reader {
    walk: Walk,
    file: Rc<File>,
    block: Vec<u8>,
}

impl AsRef<Walk> for Reader {
    fn as_ref(&self) -> &Walk {
        &self.walk
    }
}

fn run(job: &Job) -> io::Result<()> {
    let plan = Plan::of(job)?;
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new().with_entries(4096).build()?;
    let file = Rc::new(runtime.block_on(File::open(&plan.path))?);
    let reader = |walk| Reader { walk, file: file.clone(), block: Vec::with_capacity(BLOCK) };
    super::serve(job, plan.walks().map(reader).collect(), |readers| {
        runtime.block_on(async {
            let tasks: Vec<_> = readers.into_iter().map(Reader::read).map(monoio::spawn).collect();
            let mut readers = Vec::with_capacity(tasks.len());
            for task in tasks {
                readers.push(task.await?);
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
            let (result, block) = self.file.read_at(self.block, super::offset(number)).await;
            self.block = block;
            result?;
            self.walk.came(&self.block, number)?;
        }
        Ok(self)
    }
}
