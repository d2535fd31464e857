//! Changing files and folders by their paths, on a thread for calls that block.

use std::fs::Permissions;
use std::io;
use std::path::Path;

use super::asyncify::asyncify;

/// Copies a file and who may use it, over what is there, and says how many bytes it has.
///
/// # Errors
///
/// Those of the system. That `from` is no file, for one.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
///
/// # Cancel safety
///
/// If the future is dropped early, it is done or not, and nobody can tell.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let folder = std::env::temp_dir().join(format!("multikernel-copy-{}", std::process::id()));
/// # std::fs::create_dir(&folder)?;
/// fs::write(folder.join("from"), "hello").await?;
/// assert_eq!(fs::copy(folder.join("from"), folder.join("to")).await?, 5);
/// # std::fs::remove_dir_all(&folder)?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    let from = from.as_ref().to_owned();
    let to = to.as_ref().to_owned();
    asyncify(move || std::fs::copy(from, to)).await
}

/// Makes a folder in one that is there.
///
/// # Errors
///
/// Those of the system. `AlreadyExists`, for one.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
///
/// # Cancel safety
///
/// If the future is dropped early, it is done or not, and nobody can tell.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let folder = std::env::temp_dir().join(format!("multikernel-create_dir-{}", std::process::id()));
/// # std::fs::create_dir(&folder)?;
/// fs::create_dir(folder.join("new")).await?;
/// assert!(fs::create_dir(folder.join("new")).await.is_err());
/// # std::fs::remove_dir_all(&folder)?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    asyncify(move || std::fs::create_dir(path)).await
}

/// Makes a folder, and those that it is to be in, unless they are there.
///
/// # Errors
///
/// Those of the system. If it fails, some may have been made.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
///
/// # Cancel safety
///
/// If the future is dropped early, it is done or not, and nobody can tell.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let folder = std::env::temp_dir().join(format!("multikernel-create_dir_all-{}", std::process::id()));
/// # std::fs::create_dir(&folder)?;
/// fs::create_dir_all(folder.join("a/b/c")).await?;
/// fs::create_dir_all(folder.join("a/b/c")).await?; // it is there
/// # std::fs::remove_dir_all(&folder)?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    asyncify(move || std::fs::create_dir_all(path)).await
}

/// Gives a file one more name, on the same file system.
///
/// # Errors
///
/// Those of the system. `AlreadyExists`, `CrossesDevices`, for two.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
///
/// # Cancel safety
///
/// If the future is dropped early, it is done or not, and nobody can tell.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let folder = std::env::temp_dir().join(format!("multikernel-hard_link-{}", std::process::id()));
/// # std::fs::create_dir(&folder)?;
/// fs::write(folder.join("one"), "hello").await?;
/// fs::hard_link(folder.join("one"), folder.join("two")).await?;
/// assert_eq!(fs::read(folder.join("two")).await?, b"hello");
/// # std::fs::remove_dir_all(&folder)?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let original = original.as_ref().to_owned();
    let link = link.as_ref().to_owned();
    asyncify(move || std::fs::hard_link(original, link)).await
}

/// Removes a folder that is empty.
///
/// # Errors
///
/// Those of the system. `DirectoryNotEmpty`, for one.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
///
/// # Cancel safety
///
/// If the future is dropped early, it is done or not, and nobody can tell.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let folder = std::env::temp_dir().join(format!("multikernel-remove_dir-{}", std::process::id()));
/// # std::fs::create_dir(&folder)?;
/// fs::create_dir(folder.join("new")).await?;
/// fs::remove_dir(folder.join("new")).await?;
/// # std::fs::remove_dir_all(&folder)?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    asyncify(move || std::fs::remove_dir(path)).await
}

/// Removes a folder with all that is in it. Links in it are removed, not followed.
///
/// # Errors
///
/// Those of the system. If it fails, some of it may be gone.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
///
/// # Cancel safety
///
/// If the future is dropped early, it is done or not, and nobody can tell.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let folder = std::env::temp_dir().join(format!("multikernel-remove_dir_all-{}", std::process::id()));
/// # std::fs::create_dir(&folder)?;
/// fs::create_dir_all(folder.join("a/b/c")).await?;
/// fs::remove_dir_all(folder.join("a")).await?;
/// assert!(!fs::try_exists(folder.join("a")).await?);
/// # std::fs::remove_dir_all(&folder)?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    asyncify(move || std::fs::remove_dir_all(path)).await
}

/// Removes a name of a file. The file goes with its last name and its last descriptor.
///
/// # Errors
///
/// Those of the system. That it is a folder, for one.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
///
/// # Cancel safety
///
/// If the future is dropped early, it is done or not, and nobody can tell.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let folder = std::env::temp_dir().join(format!("multikernel-remove_file-{}", std::process::id()));
/// # std::fs::create_dir(&folder)?;
/// fs::write(folder.join("one"), "hello").await?;
/// fs::remove_file(folder.join("one")).await?;
/// # std::fs::remove_dir_all(&folder)?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    asyncify(move || std::fs::remove_file(path)).await
}

/// Gives a file or a folder another name on the same file system, in place of what has that name.
///
/// # Errors
///
/// Those of the system. `CrossesDevices`, for one.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
///
/// # Cancel safety
///
/// If the future is dropped early, it is done or not, and nobody can tell.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let folder = std::env::temp_dir().join(format!("multikernel-rename-{}", std::process::id()));
/// # std::fs::create_dir(&folder)?;
/// fs::write(folder.join("one"), "hello").await?;
/// fs::rename(folder.join("one"), folder.join("two")).await?;
/// assert!(fs::try_exists(folder.join("two")).await?);
/// # std::fs::remove_dir_all(&folder)?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let from = from.as_ref().to_owned();
    let to = to.as_ref().to_owned();
    asyncify(move || std::fs::rename(from, to)).await
}

/// Changes who may do what with a file.
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
/// If the future is dropped early, it is done or not, and nobody can tell.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let folder = std::env::temp_dir().join(format!("multikernel-set_permissions-{}", std::process::id()));
/// # std::fs::create_dir(&folder)?;
/// fs::write(folder.join("one"), "hello").await?;
/// let mut permissions = fs::metadata(folder.join("one")).await?.permissions();
/// permissions.set_readonly(true);
/// fs::set_permissions(folder.join("one"), permissions).await?;
/// # std::fs::remove_dir_all(&folder)?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    asyncify(move || std::fs::set_permissions(path, permissions)).await
}

/// Makes a symbolic link, whether or not there is something where it leads.
///
/// # Errors
///
/// Those of the system. `AlreadyExists`, for one.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
///
/// # Cancel safety
///
/// If the future is dropped early, it is done or not, and nobody can tell.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let folder = std::env::temp_dir().join(format!("multikernel-symlink-{}", std::process::id()));
/// # std::fs::create_dir(&folder)?;
/// fs::symlink("nowhere", folder.join("link")).await?;
/// assert_eq!(fs::read_link(folder.join("link")).await?.to_str(), Some("nowhere"));
/// # std::fs::remove_dir_all(&folder)?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn symlink(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let original = original.as_ref().to_owned();
    let link = link.as_ref().to_owned();
    asyncify(move || std::os::unix::fs::symlink(original, link)).await
}

/// Makes a file with that content, in place of what it had. Nothing is synced to the disk.
///
/// It is one call on a thread, on either driver: given up in between, it would leave a part of the content.
///
/// # Errors
///
/// Those of the system. If it fails, the file may have a part of the content.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
///
/// # Cancel safety
///
/// If the future is dropped early, it is done or not, and nobody can tell.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let folder = std::env::temp_dir().join(format!("multikernel-write-{}", std::process::id()));
/// # std::fs::create_dir(&folder)?;
/// fs::write(folder.join("one"), "hello").await?;
/// assert_eq!(fs::read_to_string(folder.join("one")).await?, "hello");
/// # std::fs::remove_dir_all(&folder)?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    let contents = contents.as_ref().to_owned();
    asyncify(move || std::fs::write(path, contents)).await
}
