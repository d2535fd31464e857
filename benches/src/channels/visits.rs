//! One visit for each case: the crew is there from before, the channel is new.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::cases::{Case, Offer, Sample, Visit};
use super::crew::{Answer, Crew, Meeting, Waiting};
use super::ends::{Both, Call, Channel, Many, Message};
use super::jobs::{self, ROOM, SENDERS, TURN};
use crate::harness::cpus::Cpus;

/// Messages that the channels of a round trip hold.
const FEW: usize = 64;

/// The core that begins and the one that answers.
type Roles = (usize, usize);

/// Makes an offer; `visit` is given the crew, the number of operations and whether roles change.
pub(super) fn offer<W: Crew>(
    case: Case,
    places: fn(Cpus) -> Vec<Option<usize>>,
    waiting: Waiting,
    visit: impl Fn(&W, u64, Roles) -> Result<Sample> + Copy + 'static,
) -> Offer {
    let open = move |cpus| -> Result<Visit> {
        let crew = W::assemble(&places(cpus), waiting)?;
        Ok(Box::new(move |count, turned| visit(&crew, count, if turned { (1, 0) } else { (0, 1) })))
    };
    (case, Box::new(open))
}

pub(super) fn two(cpus: Cpus) -> Vec<Option<usize>> {
    vec![Some(cpus.client), Some(cpus.server)]
}

fn one(cpus: Cpus) -> Vec<Option<usize>> {
    vec![Some(cpus.server)]
}

/// More cores than CPUs, so none of them is kept on one.
fn five(_: Cpus) -> Vec<Option<usize>> {
    vec![None; SENDERS + 1]
}

/// Streams of all sizes, batches if there are any, and the same-core case.
pub(super) fn streams<C: Channel, W: Crew>() -> Vec<Offer> {
    let mut offers = vec![
        stream::<C, W, u64>(Case::Stream(8)),
        stream::<C, W, [u64; 2]>(Case::Stream(16)),
        stream::<C, W, [u64; 4]>(Case::Stream(32)),
        stream::<C, W, [u64; 8]>(Case::Stream(64)),
        stream::<C, W, [u64; 16]>(Case::Stream(128)),
        stream::<C, W, [u64; 32]>(Case::Stream(256)),
        stream::<C, W, [u64; 64]>(Case::Stream(512)),
        stream::<C, W, [u64; 128]>(Case::Stream(1024)),
        offer(Case::SameCore, one, Waiting::Polling, |crew: &W, count, _| {
            let ends = C::open(FEW);
            let took = crew.start(0, move || jobs::talk_to_itself::<C>(ends, count)).wait()?;
            Ok(Sample::of(took, count))
        }),
    ];
    if C::BATCHES {
        offers.push(offer(Case::Batch, two, Waiting::Polling, |crew: &W, count, (from, to)| {
            let ((tx, rx), meeting) = (C::open(ROOM), Meeting::of(2));
            let here = Arc::clone(&meeting);
            let end = crew.start(to, move || jobs::recv_batches::<C>(rx, here, count));
            let start = crew.start(from, move || jobs::send_batches::<C>(tx, meeting, count));
            between(start, end, count)
        }));
    }
    offers
}

fn stream<C: Channel, W: Crew, T: Message>(case: Case) -> Offer {
    offer(case, two, Waiting::Polling, |crew: &W, count, (from, to)| {
        let ((tx, rx), meeting) = (C::open::<T>(ROOM), Meeting::of(2));
        let here = Arc::clone(&meeting);
        let end = crew.start(to, move || jobs::recv::<C, T>(rx, here, count));
        let start = crew.start(from, move || jobs::send::<C, T>(tx, meeting, count));
        between(start, end, count)
    })
}

/// From the first message sent to the last one received.
fn between(start: Answer<Instant>, end: Answer<Instant>, count: u64) -> Result<Sample> {
    // The receiver first: if it fails, the sender's error is only that the channel has closed.
    let end = end.wait()?;
    Ok(Sample::of(end - start.wait()?, count))
}

/// Round trips between cores that poll.
pub(super) fn awake<C: Channel, W: Crew>() -> Offer {
    offer(Case::Awake, two, Waiting::Polling, round_trips::<C, W>)
}

/// Round trips between cores that sleep at once.
pub(super) fn parked<C: Channel, W: Crew>() -> Offer {
    offer(Case::Parked, two, Waiting::Parking, round_trips::<C, W>)
}

fn round_trips<C: Channel, W: Crew>(crew: &W, count: u64, roles: Roles) -> Result<Sample> {
    let took = facing::<C, W, _, _>(crew, count, roles, jobs::ask::<C>)?;
    let latency = facing::<C, W, _, _>(crew, count.div_ceil(2), roles, jobs::ask_and_time::<C>)?;
    Ok(Sample { latency: Some(latency), ..Sample::of(took, count) })
}

/// Runs `ask` on one core and [`jobs::echo`] on the other.
fn facing<C: Channel, W: Crew, F, R>(
    crew: &W,
    count: u64,
    (from, to): Roles,
    ask: fn(Both<C>, Arc<Meeting>, u64) -> F,
) -> Result<R>
where
    F: Future<Output = Result<R>> + 'static,
    R: Send + 'static,
{
    let ((ping, pinged), (pong, ponged)) = (C::open(FEW), C::open(FEW));
    let meeting = Meeting::of(2);
    let here = Arc::clone(&meeting);
    let echo = crew.start(to, move || jobs::echo::<C>((pong, pinged), here, count));
    let asked = crew.start(from, move || ask((ping, ponged), meeting, count)).wait()?;
    echo.wait()?;
    Ok(asked)
}

/// One sender and four into a channel for many.
pub(super) fn many<C: Many, W: Crew>() -> Vec<Offer> {
    vec![
        stream::<C, W, u64>(Case::OneOfMany),
        offer(Case::Many, five, Waiting::Parking, |crew: &W, count, _| {
            let ((tx, rx), meeting) = (C::open(ROOM), Meeting::of(SENDERS + 1));
            let (here, each) = (Arc::clone(&meeting), count.div_ceil(SENDERS as u64));
            let end = crew.start(SENDERS, move || jobs::recv_of_all::<C>(rx, here, each));
            let senders = (0..SENDERS).map(|sender| {
                let (tx, here) = (C::another(&tx), Arc::clone(&meeting));
                crew.start(sender, move || jobs::send_as::<C>(sender, tx, here, each))
            });
            let senders: Vec<_> = senders.collect();
            drop(tx);
            let end = end.wait()?;
            let starts = senders.into_iter().map(Answer::wait).collect::<Result<Vec<_>>>()?;
            let start = starts.into_iter().min().expect("there are senders");
            Ok(Sample::of(end - start, each * SENDERS as u64))
        }),
        offer(Case::Fairness, five, Waiting::Parking, |crew: &W, turns, _| {
            let fills = turns.div_ceil((ROOM / TURN) as u64);
            let off = (0..fills).map(|_| shares::<C, W>(crew)).collect::<Result<Vec<_>>>()?.concat();
            Ok(Sample { off, ..Sample::of(Duration::ZERO, turns) })
        }),
        offer(Case::Greedy, five, Waiting::Parking, |crew: &W, turns, _| {
            let ((tx, rx), meeting) = (C::open(ROOM), Meeting::of(SENDERS + 1));
            let (sent, here) = (Arc::new(AtomicU64::new(0)), Arc::clone(&meeting));
            let count = Arc::clone(&sent);
            let off = crew.start(SENDERS, move || jobs::watch_turns::<C>(rx, here, count, turns));
            let senders = (0..SENDERS).map(|sender| {
                let (tx, here, sent) = (C::another(&tx), Arc::clone(&meeting), Arc::clone(&sent));
                crew.start(sender, move || jobs::send_without_end::<C>(sender, tx, here, sent))
            });
            let senders: Vec<_> = senders.collect();
            drop(tx);
            let off = off.wait()?;
            senders.into_iter().try_for_each(Answer::wait)?;
            Ok(Sample { off, ..Sample::of(Duration::ZERO, turns) })
        }),
    ]
}

/// Fills a channel with as many messages of each sender, and takes them.
fn shares<C: Many, W: Crew>(crew: &W) -> Result<Vec<f64>> {
    let ((tx, rx), meetings) = (C::open(ROOM), [Meeting::of(SENDERS + 1), Meeting::of(SENDERS + 1)]);
    let both = || (Arc::clone(&meetings[0]), Arc::clone(&meetings[1]));
    let here = both();
    let off = crew.start(SENDERS, move || jobs::take_shares::<C>(rx, here));
    let senders = (0..SENDERS).map(|sender| {
        let (tx, here) = (C::another(&tx), both());
        crew.start(sender, move || jobs::send_share::<C>(sender, tx, here))
    });
    let senders: Vec<_> = senders.collect();
    let off = off.wait()?;
    senders.into_iter().try_for_each(Answer::wait)?;
    Ok(off)
}

/// Questions to a core that polls.
pub(super) fn calls<K: Call, W: Crew>() -> Offer {
    offer(Case::Call, two, Waiting::Polling, |crew: &W, count, (from, to)| {
        let ((caller, callee), meeting) = (K::open(), Meeting::of(2));
        let here = Arc::clone(&meeting);
        let answers = crew.start(to, move || jobs::answer::<K>(callee, here, count));
        let took = crew.start(from, move || jobs::call::<K>(caller, meeting, count)).wait()?;
        answers.wait()?;
        Ok(Sample::of(took, count))
    })
}

#[cfg(test)]
mod tests {
    use super::super::crew::{Plain, Threads};
    use super::super::ends::{Closed, OrClosed, Receiver, Sender};
    use super::*;

    /// A channel that does something to the fifth message.
    struct Planted<const TWICE: bool>;

    struct Tx<T>(async_channel::Sender<T>, u64, bool);

    struct Rx<T>(async_channel::Receiver<T>);

    impl<const TWICE: bool> Channel for Planted<TWICE> {
        const BATCHES: bool = true;
        type Tx<T: Message> = Tx<T>;
        type Rx<T: Message> = Rx<T>;

        fn open<T: Message>(room: usize) -> (Tx<T>, Rx<T>) {
            let (tx, rx) = async_channel::bounded(room);
            (Tx(tx, 0, TWICE), Rx(rx))
        }
    }

    impl<T: Message> Sender for Tx<T> {
        type Message = T;

        async fn send(&mut self, message: T) -> impl OrClosed<()> {
            self.1 += 1;
            let times = match (self.1, self.2) {
                (5, true) => 2,
                (5, false) => 0,
                _ => 1,
            };
            for _ in 0..times {
                self.0.send(message).await.or_closed()?;
            }
            Ok::<_, Closed>(())
        }
    }

    impl<T: Message> Receiver for Rx<T> {
        type Message = T;

        async fn recv(&mut self) -> impl OrClosed<T> {
            self.0.recv().await.map_err(|_| Closed)
        }
    }

    fn errors<C: Channel>() -> Vec<String> {
        let cpus = Cpus::of_this_process().unwrap();
        let mut offers = streams::<C, Threads<Plain>>();
        offers.push(parked::<C, Threads<Plain>>());
        let error = |(_, open): Offer| open(cpus).unwrap()(20, false).err().map(|error| format!("{error:#}"));
        offers.into_iter().filter_map(error).collect()
    }

    #[test]
    fn a_message_that_comes_twice_fails() {
        let errors = errors::<Planted<true>>();
        assert_eq!(errors.len(), 11, "all sizes, same core, batches, round trips: {errors:?}");
        assert!(errors.iter().all(|error| error.contains("in place of")), "{errors:?}");
    }

    #[test]
    fn a_message_that_is_lost_fails() {
        let cpus = Cpus::of_this_process().unwrap();
        let (_, open) = stream::<Planted<false>, Threads<Plain>, u64>(Case::Stream(8));
        let error = open(cpus).unwrap()(20, false).err().expect("one of twenty is missing");
        assert_eq!(format!("{error:#}"), "message 5 came in place of 4");
    }
}
