//! Sends without a copy: what arrives, and when the buffer is free.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use multikernel::net::{StableBuf, TcpStream};
use multikernel::task::yield_now;
use multikernel::{CoreId, spawn_on};

use crate::common::{on_both, pair, pattern, poll_once, read, read_exact};

/// More than a socket takes without a reader.
const TOO_MUCH: usize = 8 << 20;

/// Counts its drops, and spoils the bytes.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fill(0);
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: the bytes are on the heap, owned alone, and change only in the drop.
unsafe impl StableBuf for Counted {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

async fn read_to_end(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let (mut all, mut part) = (Vec::new(), vec![0; 50_000]);
    loop {
        match read(stream, &mut part).await? {
            0 => return Ok(all),
            got => all.extend_from_slice(&part[..got]),
        }
        yield_now().await;
    }
}

#[test]
fn many_connections_on_all_cores_get_what_was_sent() {
    on_both(2, || async {
        let mut tasks = Vec::new();
        for number in 0..8 {
            let (near, far) = pair().await?;
            let length = (number + 1) * 70_001;
            let sending = spawn_on(CoreId::new(number % 2), move || async move {
                let mut buffer = pattern(length);
                for _ in 0..3 {
                    let sent = near.send_zero_copy(buffer).await;
                    sent.result?;
                    buffer = sent.buffer.expect("no core has ended");
                }
                io::Result::Ok(())
            });
            let reading = spawn_on(CoreId::new((number + 1) % 2), move || async move {
                assert!(read_to_end(&far).await? == pattern(length).repeat(3));
                io::Result::Ok(())
            });
            tasks.extend([sending, reading]);
        }
        for task in tasks {
            task.await.unwrap()?;
        }
        Ok(())
    });
}

#[test]
fn a_send_begun_on_one_core_ends_on_another() {
    on_both(2, || async {
        let (near, far) = pair().await?;
        let freed = Arc::new(AtomicUsize::new(0));
        // Leaked, so that the future can be given to another core.
        let near: &'static TcpStream = Box::leak(Box::new(near));
        let mut sending = Box::pin(near.send_zero_copy(Counted(pattern(TOO_MUCH), freed.clone())));
        assert!(poll_once(&mut sending.as_mut()).await.is_pending());
        yield_now().await;
        let sending = spawn_on(CoreId::new(1), move || sending);
        let mut received = vec![0; TOO_MUCH];
        read_exact(&far, &mut received).await?;
        assert!(received == pattern(TOO_MUCH));
        let sent = sending.await.unwrap();
        sent.result?;
        assert_eq!(freed.load(Ordering::SeqCst), 0);
        drop(sent.buffer.expect("it comes back"));
        assert_eq!(freed.load(Ordering::SeqCst), 1);
        Ok(())
    });
}

#[test]
fn an_aborted_send_frees_its_buffer_once_and_spoils_nothing() {
    on_both(2, || async {
        for waits in 0..6 {
            let (near, far) = pair().await?;
            let freed = Arc::new(AtomicUsize::new(0));
            let buffer = Counted(vec![7; TOO_MUCH], freed.clone());
            let task =
                spawn_on(CoreId::new(1), move || async move { near.send_zero_copy(buffer).await.result });
            for _ in 0..waits {
                yield_now().await;
            }
            task.abort();
            assert!(task.await.is_err());
            let received = read_to_end(&far).await.unwrap_or_default();
            assert!(received.iter().all(|byte| *byte == 7), "freed while it was read");
            while freed.load(Ordering::SeqCst) == 0 {
                yield_now().await;
            }
            assert_eq!(freed.load(Ordering::SeqCst), 1);
        }
        Ok(())
    });
}

#[test]
fn dropped_on_a_core_that_did_not_begin_it() {
    on_both(2, || async {
        let (near, far) = pair().await?;
        let freed = Arc::new(AtomicUsize::new(0));
        let stream: &'static TcpStream = Box::leak(Box::new(near));
        let mut sending = Box::pin(stream.send_zero_copy(Counted(vec![7; TOO_MUCH], freed.clone())));
        assert!(poll_once(&mut sending.as_mut()).await.is_pending());
        yield_now().await;
        spawn_on(CoreId::new(1), move || async move { drop(sending) }).await.unwrap();
        let mut part = vec![0; 1 << 16];
        let mut reading = pin!(async {
            loop {
                let got = read(&far, &mut part).await?;
                assert!(part[..got].iter().all(|byte| *byte == 7), "freed while it was read");
                if got == 0 {
                    return io::Result::Ok(());
                }
            }
        });
        while freed.load(Ordering::SeqCst) == 0 {
            assert!(poll_once(&mut reading).await.is_pending());
            yield_now().await;
        }
        assert_eq!(freed.load(Ordering::SeqCst), 1);
        Ok(())
    });
}
