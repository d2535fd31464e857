//! What is done while descriptors or memory are short, or a queue is full and nobody tells when it no longer is.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::limits::{LONGEST_ACCEPT_PAUSE, SHORTEST_ACCEPT_PAUSE};
use crate::time::{Sleep, sleep};

/// Errors that leave the connection where it was and pass with time.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// Waits between attempts while there is a shortage: longer each time.
#[derive(Default)]
pub(super) struct Pause {
    length: Duration,
    sleep: Option<Sleep>,
}

impl Pause {
    pub(super) fn begun() -> Pause {
        let mut pause = Pause::default();
        pause.begin();
        pause
    }

    pub(super) fn begin(&mut self) {
        self.length = (self.length * 2).clamp(SHORTEST_ACCEPT_PAUSE, LONGEST_ACCEPT_PAUSE);
        self.sleep = Some(sleep(self.length));
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sleep) = &mut self.sleep {
            ready!(Future::poll(Pin::new(sleep), cx));
            self.sleep = None;
        }
        Poll::Ready(())
    }
}
