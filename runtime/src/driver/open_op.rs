//! Opening a file by the core's ring. What is in its caches is opened without a thread.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker, ready};

use super::running::{Lost, Running};
use super::{Driver, Reactor};
use crate::context::{self, CoreUid};

/// What is to be opened, and where the file is put. Shared by the future and the operation: who has it last closes a file that
/// nobody has taken.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    pub(crate) path: CString,
    pub(crate) flags: i32,
    pub(crate) mode: u32,
    opened: OnceLock<OwnedFd>,
}

impl OpenRequest {
    pub(crate) fn new(path: CString, flags: i32, mode: u32) -> OpenRequest {
        OpenRequest { path, flags, mode, opened: OnceLock::new() }
    }

    pub(super) fn put(&self, file: OwnedFd) {
        // An operation completes once; a second file would be closed.
        let _ = self.opened.set(file);
    }
}

/// Opens a file on the core that polls it first. `None`: this thread has no ring, or the ring does not know.
pub(crate) struct OpenOp {
    request: Option<Arc<OpenRequest>>,
    running: Option<Running>,
}

impl OpenOp {
    pub(crate) fn new(request: OpenRequest) -> OpenOp {
        OpenOp { request: Some(Arc::new(request)), running: None }
    }

    fn ended(&mut self, result: Result<i32, Lost>) -> Option<Option<io::Result<OwnedFd>>> {
        self.running = None;
        match result {
            Ok(0..) => {
                let request = self.request.take().and_then(Arc::into_inner);
                Some(request.and_then(|request| request.opened.into_inner()).map(Ok))
            }
            Ok(errno) if -errno == libc::EINTR => None,
            // Unknown to an old ring. Or a pipe without a reader, for which a call waits. Or given up before it began.
            Ok(errno)
                if matches!(
                    -errno,
                    libc::EINVAL | libc::EOPNOTSUPP | libc::EAGAIN | libc::ENXIO | libc::ECANCELED
                ) =>
            {
                Some(None)
            }
            Ok(errno) => Some(Some(Err(io::Error::from_raw_os_error(-errno)))),
            Err(Lost) => Some(Some(Err(io::Error::other("the core that opened the file has ended")))),
        }
    }
}

impl Future for OpenOp {
    type Output = Option<io::Result<OwnedFd>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(running) = &mut this.running {
            let result = ready!(running.poll(cx));
            if let Some(ended) = this.ended(result) {
                return Poll::Ready(ended);
            }
        }
        let request = this.request.as_ref().expect("a finished operation is not polled again");
        this.running = context::with_core(|core| {
            let core = core?;
            core.reactor.borrow_mut().start_open(request, core.uid, cx.waker())
        });
        if this.running.is_some() { Poll::Pending } else { Poll::Ready(None) }
    }
}

impl Drop for OpenOp {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            // The operation has the request, and with it all the memory it needs.
            running.abandon(Waker::noop().clone(), false, None);
        }
    }
}

impl Reactor {
    fn start_open(&mut self, request: &Arc<OpenRequest>, home: CoreUid, waker: &Waker) -> Option<Running> {
        match &mut self.driver {
            Driver::Uring(uring) => {
                let key = uring.start_open(request.clone(), waker.clone());
                Some(Running::new(home, key))
            }
            Driver::Epoll(_) => None,
        }
    }
}
