//! How cores talk.
//!
//! The cores of a multikernel Machine share no run queue and no lock. What goes from one core to another goes as a
//! message, and this crate is the only place where the memory that carries messages is shared. It knows nothing of
//! tasks, futures or I/O; the runtime puts those on top.
//!
//! | module | what it is | who writes | who reads | bound |
//! |---|---|---|---|---|
//! | [`inbox`] | one core's queue of system messages: wakes, spawns, aborts | any thread | its owner | the live objects |
//! | [`ring`] | a queue for what users send | one end | the other end | its capacity |
//! | [`spsc`] | a ring whose ends wait | one end | the other end | its capacity |
//! | [`mpsc`] | a lane of messages for each core that sends | any sender, in its core's lane | one end | its capacity, all lanes together |
//! | [`broadcast`] | a lane of messages for each receiver | any sender, in its turn | each receiver its own | its capacity; then the oldest goes |
//! | [`watch`] | the latest value | any sender, in its turn | each receiver its own | one value |
//! | [`oneshot`] | one message | one end | the other end | one |
//! | [`call`](mod@call) | a question to another core and its answer, again and again | both ends | both ends | one each |
//! | [`fanout`] | a question to all, and one answer made of theirs | both ends | both ends | one each |
//! | [`bulk`] | buffers that come home when they are dropped elsewhere | who has it on loan | the same | made once |
//! | [`mesh`] | rings from each core of a Machine to each other, for its own purposes | each core its own | each core its own | what they agree on |
//! | [`doorbell`] | what wakes a core that has gone to sleep | any thread | its owner | one ring per sleep |
//!
//! # Two kinds of message
//!
//! A system message must not wait: whoever wakes a task cannot be told "the queue is full". Such a message is a link
//! inside the object it speaks of, so sending allocates nothing and an [`Inbox`](inbox::Inbox) cannot fill up: it
//! holds each object at most once. A user's message may wait, and so it goes through a [`ring`](mod@ring), which is
//! bounded and gives the message back when there is no room. System messages never use a slot that users can fill,
//! so no order of waiting can form between the two.
//!
//! # Sleeping
//!
//! A core with nothing to do parks. Whoever sends publishes the message first and asks the receiver's
//! [`Doorbell`](doorbell::Doorbell) second; at most one sender per sleep is told to ring it. While the receiver is
//! awake a message costs its sender no system call.
//!
//! The rules of each protocol, who may write which cache line, and why no wake is lost are in this crate's
//! `README.md`; the code cites its rules by number (R1, R2, ...).
//!
//! # Example
//!
//! One core receives from another and sleeps while there is nothing to receive:
//!
//! ```
//! use std::sync::Arc;
//! use std::{io, thread};
//! use multikernel_channels::{doorbell::Doorbell, ring::{PopError, ring}};
//!
//! # fn sleep_on(doorbell: &Doorbell) {
//! #     use std::os::fd::AsRawFd;
//! #     let mut fd = libc::pollfd { fd: doorbell.fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
//! #     // SAFETY: `fd` is one valid pollfd for the length of the call.
//! #     assert_eq!(unsafe { libc::poll(&mut fd, 1, 10_000) }, 1);
//! # }
//! # fn main() -> io::Result<()> {
//! let doorbell = Arc::new(Doorbell::new()?);
//! let (mut tx, mut rx) = ring::<String>(4);
//!
//! let sender = thread::spawn({
//!     let doorbell = Arc::clone(&doorbell);
//!     move || {
//!         tx.try_push("hello".to_string()).expect("four slots, one message");
//!         drop(tx); // closing is a message too, so it comes before the look at the doorbell
//!         if doorbell.must_ring() {
//!             doorbell.ring();
//!         }
//!     }
//! });
//!
//! let mut received = Vec::new();
//! loop {
//!     match rx.try_pop() {
//!         Ok(message) => received.push(message),
//!         Err(PopError::Closed) => break,
//!         Err(PopError::Empty) => {
//!             doorbell.prepare_park();
//!             if rx.is_empty() && !rx.is_closed() {
//!                 sleep_on(&doorbell); // poll(2), epoll or io_uring on `doorbell.fd()`
//!                 doorbell.drain();
//!             }
//!             doorbell.unpark();
//!         }
//!     }
//! }
//! assert_eq!(received, ["hello"]);
//! # sender.join().unwrap();
//! # Ok(())
//! # }
//! ```

pub mod broadcast;
#[doc(hidden)]
pub mod budget;
pub mod bulk;
pub mod call;
pub mod doorbell;
#[doc(hidden)]
pub mod epoch;
pub mod error;
pub mod fanout;
mod gate;
#[doc(hidden)]
pub mod hub;
pub mod inbox;
mod lanes;
mod limits;
mod memory;
pub mod mesh;
pub mod mpsc;
pub mod oneshot;
pub mod ring;
mod slots;
pub mod spsc;
mod state_word;
#[doc(hidden)]
pub mod sync;
pub mod watch;
