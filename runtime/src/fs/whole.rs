//! Files that are read whole: by the core's ring where it has one, else by one call on a thread.

use std::fs::File as StdFile;
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::path::Path;

use super::File;
use super::asyncify::asyncify;
use super::operation::Transfer;
use super::options::Opened;
use super::work::Read;
use crate::limits::READ_WHOLE_BYTES;
use crate::net::pipe_io;
use crate::time::clock;

/// All of a file: what there is until its end is found, whatever length the system says it has.
///
/// # Errors
///
/// Those of the system. That there is not enough memory, for one.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
///
/// # Cancel safety
///
/// If the future is dropped early, nothing has happened; but of what is no file on a disk, such as a pipe, what has been read
/// is gone.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// assert!(fs::read("/proc/self/exe").await?.starts_with(b"\x7fELF"));
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let _time_waits_for_files = clock::hold();
    let path = path.as_ref().to_owned();
    match File::options().read(true).open_by_ring(&path).await {
        Some(Ok(Opened { file, is_early: false })) => read_to_end(file).await,
        Some(Ok(pipe)) => {
            let pipe = pipe.file.into_std().await;
            asyncify(move || read_pipe(pipe)).await
        }
        Some(Err(error)) => Err(error),
        None => asyncify(move || std::fs::read(path)).await,
    }
}

/// All of a file, as text.
///
/// # Errors
///
/// Those of the system. `InvalidData` when it is not UTF-8.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
///
/// # Cancel safety
///
/// If the future is dropped early, nothing has happened; but of what is no file on a disk, such as a pipe, what has been read
/// is gone.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// assert!(fs::read_to_string("/proc/self/status").await?.starts_with("Name:"));
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    String::from_utf8(read(path).await?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// Asks nobody for the length: files of /proc say 0, others grow meanwhile, and a read that finds nothing has to tell of the end
/// anyway. Memory that no read has reached costs nothing.
async fn read_to_end(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if bytes.len() == bytes.capacity() {
            // Where there is no memory for twice as much, there may be for all there is.
            bytes
                .try_reserve(bytes.len().max(READ_WHOLE_BYTES))
                .or_else(|_| bytes.try_reserve_exact(READ_WHOLE_BYTES))?;
        }
        let work = Read { start: bytes.len(), buffer: bytes, at: file.stream_mut().place().at() };
        let (result, work) = Transfer::new(file.shared(), work).await;
        let count = result?;
        bytes = work.expect("it is there after a success").buffer;
        if count == 0 {
            bytes.shrink_to_fit();
            return Ok(bytes);
        }
        file.stream_mut().place().advance(count);
    }
}

/// Reads what the first writers write. One that waited for a reader has gone on already, so that to open the pipe anew would
/// lose it.
fn read_pipe(mut pipe: StdFile) -> io::Result<Vec<u8>> {
    // Without a writer it would seem to be at its end.
    pipe_io::wait_for_writing(pipe.as_fd())?;
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes)?;
    Ok(bytes)
}
