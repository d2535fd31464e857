//! What reads into the caller's memory promise when the socket streams behind them, on both drivers.

use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::thread;

use super::Source;
use super::tests::{READ, TestCore, on_both, recv, tcp_pair};
use crate::limits::STREAM_AFTER_WAITS;

pub(super) async fn read(source: &Source, buffer: &mut [u8]) -> usize {
    let mut room = vec![MaybeUninit::uninit(); buffer.len()];
    let got = poll_fn(|cx| source.poll_read_streaming(cx, &mut room)).await.unwrap();
    for (to, from) in buffer.iter_mut().zip(&room[..got]) {
        // SAFETY: the read initialised that many bytes.
        *to = unsafe { from.assume_init() };
    }
    got
}

fn streams(core: &TestCore) -> bool {
    core.has_ring() && STREAM_AFTER_WAITS.is_some()
}

/// Sends one byte at a time, each as the answer to the one before, until the socket streams.
fn converse(core: &TestCore, source: &Source, peer: &mut (impl Read + Write)) {
    let mut buffer = [0; 16];
    for byte in 0..10 {
        core.run(async {
            let mut sent = false;
            let got = poll_fn(|cx| {
                let mut room = [MaybeUninit::uninit(); 16];
                let polled = source.poll_read_streaming(cx, &mut room);
                if !sent {
                    assert!(polled.is_pending());
                    sent = true;
                    peer.write_all(&[byte]).unwrap();
                } else if polled.is_ready() {
                    // SAFETY: a read that is ready has written at least a byte, or the assertion below fails.
                    buffer[0] = unsafe { room[0].assume_init() };
                }
                polled
            });
            assert_eq!(got.await.unwrap(), 1);
        });
        assert_eq!(buffer[0], byte);
    }
    assert_eq!(source.is_streaming(), streams(core));
}

#[test]
fn reads_that_keep_waiting_begin_to_stream() {
    on_both(|core| {
        let (source, mut peer) = tcp_pair();
        converse(core, &source, &mut peer);
        peer.write_all(b"and the end").unwrap();
        drop(peer);
        core.run(async {
            let mut all = Vec::new();
            let mut piece = [0; 3];
            loop {
                let got = read(&source, &mut piece).await;
                if got == 0 {
                    break;
                }
                all.extend_from_slice(&piece[..got]);
            }
            assert_eq!(all, b"and the end");
            assert_eq!(read(&source, &mut piece).await, 0);
        });
    });
}

#[test]
fn reads_that_find_data_do_not_stream() {
    on_both(|core| {
        let (source, mut peer) = tcp_pair();
        for _ in 0..20 {
            peer.write_all(b"x").unwrap();
            core.run(async {
                let mut buffer = [0; 1];
                assert_eq!(read(&source, &mut buffer).await, 1);
            });
        }
        assert!(!source.is_streaming());
    });
}

#[test]
fn a_long_stream_arrives_whole_in_pieces_of_any_size() {
    on_both(|core| {
        let (source, mut peer) = tcp_pair();
        converse(core, &source, &mut peer);
        let sent: Vec<u8> = (0..3 << 20).map(|at| (at % 251) as u8).collect();
        let copy = sent.clone();
        let writer = thread::spawn(move || peer.write_all(&copy).unwrap());
        let received = core.run(async {
            let (mut received, mut buffer) = (Vec::new(), vec![0; 20_000]);
            for size in [1, 100, 4095, 4097, 20_000].into_iter().cycle() {
                let got = read(&source, &mut buffer[..size]).await;
                if got == 0 {
                    break;
                }
                received.extend_from_slice(&buffer[..got]);
            }
            received
        });
        writer.join().unwrap();
        assert!(received == sent);
    });
}

#[test]
fn a_peek_between_reads_sees_what_comes_next() {
    on_both(|core| {
        let (source, mut peer) = tcp_pair();
        converse(core, &source, &mut peer);
        peer.write_all(b"hello").unwrap();
        core.run(async {
            let mut buffer = [0; 2];
            assert_eq!(read(&source, &mut buffer).await, 2);
            let mut seen = Vec::new();
            let left = poll_fn(|cx| {
                source.poll_left_over(cx, |bytes| {
                    seen.extend_from_slice(bytes);
                    0
                })
            });
            let left = left.await;
            assert_eq!(left.is_some(), streams(core));
            assert!(seen == if left.is_some() { &b"llo"[..] } else { b"" });
            let mut rest = [0; 8];
            assert_eq!(read(&source, &mut rest).await, 3);
            assert_eq!(&rest[..3], b"llo");
        });
        core.turn_until("the stop", || source.try_left_over(|_| 0).is_none());
        let nothing = source.try_io(READ, || recv(&source, &mut [0; 8]));
        assert_eq!(nothing.unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(!source.is_streaming());
    });
}
