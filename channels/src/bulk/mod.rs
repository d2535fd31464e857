//! Buffers that go to another core without being copied, and come home when they are dropped there.
//!
//! A [`Pool`] makes a fixed number of buffers, once. [`take`](Pool::take) lends one, and whoever has it may write to it,
//! send it through any channel, read it, and drop it: then it is back. The pool stays on the thread where it was made,
//! its home. A [`Loan`] that is dropped there goes back into the pool directly; one that is dropped elsewhere is pushed
//! into the pool's [`Inbox`], for which it carries the link with it, so giving back allocates nothing and
//! never waits.
//!
//! Buffers are bytes unless the pool is made [with something else](Pool::with), such as vectors that keep their memory.
//!
//! # Example
//!
//! ```
//! use multikernel_channels::{bulk::{Buffer, Pool}, spsc};
//!
//! let pool = Pool::new(2, 4096);
//! let (mut tx, mut rx) = spsc::channel::<Buffer>(2);
//! let reader = std::thread::spawn(move || {
//!     futures::executor::block_on(async {
//!         let mut total = 0;
//!         while let Some(buffer) = rx.recv().await {
//!             total += buffer.len(); // and here it goes home
//!         }
//!         total
//!     })
//! });
//!
//! futures::executor::block_on(async {
//!     for _ in 0..10 {
//!         let mut buffer = pool.take().await; // waits until one of the two is back
//!         buffer[..5].copy_from_slice(b"hello");
//!         buffer.set_len(5);
//!         tx.send(buffer).await.unwrap();
//!     }
//! });
//! drop(tx);
//! assert_eq!(reader.join().unwrap(), 50);
//! ```

mod bytes;
mod home;
mod pool;

pub use self::bytes::Bytes;
pub use self::pool::{Buffer, Loan, Pool, Taking};
#[cfg(doc)]
use crate::inbox::Inbox;
