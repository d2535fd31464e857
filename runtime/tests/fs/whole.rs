//! Files that are read whole.

use std::ffi::CString;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use multikernel::fs;
use multikernel::runtime::Runtime;
use multikernel::task::yield_now;

use crate::common::{Folder, on_both, pattern, until_descriptors};

#[test]
fn files_of_all_lengths_are_read_to_their_end() {
    on_both(1, |folder| async move {
        const FIRST: usize = 64 * 1024;
        for length in [0, 1, FIRST - 1, FIRST, FIRST + 1, 2 * FIRST, 3 * FIRST + 7, 5_000_000] {
            std::fs::write(folder.join("file"), pattern(length))?;
            let found = fs::read(folder.join("file")).await?;
            assert!(found == pattern(length), "{} of {length} bytes", found.len());
            assert!(found.capacity() <= length + length / 8, "{} for {length} bytes", found.capacity());
        }
        let text = "\u{e9}".repeat(100_000);
        std::fs::write(folder.join("text"), &text)?;
        assert!(fs::read_to_string(folder.join("text")).await? == text);
        until_descriptors(&folder, 0).await;
        Ok(())
    });
}

#[test]
fn files_that_say_they_are_empty_are_read_whole() {
    on_both(1, |_| async {
        // The last is longer than what is asked for first, where this process may read it at all.
        for path in ["/proc/self/limits", "/proc/filesystems", "/proc/kallsyms"] {
            let Ok(known) = std::fs::read(path) else { continue };
            assert_eq!(std::fs::metadata(path)?.len(), 0);
            assert!(fs::read(path).await? == known, "{path}");
        }
        Ok(())
    });
}

#[test]
fn a_file_that_grows_meanwhile_is_read_as_far_as_it_has_come() {
    const BEFORE: usize = 200_000;
    const MOST: usize = 20_000_000;
    on_both(1, |folder| async move {
        let all = pattern(MOST);
        let mut file = std::fs::File::create(folder.join("file"))?;
        file.write_all(&all[..BEFORE])?;
        let is_read = Arc::new(AtomicBool::new(false));
        let growing = {
            let is_read = is_read.clone();
            thread::spawn(move || {
                for piece in all[BEFORE..].chunks(1000) {
                    if is_read.load(Ordering::SeqCst) {
                        break;
                    }
                    file.write_all(piece).unwrap();
                }
                all
            })
        };
        let found = fs::read(folder.join("file")).await;
        is_read.store(true, Ordering::SeqCst);
        let (all, found) = (growing.join().unwrap(), found?);
        assert!(found.len() >= BEFORE && all.starts_with(&found), "{} bytes", found.len());
        Ok(())
    });
}

#[test]
fn a_pipe_is_read_until_its_writer_has_ended() {
    on_both(1, |folder| async move {
        let path = folder.join("pipe");
        make_pipe(&path);
        let writer = thread::spawn({
            let path = path.clone();
            move || {
                let mut pipe = std::fs::OpenOptions::new().write(true).open(path).unwrap();
                // Pieces shorter than what is asked for: none of them is the end.
                pattern(300_000).chunks(777).for_each(|piece| pipe.write_all(piece).unwrap());
            }
        });
        assert!(fs::read(&path).await? == pattern(300_000));
        writer.join().unwrap();
        Ok(())
    });
}

/// Runs `f` on a thread of its own, and comes back when that waits for something.
async fn when_it_waits<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> thread::JoinHandle<R> {
    let (send, thread) = std::sync::mpsc::channel();
    let running = thread::spawn(move || {
        send.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
        f()
    });
    let stat = Path::new("/proc").join(thread.recv().unwrap()).join("stat");
    while !std::fs::read_to_string(&stat).unwrap().contains(") S ") {
        yield_now().await;
    }
    running
}

#[test]
fn a_writer_that_has_waited_for_a_reader_is_read_though_it_goes() {
    on_both(1, |folder| async move {
        let path = folder.join("pipe");
        make_pipe(&path);
        for length in [5, 0, 300_000].repeat(10) {
            let write = |path| move || std::fs::write(path, pattern(length)).unwrap();
            let writer = when_it_waits(write(path.clone())).await;
            assert!(fs::read(&path).await? == pattern(length), "{length} bytes");
            writer.join().unwrap();

            let writer = when_it_waits(write(path.clone())).await;
            let mut file = fs::File::open(&path).await?.into_std().await;
            let mut read = Vec::new();
            file.read_to_end(&mut read)?;
            assert!(read == pattern(length), "{length} bytes");
            writer.join().unwrap();
        }
        until_descriptors(&folder, 0).await;
        Ok(())
    });
}

#[test]
fn a_reader_that_has_waited_for_a_writer_is_there_when_it_writes() {
    on_both(1, |folder| async move {
        let path = folder.join("pipe");
        make_pipe(&path);
        for _ in 0..10 {
            let from = path.clone();
            let reader = when_it_waits(move || std::fs::read(from).unwrap()).await;
            let mut file = fs::OpenOptions::new().write(true).open(&path).await?.into_std().await;
            file.write_all(b"hello")?;
            drop(file);
            assert_eq!(reader.join().unwrap(), b"hello");
        }
        Ok(())
    });
}

/// Calls itself in a process of its own, which has little memory.
#[test]
fn a_file_is_read_if_there_is_memory_for_it_and_else_is_an_error() {
    const CHILD: &str = "MULTIKERNEL_TEST_LITTLE_MEMORY";
    if std::env::var_os(CHILD).is_none() {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["whole::a_file_is_read_if_there_is_memory_for_it_and_else_is_an_error", "--exact"]);
        let output = child.env(CHILD, "1").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the child ran nothing");
        return;
    }
    on_both(1, |folder| async move {
        let sparse = |length: usize| {
            let path = folder.join(length.to_string());
            std::fs::File::create(&path).and_then(|file| file.set_len(length as u64)).map(|()| path)
        };
        assert_eq!(fs::read(sparse(1000)?).await?.len(), 1000); // what that needs is there from now on
        let used = std::fs::read_to_string("/proc/self/statm")?;
        let pages: u64 = used.split(' ').next().unwrap().parse().unwrap();
        // No room for twice the first of these.
        let most = libc::rlimit { rlim_cur: pages * 4096 + (56 << 20), rlim_max: libc::RLIM_INFINITY };
        // SAFETY: it reads one valid structure.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &most) }, 0);
        assert_eq!(fs::read(sparse(40 << 20)?).await?.len(), 40 << 20);
        assert_eq!(fs::read(sparse(200 << 20)?).await.unwrap_err().kind(), ErrorKind::OutOfMemory);
        let most = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: as above.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &most) }, 0);
        Ok(())
    });
}

fn make_pipe(path: &Path) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: a text that lives across the call.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

#[test]
fn what_is_no_file_and_what_is_no_text_is_an_error() {
    on_both(1, |folder| async move {
        assert_eq!(fs::read(&folder).await.unwrap_err().kind(), ErrorKind::IsADirectory);
        assert_eq!(fs::read(folder.join("nothing")).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs::read("a\0b").await.unwrap_err().kind(), ErrorKind::InvalidInput);
        std::fs::write(folder.join("file"), [b'x', 0xff])?;
        let error = fs::read_to_string(folder.join("file")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        until_descriptors(&folder, 0).await;
        Ok(())
    });
}

#[test]
fn a_thread_that_is_no_core_reads_files_too() {
    let folder = Folder::new();
    std::fs::write(folder.0.join("file"), pattern(100_000)).unwrap();
    let runtime = Runtime::new().unwrap();
    let found = runtime.block_on(fs::read(folder.0.join("file"))).unwrap();
    assert!(found == pattern(100_000));
}
