//! What an operation on a file promises about its buffer, and how a core's part of the file table comes to its end.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

use super::file::FileId;
use super::file_op::{FileOp, Outcome, Work};
use super::order::{At, Order};
use super::running::parcel;
use super::tests::{Count, PATIENCE, TestCore, kinds};
use super::{Arena, DriverKind, OpenOp, OpenRequest, Wait};
use crate::context;
use crate::limits::FILES;

const ID: FileId = FileId { slot: 5, generation: 77 };

/// A read into memory that says when it is freed.
pub(super) struct Watched {
    pub(super) bytes: Vec<u8>,
    freed: Arc<AtomicUsize>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.freed.fetch_add(1, SeqCst);
    }
}

// SAFETY: the bytes are on the heap and owned alone.
unsafe impl Work for Watched {
    fn order(&mut self) -> Order {
        Order::Read {
            to: self.bytes.as_mut_ptr(),
            length: self.bytes.len() as u32,
            at: At::Offset(0),
            ring: 0,
        }
    }

    unsafe fn done(&mut self, _: usize) {}

    fn into_parcel(self) -> Waker {
        parcel(self)
    }
}

pub(super) fn watched() -> (Watched, Arc<AtomicUsize>) {
    let freed = Arc::new(AtomicUsize::new(0));
    (Watched { bytes: vec![0; 64], freed: freed.clone() }, freed)
}

pub(super) fn pipe() -> (OwnedFd, File) {
    let mut ends = [0; 2];
    // SAFETY: the system writes two descriptors there, which are nobody else's.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]).into())
    }
}

/// A core with a ring, and a pipe in its table: what a read takes as long as we like from. Twice: by the ring's table of
/// files, and by number.
fn on_rings(test: impl Fn(TestCore, File)) {
    for registers in [true, false] {
        if !kinds().contains(&DriverKind::Uring) {
            return;
        }
        let core = TestCore::new(DriverKind::Uring, 8);
        let (reader, writer) = pipe();
        let mut reactor = core.resources.reactor.borrow_mut();
        if !registers {
            reactor.refuse_registration();
        }
        let place = reactor.add_file(Arc::new(reader)).unwrap();
        reactor.publish_file(ID, place);
        assert_eq!(reactor.files_kept(), (1, usize::from(registers)));
        drop(reactor);
        test(core, writer);
    }
}

/// Starts a read that finds nothing yet.
fn start(core: &TestCore, read: &mut (impl Future<Output = Outcome<Watched>> + Unpin), waker: &Waker) {
    let polled = pin!(read).poll(&mut Context::from_waker(waker));
    assert!(polled.is_pending());
    core.turn(Wait::No);
    assert_eq!(in_flight(core), Some(1));
}

fn in_flight(core: &TestCore) -> Option<u32> {
    core.resources.reactor.borrow_mut().file_ops(ID)
}

#[test]
fn a_buffer_outlives_its_future_until_the_ring_lets_go_and_is_in_flight_until_then() {
    on_rings(|core, _writer| {
        context::enter(&core.resources, || {
            let (work, freed) = watched();
            let mut read = FileOp::new(ID, work);
            start(&core, &mut read, Waker::noop());
            drop(read);
            assert_eq!(
                (freed.load(SeqCst), in_flight(&core)),
                (0, Some(1)),
                "the ring may still write to it"
            );
            core.turn_until("letting go", || freed.load(SeqCst) == 1);
            assert_eq!(in_flight(&core), Some(0));
        });
        core.resources.reactor.into_inner().close(PATIENCE);
    });
}

/// Has the ring give up all that it has begun, as the system does when it can start no thread for it.
pub(super) fn cancel_all(core: &TestCore) {
    #[repr(C)]
    struct SyncCancel {
        key: u64,
        fd: i32,
        flags: u32,
        timeout: [i64; 2],
        rest: [u64; 4],
    }
    const REGISTER_SYNC_CANCEL: u32 = 24;
    const ALL_OF_ANY: u32 = 1 | 4;
    let request = SyncCancel { key: 0, fd: -1, flags: ALL_OF_ANY, timeout: [-1; 2], rest: [0; 4] };
    let ring = core.resources.reactor.borrow().ring_fd().unwrap();
    // SAFETY: the system reads one request.
    let cancelled = unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring, REGISTER_SYNC_CANCEL, &raw const request, 1)
    };
    assert!(cancelled >= 0, "{}", io::Error::last_os_error());
}

#[test]
fn what_the_ring_gave_up_before_it_began_is_left_to_a_call() {
    on_rings(|core, _writer| {
        context::enter(&core.resources, || {
            let mut read = FileOp::new(ID, watched().0);
            start(&core, &mut read, Waker::noop());
            cancel_all(&core);
            core.turn_until("the end", || in_flight(&core) == Some(0));
            let polled = pin!(&mut read).poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Ready(Outcome::Blocking(..))), "not an error of the read");
        });
        core.resources.reactor.into_inner().close(PATIENCE);
    });
}

#[test]
fn a_file_of_its_own_is_open_until_the_ring_lets_go() {
    for submitted in [false, true] {
        on_rings(|core, _writer| {
            context::enter(&core.resources, || {
                let (reader, _writer) = pipe();
                let file = Arc::new(File::from(reader));
                let (kept, (work, freed)) = (Arc::downgrade(&file), watched());
                let mut read = FileOp::new(file, work);
                assert!(pin!(&mut read).poll(&mut Context::from_waker(Waker::noop())).is_pending());
                if submitted {
                    core.turn(Wait::No);
                }
                assert_eq!(kept.strong_count(), 1);
                // Of all that know the file this was the last; its number is in an entry of the ring.
                drop(read);
                assert_eq!((kept.strong_count(), freed.load(SeqCst)), (1, 0));
                core.turn_until("the end", || freed.load(SeqCst) == 1);
                assert_eq!(kept.strong_count(), 0);
            });
            core.resources.reactor.into_inner().close(PATIENCE);
        });
    }
}

#[test]
fn a_file_is_let_go_after_its_last_operation() {
    on_rings(|core, mut writer| {
        context::enter(&core.resources, || {
            let (answer, (work, _freed)) = (Count::new(), watched());
            let mut read = FileOp::new(ID, work);
            start(&core, &mut read, Waker::noop());
            let mut reactor = core.resources.reactor.borrow_mut();
            let place = reactor.file_place(ID).unwrap();
            reactor.withdraw_file(ID);
            reactor.release_file(place, Waker::from(answer.clone()));
            assert_eq!(reactor.files_kept().0, 1);
            drop(reactor);
            let late = core.run(FileOp::new(ID, watched().0));
            assert!(matches!(late, Outcome::Closed(_)));
            writer.write_all(b"late").unwrap();
            core.turn_until("the answer", || answer.get() == 1);
            assert_eq!(core.resources.reactor.borrow().files_kept(), (0, 0));
            // The ring does not hold it either: nobody reads any more.
            core.turn(Wait::No);
            let refused = writer.write_all(b"x").unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::BrokenPipe);
            match core.run(read) {
                Outcome::Done(result, Some(work)) => {
                    assert_eq!((result.unwrap(), &work.bytes[..4]), (4, &b"late"[..]));
                }
                _ => panic!("it was in flight"),
            }
        });
        core.resources.reactor.into_inner().close(PATIENCE);
    });
}

#[test]
fn a_reactor_closes_with_a_read_at_work() {
    on_rings(|core, mut writer| {
        let (work, freed) = watched();
        let woken = Count::new();
        let mut read = FileOp::new(ID, work);
        context::enter(&core.resources, || start(&core, &mut read, &Waker::from(woken.clone())));
        core.resources.reactor.into_inner().close(PATIENCE);
        assert_eq!(woken.get(), 1);
        assert_eq!(writer.write_all(b"x").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
        // The future cannot know that the ring is through with the buffer, so it does not free it.
        drop(read);
        assert_eq!(freed.load(SeqCst), 0);
    });
}

#[test]
fn a_read_polled_where_its_core_has_ended_says_so() {
    on_rings(|core, _writer| {
        let (work, freed) = watched();
        let mut read = FileOp::new(ID, work);
        context::enter(&core.resources, || start(&core, &mut read, Waker::noop()));
        core.resources.reactor.into_inner().close(PATIENCE);
        let Poll::Ready(outcome) = pin!(read).poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("still waits")
        };
        assert!(matches!(outcome, Outcome::Done(Err(_), None)));
        assert_eq!(freed.load(SeqCst), 0);
    });
}

#[test]
fn a_reactor_lost_in_mid_read_leaks_what_the_ring_writes_to() {
    on_rings(|core, _writer| {
        let (work, freed) = watched();
        context::enter(&core.resources, || {
            let mut read = FileOp::new(ID, work);
            start(&core, &mut read, Waker::noop());
        });
        drop(core);
        assert_eq!(freed.load(SeqCst), 0);
    });
}

#[test]
fn more_operations_than_the_ring_holds_all_complete() {
    on_rings(|core, mut writer| {
        context::enter(&core.resources, || {
            let woken = Count::new();
            let waker = Waker::from(woken.clone());
            let mut reads: Vec<_> = (0..100).map(|_| FileOp::new(ID, watched().0)).collect();
            for read in &mut reads {
                assert!(pin!(read).poll(&mut Context::from_waker(&waker)).is_pending());
            }
            assert_eq!(in_flight(&core), Some(100));
            writer.write_all(&[1; 10 * 64]).unwrap();
            drop(writer);
            core.turn_until("all of them", || in_flight(&core) == Some(0));
            let mut bytes = 0;
            for read in reads {
                let Outcome::Done(result, _) = core.run(read) else { panic!("they were in flight") };
                bytes += result.unwrap();
            }
            assert_eq!(bytes, 10 * 64);
        });
        core.resources.reactor.into_inner().close(PATIENCE);
    });
}

/// A read that goes on when its future is gone.
struct Going(Watched);

// SAFETY: as for what it holds.
unsafe impl Work for Going {
    const GOES_ON: bool = true;

    fn order(&mut self) -> Order {
        self.0.order()
    }

    unsafe fn done(&mut self, _: usize) {}

    fn into_parcel(self) -> Waker {
        parcel(self.0)
    }
}

#[test]
fn what_goes_on_is_not_cancelled_with_its_future() {
    on_rings(|core, mut writer| {
        context::enter(&core.resources, || {
            let (work, freed) = watched();
            let mut read = FileOp::new(ID, Going(work));
            let polled = pin!(&mut read).poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
            core.turn(Wait::No);
            drop(read);
            // A cancel would be through by then.
            let (work, gone) = watched();
            let mut cancelled = FileOp::new(ID, work);
            let _ = pin!(&mut cancelled).poll(&mut Context::from_waker(Waker::noop()));
            drop(cancelled);
            core.turn_until("the other's end", || gone.load(SeqCst) == 1);
            assert_eq!((freed.load(SeqCst), in_flight(&core)), (0, Some(1)));
            writer.write_all(b"for nobody").unwrap();
            core.turn_until("its end", || freed.load(SeqCst) == 1);
        });
        core.resources.reactor.into_inner().close(PATIENCE);
    });
}

/// A read that says of its memory that this core's ring has it registered.
struct Marked {
    bytes: Vec<u8>,
    ring: u64,
}

// SAFETY: the bytes are on the heap and owned alone.
unsafe impl Work for Marked {
    fn order(&mut self) -> Order {
        let (to, length) = (self.bytes.as_mut_ptr(), self.bytes.len() as u32);
        Order::Read { to, length, at: At::Offset(0), ring: self.ring }
    }

    unsafe fn done(&mut self, _: usize) {}

    fn into_parcel(self) -> Waker {
        parcel(self.bytes)
    }
}

#[test]
fn memory_that_is_marked_goes_to_the_ring_as_registered_and_no_further_than_it_is() {
    on_rings(|core, _writer| {
        context::enter(&core.resources, || {
            let file = Arc::new(File::open("/proc/self/exe").unwrap());
            let home = core.resources.uid.0.get();
            let read = |ring| {
                let work = Marked { bytes: vec![0; 4], ring };
                match core.run(FileOp::new(file.clone(), work)) {
                    Outcome::Done(result, Some(work)) => result.map(|_| work.bytes),
                    _ => panic!("it is done on the ring"),
                }
            };
            // Nothing is registered yet, and the mark of another core says nothing here.
            assert_eq!(read(home).unwrap(), b"\x7fELF");
            let Some((arena, index)) = Arena::take() else { return };
            assert_eq!(arena.ring(), home);
            assert_eq!(read(home + 1).unwrap(), b"\x7fELF");
            assert_eq!(read(home).unwrap_err().raw_os_error(), Some(libc::EFAULT));
            arena.give_back(index);
        });
        core.resources.reactor.into_inner().close(PATIENCE);
    });
}

#[test]
fn a_file_that_nobody_takes_is_closed() {
    on_rings(|core, _writer| {
        let path = std::env::temp_dir().join(format!("multikernel-untaken-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        let is_open = || {
            let all = std::fs::read_dir("/proc/self/fd").unwrap();
            all.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok()).any(|name| name == path)
        };
        context::enter(&core.resources, || {
            for waits in 0..6 {
                let name = CString::new(path.to_str().unwrap()).unwrap();
                let mut open = OpenOp::new(OpenRequest::new(name, libc::O_RDONLY | libc::O_CLOEXEC, 0));
                assert!(pin!(&mut open).poll(&mut Context::from_waker(Waker::noop())).is_pending());
                if waits == 5 {
                    core.turn_until("the file", is_open);
                }
                for _ in 0..waits {
                    core.turn(Wait::No);
                }
                drop(open);
                // Its completion, and that of whatever came after.
                core.turn(Wait::No);
                core.turn_until("the close", || !is_open());
            }
        });
        core.resources.reactor.into_inner().close(PATIENCE);
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn a_core_takes_as_many_files_as_the_limit_says() {
    for kind in kinds() {
        let core = TestCore::new(kind, 8);
        let mut reactor = core.resources.reactor.borrow_mut();
        let file = Arc::new(pipe().0);
        let places: Vec<_> = (0..FILES).map(|_| reactor.add_file(file.clone()).unwrap()).collect();
        assert!(reactor.add_file(file.clone()).is_err());
        reactor.release_file(places[7], Waker::noop().clone());
        assert_eq!(reactor.add_file(file.clone()), Ok(places[7]));
        drop(reactor);
        core.resources.reactor.into_inner().close(PATIENCE);
        assert_eq!(Arc::strong_count(&file), 1);
    }
}
