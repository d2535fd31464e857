//! The first program: a task, and a word from every core.

// ANCHOR: all
use multikernel::{CoreId, on_each_core, spawn};

#[multikernel::main]
async fn main() {
    let answer = spawn(async { 6 * 7 });
    println!("the answer is {}", answer.await.unwrap());

    for task in on_each_core(|| async { CoreId::current() }) {
        println!("hello from {}", task.await.unwrap());
    }
}
// ANCHOR_END: all
