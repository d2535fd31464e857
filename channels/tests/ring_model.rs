//! The ring against the simplest thing that does the same, a `VecDeque`, over random calls on one thread.
#![cfg(not(loom))]

use std::collections::VecDeque;
use std::rc::Rc;

use multikernel_channels::ring::{Consumer, PopError, Producer, PushError, ring};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Call {
    Push,
    Pop,
    Peek,
    Len,
    DropProducer,
    DropConsumer,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        20 => Just(Call::Push),
        20 => Just(Call::Pop),
        5 => Just(Call::Peek),
        5 => Just(Call::Len),
        1 => Just(Call::DropProducer),
        1 => Just(Call::DropConsumer),
    ]
}

type Message = (usize, Rc<()>);

struct Model {
    waiting: VecDeque<usize>,
    capacity: usize,
    tx: Option<Producer<Message>>,
    rx: Option<Consumer<Message>>,
    token: Rc<()>,
    next: usize,
}

impl Model {
    fn new(capacity: usize) -> Self {
        let (tx, rx) = ring(capacity);
        Self { waiting: VecDeque::new(), capacity, tx: Some(tx), rx: Some(rx), token: Rc::new(()), next: 0 }
    }

    /// What `try_pop` and `peek` must say.
    fn front(&self) -> Result<usize, PopError> {
        let none = if self.tx.is_some() { PopError::Empty } else { PopError::Closed };
        self.waiting.front().copied().ok_or(none)
    }

    fn push(&mut self) -> Result<(), TestCaseError> {
        let Some(tx) = &mut self.tx else { return Ok(()) };
        match tx.try_push((self.next, Rc::clone(&self.token))) {
            Ok(()) => {
                prop_assert!(self.rx.is_some() && self.waiting.len() < self.capacity);
                self.waiting.push_back(self.next);
            }
            Err(PushError::Full((back, _))) => {
                prop_assert!(self.rx.is_some() && self.waiting.len() == self.capacity);
                prop_assert_eq!(back, self.next);
            }
            Err(PushError::Closed((back, _))) => {
                prop_assert!(self.rx.is_none());
                prop_assert_eq!(back, self.next);
            }
        }
        self.next += 1;
        Ok(())
    }

    fn apply(&mut self, call: Call) -> Result<(), TestCaseError> {
        let front = self.front();
        match call {
            Call::Push => self.push()?,
            Call::Pop => {
                let Some(rx) = &mut self.rx else { return Ok(()) };
                prop_assert_eq!(rx.try_pop().map(|message| message.0), front);
                self.waiting.pop_front();
            }
            Call::Peek => {
                let Some(rx) = &mut self.rx else { return Ok(()) };
                prop_assert_eq!(rx.peek().map(|message| message.0), front);
            }
            Call::Len => {}
            Call::DropProducer => self.tx = None,
            Call::DropConsumer => self.rx = None,
        }
        self.check()
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let waiting = self.waiting.len();
        if let Some(tx) = &self.tx {
            prop_assert_eq!((tx.len(), tx.is_empty(), tx.capacity()), (waiting, waiting == 0, self.capacity));
            prop_assert_eq!(tx.is_closed(), self.rx.is_none());
        }
        if let Some(rx) = &self.rx {
            prop_assert_eq!((rx.len(), rx.is_empty(), rx.capacity()), (waiting, waiting == 0, self.capacity));
            prop_assert_eq!(rx.is_closed(), self.tx.is_none());
        }
        // What waits lives while there is an end, and nothing else does.
        let held = if self.tx.is_some() || self.rx.is_some() { waiting } else { 0 };
        prop_assert_eq!(Rc::strong_count(&self.token), 1 + held);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn does_what_a_bounded_deque_does(capacity in 1_usize..10, calls in prop::collection::vec(call(), 0..200)) {
        let mut model = Model::new(capacity);
        for call in calls {
            model.apply(call)?;
        }
        model.apply(Call::DropConsumer)?;
        model.apply(Call::DropProducer)?;
    }
}
