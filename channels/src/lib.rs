//! How cores talk.
#![allow(missing_docs, clippy::all)]
pub mod sync {
    pub use std::sync::atomic::*;
    pub use std::sync::Arc;
    pub use std::cell::Cell;
    #[macro_export]
    macro_rules! per_thread { ($(#[$m:meta])* $v:vis static $n:ident: $t:ty = $e:expr) => { std::thread_local! { $(#[$m])* $v static $n: std::cell::Cell<$t> = const { std::cell::Cell::new($e) } } } }
    pub use crate::per_thread;
}
pub mod inbox {
    use std::{marker::PhantomData, ptr::{null_mut, NonNull}, sync::atomic::{AtomicPtr, Ordering::*}};
    #[derive(Debug)]
    pub struct Closed;
    #[derive(Default)]
    pub struct Link { next: AtomicPtr<Link> }
    impl Link { pub fn new() -> Self { Self::default() } }
    pub unsafe trait Linked {}
    pub struct Inbox<T> { head: AtomicPtr<Link>, _t: PhantomData<fn(T)> }
    fn closed() -> *mut Link { 1 as *mut Link }
    pub struct Batch<T> { next: *mut Link, _t: PhantomData<T> }
    impl<T: Linked> Inbox<T> {
        pub fn new() -> Self { Self { head: AtomicPtr::new(null_mut()), _t: PhantomData } }
        pub unsafe fn push(&self, node: NonNull<T>) -> Result<(), Closed> { unsafe {
            let l: *mut Link = node.as_ptr().cast();
            let mut h = self.head.load(Acquire);
            loop {
                if h == closed() { return Err(Closed) }
                (*l).next.store(h, Relaxed);
                match self.head.compare_exchange_weak(h, l, Release, Acquire) { Ok(_) => return Ok(()), Err(x) => h = x }
            }
        } }
        pub fn is_empty(&self) -> bool { self.head.load(Relaxed).is_null() }
        pub unsafe fn take(&self) -> Batch<T> { if self.is_empty() { return Batch { next: null_mut(), _t: PhantomData } } rev(self.head.swap(null_mut(), Acquire)) }
        pub unsafe fn close(&self) -> Batch<T> { rev(self.head.swap(closed(), AcqRel)) }
    }
    fn rev<T>(mut n: *mut Link) -> Batch<T> { let mut r: *mut Link = null_mut(); if n == closed() { n = null_mut() } while !n.is_null() { unsafe { let x = (*n).next.load(Relaxed); (*n).next.store(r, Relaxed); r = n; n = x } } Batch { next: r, _t: PhantomData } }
    impl<T: Linked> Iterator for Batch<T> { type Item = NonNull<T>; fn next(&mut self) -> Option<NonNull<T>> { let n = NonNull::new(self.next)?; self.next = unsafe { n.as_ref().next.load(Relaxed) }; Some(n.cast()) } }
}
pub mod doorbell {
    use std::{io, os::fd::*, sync::atomic::{AtomicU32, Ordering::*, fence}};
    #[derive(PartialEq, Eq, Debug, Clone, Copy)]
    pub enum State { Running, Polling, Parked, Rung }
    pub struct Doorbell { s: AtomicU32, t: AtomicU32, fd: OwnedFd }
    impl Doorbell {
        pub fn new() -> io::Result<Self> { let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) }; if fd < 0 { return Err(io::Error::last_os_error()) } Ok(Self { s: AtomicU32::new(0), t: AtomicU32::new(0), fd: unsafe { OwnedFd::from_raw_fd(fd) } }) }
        pub fn fd(&self) -> BorrowedFd<'_> { self.fd.as_fd() }
        pub fn prepare_park(&self) { self.s.store(2, Relaxed); fence(SeqCst) }
        pub fn unpark(&self) { self.s.store(0, Relaxed) }
        pub fn set_polling(&self) { self.s.store(1, Relaxed) }
        pub fn drain(&self) { let mut b = [0u8; 8]; unsafe { libc::read(self.fd.as_raw_fd(), b.as_mut_ptr().cast(), 8); } }
        pub fn must_ring(&self) -> bool { fence(SeqCst); self.s.load(Relaxed) == 2 && self.s.compare_exchange(2, 3, Relaxed, Relaxed).is_ok() }
        pub fn ring(&self) { let b = 1u64; unsafe { libc::write(self.fd.as_raw_fd(), (&b as *const u64).cast(), 8); } }
        pub fn tick(&self) { self.t.store(self.t.load(Relaxed).wrapping_add(1), Relaxed) }
        pub fn ticks(&self) -> u32 { self.t.load(Relaxed) }
    }
}
