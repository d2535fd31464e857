//! Looking at files by their paths, on a thread for calls that block.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use super::asyncify::asyncify;

/// The absolute path of what is there, with all links followed.
///
/// # Errors
///
/// Those of the system.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
///
/// # Cancel safety
///
/// If the future is dropped early, nothing has happened.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let path = fs::canonicalize("/proc/self/../self/exe").await?;
/// assert!(path.is_absolute() && !path.ends_with("exe"));
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref().to_owned();
    asyncify(move || std::fs::canonicalize(path)).await
}

/// What the system knows of a file. Links are followed.
///
/// # Errors
///
/// Those of the system.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
///
/// # Cancel safety
///
/// If the future is dropped early, nothing has happened.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// assert!(fs::metadata("/proc/self/exe").await?.is_file());
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = path.as_ref().to_owned();
    asyncify(move || std::fs::metadata(path)).await
}

/// Where a symbolic link leads.
///
/// # Errors
///
/// Those of the system. `InvalidInput` when it is no link.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
///
/// # Cancel safety
///
/// If the future is dropped early, nothing has happened.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// assert!(fs::read_link("/proc/self/exe").await?.is_absolute());
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn read_link(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref().to_owned();
    asyncify(move || std::fs::read_link(path)).await
}

/// What the system knows of a file, or of the link if it is one.
///
/// # Errors
///
/// Those of the system.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
///
/// # Cancel safety
///
/// If the future is dropped early, nothing has happened.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// assert!(fs::symlink_metadata("/proc/self/exe").await?.is_symlink());
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = path.as_ref().to_owned();
    asyncify(move || std::fs::symlink_metadata(path)).await
}

/// Whether there is something of that name. A link that leads nowhere is nothing.
///
/// # Errors
///
/// Those of the system. It cannot be told, for instance because a folder on the way may not be read.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
///
/// # Cancel safety
///
/// If the future is dropped early, nothing has happened.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// assert!(fs::try_exists("/proc/self/exe").await?);
/// assert!(!fs::try_exists("/proc/self/nothing").await?);
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn try_exists(path: impl AsRef<Path>) -> io::Result<bool> {
    let path = path.as_ref().to_owned();
    asyncify(move || std::fs::exists(path)).await
}
