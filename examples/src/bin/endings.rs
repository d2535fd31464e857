//! How tasks end: with an output, by an abort, by a panic, or with the Machine.

use std::future::pending;

use multikernel::spawn;

#[multikernel::main]
async fn main() {
    // ANCHOR: endings
    let task = spawn(async { "an output" });
    assert_eq!(task.await.unwrap(), "an output");

    let task = spawn(pending::<()>());
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());

    let task = spawn(async {
        if true {
            panic!("on purpose")
        }
    });
    let error = task.await.unwrap_err();
    assert!(error.is_panic());
    println!("{error}, and the program goes on");

    drop(spawn(pending::<()>())); // detached: it ends with the Machine
    // ANCHOR_END: endings
}
