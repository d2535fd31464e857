//! Shared files under stress: opened, used and closed at random by sixteen cores, with futures dropped halfway and handles
//! that are stale. Whoever reads finds the bytes of the file it means, or an error; at the end nothing is open.
//!
//! `MULTIKERNEL_SEED` sets the dice (the timing is not replayed), `MULTIKERNEL_STRESS_SECONDS` how long to go on,
//! `MULTIKERNEL_DRIVER` the driver.
#![cfg(not(loom))]

use std::fs::{self, OpenOptions};
use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use multikernel::fs::{CloseError, FileError, OpenError, SharedFile};
use multikernel::on_each_core;
use multikernel::runtime::Builder;
use multikernel::task::yield_now;

const CORES: usize = 16;
const PATHS: usize = 8;
const BLOCK: usize = 512;

/// A small generator (Steele, Lea, Flood 2014: SplitMix).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// Files that are all of one byte each, a different one.
struct Paths(Vec<PathBuf>);

impl Paths {
    fn new() -> Self {
        let folder = std::env::temp_dir();
        let paths = (0..PATHS).map(|number| {
            let path = folder.join(format!("multikernel-stress-{}-{number}", std::process::id()));
            fs::write(&path, vec![number as u8; 4 * BLOCK]).unwrap();
            path
        });
        Self(paths.collect())
    }

    fn descriptors(&self) -> usize {
        let all = fs::read_dir("/proc/self/fd").unwrap();
        let named = all.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        named.filter(|path| self.0.contains(path)).count()
    }
}

impl Drop for Paths {
    fn drop(&mut self) {
        self.0.iter().for_each(|path| _ = fs::remove_file(path));
    }
}

/// Some handles, open or stale, and which file each means.
type Handles = Arc<Mutex<Vec<(SharedFile, u8)>>>;

#[derive(Default)]
struct Figures {
    opened: AtomicUsize,
    closed: AtomicUsize,
    moved: AtomicUsize,
    stale: AtomicUsize,
    busy: AtomicUsize,
}

fn count(figure: &AtomicUsize) {
    figure.fetch_add(1, Ordering::Relaxed); // a figure
}

/// Polls a future up to so many times, then drops it.
async fn impatiently<F: Future>(future: F, mut patience: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if patience == 0 => Poll::Ready(None),
        Poll::Pending => {
            patience -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Puts a handle with the others. The one it replaces, if there are enough.
fn keep(handles: &Handles, new: (SharedFile, u8), dice: &mut Dice) -> Option<SharedFile> {
    let mut handles = handles.lock().unwrap();
    if handles.len() < 32 {
        handles.push(new);
        return None;
    }
    let (old, _) = std::mem::replace(&mut handles[dice.below(32)], new);
    Some(old)
}

async fn act(dice: &mut Dice, paths: &Paths, handles: &Handles, figures: &Figures) {
    const WITHOUT_END: usize = usize::MAX;
    let patience = if dice.below(8) == 0 { dice.below(3) } else { WITHOUT_END };
    let known = handles.lock().unwrap().len();
    if known == 0 || dice.below(8) == 0 {
        let number = dice.below(PATHS);
        let options = OpenOptions::new().read(true).write(true).clone();
        match impatiently(SharedFile::open(&paths.0[number], &options), patience).await {
            None => {}
            Some(Ok(file)) => {
                count(&figures.opened);
                if let Some(old) = keep(handles, (file, number as u8), dice) {
                    let _ = old.close().await; // somebody else may close it too
                }
            }
            Some(Err(OpenError::Full { .. })) => {}
            Some(Err(error)) => panic!("{error}"),
        }
        return;
    }
    let (file, byte) = handles.lock().unwrap()[dice.below(known)];
    let offset = (dice.below(4) * BLOCK) as u64;
    match dice.below(12) {
        0 => match impatiently(file.close(), patience).await {
            Some(Ok(())) => count(&figures.closed),
            None | Some(Err(CloseError::Closed)) => {}
            Some(Err(error)) => panic!("{error}"),
        },
        1 => match impatiently(file.try_close(), patience).await {
            Some(Ok(())) => count(&figures.closed),
            Some(Err(CloseError::Busy { .. })) => count(&figures.busy),
            None | Some(Err(CloseError::Closed)) => {}
            Some(Err(error)) => panic!("{error}"),
        },
        2 => drop(impatiently(file.sync_data(), patience).await),
        3..6 => {
            let Some(written) = impatiently(file.write_at(vec![byte; BLOCK], offset), patience).await else {
                return;
            };
            assert_eq!(written.buffer.unwrap().len(), BLOCK);
            match written.result {
                Ok(written) => assert_eq!(written, BLOCK),
                Err(FileError::Closed) => count(&figures.stale),
                Err(error) => panic!("{error}"),
            }
        }
        _ => {
            let buffer = vec![0xff; BLOCK].into_boxed_slice();
            let Some(read) = impatiently(file.read_at(buffer, offset), patience).await else { return };
            match read.result {
                Ok(read_bytes) => {
                    assert_eq!(read_bytes, BLOCK);
                    assert!(read.buffer.unwrap().iter().all(|read| *read == byte), "another file's bytes");
                    count(&figures.moved);
                }
                Err(FileError::Closed) => count(&figures.stale),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn sixteen_cores_use_files_at_random() {
    let seed = from_environment("MULTIKERNEL_SEED", 1);
    let time = Duration::from_secs(from_environment("MULTIKERNEL_STRESS_SECONDS", 3));
    println!("MULTIKERNEL_SEED={seed}");
    let paths = Arc::new(Paths::new());
    let (handles, figures) = (Handles::default(), Arc::new(Figures::default()));
    let shared = (paths.clone(), handles.clone(), figures.clone());
    let main = move || async move {
        let end = Instant::now() + time;
        let tasks = on_each_core(move || {
            let (paths, handles, figures) = shared.clone();
            async move {
                let mut tasks = Vec::new();
                for lane in 0..3 {
                    let me = multikernel::CoreId::current().index() as u64;
                    let (paths, handles, figures) = (paths.clone(), handles.clone(), figures.clone());
                    tasks.push(multikernel::spawn_local(async move {
                        let mut dice = Dice(seed.wrapping_mul(1000) + me * 10 + lane);
                        while Instant::now() < end {
                            act(&mut dice, &paths, &handles, &figures).await;
                            yield_now().await;
                        }
                    }));
                }
                for task in tasks {
                    task.await.unwrap();
                }
            }
        });
        for task in tasks {
            task.await.unwrap();
        }
        let left = std::mem::take(&mut *handles.lock().unwrap());
        for (file, _) in left {
            match file.close().await {
                Ok(()) | Err(CloseError::Closed) => {}
                Err(error) => panic!("{error}"),
            }
        }
        // What dropped futures have left is under way still.
        let patience = Instant::now() + Duration::from_secs(60);
        while paths.descriptors() > 0 {
            assert!(Instant::now() < patience, "{} descriptors are left", paths.descriptors());
            for task in on_each_core(|| async {}) {
                task.await.unwrap();
            }
        }
    };
    Builder::new_test().cores(CORES).run(main).unwrap();
    println!("{figures:?}");
    assert!(figures.moved.load(Ordering::Relaxed) > 0 && figures.closed.load(Ordering::Relaxed) > 0);
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let read = |figure: &AtomicUsize| figure.load(Ordering::Relaxed);
        write!(
            f,
            "{} opened, {} closed, {} blocks read, {} operations on closed files, {} busy",
            read(&self.opened),
            read(&self.closed),
            read(&self.moved),
            read(&self.stale),
            read(&self.busy)
        )
    }
}
