//! Synchronization between tasks: tokio's own types, which run on any executor.
//!
//! Everything of `tokio::sync` is here under its name, so that what was written for tokio compiles unchanged, and shares
//! its channels with crates that know tokio's alone. These types work between tasks of one core, of several cores, and
//! with plain threads.
//!
//! # Or our own channels?
//!
//! [`channels`](crate::channels) has `mpsc`, `oneshot`, `watch`, `broadcast` and more, made for this runtime:
//!
//! | prefer | when |
//! |---|---|
//! | [`channels`](crate::channels) | messages go from core to core all the time: a send is a write into a ring of the pair of cores, with neither a lock nor a line that all senders write, and many sends wake the receiver once |
//! | [`channels`](crate::channels) | the receiver is in a loop: its receives take the task's [budget](crate::task::coop), so that other tasks have their turn. Tokio's know no budget outside tokio; wrap them in [`cooperative`](crate::task::coop::cooperative) |
//! | [`channels`](crate::channels) | state is replicated: no message overtakes a commit that its sender has seen |
//! | `sync` | another crate wants tokio's type, or the code is to run on both runtimes |
//! | `sync` | there is no counterpart: [`Mutex`], [`RwLock`], [`Semaphore`], [`Notify`], [`Barrier`], [`OnceCell`] |
//!
//! A lock that tasks of several cores want is shared memory that they wait for in turn. State with one owner and messages to
//! it, or a [replica](crate::replicate) for each core, is what this runtime is made for.
//!
//! # Examples
//! ```
//! # multikernel::runtime::Builder::new().cores(2).run(|| async {
//! use multikernel::sync::{Semaphore, mpsc};
//! use std::sync::Arc;
//!
//! let (send, mut receive) = mpsc::channel(4);
//! let two_at_a_time = Arc::new(Semaphore::new(2));
//! for n in 0..10 {
//!     let (send, permits) = (send.clone(), two_at_a_time.clone());
//!     multikernel::spawn_balanced(async move {
//!         let _permit = permits.acquire().await.unwrap();
//!         send.send(n).await.unwrap();
//!     });
//! }
//! drop(send);
//! let mut sum = 0;
//! while let Some(n) = receive.recv().await {
//!     sum += n;
//! }
//! assert_eq!(sum, 45);
//! # }).unwrap();
//! ```

pub use tokio::sync::*;
