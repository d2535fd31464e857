//! An async runtime for servers with one executor per core, no shared run queue, and messages between cores.
//!
//! Each core of a Machine is one thread with its own run queue, timers and driver (io_uring or epoll). A task is placed
//! when it is spawned and stays on its core. What crosses cores, a wake, a spawn, an abort, is a message.
//!
//! ```
//! use multikernel::net::{TcpListener, TcpStream};
//!
//! #[multikernel::main(cores = 2)]
//! async fn main() -> std::io::Result<()> {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?;
//!     let server = multikernel::spawn(async move {
//!         let (stream, _) = listener.accept().await?;
//!         stream.send_all(&b"hello"[..]).await.result
//!     });
//!
//!     let stream = TcpStream::connect(address).await?;
//!     assert_eq!(&stream.recv().await?[..], b"hello");
//!     server.await?
//! }
//! ```
//!
//! # Where to find what
//!
//! | module | for |
//! |---|---|
//! | [`task`] | spawning, joining, yielding; its main functions are at the root too |
//! | [`runtime`] | building a Machine, using it from other threads |
//! | [`machine`] | packages, caches, NUMA nodes and kinds of CPUs; what is near what |
//! | [`net`], [`io`] | TCP, UDP and Unix sockets, pipes; the traits and helpers of asynchronous I/O |
//! | [`fs`] | files, folders, and files that all cores share |
//! | [`time`] | sleeping, time limits, intervals |
//! | [`process`] | starting other programs, their pipes, waiting for their end |
//! | `sync` | tokio's channels, locks and semaphores, with the feature `tokio` |
//! | [`signal`] | Ctrl-C and other signals |
//! | [`compat`] | the traits of tokio, `futures` and hyper |
//!
//! # Features
//!
//! - `tokio` (default): tokio's I/O traits for our types, its helpers in [`io`], its `sync`, `select!` and `join!`. Tokio's
//!   runtime is not used.
//! - `backtrace` (default): function names and lines in the [stack of a stuck core](runtime::Stack), in place of places in
//!   files.
//! - `futures-io`: the I/O traits of the `futures` crate.
//! - `hyper`: hyper's runtime traits.
//! - `task-spans`: a span of `tracing` for each task, see [tracing tasks](task#tracing-tasks).
#![cfg_attr(
    any(loom, not(any(feature = "tokio", feature = "futures-io", feature = "hyper"))),
    expect(dead_code, reason = "the models leave much out; without the traits nothing polls a stream")
)]

pub use multikernel_channels as channels;
#[cfg(not(loom))]
pub use multikernel_replicate as replicate;

#[cfg(not(loom))]
pub mod compat;
#[cfg(not(loom))]
pub(crate) mod context;
#[cfg(not(loom))]
pub(crate) mod driver;
#[cfg(not(loom))]
pub(crate) mod executor;
#[cfg(not(loom))]
pub mod fs;
#[cfg(not(loom))]
pub mod io;
pub(crate) mod limits;
#[cfg(not(loom))]
pub mod machine;
/// The models of loom take tasks and the inboxes between them, not the Machine around them.
#[cfg(loom)]
pub(crate) mod machine {
    pub(crate) mod figures;
    pub(crate) mod mailbox;
    pub(crate) mod seat;
}
#[cfg(not(loom))]
pub mod net;
#[cfg(not(loom))]
pub mod process;
#[cfg(not(loom))]
pub mod signal;
#[cfg(all(feature = "tokio", not(loom)))]
pub mod sync;
pub mod task;
#[cfg(not(loom))]
pub mod time;

#[cfg(not(loom))]
pub use machine::core_id::{CoreId, cores};
#[cfg(not(loom))]
pub use machine::core_local::CoreLocal;
#[cfg(not(loom))]
pub use task::{on_each_core, spawn, spawn_balanced, spawn_local, spawn_on};

#[cfg(feature = "tokio")]
pub use tokio::{join, pin, select, try_join};

/// Building a Machine and using it from threads that are none of its cores.
///
/// Programs begin with [`main`](macro@main), or with [`Builder::run`](runtime::Builder::run), which it calls: the
/// calling thread becomes core 0. [`Builder::build`](runtime::Builder::build) leaves that thread free and returns a
/// [`Runtime`](runtime::Runtime) to own. A [`Handle`](runtime::Handle) reaches either kind from any thread.
#[cfg(not(loom))]
pub mod runtime {
    pub use crate::driver::{DriverChoice, DriverInfo, DriverKind, UnknownDriver};
    pub use crate::machine::builder::{Builder, Polling};
    pub use crate::machine::membership::{RetireError, ReviveError};
    pub use crate::machine::metrics::{CoreMetrics, RuntimeMetrics};
    pub use crate::machine::pinning::{ParsePinningError, Pinning};
    pub use crate::machine::policy::{CoreLoad, Placement};
    pub use crate::machine::runtime::{EnterGuard, Handle, Runtime, RuntimeFlavor, TryCurrentError};
    pub use crate::machine::stack::Stack;
    pub use crate::machine::stall::Stall;
}

#[doc(hidden)]
#[cfg(not(loom))]
pub mod machine_support {
    pub use crate::machine::balance::{Balancer, Decision, Group, LongPoll, Tuning, Way, choose};
    pub use crate::machine::core_local::CoreLocalSlot;
    pub use crate::machine::placer::{Newcomer, Placer};
}

/// Runs an `async fn` on a Machine: starts the cores, runs the body on the calling thread as core 0, stops the cores,
/// and returns what the body returns.
///
/// ```
/// #[multikernel::main]
/// async fn main() {
///     println!("hello from a core");
/// }
/// ```
///
/// The function becomes a plain one of the same name, return type and other attributes. Any type that a plain `main`
/// may return will do, and the body and its value need not be `Send`:
///
/// ```
/// use std::error::Error;
///
/// #[multikernel::main(cores = 2, driver = "epoll", polling = "off")]
/// async fn main() -> Result<(), Box<dyn Error>> {
///     let port: u16 = "8080".parse()?;
///     assert_eq!(port, 8080);
///     Ok(())
/// }
/// ```
///
/// # Options
///
/// Each is a method of [`runtime::Builder`] and means what is written there; what is not given is as in
/// `Builder::new()`.
///
/// | option | values |
/// |---|---|
/// | `cores` | a whole number of at least 1 |
/// | `driver` | `"auto"`, `"uring"`, `"epoll"` |
/// | `pinning` | `"auto"`, `"always"`, `"never"`: see [`runtime::Pinning`] |
/// | `polling` | `"auto"`, `"off"`, or the longest time to poll before parking, such as `"50us"` or `"1ms"` |
/// | `thread_name` | a string |
/// | `max_blocking_threads` | a whole number of at least 1 |
/// | `flavor` | `"multi_thread"`, `"current_thread"`: as in tokio, where one core is meant |
/// | `worker_threads` | another name of `cores`, as in tokio |
/// | `start_paused` | `true` or `false`: see [`time::pause`](time::pause()) |
/// | `crate` | where this crate is, when it goes by another name: `crate = my_crate::multikernel` |
///
/// Values are literals. Anything else, and a function that is not `async`, takes arguments or is generic, is an error
/// at compile time that lists what is valid.
///
/// # Errors and panics
///
/// When the Machine cannot start, for instance because `MULTIKERNEL_DRIVER` names no driver, the program prints one
/// line, `error: ..`, to its standard error and exits with code 1. A panic of the body goes on in the caller.
///
/// # Limits
///
/// The body becomes an inner function: in an `impl` block, name the type instead of writing `Self`.
pub use multikernel_macros::main;

/// Makes an `async fn` a test that runs on a Machine of its own: one core, not pinned, no polling before parking.
///
/// ```
/// #[multikernel::test]
/// async fn adds() {
///     assert_eq!(1 + 1, 2);
/// }
///
/// #[multikernel::test(cores = 4)]
/// #[should_panic(expected = "as it should")]
/// async fn panics() {
///     panic!("as it should");
/// }
///
/// #[multikernel::test]
/// async fn parses() -> Result<(), std::num::ParseIntError> {
///     "17".parse::<u8>().map(drop)
/// }
/// ```
///
/// The options are those of [`main`](macro@main); what is not given is as in `Builder::new_test()`. Attributes such as
/// `#[should_panic]` and `#[ignore]` are kept. When the Machine cannot start, the test fails.
pub use multikernel_macros::test;
