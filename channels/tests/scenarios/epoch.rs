//! What must hold while cores learn one after the other how a round ended: what is sent after a commit is not handed
//! out before that commit, by whichever channel it comes.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc as StdArc;
use std::sync::atomic::AtomicBool as StdAtomicBool;
use std::task::{Context, Waker};

use futures::Stream;
use multikernel_channels::epoch::{self, Deciding};
use multikernel_channels::sync::{Arc, AtomicBool, Ordering, SharedArc, thread};
use multikernel_channels::{broadcast, call, mpsc, oneshot, spsc, watch};

use super::Bell;
use super::ports::{Runner, run};

/// By which channel the message comes. With `End` the sender goes and has sent nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Spsc,
    SpscEnd,
    SpscMany,
    Mpsc,
    MpscEnd,
    Broadcast,
    Watch,
    Oneshot,
    OneshotEnd,
    Question,
    Answer,
    /// A oneshot to a thread that is no core, which passes the message on by another.
    Chain,
}

pub const ALL: [By; 12] = [
    By::Spsc,
    By::SpscEnd,
    By::SpscMany,
    By::Mpsc,
    By::MpscEnd,
    By::Broadcast,
    By::Watch,
    By::Oneshot,
    By::OneshotEnd,
    By::Question,
    By::Answer,
    By::Chain,
];

/// What one core has of the channel: something that is polled until it is ready. For the sender one poll is all.
type End = Pin<Box<dyn Future<Output = ()> + Send>>;

fn end<R>(future: impl Future<Output = R> + Send + 'static) -> End {
    Box::pin(async move { drop(future.await) })
}

/// Whether it is ready.
fn poll_once(end: &mut End) -> bool {
    end.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// The two ends, and the thread between them if there is one.
fn ends<B: Bell>(by: By, bell: fn() -> B) -> (End, End, Option<thread::JoinHandle<()>>) {
    let (sends, receives) = match by {
        By::Spsc | By::SpscEnd | By::SpscMany => spsc_ends(by),
        By::Mpsc | By::MpscEnd => mpsc_ends(by),
        By::Broadcast => {
            let (tx, mut rx) = broadcast::channel(1);
            (end(async move { tx.send(1) }), end(async move { rx.recv().await }))
        }
        By::Watch => {
            let (tx, mut rx) = watch::channel(0);
            (end(async move { tx.send(1) }), end(async move { rx.changed().await }))
        }
        By::Oneshot | By::OneshotEnd => {
            let (tx, rx) = oneshot::channel();
            let sends = async move {
                if by == By::Oneshot {
                    tx.send(1).unwrap()
                }
            };
            (end(sends), end(rx))
        }
        By::Question => {
            let (mut caller, mut callee) = call::channel::<u8, u8>();
            let sends = async move { caller.call(1).await };
            (end(sends), end(async move { drop(callee.next().await) }))
        }
        By::Answer => {
            let (mut caller, mut callee) = call::channel::<u8, u8>();
            let sends = async move { callee.next().await.expect("it was asked").reply(2) };
            let mut receives = end(async move { caller.call(1).await });
            assert!(!poll_once(&mut receives), "asked, and not answered");
            (end(sends), receives)
        }
        By::Chain => {
            let ((tx, between), (then, rx)) = (oneshot::channel::<u8>(), oneshot::channel::<u8>());
            let passes_on = move || {
                let message = run(Runner::Plain, bell(), between).unwrap();
                then.send(message).unwrap();
            };
            let sends = end(async move { tx.send(1).unwrap() });
            return (sends, end(rx), Some(thread::spawn(passes_on)));
        }
    };
    (sends, receives, None)
}

fn spsc_ends(by: By) -> (End, End) {
    let (mut tx, mut rx) = spsc::channel(1);
    let sends = end(async move {
        if by != By::SpscEnd {
            tx.try_send(1).unwrap();
        }
    });
    let receives = end(async move {
        match by {
            By::SpscMany => _ = rx.recv_many(&mut Vec::new(), 2).await,
            _ => _ = rx.recv().await,
        }
    });
    (sends, receives)
}

fn mpsc_ends(by: By) -> (End, End) {
    let (tx, mut rx) = mpsc::channel(1);
    let sends = end(async move {
        if by != By::MpscEnd {
            tx.try_send(1).unwrap();
        }
    });
    (sends, end(async move { poll_fn(|cx| pin!(&mut rx).poll_next(cx)).await }))
}

/// The home decides a round and tells two cores one after the other. One sends a message, perhaps after it has
/// committed; the other has voted, and looks again and again for both, the end of the round and the message.
pub fn nothing_overtakes_a_commit<B: Bell>(bell: fn() -> B, receiver: Runner, by: By) {
    let (mut sends, mut receives, between) = ends(by, bell);
    let deciding = SharedArc::new(Deciding::new(0));
    let told = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
    // Of the test alone, so not loom's.
    let was_late = StdArc::new(StdAtomicBool::new(false));

    epoch::prepared(&deciding, 0);
    let home = thread::spawn({
        let (deciding, told) = (SharedArc::clone(&deciding), Arc::clone(&told));
        move || {
            deciding.publish(1);
            told[0].store(true, Ordering::Release); // pairs with the Acquire of the one who sends
            told[1].store(true, Ordering::Release); // pairs with the Acquire of the one who receives
        }
    });
    let sender = thread::spawn({
        let (told, was_late) = (Arc::clone(&told), StdArc::clone(&was_late));
        move || {
            was_late.store(told[0].load(Ordering::Acquire), Ordering::Relaxed);
            poll_once(&mut sends);
            sends // what it asked is not given up yet
        }
    });

    run(
        receiver,
        bell(),
        poll_fn(|cx| {
            if told[1].load(Ordering::Acquire) {
                epoch::settled();
            }
            let received = receives.as_mut().poll(cx);
            let too_early = received.is_ready() && epoch::is_prepared() && was_late.load(Ordering::Relaxed);
            assert!(!too_early, "a message has overtaken the commit it was sent after");
            received
        }),
    );
    epoch::settled();
    let threads = [Some(home), between];
    threads.into_iter().flatten().for_each(|thread| thread.join().unwrap());
    drop(sender.join().unwrap());
}
