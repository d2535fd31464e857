//! What is kept of listeners.

use std::task::{Context, Waker};

use super::hub::line;
use super::unix::{SignalKind, signal};

#[test]
fn a_dropped_listener_is_forgotten() {
    // No other test of this process listens to it.
    let line = line(libc::SIGTTOU).unwrap();
    let mut listeners: Vec<_> =
        (0..10).map(|_| signal(SignalKind::from_raw(libc::SIGTTOU)).unwrap()).collect();
    for _ in 0..3 {
        for listener in &mut listeners {
            assert!(listener.poll_recv(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!(line.waiting(), 10, "one place each, however often it is polled");
    }
    listeners.truncate(4);
    assert_eq!(line.waiting(), 4);
    drop(listeners);
    assert_eq!(line.waiting(), 0);
}

#[test]
fn a_listener_that_is_refused_leaves_nothing() {
    for _ in 0..2 {
        assert!(line(libc::SIGKILL).is_err());
        assert!(line(-1).is_err(), "and not a line without a handler");
    }
}
