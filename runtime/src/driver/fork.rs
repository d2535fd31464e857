//! Noticing that this process is a child made by fork(2) without exec, where the parent's rings must not be touched.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

static FORKED: AtomicBool = AtomicBool::new(false);

pub(crate) fn is_forked_child() -> bool {
    // Relaxed: written by the only thread that a forked child has at that time.
    FORKED.load(Ordering::Relaxed)
}

pub(super) fn watch_for_forks() {
    extern "C" fn in_child() {
        FORKED.store(true, Ordering::Relaxed);
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler does nothing but store to a static. Its only error is a lack of memory, and then a
        // forked child goes on as if this had not been asked for.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}
