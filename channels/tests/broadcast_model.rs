//! `broadcast` and `watch` against the simplest things that do the same, over random calls on one thread.
#![cfg(not(loom))]

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use multikernel_channels::broadcast::{self, error::TryRecvError};
use multikernel_channels::watch;
use proptest::prelude::*;

type Message = (u64, Rc<()>);

#[derive(Clone, Copy, Debug)]
enum Call {
    Send,
    Receive(usize),
    Subscribe,
    Resubscribe(usize),
    DropReceiver(usize),
    CloseAll,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        30 => Just(Call::Send),
        30 => any::<usize>().prop_map(Call::Receive),
        3 => Just(Call::Subscribe),
        2 => any::<usize>().prop_map(Call::Resubscribe),
        3 => any::<usize>().prop_map(Call::DropReceiver),
        1 => Just(Call::CloseAll),
    ]
}

/// All messages have the numbers from zero, so a receiver is known by the number that it expects.
struct Broadcast {
    capacity: u64,
    sent: u64,
    tx: Option<broadcast::Sender<Message>>,
    receivers: Vec<(u64, broadcast::Receiver<Message>)>,
    token: Rc<()>,
}

impl Broadcast {
    fn new(capacity: usize) -> Self {
        let (tx, rx) = broadcast::channel(capacity);
        let receivers = vec![(0, rx)];
        Self { capacity: capacity as u64, sent: 0, tx: Some(tx), receivers, token: Rc::new(()) }
    }

    fn pick(&mut self, number: usize) -> Option<&mut (u64, broadcast::Receiver<Message>)> {
        let count = self.receivers.len();
        (count > 0).then(|| &mut self.receivers[number % count])
    }

    fn apply(&mut self, call: Call) -> Result<(), TestCaseError> {
        let (sent, capacity, closed) = (self.sent, self.capacity, self.tx.is_none());
        match call {
            Call::Send => {
                let Some(tx) = &self.tx else { return Ok(()) };
                let result = tx.send((sent, Rc::clone(&self.token))).map_err(|error| error.0.0);
                let expected = if self.receivers.is_empty() { Err(sent) } else { Ok(self.receivers.len()) };
                prop_assert_eq!(result, expected);
                self.sent += u64::from(result.is_ok());
            }
            Call::Receive(number) => {
                let Some((next, rx)) = self.pick(number) else { return Ok(()) };
                let oldest = sent.saturating_sub(capacity);
                let expected = match () {
                    () if *next < oldest => Err(TryRecvError::Lagged(oldest - *next)),
                    () if *next < sent => Ok(*next),
                    () if closed => Err(TryRecvError::Closed),
                    () => Err(TryRecvError::Empty),
                };
                prop_assert_eq!(rx.try_recv().map(|message| message.0), expected);
                *next = (*next).max(oldest) + u64::from(expected.is_ok());
            }
            Call::Subscribe => {
                if let Some(tx) = &self.tx {
                    self.receivers.push((sent, tx.subscribe()));
                }
            }
            Call::Resubscribe(number) => {
                if let Some((_, rx)) = self.pick(number) {
                    let another = (sent, rx.resubscribe());
                    self.receivers.push(another);
                }
            }
            Call::DropReceiver(number) => {
                if !self.receivers.is_empty() {
                    drop(self.receivers.swap_remove(number % self.receivers.len()));
                }
            }
            Call::CloseAll => self.tx = None,
        }
        self.check()
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let mut alive = 0;
        for (next, rx) in &self.receivers {
            let len = self.sent - next;
            prop_assert_eq!((rx.len() as u64, rx.is_empty()), (len, len == 0));
            prop_assert_eq!(rx.is_closed(), self.tx.is_none());
            alive += len.min(self.capacity);
        }
        if let Some(tx) = &self.tx {
            prop_assert_eq!(tx.receiver_count(), self.receivers.len());
        }
        // What waits lives while there is somebody to receive it, and nothing else does.
        prop_assert_eq!(Rc::strong_count(&self.token) as u64, 1 + alive);
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
enum Look {
    Send,
    Modify(bool),
    Replace,
    Subscribe,
    Clone(usize),
    Changed(usize),
    WaitForEven(usize),
    Borrow(usize),
    BorrowAndUpdate(usize),
    Mark(usize, bool),
    DropReceiver(usize),
    CloseAll,
}

fn look() -> impl Strategy<Value = Look> {
    prop_oneof![
        20 => Just(Look::Send),
        5 => any::<bool>().prop_map(Look::Modify),
        5 => Just(Look::Replace),
        2 => Just(Look::Subscribe),
        2 => any::<usize>().prop_map(Look::Clone),
        15 => any::<usize>().prop_map(Look::Changed),
        5 => any::<usize>().prop_map(Look::WaitForEven),
        10 => any::<usize>().prop_map(Look::Borrow),
        10 => any::<usize>().prop_map(Look::BorrowAndUpdate),
        3 => any::<(usize, bool)>().prop_map(|(number, changed)| Look::Mark(number, changed)),
        3 => any::<usize>().prop_map(Look::DropReceiver),
        1 => Just(Look::CloseAll),
    ]
}

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// The value is the number of changes so far. A receiver is known by the value that it counts as seen.
struct Watch {
    value: u64,
    tx: Option<watch::Sender<Message>>,
    receivers: Vec<(Option<u64>, watch::Receiver<Message>)>,
    token: Rc<()>,
}

impl Watch {
    fn new() -> Self {
        let token = Rc::new(());
        let (tx, rx) = watch::channel((0, Rc::clone(&token)));
        Self { value: 0, tx: Some(tx), receivers: vec![(Some(0), rx)], token }
    }

    fn pick(&mut self, number: usize) -> Option<&mut (Option<u64>, watch::Receiver<Message>)> {
        let count = self.receivers.len();
        (count > 0).then(|| &mut self.receivers[number % count])
    }

    fn apply(&mut self, call: Look) -> Result<(), TestCaseError> {
        match call {
            Look::Send | Look::Modify(_) | Look::Replace | Look::Subscribe | Look::CloseAll => {
                self.send(call)?
            }
            Look::DropReceiver(number) => {
                if !self.receivers.is_empty() {
                    drop(self.receivers.swap_remove(number % self.receivers.len()));
                }
            }
            Look::Clone(number) => {
                if let Some((seen, rx)) = self.pick(number) {
                    let clone = (*seen, rx.clone());
                    self.receivers.push(clone);
                }
            }
            Look::Changed(number)
            | Look::WaitForEven(number)
            | Look::Borrow(number)
            | Look::BorrowAndUpdate(number)
            | Look::Mark(number, _) => self.look(call, number)?,
        }
        self.check()
    }

    fn send(&mut self, call: Look) -> Result<(), TestCaseError> {
        let (value, token) = (self.value, Rc::clone(&self.token));
        let Some(tx) = &self.tx else { return Ok(()) };
        match call {
            Look::Send => {
                let result = tx.send((value + 1, token)).map_err(|error| error.0.0);
                prop_assert_eq!(result, if self.receivers.is_empty() { Err(value + 1) } else { Ok(()) });
                self.value += u64::from(result.is_ok());
            }
            Look::Modify(keep) => {
                let modified = tx.send_if_modified(|value| {
                    value.0 += 1;
                    keep
                });
                prop_assert_eq!(modified, keep);
                self.value += u64::from(keep);
            }
            Look::Replace => {
                prop_assert_eq!(tx.send_replace((value + 1, token)).0, value);
                self.value += 1;
            }
            Look::Subscribe => self.receivers.push((Some(value), tx.subscribe())),
            _ => self.tx = None,
        }
        Ok(())
    }

    fn look(&mut self, call: Look, number: usize) -> Result<(), TestCaseError> {
        let (value, closed) = (self.value, self.tx.is_none());
        let Some((seen, rx)) = self.pick(number) else { return Ok(()) };
        let is_new = *seen != Some(value);
        match call {
            Look::Changed(_) => {
                let expected = match () {
                    () if is_new => Poll::Ready(true),
                    () if closed => Poll::Ready(false),
                    () => Poll::Pending,
                };
                prop_assert_eq!(poll_once(rx.changed()).map(|result| result.is_ok()), expected);
                *seen = Some(value);
            }
            Look::WaitForEven(_) => {
                let found = poll_once(rx.wait_for(|value| value.0 % 2 == 0));
                let expected = match () {
                    () if value.is_multiple_of(2) => Poll::Ready(Ok((value, is_new))),
                    () if closed => Poll::Ready(Err(())),
                    () => Poll::Pending,
                };
                let found =
                    found.map(|found| found.map(|value| (value.0, value.has_changed())).map_err(drop));
                prop_assert_eq!(found, expected);
                *seen = Some(value);
            }
            Look::Borrow(_) => {
                let found = rx.borrow();
                prop_assert_eq!((found.0, found.has_changed()), (value, is_new));
            }
            Look::BorrowAndUpdate(_) => {
                let found = rx.borrow_and_update();
                prop_assert_eq!((found.0, found.has_changed()), (value, is_new));
                *seen = Some(value);
            }
            Look::Mark(_, true) => {
                rx.mark_changed();
                *seen = None;
            }
            _ => {
                rx.mark_unchanged();
                *seen = Some(value);
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for (seen, rx) in &self.receivers {
            let expected = self.tx.as_ref().map(|_| *seen != Some(self.value));
            prop_assert_eq!(rx.has_changed().ok(), expected);
            prop_assert_eq!(rx.is_closed(), self.tx.is_none());
        }
        if let Some(tx) = &self.tx {
            prop_assert_eq!(tx.borrow().0, self.value);
            prop_assert_eq!(tx.receiver_count(), self.receivers.len());
            prop_assert_eq!(tx.is_closed(), self.receivers.is_empty());
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn broadcast_does_what_the_model_does(capacity in 1_usize..6, calls in prop::collection::vec(call(), 0..200)) {
        let mut model = Broadcast::new(capacity);
        for call in calls {
            model.apply(call)?;
        }
        let token = Rc::clone(&model.token);
        drop(model);
        prop_assert_eq!(Rc::strong_count(&token), 1);
    }

    #[test]
    fn watch_does_what_the_model_does(calls in prop::collection::vec(look(), 0..200)) {
        let mut model = Watch::new();
        for call in calls {
            model.apply(call)?;
        }
        let token = Rc::clone(&model.token);
        drop(model);
        prop_assert_eq!(Rc::strong_count(&token), 1);
    }
}
