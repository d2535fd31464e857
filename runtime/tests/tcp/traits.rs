//! tokio's traits.

use std::io::{self, IoSlice};

use multikernel::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use multikernel::{CoreId, spawn, spawn_on};

use crate::common::{on_both, pair, pattern};

const LARGE: usize = 8 << 20;

#[test]
fn large_transfers_both_ways_at_once() {
    on_both(2, || async {
        let (mut near, mut far) = pair().await?;
        let echo = spawn_on(CoreId::new(1), move || async move {
            let (mut reader, mut writer) = far.split();
            let copied = copy(&mut reader, &mut writer).await?;
            writer.shutdown().await?;
            io::Result::Ok(copied)
        });
        let data = pattern(LARGE);
        let mut back = Vec::with_capacity(LARGE);
        let (mut reader, mut writer) = near.split();
        let send = async {
            writer.write_all(&data).await?;
            writer.shutdown().await
        };
        let (sent, received) = futures::future::join(send, reader.read_to_end(&mut back)).await;
        sent?;
        assert_eq!(received?, LARGE);
        assert!(back == data);
        assert_eq!(echo.await.unwrap()?, LARGE as u64);
        Ok(())
    });
}

#[test]
fn a_half_close_leaves_the_other_direction() {
    on_both(1, || async {
        let (mut near, mut far) = pair().await?;
        near.write_all(b"question").await?;
        near.shutdown().await?;
        let mut text = String::new();
        far.read_to_string(&mut text).await?;
        assert_eq!(text, "question");
        far.write_all(b"answer").await?;
        drop(far);
        text.clear();
        near.read_to_string(&mut text).await?;
        assert_eq!(text, "answer");
        assert_eq!(near.write_all(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        Ok(())
    });
}

#[test]
fn shutdown_after_a_reset_is_no_error() {
    on_both(1, || async {
        let (mut near, far) = pair().await?;
        far.set_zero_linger()?;
        drop(far);
        assert_eq!(near.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        near.shutdown().await
    });
}

#[test]
fn vectored_writes_go_out_in_order() {
    on_both(1, || async {
        let (mut near, mut far) = pair().await?;
        assert!(near.is_write_vectored());
        let put = near.write_vectored(&[IoSlice::new(b"head"), IoSlice::new(b"body")]).await?;
        assert_eq!(put, 8);
        let mut back = [0; 8];
        far.read_exact(&mut back).await?;
        assert_eq!(&back, b"headbody");
        Ok(())
    });
}

#[test]
fn empty_buffers() {
    on_both(1, || async {
        let (mut near, mut far) = pair().await?;
        assert_eq!(near.write(&[]).await?, 0);
        far.write_all(b"x").await?;
        near.readable().await?;
        // There is something, so a read of nothing need not wait for it, and leaves it there.
        assert_eq!(near.read(&mut []).await?, 0);
        assert_eq!(near.read(&mut [0; 4]).await?, 1);
        Ok(())
    });
}

#[test]
fn a_read_fills_only_what_is_unfilled() {
    on_both(1, || async {
        let (mut near, mut far) = pair().await?;
        far.write_all(b"world").await?;
        let mut buf = Vec::with_capacity(64);
        buf.extend_from_slice(b"hello ");
        near.read_buf(&mut buf).await?;
        assert_eq!(buf, b"hello world");
        Ok(())
    });
}

#[test]
fn one_busy_stream_leaves_turns_to_others() {
    on_both(1, || async {
        let (mut near, mut far) = pair().await?;
        far.write_all(&[1; 2000]).await?;
        let other = spawn(async {});
        // All of it is there: only the budget makes this task yield before it has read it byte by byte.
        let mut reads = 0;
        while !other.is_finished() {
            near.read_exact(&mut [0]).await?;
            reads += 1;
        }
        assert!(reads < 1000, "{reads}");
        Ok(())
    });
}

#[test]
fn dropping_an_owned_write_half_ends_its_direction() {
    on_both(2, || async {
        let (near, mut far) = pair().await?;
        let (mut reader, mut writer) = near.into_split();
        let writing = spawn_on(CoreId::new(1), move || async move { writer.write_all(b"last words").await });
        let mut text = String::new();
        far.read_to_string(&mut text).await?;
        assert_eq!(text, "last words");
        writing.await.unwrap()?;
        far.write_all(b"heard").await?;
        let mut back = [0; 5];
        reader.read_exact(&mut back).await?;
        assert_eq!(&back, b"heard");
        Ok(())
    });
}
