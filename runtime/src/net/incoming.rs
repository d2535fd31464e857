//! A listener's connections as a stream.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::FusedStream;

use super::shortage::Pause;
use super::tcp_listener::TcpListener;
use super::tcp_stream::TcpStream;

/// The stream of [`TcpListener::incoming`]. It never ends.
///
/// # Examples
///
/// ```
/// use futures::{StreamExt, TryStreamExt};
/// use multikernel::net::tcp::Incoming;
///
/// # use multikernel::net::{TcpListener, TcpStream};
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let addr = listener.local_addr()?;
/// # let _clients = (TcpStream::connect(addr).await?, TcpStream::connect(addr).await?);
/// let incoming: Incoming<'_> = listener.incoming();
/// let first_two: Vec<TcpStream> = incoming.take(2).try_collect().await?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[must_use = "streams do nothing unless polled"]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
    pause: Pause,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(listener: &'a TcpListener) -> Incoming<'a> {
        Incoming { listener, pause: Pause::default() }
    }
}

impl Stream for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Incoming { listener, pause } = self.get_mut();
        listener.poll_accept_pausing(cx, pause).map_ok(|(stream, _peer)| stream).map(Some)
    }
}

impl FusedStream for Incoming<'_> {
    fn is_terminated(&self) -> bool {
        false
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Incoming").field(self.listener).finish()
    }
}
