//! The channel with many senders against the simplest thing that keeps its promises, over random calls on one thread
//! that is now this core, now that, now none.
#![cfg(not(loom))]

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures::Sink;
use multikernel_channels::error::{SendError, TryRecvError, TrySendError};
use multikernel_channels::hub::Hub;
use multikernel_channels::mpsc::{Receiver, Sender, channel};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Call {
    TrySend(usize),
    PollReady(usize),
    StartSend(usize),
    TryRecv,
    RecvMany(usize),
    Clone(usize),
    DropSender(usize),
    Close,
    DropReceiver,
    /// The calls up to the matching `Leave` come from a core of their own.
    Enter,
    Leave,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        30 => (0..4_usize).prop_map(Call::TrySend),
        10 => (0..4_usize).prop_map(Call::PollReady),
        10 => (0..4_usize).prop_map(Call::StartSend),
        20 => Just(Call::TryRecv),
        5 => (1..8_usize).prop_map(Call::RecvMany),
        4 => (0..4_usize).prop_map(Call::Clone),
        3 => (0..4_usize).prop_map(Call::DropSender),
        1 => Just(Call::Close),
        1 => Just(Call::DropReceiver),
        6 => Just(Call::Enter),
        5 => Just(Call::Leave),
    ]
}

type Message = (usize, Rc<()>);

struct Sending {
    tx: Sender<Message>,
    /// What it sent last, or what was sent last by the one that it was cloned from.
    last: Option<usize>,
    name: usize,
}

struct Model {
    senders: Vec<Sending>,
    rx: Option<Receiver<Message>>,
    capacity: usize,
    closed: bool,
    token: Rc<()>,
    /// For each message ever sent: what must be received before it, and whether it still waits.
    sent: Vec<(Option<usize>, bool)>,
    waiting: usize,
    /// Who stands in line for a place, by name, and who has one.
    line: VecDeque<usize>,
    kept: Vec<usize>,
    names: usize,
}

impl Model {
    fn new(capacity: usize) -> Self {
        let (tx, rx) = channel(capacity);
        Self {
            senders: vec![Sending { tx, last: None, name: 0 }],
            rx: Some(rx),
            capacity,
            closed: false,
            token: Rc::new(()),
            sent: Vec::new(),
            waiting: 0,
            line: VecDeque::new(),
            kept: Vec::new(),
            names: 1,
        }
    }

    fn has_room(&self) -> bool {
        self.waiting + self.kept.len() < self.capacity
    }

    /// Those in line get what there is.
    fn serve(&mut self) {
        while !self.closed && self.has_room() {
            let Some(first) = self.line.pop_front() else { return };
            self.kept.push(first);
        }
    }

    fn message(&self) -> Message {
        (self.sent.len(), Rc::clone(&self.token))
    }

    fn note_sent(&mut self, sender: usize) {
        let last = self.senders[sender].last.replace(self.sent.len());
        self.sent.push((last, true));
        self.waiting += 1;
    }

    fn note_received(&mut self, message: usize) -> Result<(), TestCaseError> {
        let (before, waits) = self.sent[message];
        prop_assert!(waits, "received twice");
        prop_assert!(before.is_none_or(|before| !self.sent[before].1), "out of order");
        self.sent[message].1 = false;
        self.waiting -= 1;
        self.serve();
        Ok(())
    }

    fn apply(&mut self, call: Call) -> Result<(), TestCaseError> {
        let pick = |number: usize| (!self.senders.is_empty()).then(|| number % self.senders.len());
        match call {
            Call::TrySend(number) => pick(number).map_or(Ok(()), |sender| self.try_send(sender))?,
            Call::PollReady(number) => pick(number).map_or(Ok(()), |sender| self.poll_ready(sender))?,
            Call::StartSend(number) => pick(number).map_or(Ok(()), |sender| self.start_send(sender))?,
            Call::TryRecv => self.try_recv()?,
            Call::RecvMany(most) => self.recv_many(most)?,
            Call::Clone(number) => {
                if let Some(sender) = pick(number) {
                    let Sending { tx, last, .. } = &self.senders[sender];
                    self.senders.push(Sending { tx: tx.clone(), last: *last, name: self.names });
                    self.names += 1;
                }
            }
            Call::DropSender(number) => {
                if let Some(sender) = pick(number) {
                    let name = self.senders.swap_remove(sender).name;
                    self.line.retain(|other| *other != name);
                    self.kept.retain(|other| *other != name);
                    self.serve();
                    self.closed |= self.senders.is_empty();
                }
            }
            Call::Close => {
                let Some(rx) = &mut self.rx else { return Ok(()) };
                rx.close();
                self.closed = true;
            }
            Call::DropReceiver => {
                self.rx = None;
                self.closed = true;
                self.waiting = 0;
            }
            Call::Enter | Call::Leave => {}
        }
        self.check()
    }

    fn try_send(&mut self, sender: usize) -> Result<(), TestCaseError> {
        match self.senders[sender].tx.try_send(self.message()) {
            Ok(()) => {
                prop_assert!(!self.closed && self.has_room() && self.line.is_empty());
                self.note_sent(sender);
            }
            Err(TrySendError::Full(_)) => prop_assert!(!self.closed && !self.has_room()),
            Err(TrySendError::Closed(_)) => prop_assert!(self.closed),
        }
        Ok(())
    }

    fn poll_ready(&mut self, sender: usize) -> Result<(), TestCaseError> {
        let Sending { tx, name, .. } = &mut self.senders[sender];
        let name = *name;
        match Pin::new(tx).poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {
                prop_assert!(!self.closed);
                if !self.kept.contains(&name) {
                    prop_assert!(self.has_room() && self.line.is_empty());
                    self.kept.push(name);
                }
            }
            Poll::Ready(Err(SendError(message))) => {
                prop_assert!(self.closed && message.is_none());
                self.line.retain(|other| *other != name);
            }
            Poll::Pending => {
                prop_assert!(!self.closed && !self.has_room() && !self.kept.contains(&name));
                if !self.line.contains(&name) {
                    self.line.push_back(name);
                }
            }
        }
        Ok(())
    }

    fn start_send(&mut self, sender: usize) -> Result<(), TestCaseError> {
        // Only `poll_ready` finds out that it has been served.
        self.poll_ready(sender)?;
        let name = self.senders[sender].name;
        if !self.kept.contains(&name) || self.closed {
            return Ok(());
        }
        let message = self.message();
        prop_assert_eq!(Pin::new(&mut self.senders[sender].tx).start_send(message), Ok(()));
        self.kept.retain(|other| *other != name);
        self.note_sent(sender);
        Ok(())
    }

    fn try_recv(&mut self) -> Result<(), TestCaseError> {
        let Some(rx) = &mut self.rx else { return Ok(()) };
        match rx.try_recv() {
            Ok((message, _)) => self.note_received(message)?,
            Err(TryRecvError::Empty) => prop_assert!(self.waiting == 0 && !self.closed),
            Err(TryRecvError::Closed) => prop_assert!(self.waiting == 0 && self.closed),
        }
        Ok(())
    }

    fn recv_many(&mut self, most: usize) -> Result<(), TestCaseError> {
        let Some(rx) = &mut self.rx else { return Ok(()) };
        let mut messages = Vec::new();
        let mut receiving = Box::pin(rx.recv_many(&mut messages, most));
        let polled = receiving.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        drop(receiving);
        let nothing = self.waiting == 0 && !self.closed;
        prop_assert_eq!(polled, if nothing { Poll::Pending } else { Poll::Ready(most.min(self.waiting)) });
        messages.into_iter().try_for_each(|(message, _)| self.note_received(message))
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for Sending { tx, .. } in &self.senders {
            prop_assert_eq!(
                (tx.len(), tx.capacity(), tx.is_closed()),
                (self.waiting, self.capacity, self.closed)
            );
        }
        if let Some(rx) = &self.rx {
            prop_assert_eq!(
                (rx.len(), rx.is_empty(), rx.is_closed()),
                (self.waiting, self.waiting == 0, self.closed)
            );
        }
        // What waits lives while there is somebody to receive it, and nothing else does.
        prop_assert_eq!(Rc::strong_count(&self.token), 1 + self.waiting);
        Ok(())
    }

    /// Makes the calls up to the end or the next `Leave`, and those after each `Enter` on a core inside this one.
    fn run(&mut self, calls: &mut impl Iterator<Item = Call>, depth: usize) -> Result<(), TestCaseError> {
        while let Some(call) = calls.next() {
            match call {
                Call::Enter => Hub::new().enter(|| self.run(calls, depth + 1))?,
                Call::Leave if depth > 0 => return Ok(()),
                call => self.apply(call)?,
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keeps_its_promises(capacity in 1_usize..40, calls in prop::collection::vec(call(), 0..400)) {
        let mut model = Model::new(capacity);
        model.run(&mut calls.into_iter(), 0)?;
        model.apply(Call::DropReceiver)?;
        while !model.senders.is_empty() {
            model.apply(Call::DropSender(0))?;
        }
    }
}
