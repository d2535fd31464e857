//! glommio with its files that go through the page cache.

use std::io;
use std::rc::Rc;

use glommio::LocalExecutorBuilder;
use glommio::io::BufferedFile;

use super::{BLOCK, Plan, Walk};
use crate::servers::Cores::One;
use crate::servers::Protocol::Fs;
use crate::servers::{Job, Server};

pub(super) const SERVERS: &[Server] = &[Server { name: "glommio", cores: One, protocols: &[Fs], run }];

struct Reader {
    walk: Walk,
    file: Rc<BufferedFile>,
}

impl AsRef<Walk> for Reader {
    fn as_ref(&self) -> &Walk {
        &self.walk
    }
}

fn run(job: &Job) -> io::Result<()> {
    let plan = Plan::of(job)?;
    let executor = LocalExecutorBuilder::default().make().map_err(other)?;
    let file = Rc::new(executor.run(BufferedFile::open(&plan.path)).map_err(other)?);
    let reader = |walk| Reader { walk, file: file.clone() };
    super::serve(job, plan.walks().map(reader).collect(), |readers| {
        executor.run(async {
            let tasks: Vec<_> = readers.into_iter().map(Reader::read).map(glommio::spawn_local).collect();
            let mut readers = Vec::with_capacity(tasks.len());
            for task in tasks {
                readers.push(task.await?);
            }
            Ok(readers)
        })
    })
}

/// glommio's error can hold what is not `Sync`; its text can go anywhere.
fn other(error: glommio::GlommioError<()>) -> io::Error {
    io::Error::other(error.to_string())
}

impl Reader {
    async fn read(mut self) -> io::Result<Self> {
        while !super::is_over() {
            let number = self.walk.next();
            let block = self.file.read_at(super::offset(number), BLOCK).await.map_err(other)?;
            self.walk.came(&block, number)?;
        }
        Ok(self)
    }
}
