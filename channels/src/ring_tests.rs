use super::*;

fn ring_at_the_end_of_indices(capacity: usize) -> (Producer<usize>, Consumer<usize>) {
    starting_at(usize::MAX - 2, NonZeroUsize::new(capacity).unwrap())
}

#[test]
fn indices_wrap_with_messages_in_the_ring() {
    for capacity in 1..=5 {
        let (mut tx, mut rx) = ring_at_the_end_of_indices(capacity);
        for round in 0..3 * capacity {
            for message in 0..capacity {
                assert_eq!(tx.len(), message);
                tx.try_push(round + message).unwrap();
                assert_eq!(rx.len(), message + 1);
            }
            assert_eq!(tx.try_push(99), Err(PushError::Full(99)));
            for message in 0..capacity {
                assert_eq!(rx.peek(), Ok(&(round + message)));
                assert_eq!(rx.try_pop(), Ok(round + message));
            }
            assert_eq!(rx.try_pop(), Err(PopError::Empty));
        }
    }
}

#[test]
fn messages_are_dropped_across_the_wrap() {
    let token = std::rc::Rc::new(());
    let (mut tx, rx) = starting_at(usize::MAX, NonZeroUsize::new(3).unwrap());
    for _ in 0..3 {
        tx.try_push(std::rc::Rc::clone(&token)).unwrap();
    }
    drop(rx);
    assert_eq!(std::rc::Rc::strong_count(&token), 4);
    drop(tx);
    assert_eq!(std::rc::Rc::strong_count(&token), 1);
}

#[test]
#[should_panic(expected = "at least one message")]
fn a_ring_without_room_is_refused() {
    let _ = ring::<()>(0);
}

#[test]
fn holds_what_was_asked_for_and_no_more() {
    let (mut tx, rx) = ring(5);
    for message in 0..5 {
        tx.try_push(message).unwrap();
    }
    assert_eq!(tx.try_push(5), Err(PushError::Full(5)));
    assert_eq!((tx.capacity(), rx.capacity(), rx.len()), (5, 5, 5));
}

#[test]
fn errors_speak_and_give_the_message_back() {
    let (mut tx, mut rx) = ring(1);
    tx.try_push(Box::new(1)).unwrap();
    let full = tx.try_push(Box::new(2)).unwrap_err();
    assert_eq!(full.to_string(), "the ring is full");
    assert_eq!(format!("{full:?}"), "Full(..)");
    assert_eq!(*full.into_inner(), 2);
    assert_eq!(rx.try_pop(), Ok(Box::new(1)));
    assert_eq!(rx.try_pop().unwrap_err().to_string(), "the ring is empty");
    drop(rx);
    let closed = tx.try_push(Box::new(3)).unwrap_err();
    assert_eq!(closed.to_string(), "the consumer of the ring is gone");
    assert_eq!(*closed.into_inner(), 3);
}

#[test]
fn ends_move_between_threads_if_messages_do() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Producer<std::cell::Cell<u8>>>();
    crosses::<Consumer<std::cell::Cell<u8>>>();
}
