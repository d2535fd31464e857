//! multikernel: its channels on its cores, and a bare wake-up, which is what its cores themselves use.

use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use anyhow::Result;
use crossbeam_utils::CachePadded;
use futures::task::AtomicWaker;
use multikernel::CoreId;
use multikernel::channels::{call, mpsc, spsc};
use multikernel::runtime::{Builder, DriverChoice, Pinning, Polling, Runtime};

use super::cases::Contender;
use super::crew::{Answer, Crew, Threads, Waiting};
use super::ends::{Call, Channel, Closed, Many, Message, OrClosed, Receiver, Sender};
use super::tokio::CurrentThread;
use super::{idle, visits};
use crate::harness::cpus;

/// Longer than any pause between two messages.
const SPIN: Duration = Duration::from_millis(1);
/// Waits for polls that are under way.
const PATIENCE: Duration = Duration::from_secs(1);

const CORES: &str = "2 cores";

pub(super) fn contenders() -> Vec<Contender> {
    vec![
        Contender::new("multikernel", CORES)
            .with(visits::streams::<Spsc, Machine>())
            .with(visits::many::<Mpsc, Machine>())
            .with([visits::awake::<Spsc, Machine>(), visits::parked::<Spsc, Machine>()])
            .with([visits::calls::<Called, Machine>()])
            .parking(idle::park::<Spsc, Machine>)
            .controlled(),
        // The other driver, whose doorbell is another.
        Contender::new("multikernel-epoll", CORES)
            .with([visits::parked::<Spsc, Machine<true>>()])
            .controlled(),
        // The same channels where nothing knows of them.
        Contender::new("multikernel-on-tokio", "2 current_thread")
            .with(visits::streams::<Spsc, Threads<CurrentThread>>())
            .with(visits::many::<Mpsc, Threads<CurrentThread>>())
            .with([visits::parked::<Spsc, Threads<CurrentThread>>()]),
        Contender::new("multikernel-wake", CORES)
            .with([visits::awake::<Flag, Machine>(), visits::parked::<Flag, Machine>()])
            .controlled(),
    ]
}

/// A Machine with a core for each place; jobs are tasks.
struct Machine<const EPOLL: bool = false>(Option<Runtime>);

impl<const EPOLL: bool> Crew for Machine<EPOLL> {
    fn assemble(places: &[Option<usize>], waiting: Waiting) -> Result<Self> {
        let polling = match waiting {
            Waiting::Polling => Polling::For(SPIN),
            Waiting::Parking => Polling::Off,
        };
        let driver = if EPOLL { DriverChoice::Epoll } else { DriverChoice::Auto };
        let mut builder = Builder::new();
        builder.cores(places.len()).pinning(Pinning::Never);
        let machine = Self(Some(builder.polling(polling).driver(driver).build()?));
        // Each to the CPU it was given, which the builder cannot be told.
        for (core, place) in places.iter().enumerate() {
            if let Some(cpu) = *place {
                machine.start(core, move || async move { cpus::pin(&[cpu]) }).wait()?;
            }
        }
        Ok(machine)
    }

    fn start<F, R>(&self, core: usize, job: impl FnOnce() -> F + Send + 'static) -> Answer<R>
    where
        F: Future<Output = Result<R>> + 'static,
        R: Send + 'static,
    {
        let (desk, answer) = Answer::desk();
        let _guest = self.0.as_ref().expect("there until dropped").handle().enter();
        let task = multikernel::spawn_on(CoreId::new(core), move || async move {
            // Nobody waits any more if the run has failed elsewhere.
            let _ = desk.send(job().await);
        });
        drop(task);
        answer
    }
}

impl<const EPOLL: bool> Drop for Machine<EPOLL> {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
    }
}

struct Spsc;

impl Channel for Spsc {
    const BATCHES: bool = true;
    type Tx<T: Message> = spsc::Sender<T>;
    type Rx<T: Message> = spsc::Receiver<T>;

    fn open<T: Message>(room: usize) -> (spsc::Sender<T>, spsc::Receiver<T>) {
        spsc::channel(room)
    }
}

impl<T: Message> Sender for spsc::Sender<T> {
    type Message = T;

    #[inline]
    fn send(&mut self, message: T) -> impl Future<Output = impl OrClosed<()>> {
        spsc::Sender::send(self, message)
    }

    async fn send_many(&mut self, mut messages: impl ExactSizeIterator<Item = T>) -> Result<(), Closed> {
        spsc::Sender::send_many(self, &mut messages).await.map(drop).map_err(|_| Closed)
    }
}

impl<T: Message> Receiver for spsc::Receiver<T> {
    type Message = T;

    #[inline]
    fn recv(&mut self) -> impl Future<Output = impl OrClosed<T>> {
        spsc::Receiver::recv(self)
    }

    async fn recv_many(&mut self, into: &mut Vec<T>, most: usize) -> Result<(), Closed> {
        match spsc::Receiver::recv_many(self, into, most).await {
            0 => Err(Closed),
            _ => Ok(()),
        }
    }
}

struct Mpsc;

impl Channel for Mpsc {
    const BATCHES: bool = false;
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
}

impl<T: Message> Receiver for mpsc::Receiver<T> {
    type Message = T;

    #[inline]
    fn recv(&mut self) -> impl Future<Output = impl OrClosed<T>> {
        mpsc::Receiver::recv(self)
    }
}

struct Called;

impl Call for Called {
    type Caller = call::Caller<u64, u64>;
    type Callee = call::Callee<u64, u64>;

    fn open() -> (Self::Caller, Self::Callee) {
        call::channel()
    }

    async fn call(caller: &mut Self::Caller, question: u64) -> Result<u64, Closed> {
        caller.call(question).await.map_err(|_| Closed)
    }

    async fn answer(callee: &mut Self::Callee) -> Result<(), Closed> {
        let (question, reply) = callee.next().await.ok_or(Closed)?.into_parts();
        reply.send(question + 1).map_err(|_| Closed)
    }
}

/// One word and who waits for it to change: no queue, no capacity, no closing. As with the bare line, whoever writes it
/// knows that the last one was read, because it was answered.
struct Flag;

#[derive(Default)]
struct Word {
    value: AtomicU64,
    reader: AtomicWaker,
}

struct FlagTx<T>(Arc<CachePadded<Word>>, PhantomData<T>);

struct FlagRx<T> {
    word: Arc<CachePadded<Word>>,
    seen: u64,
    message: PhantomData<T>,
}

impl Channel for Flag {
    const BATCHES: bool = false;
    type Tx<T: Message> = FlagTx<T>;
    type Rx<T: Message> = FlagRx<T>;

    fn open<T: Message>(_: usize) -> (FlagTx<T>, FlagRx<T>) {
        let word = Arc::new(CachePadded::new(Word::default()));
        (FlagTx(Arc::clone(&word), PhantomData), FlagRx { word, seen: 0, message: PhantomData })
    }
}

impl<T: Message> Sender for FlagTx<T> {
    type Message = T;

    async fn send(&mut self, message: T) -> impl OrClosed<()> {
        // Release: pairs with the Acquire in `recv`, for form's sake: nothing else is sent.
        self.0.value.store(message.number() + 1, Ordering::Release);
        self.0.reader.wake();
        Ok::<_, Closed>(())
    }
}

impl<T: Message> Receiver for FlagRx<T> {
    type Message = T;

    async fn recv(&mut self) -> impl OrClosed<T> {
        let changed = |seen| {
            let now = self.word.value.load(Ordering::Acquire);
            if now == seen { Poll::Pending } else { Poll::Ready(now) }
        };
        let seen = self.seen;
        self.seen = poll_fn(|cx| {
            let at_once = changed(seen);
            if at_once.is_ready() {
                return at_once;
            }
            self.word.reader.register(cx.waker());
            changed(seen)
        })
        .await;
        Ok::<_, Closed>(T::numbered(self.seen - 1))
    }
}
