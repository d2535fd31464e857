//! Work sent to chosen cores, and state of which each core has its own.

use std::cell::Cell;
use std::rc::Rc;

use multikernel::{CoreId, core_local, on_each_core, spawn_local, spawn_on};

// ANCHOR: state
core_local! {
    /// Orders this core has taken.
    static ORDERS: Cell<u64> = Cell::new(0);
}

fn take_order() -> u64 {
    ORDERS.with(|orders| orders.replace(orders.get() + 1) + 1)
}
// ANCHOR_END: state

#[multikernel::main(cores = 4)]
async fn main() {
    on_one_core().await;
    on_a_chosen_core().await;
    let orders = on_all_cores().await;
    assert_eq!(orders, [1, 1, 3, 1]);
    println!("orders on each core: {orders:?}");
}

// ANCHOR: local
/// What stays on one core needs neither `Send` nor a lock.
async fn on_one_core() {
    let words = Rc::new(Cell::new(0));
    let tasks: Vec<_> = ["no", "lock", "here"]
        .map(|_word| {
            let words = words.clone();
            spawn_local(async move { words.set(words.get() + 1) })
        })
        .into();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(words.get(), 3);
}
// ANCHOR_END: local

// ANCHOR: on
/// The closure travels and must be `Send`; the future it makes there need not be.
async fn on_a_chosen_core() {
    let there = CoreId::new(2);
    for order in 1..=2 {
        let task = spawn_on(there, || async {
            let not_send = Rc::new(take_order());
            multikernel::task::yield_now().await;
            assert_eq!(CoreId::current().index(), 2);
            *not_send
        });
        assert_eq!(task.await.unwrap(), order);
    }
}
// ANCHOR_END: on

// ANCHOR: each
/// One order more on every core; says how many each has taken.
async fn on_all_cores() -> Vec<u64> {
    let mut orders = Vec::new();
    for task in on_each_core(|| async { take_order() }) {
        orders.push(task.await.unwrap());
    }
    orders
}
// ANCHOR_END: each
