//! Files and folders, with tokio's names and meaning; reads and writes that give their buffer away; files that all cores of a
//! Machine share.
//!
//! A [`File`] is one's own. It is read and written as a stream, as in tokio, or at offsets, many operations at once; it can be
//! sent over a connection without a copy ([`File::send_to`]), and opened for direct I/O ([`AlignedBuf`]). Opening, reading, writing
//! and syncing are done by the core's io_uring. What a ring does no better, such as most functions that take a path, and
//! everything on epoll, runs on threads for calls that block; a core never does.
//!
//! ```
//! # #[cfg(feature = "tokio")]
//! # multikernel::runtime::Builder::new_test().run(|| async {
//! use multikernel::fs::{self, File};
//! use multikernel::io::AsyncWriteExt;
//!
//! # let folder = std::env::temp_dir().join(format!("multikernel-module-{}", std::process::id()));
//! fs::create_dir_all(&folder).await?;
//! let mut log = File::options().append(true).create(true).open(folder.join("log")).await?;
//! log.write_all(b"begun\n").await?;
//! log.sync_data().await?; // now it is on the disk
//! assert_eq!(fs::read_to_string(folder.join("log")).await?, "begun\n");
//! # fs::remove_dir_all(&folder).await?;
//! # std::io::Result::Ok(())
//! # }).unwrap().unwrap();
//! ```
//!
//! A [`SharedFile`] is opened once and then means the same file on every core: it is a small `Copy` value. Behind it is a
//! table that the cores agree on. Opening a file puts it into that table on every core or on none, and on io_uring also into
//! the table of registered files of each core's ring, so that an operation looks up no descriptor; closing takes it out again,
//! and waits for what is in flight anywhere.
//!
//! Reads and writes take a buffer and give it back, because Linux works on it while the task does something else. They run
//! on the core that asks: by its io_uring, or, where that core uses epoll, on a thread for calls that block.
//!
//! ```
//! use multikernel::fs::SharedFile;
//! use multikernel::{CoreId, spawn_on};
//! use std::fs::OpenOptions;
//!
//! # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
//! # let path = std::env::temp_dir().join(format!("multikernel-fs-{}", std::process::id()));
//! let options = OpenOptions::new().read(true).write(true).create(true).truncate(true).clone();
//! let file = SharedFile::open(&path, &options).await?;
//! file.write_at(b"hello".to_vec(), 0).await.result?;
//!
//! let there = spawn_on(CoreId::new(1), move || async move {
//!     let read = file.read_at(Vec::with_capacity(64), 0).await;
//!     read.result.map(|_| read.buffer.unwrap_or_default())
//! });
//! assert_eq!(there.await.unwrap()?, b"hello");
//! file.close().await?;
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap().unwrap();
//! ```

mod aligned;
mod asyncify;
mod at;
mod buffer;
mod change;
mod dir;
mod drain;
mod error;
mod file;
mod file_parts;
mod look;
mod operation;
mod options;
mod send_to;
mod shared_file;
#[cfg_attr(not(any(feature = "tokio", feature = "futures-io")), expect(dead_code, reason = "traits use it"))]
mod stream;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_close;
#[cfg(test)]
mod tests_members;
#[cfg(test)]
mod tests_support;
#[cfg(test)]
mod tests_table;
mod whole;
mod work;

pub use std::fs::FileTimes;

pub use crate::driver::StableBuf;
pub use aligned::{AlignedBuf, AlignmentError};
pub use buffer::StableBufMut;
pub use change::{
    copy, create_dir, create_dir_all, hard_link, remove_dir, remove_dir_all, remove_file, rename,
    set_permissions, symlink, write,
};
pub use dir::{DirBuilder, DirEntry, ReadDir, read_dir};
pub use error::{CloseError, FileError, OpenError};
pub use file::File;
pub use look::{canonicalize, metadata, read_link, symlink_metadata, try_exists};
pub use operation::Transferred;
pub use options::OpenOptions;
pub use shared_file::SharedFile;
pub use whole::{read, read_to_string};
