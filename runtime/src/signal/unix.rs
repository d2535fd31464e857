//! Any Unix signal.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use crate::context::poll_proceed;
use crate::signal::hub::{self, Line};

/// Which signal. There is a function for each common one; [`from_raw`](Self::from_raw) makes the others.
///
/// # Examples
/// ```
/// use multikernel::signal::unix::SignalKind;
///
/// assert_eq!(SignalKind::terminate(), SignalKind::from(15));
/// assert_eq!(i32::from(SignalKind::interrupt()), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalKind(i32);

macro_rules! kinds {
    ($($(#[$meta:meta])* $name:ident = $signal:ident;)+) => {
        impl SignalKind {
            $($(#[$meta])*
            ///
            /// ```
            /// # use multikernel::signal::unix::{SignalKind, signal};
            #[doc = concat!("let signals = signal(SignalKind::", stringify!($name), "())?;")]
            /// # std::io::Result::Ok(())
            /// ```
            pub const fn $name() -> Self {
                Self(libc::$signal)
            })+
        }
    };
}

kinds! {
    /// `SIGALRM`: a real-time timer has run out.
    alarm = SIGALRM;
    /// `SIGCHLD`: a child process has changed state.
    child = SIGCHLD;
    /// `SIGHUP`: the terminal is gone; by custom, read the configuration again.
    hangup = SIGHUP;
    /// `SIGINT`: Ctrl-C.
    interrupt = SIGINT;
    /// `SIGIO`: input or output is possible on some descriptor.
    io = SIGIO;
    /// `SIGPIPE`: a write to a pipe that nobody reads.
    pipe = SIGPIPE;
    /// `SIGQUIT`: `Ctrl-\`, which also writes a core dump by default.
    quit = SIGQUIT;
    /// `SIGTERM`: a polite request to end.
    terminate = SIGTERM;
    /// `SIGUSR1`, for the program's own purposes.
    user_defined1 = SIGUSR1;
    /// `SIGUSR2`, for the program's own purposes.
    user_defined2 = SIGUSR2;
    /// `SIGWINCH`: the terminal's window has changed size.
    window_change = SIGWINCH;
}

impl SignalKind {
    /// The signal with this number.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::signal::unix::{SignalKind, signal};
    /// let mut continued = signal(SignalKind::from_raw(libc::SIGCONT))?;
    /// # std::io::Result::Ok(())
    /// ```
    pub const fn from_raw(signal: i32) -> Self {
        Self(signal)
    }

    /// The signal's number.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::signal::unix::SignalKind;
    /// assert_eq!(SignalKind::hangup().as_raw_value(), libc::SIGHUP);
    /// ```
    pub const fn as_raw_value(&self) -> i32 {
        self.0
    }
}

impl From<i32> for SignalKind {
    fn from(signal: i32) -> Self {
        Self(signal)
    }
}

impl From<SignalKind> for i32 {
    fn from(kind: SignalKind) -> Self {
        kind.0
    }
}

/// A stream of the signals of one kind. From [`signal`]. Dropping it leaves the signal's handler in place.
///
/// It is a [`Stream`](futures::Stream) too, which never ends.
///
/// # Examples
/// A server that stops at either signal:
/// ```
/// # #[cfg(feature = "tokio")]
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// use multikernel::signal::unix::{Signal, SignalKind, signal};
///
/// let mut terminate: Signal = signal(SignalKind::terminate())?;
/// let mut interrupt: Signal = signal(SignalKind::interrupt())?;
/// # // SAFETY: the signal's handler is installed.
/// # unsafe { libc::raise(libc::SIGTERM) };
/// multikernel::select! {
///     _ = terminate.recv() => println!("asked to stop"),
///     _ = interrupt.recv() => println!("interrupted"),
/// }
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct Signal {
    line: Arc<Line>,
    listener: u64,
    /// Signals that came before this listener, or that it has been told of.
    seen: u64,
}

/// Begins to listen to a signal.
///
/// Installs a handler, in place of the default action, for the rest of the process's life. Every listener, on any
/// core, is told of each signal; signals that come faster than a listener is polled are told once.
///
/// # Errors
/// If the signal cannot be handled (`SIGKILL`, `SIGSTOP` and those of faults), or the system refuses.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// use multikernel::signal::unix::{SignalKind, signal};
///
/// let mut reload = signal(SignalKind::hangup())?;
/// # // SAFETY: the signal's handler is installed.
/// # unsafe { libc::raise(libc::SIGHUP) };
/// reload.recv().await;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    static LISTENERS: AtomicU64 = AtomicU64::new(0);
    let line = hub::line(kind.0)?;
    let seen = line.count();
    Ok(Signal { line, listener: LISTENERS.fetch_add(1, Ordering::Relaxed), seen }) // Relaxed: only distinct
}

impl Signal {
    /// Waits for the next signal. `None` never comes; it is there because tokio's has it.
    ///
    /// # Cancel safety
    /// Cancel safe: a signal is told to the next call.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # use multikernel::signal::unix::{SignalKind, signal};
    /// let mut reload = signal(SignalKind::user_defined1())?;
    /// # // SAFETY: the signal's handler is installed.
    /// # unsafe { libc::raise(libc::SIGUSR1) };
    /// while reload.recv().await.is_some() {
    ///     // .. read the configuration again ..
    ///     # break;
    /// }
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn recv(&mut self) -> Option<()> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Polls for the next signal, as [`recv`](Self::recv). The task that polled last is woken by it.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # use multikernel::signal::unix::{SignalKind, signal};
    /// use std::future::poll_fn;
    ///
    /// let mut resized = signal(SignalKind::window_change())?;
    /// # // SAFETY: the signal's handler is installed.
    /// # unsafe { libc::raise(libc::SIGWINCH) };
    /// poll_fn(|cx| resized.poll_recv(cx)).await;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let progress = ready!(poll_proceed(cx));
        if self.line.count() == self.seen {
            self.line.wait(self.listener, cx.waker());
        }
        // Once more: what came before the waker was in the list has woken nobody.
        let count = self.line.count();
        if count == self.seen {
            return Poll::Pending;
        }
        self.seen = count;
        progress.made();
        Poll::Ready(Some(()))
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        self.line.leave(self.listener);
    }
}

impl futures::Stream for Signal {
    type Item = ();

    fn poll_next(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        self.poll_recv(cx)
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal").field("seen", &self.seen).finish()
    }
}
