//! tokio's traits.

use std::io::{self, IoSlice};

use multikernel::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, copy};
use multikernel::net::UnixStream;
use multikernel::net::unix::{self, pipe::pipe};
use multikernel::{CoreId, spawn_on};

use crate::support::{done_within, on_both, pattern};

#[test]
fn large_transfers_both_ways_at_once() {
    on_both(2, || async {
        const LARGE: usize = 4 << 20;
        let (mut near, mut far) = UnixStream::pair()?;
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
fn owned_halves_speak_lines() {
    async fn answer(reader: unix::OwnedReadHalf, mut writer: unix::OwnedWriteHalf) -> io::Result<()> {
        assert!(writer.is_write_vectored());
        let mut lines = BufReader::new(reader).lines();
        while let Some(line) = lines.next_line().await? {
            let parts = [IoSlice::new(line.as_bytes()), IoSlice::new(b"!\n")];
            assert_eq!(writer.write_vectored(&parts).await?, line.len() + 2);
        }
        Ok(())
    }
    on_both(1, || async {
        let (near, mut far) = UnixStream::pair()?;
        let (reader, writer) = near.into_split();
        let answering = multikernel::spawn(answer(reader, writer));
        far.write_all(b"one\ntwo\n").await?;
        far.shutdown().await?;
        let mut all = String::new();
        far.read_to_string(&mut all).await?;
        assert_eq!(all, "one!\ntwo!\n");
        answering.await.unwrap()
    });
}

#[test]
fn pipes_are_read_and_written_through_the_traits() {
    on_both(1, || async {
        let (mut sender, mut receiver) = pipe()?;
        let data = pattern(300_000);
        let writing = async {
            let mut rest = &data[..];
            while !rest.is_empty() {
                // A write that is dropped has written nothing; one that is done says how much.
                if let Some(put) = done_within(2, sender.write(rest)).await {
                    rest = &rest[put?..];
                }
            }
            sender.shutdown().await?;
            assert!(sender.is_write_vectored());
            drop(sender);
            io::Result::Ok(())
        };
        let reading = async {
            let (mut all, mut room) = (Vec::new(), [0; 3000]);
            loop {
                match done_within(2, receiver.read(&mut room)).await {
                    None => {}
                    Some(Ok(0)) => return io::Result::Ok(all),
                    Some(got) => all.extend_from_slice(&room[..got?]),
                }
            }
        };
        let (written, read) = futures::future::join(writing, reading).await;
        written?;
        assert!(read? == data);
        Ok(())
    });
}
