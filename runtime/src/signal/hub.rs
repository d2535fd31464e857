//! From the signal handler to the wakers: one per process.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::thread;

use crate::machine::{cpus, pinning};
use crate::task::quietly;

/// Listeners of one signal.
#[derive(Default)]
pub(crate) struct Line {
    /// How often the signal has come; written by the handler.
    count: AtomicU64,
    /// What `count` was when the listeners were last woken; for the thread that wakes alone.
    told: AtomicU64,
    waiting: Mutex<HashMap<u64, Waker>>,
}

impl Line {
    /// How often the signal has come so far.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire) // pairs with the handler's increment; the waiting list orders the rest
    }

    /// Has `waker` woken at the next signal, in place of what `listener` waited with before.
    pub(crate) fn wait(&self, listener: u64, waker: &Waker) {
        let waker = waker.clone();
        let old = lock(&self.waiting).insert(listener, waker);
        drop(old);
    }

    pub(crate) fn leave(&self, listener: u64) {
        let old = lock(&self.waiting).remove(&listener);
        drop(old);
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        lock(&self.waiting).len()
    }

    /// Wakes the listeners, unless it is another signal that has come.
    ///
    /// A listener enters the list before it looks at `count`. So either the list taken here has it, or it looks after
    /// this has looked, and sees what this saw.
    fn wake(&self) {
        let count = self.count();
        // Relaxed: only one thread gets here.
        if self.told.swap(count, Ordering::Relaxed) == count {
            return;
        }
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        for waker in waiting.into_values() {
            quietly(|| waker.wake());
        }
    }
}

struct Hub {
    lines: Mutex<HashMap<i32, Arc<Line>>>,
    /// Where the handlers write a byte.
    nudge: UnixStream,
}

static HUB: OnceLock<Hub> = OnceLock::new();

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hub() -> io::Result<&'static Hub> {
    static STARTING: Mutex<()> = Mutex::new(());
    let _starting = lock(&STARTING);
    if let Some(hub) = HUB.get() {
        return Ok(hub);
    }
    let (mut read, nudge) = UnixStream::pair()?;
    nudge.set_nonblocking(true)?; // a full pipe has news enough in it
    let cpus = pinning::unpinned();
    let run = move || {
        if let Some(Err(error)) = cpus.as_deref().map(cpus::set_affinity) {
            tracing::warn!(%error, "the thread that waits for signals stays on the CPU of the core that started it");
        }
        let mut bytes = [0; 4096];
        loop {
            match read.read(&mut bytes) {
                // By the handler of somebody else, who did not ask for calls to be restarted.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(1..) => {}
                Ok(0) | Err(_) => {
                    return tracing::error!("nothing wakes those who wait for signals any more");
                }
            }
            let lines: Vec<_> =
                HUB.get().map(|hub| lock(&hub.lines).values().cloned().collect()).unwrap_or_default();
            lines.iter().for_each(|line| line.wake());
        }
    };
    thread::Builder::new().name("multikernel-signals".into()).spawn(run)?;
    Ok(HUB.get_or_init(|| Hub { lines: Mutex::default(), nudge }))
}

/// The listeners of `signal`; installs the handler if this is the first.
pub(crate) fn line(signal: i32) -> io::Result<Arc<Line>> {
    let hub = hub()?;
    let mut lines = lock(&hub.lines);
    if let Some(line) = lines.get(&signal) {
        return Ok(line.clone());
    }
    if signal_hook_registry::FORBIDDEN.contains(&signal) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("signal {signal} cannot be listened to"),
        ));
    }
    let line = Arc::new(Line::default());
    let counted = line.clone();
    let handler = move || {
        // Release pairs with the Acquire in `count`.
        counted.count.fetch_add(1, Ordering::Release);
        let _ = (&hub.nudge).write(&[1]);
    };
    // SAFETY: the handler adds to an atomic and calls write(2), both async-signal-safe; it neither allocates, locks
    // nor panics. What it uses lives as long as the process.
    unsafe { signal_hook_registry::register(signal, handler)? };
    lines.insert(signal, line.clone());
    Ok(line)
}
