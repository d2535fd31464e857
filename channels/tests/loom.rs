//! The scenarios on loom: the shipped code, few messages, every order of steps that loom can tell apart.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p multikernel-channels --release --test loom`
#![cfg(loom)]

mod scenarios;

use loom::sync::{Condvar, Mutex};
use multikernel_channels::doorbell::StateWord;
use scenarios::broadcast;
use scenarios::calls::{self, Receive};
use scenarios::epoch;
use scenarios::mesh;
use scenarios::mpsc;
use scenarios::ports::{self, RUNNERS, Runner};

/// Runs `scenario` in all orders with at most `preemptions` involuntary switches of thread.
fn model(preemptions: usize, scenario: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(scenario);
}

/// The shipped state word with a descriptor that loom understands. Loom fails when all threads sleep, which is what
/// a lost wake comes to.
struct ModelBell {
    word: StateWord,
    readable: Mutex<bool>,
    rung: Condvar,
}

impl ModelBell {
    fn new() -> Self {
        Self { word: StateWord::new(), readable: Mutex::new(false), rung: Condvar::new() }
    }
}

impl scenarios::Bell for ModelBell {
    fn set_polling(&self) {
        self.word.set_polling();
    }

    fn prepare_park(&self) {
        self.word.prepare_park();
    }

    fn unpark(&self) -> bool {
        self.word.unpark()
    }

    fn must_ring(&self) -> bool {
        self.word.must_ring()
    }

    fn ring(&self) {
        *self.readable.lock().unwrap() = true;
        self.rung.notify_one();
    }

    fn sleep(&self) {
        let mut readable = self.readable.lock().unwrap();
        while !*readable {
            readable = self.rung.wait(readable).unwrap();
        }
    }

    fn drain(&self) {
        *self.readable.lock().unwrap() = false;
    }
}

#[test]
fn inbox_one_sender() {
    model(4, || scenarios::inbox_loses_nothing(1, 4));
}

#[test]
fn inbox_two_senders() {
    model(3, || scenarios::inbox_loses_nothing(2, 2));
}

#[test]
fn inbox_close() {
    model(4, || scenarios::closed_inbox_refuses(2, 2));
}

#[test]
fn inbox_nodes_again() {
    model(4, || scenarios::inbox_takes_nodes_again(3));
}

#[test]
fn ring_wraps() {
    model(2, || scenarios::ring_passes_all_then_closes(2, 5));
}

#[test]
fn ring_of_one() {
    model(3, || scenarios::ring_passes_all_then_closes(1, 3));
}

#[test]
fn ring_smaller_than_its_slots() {
    model(2, || scenarios::ring_passes_all_then_closes(3, 4));
}

#[test]
fn ring_producer_goes() {
    model(4, || scenarios::ring_passes_all_then_closes(2, 2));
}

#[test]
fn ring_passes_batches() {
    model(2, || scenarios::ring_passes_batches(2, 3, 1));
    model(2, || scenarios::ring_passes_batches(3, 4, 2));
}

#[test]
fn ring_consumer_goes() {
    for popped in 0..=2 {
        model(3, move || scenarios::ring_tells_the_producer(2, 4, popped));
    }
}

#[test]
fn doorbell_one_sender() {
    model(5, || scenarios::no_wake_is_lost(ModelBell::new(), false, 1, 3));
}

#[test]
fn doorbell_two_senders() {
    model(3, || scenarios::no_wake_is_lost(ModelBell::new(), false, 2, 1));
}

#[test]
fn doorbell_of_one_who_polls() {
    model(4, || scenarios::no_wake_is_lost(ModelBell::new(), true, 1, 2));
}

#[test]
fn doorbell_one_ring_per_sleep() {
    model(4, || scenarios::one_sender_rings(ModelBell::new(), 2));
}

#[test]
fn doorbell_brings_the_message() {
    model(5, || scenarios::a_ring_brings_its_message(ModelBell::new()));
}

#[test]
fn doorbell_of_a_ring() {
    model(4, || scenarios::ring_wakes_its_consumer(ModelBell::new(), 2, 2));
}

#[test]
fn each_thread_has_its_own() {
    model(3, scenarios::each_thread_has_its_own);
}

#[test]
fn spsc_waits_for_messages() {
    for runners in RUNNERS {
        model(2, move || ports::spsc_passes_all_then_closes(ModelBell::new, runners, 2, 1));
    }
}

#[test]
fn spsc_waits_for_room() {
    for runners in RUNNERS {
        model(2, move || ports::spsc_passes_all_then_closes(ModelBell::new, runners, 1, 3));
    }
}

#[test]
fn spsc_passes_batches() {
    model(2, || ports::spsc_passes_batches(ModelBell::new, RUNNERS[0], 2, 3));
    model(2, || ports::spsc_passes_batches(ModelBell::new, RUNNERS[3], 2, 3));
}

#[test]
fn spsc_receiver_goes() {
    for runners in RUNNERS {
        model(2, move || ports::spsc_tells_the_sender(ModelBell::new, runners, 1));
    }
}

#[test]
fn spsc_receiver_moves() {
    model(2, || ports::spsc_receiver_moves(ModelBell::new, Runner::Plain));
    model(2, || ports::spsc_receiver_moves(ModelBell::new, Runner::Core));
}

#[test]
fn spsc_lingers() {
    for runner in [Runner::Plain, Runner::Core, Runner::Lingering] {
        for rounds in 1..=2 {
            let runners = [runner, Runner::Lingering];
            model(1, move || ports::spsc_goes_to_and_fro(ModelBell::new, runners, rounds));
        }
    }
    let runners = [Runner::Core, Runner::Lingering];
    model(2, move || ports::spsc_passes_all_then_closes(ModelBell::new, runners, 2, 2));
}

#[test]
fn spsc_knocks_in_the_end() {
    model(3, || ports::spsc_try_ends(ModelBell::new));
}

#[test]
fn broadcast_one_receiver() {
    for runners in RUNNERS {
        model(2, move || broadcast::broadcast_reaches_all(ModelBell::new, runners, 1, 2, 2));
    }
}

#[test]
fn broadcast_lags_while_receiving() {
    model(3, || broadcast::broadcast_reaches_all(ModelBell::new, RUNNERS[0], 1, 1, 3));
    model(2, || broadcast::broadcast_reaches_all(ModelBell::new, RUNNERS[3], 1, 1, 2));
    model(2, || broadcast::broadcast_reaches_all(ModelBell::new, RUNNERS[0], 1, 2, 5));
}

#[test]
fn broadcast_passes_cells() {
    model(3, || broadcast::broadcast_passes_cells(ModelBell::new, 1, 4));
    model(3, || broadcast::broadcast_passes_cells(ModelBell::new, 2, 5));
}

#[test]
fn broadcast_two_receivers() {
    model(1, || broadcast::broadcast_reaches_all(ModelBell::new, RUNNERS[0], 2, 1, 2));
    model(1, || broadcast::broadcast_reaches_all(ModelBell::new, RUNNERS[3], 2, 1, 2));
}

#[test]
fn broadcast_two_senders() {
    model(3, || broadcast::broadcast_has_one_order(2));
}

#[test]
fn broadcast_subscribes_in_between() {
    model(2, || broadcast::broadcast_subscribes_in_between(ModelBell::new, Runner::Plain, 2));
    model(2, || broadcast::broadcast_subscribes_in_between(ModelBell::new, Runner::Core, 2));
}

#[test]
fn broadcast_receiver_goes() {
    for runners in RUNNERS {
        for received in 0..=1 {
            model(2, move || broadcast::broadcast_tells_the_sender(ModelBell::new, runners, received));
        }
    }
}

#[test]
fn watch_one_receiver() {
    for runners in RUNNERS {
        model(2, move || broadcast::watch_shows_the_last(ModelBell::new, runners, 1, 2));
    }
}

#[test]
fn watch_two_receivers() {
    model(1, || broadcast::watch_shows_the_last(ModelBell::new, RUNNERS[0], 2, 2));
}

#[test]
fn watch_receiver_goes() {
    for runners in RUNNERS {
        model(2, move || broadcast::watch_tells_the_sender(ModelBell::new, runners));
    }
}

#[test]
fn watch_two_senders() {
    model(3, || broadcast::watch_changes_add_up(2));
}

#[test]
fn oneshot_waits() {
    model(4, || calls::oneshot_sends_once(ModelBell::new, Receive::Wait));
    model(4, || calls::oneshot_sends_once(ModelBell::new, Receive::WaitTwice));
}

#[test]
fn oneshot_is_not_wanted() {
    model(4, || calls::oneshot_sends_once(ModelBell::new, Receive::Close));
    model(4, || calls::oneshot_sends_once(ModelBell::new, Receive::Drop));
    model(4, calls::oneshot_ends_at_once);
}

#[test]
fn oneshot_closes() {
    model(4, || calls::oneshot_tells_the_other_end(ModelBell::new, true));
    model(4, || calls::oneshot_tells_the_other_end(ModelBell::new, false));
}

#[test]
fn call_and_answer() {
    for runners in RUNNERS {
        model(2, move || calls::calls_are_answered(ModelBell::new, runners, 2));
    }
}

#[test]
fn call_given_up() {
    for runners in RUNNERS {
        model(2, move || calls::abandoned_calls_are_forgotten(ModelBell::new, runners, 1, false));
        model(2, move || calls::abandoned_calls_are_forgotten(ModelBell::new, runners, 1, true));
    }
}

#[test]
fn call_closes() {
    for runners in RUNNERS {
        model(2, move || calls::callee_goes(ModelBell::new, runners, 0));
        model(2, move || calls::callee_goes(ModelBell::new, runners, 1));
    }
    model(3, || calls::both_ends_go(true));
    model(3, || calls::both_ends_go(false));
}

#[test]
fn epoch_nothing_overtakes_a_commit() {
    for by in epoch::ALL {
        model(2, move || epoch::nothing_overtakes_a_commit(ModelBell::new, Runner::Plain, by));
        model(1, move || epoch::nothing_overtakes_a_commit(ModelBell::new, Runner::Core, by));
        model(1, move || epoch::nothing_overtakes_a_commit(ModelBell::new, Runner::Lingering, by));
    }
}

/// Whether the model above would notice: for each channel, without the check.
#[test]
fn epoch_without_holding_is_noticed() {
    for by in epoch::ALL {
        let noticed = std::panic::catch_unwind(|| {
            model(2, move || {
                multikernel_channels::epoch::hold_messages(false);
                epoch::nothing_overtakes_a_commit(ModelBell::new, Runner::Plain, by);
            });
        });
        assert!(noticed.is_err(), "{by:?}");
    }
}

#[test]
fn bulk_comes_home() {
    model(2, || calls::loans_come_home(ModelBell::new, Runner::Plain, 1));
    model(2, || calls::loans_come_home(ModelBell::new, Runner::Core, 1));
}

#[test]
fn bulk_serves_all() {
    model(1, || calls::all_who_wait_are_served(ModelBell::new, Runner::Plain));
    model(1, || calls::all_who_wait_are_served(ModelBell::new, Runner::Core));
}

#[test]
fn bulk_serves_at_home() {
    model(2, || calls::who_waits_at_home_is_served(ModelBell::new, Runner::Plain));
    model(2, || calls::who_waits_at_home_is_served(ModelBell::new, Runner::Core));
}

#[test]
fn bulk_serves_the_next() {
    model(2, || calls::who_waits_next_is_served(ModelBell::new, Runner::Plain));
    model(2, || calls::who_waits_next_is_served(ModelBell::new, Runner::Core));
}

#[test]
fn bulk_pool_goes() {
    model(3, || calls::pool_goes_first(1));
    model(2, || calls::pool_goes_first(2));
}

/// Two lanes, or one that two threads share; and the receiver on a core or not.
const THREE: [([Runner; 2], Runner); 4] = [
    ([Runner::Core, Runner::Core], Runner::Plain),
    ([Runner::Core, Runner::Plain], Runner::Core),
    ([Runner::Plain, Runner::Plain], Runner::Plain),
    ([Runner::Core, Runner::Core], Runner::Core),
];

#[test]
fn mpsc_waits_for_messages() {
    for [sending, receiving] in RUNNERS {
        model(2, move || mpsc::passes_all_then_closes(ModelBell::new, &[sending], receiving, 2, 1));
    }
}

#[test]
fn mpsc_waits_for_room() {
    for [sending, receiving] in RUNNERS {
        model(2, move || mpsc::passes_all_then_closes(ModelBell::new, &[sending], receiving, 1, 2));
    }
}

#[test]
fn mpsc_two_senders_wait_for_room() {
    for (senders, receiving) in THREE {
        model(1, move || mpsc::passes_all_then_closes(ModelBell::new, &senders, receiving, 1, 1));
    }
}

#[test]
fn mpsc_receiver_goes() {
    for [sending, receiving] in RUNNERS {
        model(2, move || mpsc::receiver_goes(ModelBell::new, &[sending], receiving, 0));
        model(1, move || mpsc::receiver_goes(ModelBell::new, &[sending; 2], receiving, 1));
    }
}

#[test]
fn mpsc_receiver_closes() {
    for [sending, receiving] in RUNNERS {
        model(2, move || mpsc::receiver_closes(ModelBell::new, &[sending], receiving));
    }
    model(1, move || mpsc::receiver_closes(ModelBell::new, &[Runner::Core; 2], Runner::Plain));
}

#[test]
fn mpsc_sender_moves() {
    for [first, second] in RUNNERS {
        model(1, move || mpsc::sender_moves(ModelBell::new, &[first, second], 1, Runner::Plain));
        model(1, move || mpsc::sender_moves(ModelBell::new, &[first, second], 1, Runner::Core));
    }
    model(2, || mpsc::sender_moves(ModelBell::new, &[Runner::Core; 2], 1, Runner::Core));
}

#[test]
fn mpsc_sender_is_shared() {
    for sharing in RUNNERS {
        model(2, move || mpsc::sender_is_shared(&sharing));
    }
}

#[test]
fn mpsc_credits_are_exact() {
    for sending in RUNNERS {
        model(2, move || mpsc::credits_are_exact(&sending, 1, 1));
        model(2, move || mpsc::credits_are_exact(&sending, 2, 2));
    }
}

#[test]
fn mpsc_lane_grows() {
    model(1, || mpsc::lane_grows(Runner::Core, 5));
    model(1, || mpsc::lane_grows(Runner::Plain, 5));
}

#[test]
fn mpsc_lane_is_posted_again() {
    for [sending, receiving] in RUNNERS {
        model(2, move || mpsc::lane_is_posted_again(ModelBell::new, sending, receiving));
    }
}

#[test]
fn mpsc_waiting_sender_goes() {
    model(1, || mpsc::waiting_sender_goes(ModelBell::new, Runner::Plain));
    model(1, || mpsc::waiting_sender_goes(ModelBell::new, Runner::Core));
}

#[test]
fn mesh_one_writer() {
    model(3, || mesh::everything_arrives(ModelBell::new(), 1, 2));
}

#[test]
fn mesh_two_writers() {
    model(2, || mesh::everything_arrives(ModelBell::new(), 2, 1));
}

#[test]
fn mesh_writer_stays() {
    model(3, || mesh::the_last_message_arrives(ModelBell::new(), 0, 3, mesh::large));
}

#[test]
fn mesh_writer_is_not_watched() {
    model(3, || mesh::the_last_message_arrives(ModelBell::new(), 4, 2, mesh::large));
}

#[test]
fn mesh_writer_is_not_watched_and_stays_in_its_ring() {
    model(3, || mesh::the_last_message_arrives(ModelBell::new(), 4, 2, |number| number));
}

#[test]
fn mesh_who_is_taken_to_sleep() {
    model(4, mesh::who_is_taken_to_sleep_reads_before_it_runs);
}

#[test]
fn mesh_a_core_comes_again() {
    model(3, mesh::a_core_comes_again);
}
