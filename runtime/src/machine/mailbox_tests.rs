use std::cell::Cell;
use std::future::poll_fn;
use std::num::NonZeroU64;
use std::panic::Location;
use std::rc::Rc;
use std::sync::{Arc, Barrier};
use std::task::Poll;

use super::mailbox::{CoreUid, Mailbox};
use crate::task::{Home, spawn_at_home};

/// The poster has pushed and is about to ring.
static RINGING: Barrier = Barrier::new(2);
/// The core has ended meanwhile.
static ENDED: Barrier = Barrier::new(2);

fn ring_late(mailbox: &Mailbox) {
    RINGING.wait();
    ENDED.wait();
    mailbox.doorbell.ring();
}

#[test]
fn a_mailbox_outlives_its_core_until_the_last_poster_has_rung() {
    // Two cores of Machines that no other test has.
    let number = NonZeroU64::MAX;
    let mailbox = Mailbox::new(CoreUid(number), number, 0, ring_late).unwrap();
    let weak = Arc::downgrade(&mailbox);
    let home = Home::new(mailbox);
    // SAFETY: the home stays here until it has left, below.
    unsafe { home.enter() };
    let waker = Rc::new(Cell::new(None));
    let slot = waker.clone();
    let task = spawn_at_home(
        &home,
        poll_fn(move |cx| {
            slot.set(Some(cx.waker().clone()));
            Poll::<()>::Pending
        }),
        Location::caller(),
    );
    assert!(home.run_one());
    let waker = waker.take().expect("it was polled");

    home.mailbox().doorbell.prepare_park();
    let poster = std::thread::spawn(move || waker.wake());
    RINGING.wait();
    home.mailbox().doorbell.unpark();
    drop(task);
    home.finish_all();
    home.leave();
    drop(home);
    assert!(weak.upgrade().is_some(), "the poster would ring a doorbell that is gone");
    ENDED.wait();
    poster.join().unwrap();
    assert!(weak.upgrade().is_none(), "nobody is left to keep it");
}

#[test]
fn what_placement_reads_is_one_line() {
    use crate::machine::figures::Figures;
    assert_eq!((size_of::<Figures>(), align_of::<Figures>()), (128, 64));
}
