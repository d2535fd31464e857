//! The scenarios on real threads, with the real doorbell: many messages, many times.
#![cfg(not(loom))]

mod scenarios;

use std::os::fd::AsRawFd;

use multikernel_channels::doorbell::Doorbell;
use scenarios::broadcast;
use scenarios::ports::{self, Runner};

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

const RUNNERS: [[Runner; 2]; 4] = [
    [Runner::Plain, Runner::Plain],
    [Runner::Plain, Runner::Core],
    [Runner::Core, Runner::Plain],
    [Runner::Core, Runner::Core],
];

#[test]
fn spsc_passes_all_then_closes() {
    for runners in RUNNERS {
        for capacity in [1, 2, 64] {
            ports::spsc_passes_all_then_closes(doorbell, runners, capacity, 20_000);
        }
    }
}

#[test]
fn spsc_tells_the_sender() {
    for runners in RUNNERS {
        for received in 0..300 {
            ports::spsc_tells_the_sender(doorbell, runners, received);
        }
    }
}

#[test]
fn spsc_receiver_moves() {
    for _ in 0..1_000 {
        ports::spsc_receiver_moves(doorbell, Runner::Plain);
        ports::spsc_receiver_moves(doorbell, Runner::Core);
    }
}

#[test]
fn spsc_knocks_in_the_end() {
    for _ in 0..1_000 {
        ports::spsc_try_ends(doorbell);
    }
}

#[test]
fn broadcast_reaches_all() {
    for runners in RUNNERS {
        for (receivers, capacity) in [(1, 1), (2, 2), (3, 64), (2, 100_000)] {
            broadcast::broadcast_reaches_all(doorbell, runners, receivers, capacity, 20_000);
        }
    }
    // More than a core's table has places for.
    broadcast::broadcast_reaches_all(doorbell, RUNNERS[3], 20, 16, 500);
}

#[test]
fn broadcast_passes_cells() {
    for capacity in [1, 2, 3, 64] {
        broadcast::broadcast_passes_cells(doorbell, capacity, 50_000);
    }
}

#[test]
fn broadcast_has_one_order() {
    broadcast::broadcast_has_one_order(20_000);
}

#[test]
fn broadcast_subscribes_in_between() {
    for messages in 0..300 {
        broadcast::broadcast_subscribes_in_between(doorbell, Runner::Plain, messages + 1);
        broadcast::broadcast_subscribes_in_between(doorbell, Runner::Core, messages + 1);
    }
}

#[test]
fn broadcast_tells_the_sender() {
    for runners in RUNNERS {
        for received in 0..200 {
            broadcast::broadcast_tells_the_sender(doorbell, runners, received);
        }
    }
}

#[test]
fn watch_shows_the_last() {
    for runners in RUNNERS {
        for receivers in 1..=3 {
            broadcast::watch_shows_the_last(doorbell, runners, receivers, 20_000);
        }
        for values in 0..200 {
            broadcast::watch_shows_the_last(doorbell, runners, 1, values);
        }
    }
}

#[test]
fn watch_tells_the_sender() {
    for runners in RUNNERS {
        for _ in 0..300 {
            broadcast::watch_tells_the_sender(doorbell, runners);
        }
    }
}

#[test]
fn watch_changes_add_up() {
    broadcast::watch_changes_add_up(20_000);
}
