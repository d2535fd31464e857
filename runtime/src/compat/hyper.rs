//! hyper's traits: [`TcpStream`] can be given to a hyper connection as it is, [`CoreTimer`] times it, and
//! [`CoreExecutor`] or [`LocalExecutor`] spawns what it spawns (HTTP/2 does).
//!
//! # Examples
//!
//! One response over HTTP/1.1:
//!
//! ```
//! use std::convert::Infallible;
//!
//! use hyper::server::conn::http1;
//! use hyper::service::service_fn;
//! use hyper::{Request, Response};
//! use multikernel::compat::hyper::CoreTimer;
//! use multikernel::net::{TcpListener, TcpStream};
//!
//! # multikernel::runtime::Builder::new_test().run(|| async {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let client = TcpStream::connect(listener.local_addr()?).await?;
//! client.try_write(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")?;
//!
//! let (stream, _peer) = listener.accept().await?;
//! let answer = service_fn(async |_: Request<_>| Ok::<_, Infallible>(Response::new("hello".to_owned())));
//! http1::Builder::new().timer(CoreTimer).serve_connection(stream, answer).await?;
//!
//! let mut response = Vec::with_capacity(1024);
//! client.readable().await?;
//! client.try_read_buf(&mut response)?;
//! assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n") && response.ends_with(b"hello"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap().unwrap();
//! ```

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Executor, Read, ReadBufCursor, Timer, Write};

use crate::net::stream::Stream;
use crate::net::tcp::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::net::{TcpStream, UnixStream};
use crate::time::{self, Sleep};

macro_rules! reads {
    ($([$($generic:tt)*] $name:ty),*) => {$(
        impl<$($generic)*> Read for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                mut buf: ReadBufCursor<'_>,
            ) -> Poll<io::Result<()>> {
                // SAFETY: `StreamIo::poll_read` makes no byte uninitialised.
                let got = ready!(self.io().poll_read(cx, unsafe { buf.as_mut() }))?;
                // SAFETY: it has just written that many bytes to the front.
                unsafe { buf.advance(got) };
                Poll::Ready(Ok(()))
            }
        }
    )*};
}

macro_rules! writes {
    ($([$($generic:tt)*] $name:ty),*) => {$(
        impl<$($generic)*> Write for $name {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                self.io().poll_write(cx, buf)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.io().poll_write_vectored(cx, bufs)
            }

            /// Ready at once: nothing is kept back.
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Ready at once: what was written arrives before the end does.
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.get_mut().end())
            }
        }
    )*};
}

reads!([] TcpStream, [] UnixStream, [S: Stream] ReadHalf<'_, S>, [S: Stream] OwnedReadHalf<S>);
writes!([] TcpStream, [] UnixStream, [S: Stream] WriteHalf<'_, S>, [S: Stream] OwnedWriteHalf<S>);

/// Times hyper's connections with the timers of the core that polls them.
///
/// # Examples
///
/// A client that is too slow with its headers is cut off:
///
/// ```
/// use hyper::server::conn::http1;
/// use multikernel::compat::hyper::CoreTimer;
/// use multikernel::time::Duration;
/// # use hyper::{Request, Response, service::service_fn};
///
/// # use multikernel::net::{TcpListener, TcpStream};
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let _silent = TcpStream::connect(listener.local_addr()?).await?;
/// # let answer = service_fn(async |_: Request<_>| Ok::<_, std::convert::Infallible>(Response::new(String::new())));
/// let (stream, _peer) = listener.accept().await?;
/// let mut server = http1::Builder::new();
/// server.timer(CoreTimer).header_read_timeout(Duration::from_millis(1));
/// let error = server.serve_connection(stream, answer).await.unwrap_err();
/// assert!(error.is_timeout());
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct CoreTimer;

impl hyper::rt::Sleep for Sleep {}

impl Timer for CoreTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(time::sleep(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(time::sleep_until(time::Instant::from_std(deadline)))
    }

    fn now(&self) -> Instant {
        time::Instant::now().into_std() // which stands still in a test that has stopped it
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn hyper::rt::Sleep>>, new_deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Sleep>() {
            Some(sleep) => sleep.reset(time::Instant::from_std(new_deadline)),
            None => *sleep = self.sleep_until(new_deadline),
        }
    }
}

/// Spawns with [`spawn`](crate::spawn): futures that are `Send`, on whichever core suits.
///
/// # Examples
///
/// ```
/// use hyper::rt::Executor;
/// use multikernel::compat::hyper::CoreExecutor;
///
/// # multikernel::runtime::Builder::new().cores(2).run(|| async {
/// # let (done, is_done) = futures::channel::oneshot::channel();
/// CoreExecutor.execute(async {
///     // .. what hyper does beside a connection ..
///     # done.send(()).unwrap();
/// });
/// # is_done.await.unwrap();
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct CoreExecutor;

impl<F> Executor<F> for CoreExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(crate::spawn(future));
    }
}

/// Spawns with [`spawn_local`](crate::spawn_local): any future, on this core.
///
/// # Examples
///
/// ```
/// use hyper::rt::Executor;
/// use multikernel::compat::hyper::LocalExecutor;
/// use std::rc::Rc;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let (done, is_done) = futures::channel::oneshot::channel();
/// let not_send = Rc::new(());
/// LocalExecutor.execute(async move {
///     drop(not_send);
///     # done.send(()).unwrap();
/// });
/// # is_done.await.unwrap();
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalExecutor;

impl<F> Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        drop(crate::spawn_local(future));
    }
}
