//! tokio's mpsc: between two runtimes of one thread each, and within one of several threads.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::Result;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

use super::cases::Contender;
use super::crew::{Answer, Crew, Drive, Threads, Waiting};
use super::ends::{Call, Channel, Closed, Many, Message, OrClosed, Receiver, Sender};
use super::{idle, visits};

pub(super) fn contenders() -> Vec<Contender> {
    vec![
        tokio::<Threads<CurrentThread>>("tokio-ct", "2 current_thread"),
        tokio::<MultiThread>("tokio-mt", "multi_thread(2)"),
    ]
}

fn tokio<W: Crew>(name: &'static str, cores: &'static str) -> Contender {
    Contender::new(name, cores)
        .with(visits::streams::<Mpsc, W>())
        .with(visits::many::<Mpsc, W>())
        .with([visits::parked::<Mpsc, W>(), visits::calls::<Asked, W>()])
        .parking(idle::park::<Mpsc, W>)
}

/// A runtime of one thread, run on a thread of the crew.
pub(super) struct CurrentThread(Runtime);

impl Drive for CurrentThread {
    fn new(_: Option<usize>, _: Waiting) -> Result<Self> {
        Ok(Self(Builder::new_current_thread().enable_all().build()?))
    }

    fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

/// A runtime with as many threads as there are places; jobs are tasks, on whichever thread takes them.
struct MultiThread(Option<Runtime>);

impl Crew for MultiThread {
    fn assemble(places: &[Option<usize>], _: Waiting) -> Result<Self> {
        Ok(Self(Some(Builder::new_multi_thread().worker_threads(places.len()).enable_all().build()?)))
    }

    fn start<F, R>(&self, _: usize, job: impl FnOnce() -> F + Send + 'static) -> Answer<R>
    where
        F: Future<Output = Result<R>> + 'static,
        R: Send + 'static,
    {
        let (desk, answer) = Answer::desk();
        let future = Moves(Box::pin(job()));
        self.0.as_ref().expect("there until dropped").spawn(async move {
            // Nobody waits any more if the run has failed elsewhere.
            let _ = desk.send(future.await);
        });
        answer
    }
}

impl Drop for MultiThread {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A future that may move between threads though its type does not say so: traits cannot yet ask for `Send` of what
/// their async functions return.
struct Moves<F>(Pin<Box<F>>);

// SAFETY: the only jobs of a `MultiThread` are those of `jobs.rs` and `idle.rs`, for the channels of this file. They
// hold the ends of these channels, messages, counters in an `Arc`, and futures of `send`, `recv` and the like of
// tokio, all of which are `Send` (`parts_are_send` has the compiler check that).
unsafe impl<F> Send for Moves<F> {}

impl<F: Future> Future for Moves<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.0.as_mut().poll(cx)
    }
}

struct Mpsc;

impl Channel for Mpsc {
    const BATCHES: bool = true;
    type Tx<T: Message> = mpsc::Sender<T>;
    type Rx<T: Message> = mpsc::Receiver<T>;

    fn open<T: Message>(room: usize) -> (mpsc::Sender<T>, mpsc::Receiver<T>) {
        mpsc::channel(room)
    }
}

impl Many for Mpsc {
    fn another<T: Message>(tx: &mpsc::Sender<T>) -> mpsc::Sender<T> {
        tx.clone()
    }
}

impl<T: Message> Sender for mpsc::Sender<T> {
    type Message = T;

    #[inline]
    fn send(&mut self, message: T) -> impl Future<Output = impl OrClosed<()>> {
        mpsc::Sender::send(self, message)
    }

    async fn send_many(&mut self, messages: impl ExactSizeIterator<Item = T>) -> Result<(), Closed> {
        let permits = self.reserve_many(messages.len()).await.map_err(|_| Closed)?;
        permits.zip(messages).for_each(|(permit, message)| permit.send(message));
        Ok(())
    }
}

impl<T: Message> Receiver for mpsc::Receiver<T> {
    type Message = T;

    #[inline]
    fn recv(&mut self) -> impl Future<Output = impl OrClosed<T>> {
        mpsc::Receiver::recv(self)
    }

    async fn recv_many(&mut self, into: &mut Vec<T>, most: usize) -> Result<(), Closed> {
        match mpsc::Receiver::recv_many(self, into, most).await {
            0 => Err(Closed),
            _ => Ok(()),
        }
    }
}

/// A channel of questions, each of which brings the way back for its answer.
struct Asked;

type Question = (u64, oneshot::Sender<u64>);

impl Call for Asked {
    type Caller = mpsc::Sender<Question>;
    type Callee = mpsc::Receiver<Question>;

    fn open() -> (Self::Caller, Self::Callee) {
        mpsc::channel(1)
    }

    async fn call(caller: &mut Self::Caller, question: u64) -> Result<u64, Closed> {
        let (back, answer) = oneshot::channel();
        caller.send((question, back)).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }

    async fn answer(callee: &mut Self::Callee) -> Result<(), Closed> {
        let (question, back) = callee.recv().await.ok_or(Closed)?;
        back.send(question + 1).map_err(|_| Closed)
    }
}

/// Never called: it compiles.
#[expect(dead_code, reason = "the compiler's answer is all that is wanted")]
fn parts_are_send<T: Message>(tx: &mut mpsc::Sender<T>, rx: &mut mpsc::Receiver<T>, message: T) {
    fn is_send(_: impl Send) {}
    is_send(mpsc::Sender::send(tx, message));
    is_send(tx.reserve_many(1));
    is_send(mpsc::Receiver::recv(rx));
    is_send(mpsc::Receiver::recv_many(rx, &mut Vec::new(), 1));
    is_send(oneshot::channel::<u64>());
}
