//! The ring against the simplest thing that does the same, a `VecDeque`, over random calls on one thread.
#![cfg(not(loom))]

use std::collections::VecDeque;
use std::rc::Rc;

use multikernel_channels::ring::{Consumer, PopError, Producer, PushError, ring};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Call {
    Push,
    PushFrom(usize),
    Pop,
    /// Asks for this many and takes only so many of them.
    PopChunk(usize, usize),
    Peek,
    Len,
    DropProducer,
    DropConsumer,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        20 => Just(Call::Push),
        10 => (0..8_usize).prop_map(Call::PushFrom),
        20 => Just(Call::Pop),
        10 => (0..8_usize, 0..8_usize).prop_map(|(most, take)| Call::PopChunk(most, take)),
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

    fn push_from(&mut self, count: usize) -> Result<(), TestCaseError> {
        let Some(tx) = &mut self.tx else { return Ok(()) };
        let mut messages = (self.next..self.next + count).map(|number| (number, Rc::clone(&self.token)));
        let room = self.capacity - self.waiting.len();
        let expected = if self.rx.is_some() { Ok(count.min(room)) } else { Err(PushError::Closed(())) };
        prop_assert_eq!(tx.push_from(&mut messages), expected);
        prop_assert_eq!(messages.len(), count - expected.unwrap_or(0));
        self.waiting.extend(self.next..self.next + expected.unwrap_or(0));
        self.next += count;
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
            Call::PushFrom(count) => self.push_from(count)?,
            Call::PopChunk(most, take) => {
                let Some(rx) = &mut self.rx else { return Ok(()) };
                let chunk = rx.pop_chunk(most);
                prop_assert_eq!(chunk.len(), most.min(self.waiting.len()));
                for message in chunk.take(take) {
                    prop_assert_eq!(Some(message.0), self.waiting.pop_front());
                }
            }
            Call::Peek => {
                let Some(rx) = &mut self.rx else { return Ok(()) };
                prop_assert_eq!(rx.peek().map(|message| message.0), front);
            }
            Call::Len => {}
            Call::DropProducer => self.tx = None,
            Call::DropConsumer => {
                self.rx = None;
                self.waiting.clear();
            }
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
        // What waits lives while there is somebody to pop it, and nothing else does.
        prop_assert_eq!(Rc::strong_count(&self.token), 1 + waiting);
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
