//! What must hold between threads, written once: `loom.rs` runs it small in every order, `threads.rs` large and often.
//!
//! The code under test sees the threads and atomics of `sync`, so loom when loom runs. The tallies of the tests
//! themselves are std's on purpose: loom must not spend its orders on them.

pub mod broadcast;
pub mod calls;
pub mod epoch;
pub mod mesh;
pub mod mpsc;
pub mod ports;

use std::ptr::NonNull;
use std::sync::Arc as StdArc;

use multikernel_channels::inbox::{Batch, Closed, Inbox, Link, Linked};
use multikernel_channels::ring::{PopError, PushError, ring};
use multikernel_channels::sync::{Arc, UnsafeCell, per_thread, thread};

/// Counts living copies of itself: 1 at the end means that nothing leaked, and a double free would be less.
type Token = StdArc<()>;

fn assert_nothing_left(token: &Token) {
    assert_eq!(StdArc::strong_count(token), 1, "messages leaked");
}

#[repr(C)]
struct Node {
    link: Link,
    sender: usize,
    number: usize,
    /// How often it has been handed out. Plain: only the holder of the node touches it.
    visits: UnsafeCell<usize>,
    _token: Token,
}

// SAFETY: `repr(C)`, and the link comes first.
unsafe impl Linked for Node {}

impl Node {
    fn leak(sender: usize, number: usize, token: &Token) -> NonNull<Node> {
        let visits = UnsafeCell::new(0);
        let node = Node { link: Link::new(), sender, number, visits, _token: Token::clone(token) };
        NonNull::from(Box::leak(Box::new(node)))
    }

    fn free(node: NonNull<Node>) -> Box<Node> {
        // SAFETY: nodes come from `leak`, and the scenarios free what was handed out to them, or refused, once.
        unsafe { Box::from_raw(node.as_ptr()) }
    }

    /// Counts a visit and returns how many there were.
    fn visit(node: NonNull<Node>) -> usize {
        // SAFETY: the caller was handed the node, so nobody else touches it; loom checks that.
        unsafe { node.as_ref() }.visits.with_mut(|visits| unsafe {
            *visits += 1;
            *visits
        })
    }
}

/// Receives nodes and holds them to: each sender's in order, none twice, none missing.
struct Ledger(Vec<usize>);

impl Ledger {
    fn new(senders: usize) -> Self {
        Self(vec![0; senders])
    }

    fn receive(&mut self, batch: Batch<Node>) {
        for node in batch {
            assert_eq!(Node::visit(node), 1);
            let node = Node::free(node);
            assert_eq!(node.number, self.0[node.sender], "out of order, lost or twice");
            self.0[node.sender] += 1;
        }
    }

    fn total(&self) -> usize {
        self.0.iter().sum()
    }
}

/// All that several senders push arrives, in each one's order.
pub fn inbox_loses_nothing(senders: usize, each: usize) {
    let token = Token::new(());
    let inbox = Arc::new(Inbox::new());
    let threads: Vec<_> = (0..senders)
        .map(|sender| {
            let (inbox, token) = (Arc::clone(&inbox), Token::clone(&token));
            thread::spawn(move || {
                for number in 0..each {
                    // SAFETY: a fresh node, for the owner to free.
                    unsafe { inbox.push(Node::leak(sender, number, &token)) }.expect("nobody closes");
                }
            })
        })
        .collect();

    let mut ledger = Ledger::new(senders);
    while ledger.total() < senders * each {
        // SAFETY: this thread is the owner.
        ledger.receive(unsafe { inbox.take() });
        thread::yield_now();
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(inbox.is_empty());
    assert_nothing_left(&token);
}

/// A push that finds the inbox closed says so, keeps its node, and sees what the owner did before it closed.
pub fn closed_inbox_refuses(senders: usize, each: usize) {
    let token = Token::new(());
    // The second part is what the owner did last; a plain cell, so that loom finds a missing happens-before.
    let shared = Arc::new((Inbox::new(), LastWord(UnsafeCell::new(false))));
    let threads: Vec<_> = (0..senders)
        .map(|sender| {
            let (shared, token) = (Arc::clone(&shared), Token::clone(&token));
            thread::spawn(move || {
                let (inbox, last_word) = &*shared;
                let mut pushed = 0;
                for number in 0..each {
                    let node = Node::leak(sender, number, &token);
                    // SAFETY: a fresh node, for the owner to free if it is taken.
                    match unsafe { inbox.push(node) } {
                        Ok(()) => {
                            assert_eq!(pushed, number, "pushed after a refusal");
                            pushed += 1;
                        }
                        Err(Closed) => {
                            // SAFETY: the owner wrote before it closed, and never after.
                            assert!(last_word.0.with(|word| unsafe { *word }));
                            Node::free(node);
                        }
                    }
                }
                pushed
            })
        })
        .collect();

    let (inbox, last_word) = &*shared;
    let mut ledger = Ledger::new(senders);
    // SAFETY: this thread is the owner.
    ledger.receive(unsafe { inbox.take() });
    // SAFETY: nobody reads before a refusal, and the close that refuses comes after.
    last_word.0.with_mut(|word| unsafe { *word = true });
    // SAFETY: this thread is the owner.
    ledger.receive(unsafe { inbox.close() });
    let pushed: Vec<usize> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(ledger.0, pushed, "received is what was pushed, and no more");
    assert_nothing_left(&token);
}

struct LastWord(UnsafeCell<bool>);

// SAFETY: `closed_inbox_refuses` writes it before closing and reads it after a refusal.
unsafe impl Sync for LastWord {}

/// The owner pushes nodes again while another thread pushes: a head that was there before is no trap.
pub fn inbox_takes_nodes_again(each: usize) {
    let token = Token::new(());
    let inbox = Arc::new(Inbox::new());
    let sender = thread::spawn({
        let (inbox, token) = (Arc::clone(&inbox), Token::clone(&token));
        move || {
            for number in 0..each {
                // SAFETY: a fresh node, for the owner to free.
                unsafe { inbox.push(Node::leak(0, number, &token)) }.expect("nobody closes");
            }
        }
    });

    let mut first_visits = 0;
    let mut freed = 0;
    while freed < each {
        // SAFETY: this thread is the owner.
        for node in unsafe { inbox.take() } {
            if Node::visit(node) == 1 {
                first_visits += 1;
                // SAFETY: the node was handed out, so it is in no queue.
                unsafe { inbox.push(node) }.expect("nobody closes");
            } else {
                Node::free(node);
                freed += 1;
            }
        }
        thread::yield_now();
    }
    sender.join().unwrap();
    assert_eq!(first_visits, each);
    assert!(inbox.is_empty());
    assert_nothing_left(&token);
}

/// Numbers pass through the ring in order, however often it wraps, and the end is told after the last.
pub fn ring_passes_all_then_closes(capacity: usize, messages: usize) {
    let token = Token::new(());
    let (mut tx, mut rx) = ring(capacity);
    let producer = thread::spawn({
        let token = Token::clone(&token);
        move || {
            for number in 0..messages {
                let mut message = (number, Token::clone(&token));
                loop {
                    match tx.try_push(message) {
                        Ok(()) => break,
                        Err(PushError::Full(back)) => message = back,
                        Err(PushError::Closed(_)) => panic!("the consumer is there"),
                    }
                    thread::yield_now();
                }
                assert!(tx.len() <= capacity);
            }
        }
    });

    let mut expected = 0;
    loop {
        match rx.try_pop() {
            Ok((number, _token)) => {
                assert_eq!(number, expected);
                expected += 1;
            }
            Err(PopError::Empty) => thread::yield_now(),
            Err(PopError::Closed) => break,
        }
    }
    assert_eq!(expected, messages, "closed comes after the last message");
    assert!(rx.is_empty() && rx.is_closed());
    producer.join().unwrap();
    assert_nothing_left(&token);
}

/// As [`ring_passes_all_then_closes`], but many at once: as many as there is room for, and `most` of those that wait,
/// though there may be one more in the chunk.
pub fn ring_passes_batches(capacity: usize, messages: usize, most: usize) {
    let (mut tx, mut rx) = ring(capacity);
    let producer = thread::spawn(move || {
        let numbers: Vec<usize> = (0..messages).collect();
        let mut rest = &numbers[..];
        while !rest.is_empty() {
            match tx.push_slice(rest).expect("the consumer is there") {
                0 => thread::yield_now(),
                pushed => rest = &rest[pushed..],
            }
        }
    });

    let mut expected = 0;
    loop {
        let before = expected;
        for number in rx.pop_chunk(most + 1).take(most) {
            assert_eq!(number, expected);
            expected += 1;
        }
        if expected == before {
            match rx.try_pop() {
                Ok(number) => {
                    assert_eq!(number, expected);
                    expected += 1;
                }
                Err(PopError::Empty) => thread::yield_now(),
                Err(PopError::Closed) => break,
            }
        }
    }
    assert_eq!(expected, messages, "closed comes after the last message");
    producer.join().unwrap();
}

/// The consumer goes after some messages: the producer is told, and every message is dropped once, by someone.
pub fn ring_tells_the_producer(capacity: usize, messages: usize, popped: usize) {
    let token = Token::new(());
    let (mut tx, mut rx) = ring(capacity);
    let consumer = thread::spawn(move || {
        let mut expected = 0;
        while expected < popped {
            match rx.try_pop() {
                Ok((number, _token)) => {
                    assert_eq!(number, expected);
                    expected += 1;
                }
                Err(PopError::Empty) => thread::yield_now(),
                Err(PopError::Closed) => panic!("the producer is there"),
            }
        }
    });

    let mut number = 0;
    while number < messages {
        match tx.try_push((number, Token::clone(&token))) {
            Ok(()) => number += 1,
            Err(PushError::Full(_)) => thread::yield_now(),
            Err(PushError::Closed(_)) => break,
        }
    }
    assert!(number >= popped);
    consumer.join().unwrap();
    assert!(matches!(tx.try_push((number, Token::clone(&token))), Err(PushError::Closed(_))));
    drop(tx);
    assert_nothing_left(&token);
}

/// A doorbell whose sleep the scenario's runner can see: loom's condition variable, or a real descriptor.
pub trait Bell: Send + Sync + 'static {
    fn set_polling(&self);
    fn prepare_park(&self);
    fn unpark(&self) -> bool;
    fn must_ring(&self) -> bool;
    fn ring(&self);
    /// Returns when rung, and stays rung. Fails the test rather than sleeping for ever.
    fn sleep(&self);
    fn drain(&self);

    /// Parks unless `idle` says otherwise; true if it slept.
    fn park(&self, idle: impl FnOnce() -> bool) -> bool {
        self.prepare_park();
        let slept = idle();
        if slept {
            self.sleep();
            self.drain();
        }
        slept
    }

    fn after_publishing(&self) -> bool {
        let mine = self.must_ring();
        if mine {
            self.ring();
        }
        mine
    }
}

/// The owner of an inbox parks whenever it is empty, or first watches it for a look, and still receives everything.
pub fn no_wake_is_lost(bell: impl Bell, polls: bool, senders: usize, each: usize) {
    let token = Token::new(());
    let shared = Arc::new((Inbox::new(), bell));
    let threads: Vec<_> = (0..senders)
        .map(|sender| {
            let (shared, token) = (Arc::clone(&shared), Token::clone(&token));
            thread::spawn(move || {
                let (inbox, bell) = &*shared;
                for number in 0..each {
                    // SAFETY: a fresh node, for the owner to free.
                    unsafe { inbox.push(Node::leak(sender, number, &token)) }.expect("nobody closes");
                    bell.after_publishing();
                }
            })
        })
        .collect();

    let (inbox, bell) = &*shared;
    let mut ledger = Ledger::new(senders);
    while ledger.total() < senders * each {
        if polls {
            bell.set_polling();
        }
        if !polls || inbox.is_empty() {
            bell.park(|| inbox.is_empty());
        }
        bell.unpark();
        // SAFETY: this thread is the owner.
        ledger.receive(unsafe { inbox.take() });
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_nothing_left(&token);
}

/// Of all that send during one sleep exactly one rings, and the owner learns of it.
pub fn one_sender_rings(bell: impl Bell, senders: usize) {
    let token = Token::new(());
    let shared = Arc::new((Inbox::new(), bell));
    let threads: Vec<_> = (0..senders)
        .map(|sender| {
            let (shared, token) = (Arc::clone(&shared), Token::clone(&token));
            thread::spawn(move || {
                let (inbox, bell) = &*shared;
                // SAFETY: a fresh node, for the owner to free.
                unsafe { inbox.push(Node::leak(sender, 0, &token)) }.expect("nobody closes");
                bell.after_publishing()
            })
        })
        .collect();

    let (inbox, bell) = &*shared;
    let slept = bell.park(|| inbox.is_empty());
    let told = bell.unpark();
    assert!(told || !slept, "woken by nobody");
    let rings = threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>();
    assert_eq!(rings, usize::from(told));
    let mut ledger = Ledger::new(senders);
    // SAFETY: this thread is the owner.
    ledger.receive(unsafe { inbox.close() });
    assert_eq!(ledger.total(), senders);
    assert_nothing_left(&token);
}

/// The owner comes back from parking by itself, say for a timer. If it is told of a ring, the message is there.
pub fn a_ring_brings_its_message(bell: impl Bell) {
    let token = Token::new(());
    let shared = Arc::new((Inbox::new(), bell));
    let sender = thread::spawn({
        let (shared, token) = (Arc::clone(&shared), Token::clone(&token));
        move || {
            let (inbox, bell) = &*shared;
            // SAFETY: a fresh node, for the owner to free.
            unsafe { inbox.push(Node::leak(0, 0, &token)) }.expect("nobody closes");
            bell.after_publishing()
        }
    });

    let (inbox, bell) = &*shared;
    bell.prepare_park();
    let told = bell.unpark();
    assert!(!told || !inbox.is_empty(), "the ring came without its message");
    assert_eq!(sender.join().unwrap(), told);
    let mut ledger = Ledger::new(1);
    // SAFETY: this thread is the owner.
    ledger.receive(unsafe { inbox.close() });
    assert_eq!(ledger.total(), 1);
    assert_nothing_left(&token);
}

/// The owner of a ring's reading end parks whenever the ring is empty; closing is a message that wakes, too.
pub fn ring_wakes_its_consumer(bell: impl Bell, capacity: usize, messages: usize) {
    let bell = Arc::new(bell);
    let (mut tx, mut rx) = ring(capacity);
    let producer = thread::spawn({
        let bell = Arc::clone(&bell);
        move || {
            for number in 0..messages {
                while tx.try_push(number).is_err() {
                    thread::yield_now();
                }
                bell.after_publishing();
            }
            drop(tx);
            bell.after_publishing();
        }
    });

    let mut expected = 0;
    loop {
        match rx.try_pop() {
            Ok(number) => {
                assert_eq!(number, expected);
                expected += 1;
            }
            Err(PopError::Empty) => {
                bell.park(|| rx.is_empty() && !rx.is_closed());
                bell.unpark();
            }
            Err(PopError::Closed) => break,
        }
    }
    assert_eq!(expected, messages);
    producer.join().unwrap();
}

per_thread! {
    static MINE: usize = 7
}

/// What one thread writes into a `per_thread!` cell no other thread sees.
pub fn each_thread_has_its_own() {
    MINE.with(|mine| mine.set(8));
    let other = thread::spawn(|| MINE.with(|mine| mine.replace(9)));
    assert_eq!(other.join().unwrap(), 7);
    assert_eq!(MINE.with(|mine| mine.get()), 8);
}
