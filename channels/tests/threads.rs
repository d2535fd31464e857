//! The scenarios on real threads, with the real doorbell: many messages, many times.
#![cfg(not(loom))]

mod scenarios;

use std::os::fd::AsRawFd;

use multikernel_channels::doorbell::Doorbell;
use scenarios::calls::{self, Receive};
use scenarios::ports::Runner;

impl scenarios::Bell for Doorbell {
    fn prepare_park(&self) {
        Doorbell::prepare_park(self);
    }

    fn unpark(&self) -> bool {
        Doorbell::unpark(self)
    }

    fn must_ring(&self) -> bool {
        Doorbell::must_ring(self)
    }

    fn ring(&self) {
        Doorbell::ring(self);
    }

    fn sleep(&self) {
        let mut fd = libc::pollfd { fd: self.fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: `fd` is one valid pollfd for the length of the call.
        let ready = unsafe { libc::poll(&raw mut fd, 1, 20_000) };
        assert_eq!(ready, 1, "no wake within 20 s");
    }

    fn drain(&self) {
        Doorbell::drain(self);
    }
}

fn doorbell() -> Doorbell {
    Doorbell::new().expect("a descriptor")
}

#[test]
fn inbox_loses_nothing() {
    scenarios::inbox_loses_nothing(4, 20_000);
    for _ in 0..200 {
        scenarios::inbox_loses_nothing(3, 20);
    }
}

#[test]
fn closed_inbox_refuses() {
    for _ in 0..500 {
        scenarios::closed_inbox_refuses(3, 50);
    }
}

#[test]
fn inbox_takes_nodes_again() {
    scenarios::inbox_takes_nodes_again(50_000);
}

#[test]
fn ring_passes_all_then_closes() {
    for capacity in [1, 2, 3, 64] {
        scenarios::ring_passes_all_then_closes(capacity, 20_000);
    }
}

#[test]
fn ring_tells_the_producer() {
    for popped in 0..200 {
        scenarios::ring_tells_the_producer(4, 100_000, popped);
    }
}

#[test]
fn no_wake_is_lost() {
    scenarios::no_wake_is_lost(doorbell(), 1, 20_000);
    scenarios::no_wake_is_lost(doorbell(), 3, 10_000);
}

#[test]
fn one_sender_rings() {
    for _ in 0..500 {
        scenarios::one_sender_rings(doorbell(), 3);
    }
}

#[test]
fn a_ring_brings_its_message() {
    for _ in 0..500 {
        scenarios::a_ring_brings_its_message(doorbell());
    }
}

#[test]
fn ring_wakes_its_consumer() {
    scenarios::ring_wakes_its_consumer(doorbell(), 2, 20_000);
    for _ in 0..200 {
        scenarios::ring_wakes_its_consumer(doorbell(), 4, 4);
    }
}

#[test]
fn each_thread_has_its_own() {
    scenarios::each_thread_has_its_own();
}

const ON: [[Runner; 2]; 4] = [
    [Runner::Plain, Runner::Plain],
    [Runner::Plain, Runner::Core],
    [Runner::Core, Runner::Plain],
    [Runner::Core, Runner::Core],
];

#[test]
fn oneshot_sends_once() {
    for _ in 0..300 {
        for receive in [Receive::Wait, Receive::WaitTwice, Receive::Close, Receive::Drop] {
            calls::oneshot_sends_once(doorbell, receive);
        }
        calls::oneshot_tells_the_other_end(doorbell, true);
        calls::oneshot_tells_the_other_end(doorbell, false);
        calls::oneshot_ends_at_once();
    }
}

#[test]
fn calls_are_answered() {
    for runners in ON {
        calls::calls_are_answered(doorbell, runners, 5_000);
    }
}

#[test]
fn abandoned_calls_are_forgotten() {
    for runners in ON {
        for _ in 0..50 {
            calls::abandoned_calls_are_forgotten(doorbell, runners, 30, true);
            calls::abandoned_calls_are_forgotten(doorbell, runners, 1, false);
        }
    }
}

#[test]
fn ends_of_calls_go() {
    for runners in ON {
        for taken in 0..50 {
            calls::callee_goes(doorbell, runners, taken);
        }
    }
    for round in 0..500 {
        calls::both_ends_go(round % 2 == 0);
    }
}

#[test]
fn loans_come_home() {
    for home in [Runner::Plain, Runner::Core] {
        calls::loans_come_home(doorbell, home, 500);
        for _ in 0..200 {
            calls::all_who_wait_are_served(doorbell, home);
        }
    }
    for count in 0..100 {
        calls::pool_goes_first(count % 4);
    }
}
