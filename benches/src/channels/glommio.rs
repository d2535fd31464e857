//! glommio's shared_channel, the one that connects two of its executors. It has one sender.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, anyhow};
use glommio::channels::shared_channel::{
    self, ConnectedReceiver, ConnectedSender, SharedReceiver, SharedSender,
};
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

use super::cases::Contender;
use super::crew::{Drive, Threads, Waiting};
use super::ends::{Channel, Message, OrClosed, Receiver, RecvEnd, SendEnd, Sender};
use super::{idle, visits};

/// Longer than any pause between two messages.
const SPIN: Duration = Duration::from_millis(1);

pub(super) fn contenders() -> Vec<Contender> {
    let contender = Contender::new("glommio", "2 executors")
        .with(visits::streams::<Shared, Threads<Executor>>())
        .with([visits::awake::<Shared, Threads<Executor>>(), visits::parked::<Shared, Threads<Executor>>()])
        .parking(idle::park::<Shared, Threads<Executor>>)
        .may_hang();
    vec![contender]
}

struct Executor(LocalExecutor);

impl Drive for Executor {
    fn new(place: Option<usize>, waiting: Waiting) -> Result<Self> {
        let builder = LocalExecutorBuilder::new(place.map_or(Placement::Unbound, Placement::Fixed));
        let builder = match waiting {
            Waiting::Polling => builder.spin_before_park(SPIN),
            Waiting::Parking => builder,
        };
        builder.make().map(Self).map_err(|error| anyhow!("glommio: {error}"))
    }

    fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        self.0.run(future)
    }
}

struct Shared;

impl Channel for Shared {
    const BATCHES: bool = false;
    type Tx<T: Message> = SharedSender<T>;
    type Rx<T: Message> = SharedReceiver<T>;

    fn open<T: Message>(room: usize) -> (SharedSender<T>, SharedReceiver<T>) {
        shared_channel::new_bounded(room)
    }
}

impl<T: Message> SendEnd for SharedSender<T> {
    type Here = ConnectedSender<T>;

    async fn arrive(self) -> ConnectedSender<T> {
        self.connect().await
    }
}

impl<T: Message> RecvEnd for SharedReceiver<T> {
    type Here = ConnectedReceiver<T>;

    async fn arrive(self) -> ConnectedReceiver<T> {
        self.connect().await
    }
}

impl<T: Message> Sender for ConnectedSender<T> {
    type Message = T;

    #[inline]
    fn send(&mut self, message: T) -> impl Future<Output = impl OrClosed<()>> {
        ConnectedSender::send(self, message)
    }
}

impl<T: Message> Receiver for ConnectedReceiver<T> {
    type Message = T;

    #[inline]
    fn recv(&mut self) -> impl Future<Output = impl OrClosed<T>> {
        ConnectedReceiver::recv(self)
    }
}
