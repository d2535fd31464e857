//! The driver.
#![allow(missing_docs)]
use std::{io, os::fd::*, task::Waker, time::Duration};
#[derive(Clone, Copy, Debug, PartialEq, Eq)] pub enum DriverKind { Uring, Epoll }
#[derive(Clone, Copy, Debug, PartialEq, Eq)] pub enum DriverChoice { Auto, Uring, Epoll }
#[derive(Clone, Debug)] pub struct DriverInfo { pub kind: DriverKind, pub why: String }
pub(crate) enum Wait { No, For(Duration), Forever }
pub(crate) struct Settings { pub(crate) entries: u32 }
pub(crate) fn select(_: DriverChoice) -> io::Result<DriverInfo> { Ok(DriverInfo { kind: DriverKind::Epoll, why: String::new() }) }
pub(crate) struct Peer { pub(crate) ring_fd: RawFd, pub(crate) fallback: std::sync::Arc<crate::machine::mailbox::Mailbox> }
/// One core's driver and the sources registered with it.
pub(crate) struct Reactor { bell: RawFd }
impl Reactor {
    pub(crate) fn open(_k: DriverKind, _s: &Settings, bell: BorrowedFd<'_>) -> io::Result<Self> { Ok(Self { bell: bell.as_raw_fd() }) }
    pub(crate) fn turn(&mut self, w: Wait, _: &mut Vec<Waker>) -> io::Result<()> {
        let ms = match w { Wait::No => 0, Wait::For(d) => d.as_millis() as i32 + 1, Wait::Forever => -1 };
        let mut p = libc::pollfd { fd: self.bell, events: libc::POLLIN, revents: 0 };
        unsafe { if libc::poll(&mut p, 1, ms) > 0 { let mut b = [0u8; 8]; libc::read(self.bell, b.as_mut_ptr().cast(), 8); } }
        Ok(())
    }
    pub(crate) fn has_completions(&self) -> bool { false }
    pub(crate) fn wants_turn(&self) -> bool { true }
    pub(crate) fn has_submissions(&self) -> bool { false }
    pub(crate) fn ring_fd(&self) -> Option<RawFd> { None }
    pub(crate) fn ring_peer(&mut self, p: Peer) { p.fallback.doorbell.ring() }
    pub(crate) fn close(self, _: Duration) {}
}
