//! Operations of a ring that complete with EINTR: they are made again, and whoever waits for them never hears of it.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};

use super::file_op::{FileOp, Outcome};
use super::tests::{Count, PATIENCE, TestCore, kinds, pair};
use super::tests_file::{cancel_all, pipe, watched};
use super::{DriverKind, OpenOp, OpenRequest, SendAll, Wait};
use crate::context;

/// Starts `operation`, which must have to wait, and has it interrupted. Then it must be at work again.
fn interrupt(core: &TestCore, mut operation: Pin<&mut impl Future>) {
    let woken = Count::new();
    let waker = Waker::from(woken.clone());
    for interrupted in 0..3 {
        let polled = operation.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending(), "it ends when it is interrupted {interrupted} times");
        core.turn(Wait::No);
        let before = woken.get();
        cancel_all(core);
        core.turn_until("the interruption", || woken.get() > before);
        assert_eq!(core.resources.reactor.borrow_mut().interrupt_failed_ops(), 1);
    }
}

fn on_a_ring(test: impl FnOnce(&TestCore)) {
    if !kinds().contains(&DriverKind::Uring) {
        return;
    }
    let core = TestCore::new(DriverKind::Uring, 8);
    context::enter(&core.resources, || test(&core));
    core.resources.reactor.into_inner().close(PATIENCE);
}

#[test]
fn a_read_of_a_file_that_is_interrupted_is_made_again() {
    on_a_ring(|core| {
        let (reader, mut writer) = pipe();
        let (work, _freed) = watched();
        let mut read = pin!(FileOp::new(Arc::new(File::from(reader)), work));
        interrupt(core, read.as_mut());
        writer.write_all(b"late").unwrap();
        let Outcome::Done(result, Some(work)) = core.run(read) else { panic!("it has been done elsewhere") };
        assert_eq!((result.unwrap(), &work.bytes[..4]), (4, &b"late"[..]));
    });
}

#[test]
fn a_send_that_is_interrupted_is_made_again() {
    on_a_ring(|core| {
        let (source, mut peer) = pair();
        let mut near = UnixStream::from(source.fd().try_clone_to_owned().unwrap());
        let mut before = 0;
        while let Ok(put) = near.write(&[7; 10_000]) {
            before += put;
        }
        let mut send = pin!(SendAll::new(&source, &b"late"[..]));
        interrupt(core, send.as_mut());
        let reader = std::thread::spawn(move || {
            let mut all = vec![0; before + 4];
            peer.read_exact(&mut all).map(|()| all)
        });
        core.run(send).result.unwrap();
        assert_eq!(reader.join().unwrap().unwrap()[before..], b"late"[..]);
    });
}

#[test]
fn an_open_that_is_interrupted_is_made_again() {
    on_a_ring(|core| {
        let path = std::env::temp_dir().join(format!("multikernel-interrupted-{}", std::process::id()));
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: a text that lives across the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        // What may be made is opened on a thread of the ring's, which waits there for a reader.
        let request = OpenRequest::new(name, libc::O_WRONLY | libc::O_CREAT | libc::O_CLOEXEC, 0o600);
        let mut open = pin!(OpenOp::new(request));
        interrupt(core, open.as_mut());
        let reader = std::thread::spawn({
            let path = path.clone();
            move || std::fs::read(path).unwrap()
        });
        let opened = core.run(open).expect("the ring opens it").unwrap();
        File::from(opened).write_all(b"late").unwrap();
        assert_eq!(reader.join().unwrap(), b"late");
        std::fs::remove_file(&path).unwrap();
    });
}
