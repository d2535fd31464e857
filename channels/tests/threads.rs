//! The scenarios on real threads, with the real doorbell: many messages, many times.
#![cfg(not(loom))]

mod scenarios;

use std::os::fd::AsRawFd;
use std::sync::LazyLock;

use multikernel_channels::doorbell::Doorbell;
use scenarios::broadcast;
use scenarios::calls::{self, Receive};
use scenarios::epoch;
use scenarios::mesh;
use scenarios::mpsc;
use scenarios::ports::{self, RUNNERS, Runner};

impl scenarios::Bell for Doorbell {
    fn set_polling(&self) {
        Doorbell::set_polling(self);
    }

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
        let ready = unsafe { libc::poll(&raw mut fd, 1, 60_000) };
        assert_eq!(ready, 1, "no wake within a minute");
    }

    fn drain(&self) {
        Doorbell::drain(self);
    }
}

/// `count`, or fewer where every step takes long: `MULTIKERNEL_FEWER` divides it.
fn few<N: TryFrom<usize>>(count: usize) -> N {
    static FEWER: LazyLock<usize> = LazyLock::new(|| {
        let fewer = std::env::var("MULTIKERNEL_FEWER").map(|number| number.parse());
        fewer.map_or(1, |number| number.expect("MULTIKERNEL_FEWER is a number"))
    });
    N::try_from(count.div_ceil(*FEWER)).ok().expect("counts are small")
}

fn doorbell() -> Doorbell {
    Doorbell::new().expect("a descriptor")
}

#[test]
fn inbox_loses_nothing() {
    scenarios::inbox_loses_nothing(4, few(20_000));
    for _ in 0..few(200) {
        scenarios::inbox_loses_nothing(3, 20);
    }
}

#[test]
fn closed_inbox_refuses() {
    for _ in 0..few(500) {
        scenarios::closed_inbox_refuses(3, 50);
    }
}

#[test]
fn inbox_takes_nodes_again() {
    scenarios::inbox_takes_nodes_again(few(50_000));
}

#[test]
fn ring_passes_all_then_closes() {
    for capacity in [1, 2, 3, 64] {
        scenarios::ring_passes_all_then_closes(capacity, few(20_000));
    }
}

#[test]
fn ring_passes_batches() {
    for (capacity, most) in [(1, 1), (3, 2), (64, 10), (64, 100)] {
        scenarios::ring_passes_batches(capacity, few(50_000), most);
    }
}

#[test]
fn ring_tells_the_producer() {
    for popped in 0..few(200) {
        scenarios::ring_tells_the_producer(4, 100_000, popped);
    }
}

#[test]
fn no_wake_is_lost() {
    for polls in [false, true] {
        scenarios::no_wake_is_lost(doorbell(), polls, 1, few(20_000));
        scenarios::no_wake_is_lost(doorbell(), polls, 3, few(10_000));
    }
}

#[test]
fn one_sender_rings() {
    for _ in 0..few(500) {
        scenarios::one_sender_rings(doorbell(), 3);
    }
}

#[test]
fn a_ring_brings_its_message() {
    for _ in 0..few(500) {
        scenarios::a_ring_brings_its_message(doorbell());
    }
}

#[test]
fn ring_wakes_its_consumer() {
    scenarios::ring_wakes_its_consumer(doorbell(), 2, few(20_000));
    for _ in 0..few(200) {
        scenarios::ring_wakes_its_consumer(doorbell(), 4, 4);
    }
}

#[test]
fn each_thread_has_its_own() {
    scenarios::each_thread_has_its_own();
}

#[test]
fn spsc_passes_all_then_closes() {
    for runners in RUNNERS {
        for capacity in [1, 2, 64] {
            ports::spsc_passes_all_then_closes(doorbell, runners, capacity, few(20_000));
        }
    }
}

#[test]
fn spsc_passes_batches() {
    for runners in RUNNERS {
        for capacity in [1, 3, 64] {
            ports::spsc_passes_batches(doorbell, runners, capacity, few(5_000));
        }
    }
}

#[test]
fn spsc_tells_the_sender() {
    for runners in RUNNERS {
        for received in 0..few(300) {
            ports::spsc_tells_the_sender(doorbell, runners, received);
        }
    }
}

#[test]
fn spsc_receiver_moves() {
    for _ in 0..few(1_000) {
        ports::spsc_receiver_moves(doorbell, Runner::Plain);
        ports::spsc_receiver_moves(doorbell, Runner::Core);
    }
}

#[test]
fn spsc_lingers() {
    for runner in [Runner::Plain, Runner::Core, Runner::Lingering] {
        for runners in [[runner, Runner::Lingering], [Runner::Lingering, runner]] {
            ports::spsc_goes_to_and_fro(doorbell, runners, few(20_000));
            ports::spsc_passes_all_then_closes(doorbell, runners, 8, few(100_000));
        }
    }
}

#[test]
fn spsc_knocks_in_the_end() {
    for _ in 0..few(1_000) {
        ports::spsc_try_ends(doorbell);
    }
}

#[test]
fn broadcast_reaches_all() {
    for runners in RUNNERS {
        for (receivers, capacity) in [(1, 1), (2, 2), (3, 64), (2, 100_000)] {
            broadcast::broadcast_reaches_all(doorbell, runners, receivers, capacity, few(20_000));
        }
    }
    // More than a core's table has places for.
    broadcast::broadcast_reaches_all(doorbell, RUNNERS[3], 20, 16, 500);
}

#[test]
fn broadcast_passes_cells() {
    for capacity in [1, 2, 3, 64] {
        broadcast::broadcast_passes_cells(doorbell, capacity, few(50_000));
    }
}

#[test]
fn broadcast_has_one_order() {
    broadcast::broadcast_has_one_order(few(20_000));
}

#[test]
fn broadcast_subscribes_in_between() {
    for messages in 0..few(300) {
        broadcast::broadcast_subscribes_in_between(doorbell, Runner::Plain, messages + 1);
        broadcast::broadcast_subscribes_in_between(doorbell, Runner::Core, messages + 1);
    }
}

#[test]
fn broadcast_tells_the_sender() {
    for runners in RUNNERS {
        for received in 0..few(200) {
            broadcast::broadcast_tells_the_sender(doorbell, runners, received);
        }
    }
}

#[test]
fn watch_shows_the_last() {
    for runners in RUNNERS {
        for receivers in 1..=3 {
            broadcast::watch_shows_the_last(doorbell, runners, receivers, few(20_000));
        }
        for values in 0..few(200) {
            broadcast::watch_shows_the_last(doorbell, runners, 1, values);
        }
    }
}

#[test]
fn watch_tells_the_sender() {
    for runners in RUNNERS {
        for _ in 0..few(300) {
            broadcast::watch_tells_the_sender(doorbell, runners);
        }
    }
}

#[test]
fn watch_changes_add_up() {
    broadcast::watch_changes_add_up(few(20_000));
}

#[test]
fn oneshot_sends_once() {
    for _ in 0..few(300) {
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
    for runners in RUNNERS {
        calls::calls_are_answered(doorbell, runners, few(5_000));
    }
}

#[test]
fn abandoned_calls_are_forgotten() {
    for runners in RUNNERS {
        for _ in 0..few(50) {
            calls::abandoned_calls_are_forgotten(doorbell, runners, 30, true);
            calls::abandoned_calls_are_forgotten(doorbell, runners, 1, false);
        }
    }
}

#[test]
fn ends_of_calls_go() {
    for runners in RUNNERS {
        for taken in 0..few(50) {
            calls::callee_goes(doorbell, runners, taken);
        }
    }
    for round in 0..few(500) {
        calls::both_ends_go(round % 2 == 0);
    }
}

#[test]
fn nothing_overtakes_a_commit() {
    for by in epoch::ALL {
        for _ in 0..few(500) {
            epoch::nothing_overtakes_a_commit(doorbell, Runner::Plain, by);
            epoch::nothing_overtakes_a_commit(doorbell, Runner::Core, by);
        }
    }
}

#[test]
fn loans_come_home() {
    for home in [Runner::Plain, Runner::Core] {
        calls::loans_come_home(doorbell, home, 500);
        calls::who_waits_at_home_is_served(doorbell, home);
        for _ in 0..few(200) {
            calls::all_who_wait_are_served(doorbell, home);
            calls::who_waits_next_is_served(doorbell, home);
        }
    }
    for count in 0..few(100) {
        calls::pool_goes_first(count % 4);
    }
}

#[test]
fn mpsc_passes_all_then_closes() {
    use Runner::{Core, Plain};
    for receiving in [Core, Plain] {
        for capacity in [1, 3, 256] {
            let senders = [Core, Core, Plain, Core, Plain];
            mpsc::passes_all_then_closes(doorbell, &senders, receiving, capacity, few(5_000));
            mpsc::passes_all_then_closes(doorbell, &[Core], receiving, capacity, few(20_000));
        }
    }
}

#[test]
fn mpsc_receiver_goes() {
    for [sending, receiving] in RUNNERS {
        for received in (0..few(200)).step_by(8) {
            mpsc::receiver_goes(doorbell, &[sending, Runner::Core, sending], receiving, received);
        }
    }
}

#[test]
fn mpsc_receiver_closes() {
    for [sending, receiving] in RUNNERS {
        for _ in 0..few(300) {
            mpsc::receiver_closes(doorbell, &[sending, Runner::Core, sending], receiving);
        }
    }
}

#[test]
fn mpsc_sender_moves() {
    for [first, second] in RUNNERS {
        for _ in 0..few(100) {
            let stations = [first, second, Runner::Core, first, Runner::Core, second, second];
            mpsc::sender_moves(doorbell, &stations, 2, Runner::Plain);
            mpsc::sender_moves(doorbell, &stations, 20, Runner::Core);
        }
    }
}

#[test]
fn mpsc_sender_is_shared() {
    for [first, second] in RUNNERS {
        for _ in 0..few(300) {
            mpsc::sender_is_shared(&[first, second, Runner::Core, first]);
        }
    }
}

#[test]
fn mpsc_credits_are_exact() {
    for [first, second] in RUNNERS {
        for _ in 0..few(100) {
            mpsc::credits_are_exact(&[first, second, first], 1_000, 700);
            mpsc::credits_are_exact(&[first, second, first], 3, 2);
        }
    }
}

#[test]
fn mpsc_lane_grows() {
    mpsc::lane_grows(Runner::Core, few(100_000));
    mpsc::lane_grows(Runner::Plain, few(100_000));
}

#[test]
fn mpsc_lane_is_posted_again() {
    for [sending, receiving] in RUNNERS {
        for _ in 0..few(500) {
            mpsc::lane_is_posted_again(doorbell, sending, receiving);
        }
    }
}

#[test]
fn mpsc_waiting_sender_goes() {
    for _ in 0..few(300) {
        mpsc::waiting_sender_goes(doorbell, Runner::Plain);
        mpsc::waiting_sender_goes(doorbell, Runner::Core);
    }
}

#[test]
fn mesh_loses_nothing() {
    for _ in 0..few(200) {
        mesh::everything_arrives(doorbell(), 3, 200);
        mesh::the_last_message_arrives(doorbell(), 0, 200, mesh::large);
        mesh::the_last_message_arrives(doorbell(), 4, 200, mesh::large);
        mesh::the_last_message_arrives(doorbell(), 4, 200, |number| number);
    }
}

#[test]
fn mesh_who_is_taken_to_sleep_has_read() {
    for _ in 0..few(2_000) {
        mesh::who_is_taken_to_sleep_reads_before_it_runs();
        mesh::a_core_comes_again();
    }
}
