//! Files that are sent over connections.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::pin::pin;

use multikernel::fs::File;
use multikernel::net::{TcpListener, TcpStream};
use multikernel::spawn;

use crate::common::{on_both, pattern, poll_once};

async fn pair() -> std::io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let near = TcpStream::connect(listener.local_addr()?).await?;
    let (far, _) = listener.accept().await?;
    Ok((near, far))
}

async fn receive_all(stream: &TcpStream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let bytes = stream.recv().await?;
        if bytes.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(&bytes);
    }
}

/// Has the system forget what of the file it has in memory, as far as it will.
fn chill(file: &File) {
    // SAFETY: take no pointers.
    unsafe {
        libc::fsync(file.as_raw_fd());
        libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED);
    }
}

#[test]
fn a_large_file_arrives_whole_whether_or_not_it_is_in_memory() {
    on_both(2, |folder| async move {
        let data = pattern(5_000_000);
        std::fs::write(folder.join("file"), &data)?;
        let file = File::open(folder.join("file")).await?;
        for is_cold in [true, false] {
            if is_cold {
                chill(&file);
            }
            let (near, far) = pair().await?;
            let received = spawn(async move { receive_all(&far).await });
            let mut offset = 0;
            // The connection is slower than memory, so it is sent in many parts.
            assert_eq!(file.send_to(&near, &mut offset, u64::MAX).await?, 5_000_000);
            assert_eq!(offset, 5_000_000);
            assert_eq!(file.send_to(&near, &mut offset, 10).await?, 0);
            drop(near);
            assert!(received.await?? == data);
        }
        Ok(())
    });
}

#[test]
fn a_part_is_sent_and_the_offset_says_how_much() {
    on_both(1, |folder| async move {
        std::fs::write(folder.join("file"), pattern(1000))?;
        let file = File::open(folder.join("file")).await?;
        let (near, far) = pair().await?;
        let mut offset = 100;
        assert_eq!(file.send_to(&near, &mut offset, 50).await?, 50);
        assert_eq!(file.send_to(&near, &mut offset, 0).await?, 0);
        assert_eq!(offset, 150);
        offset = 990;
        assert_eq!(file.send_to(&near, &mut offset, 50).await?, 10);
        offset = u64::MAX;
        assert_eq!(file.send_to(&near, &mut offset, 50).await?, 0);
        drop(near);
        assert!(receive_all(&far).await? == [&pattern(1000)[100..150], &pattern(1000)[990..]].concat());
        Ok(())
    });
}

#[test]
fn a_send_given_up_has_sent_what_the_offset_says() {
    on_both(2, |folder| async move {
        let data = pattern(4_000_000);
        std::fs::write(folder.join("file"), &data)?;
        let file = File::open(folder.join("file")).await?;
        let (near, far) = pair().await?;
        let received = spawn(async move { receive_all(&far).await });
        let (mut offset, mut given_up) = (0, 0);
        while offset < 4_000_000 {
            chill(&file);
            {
                let mut send = pin!(file.send_to(&near, &mut offset, u64::MAX));
                given_up += usize::from(poll_once(&mut send).await.is_pending());
            }
            // A step to its end: where the disk is slow, each of the others may be given up before it has anything.
            file.send_to(&near, &mut offset, 50_000).await?;
        }
        assert!(given_up > 0, "it never had to wait");
        drop(near);
        assert!(received.await?? == data);
        Ok(())
    });
}

#[test]
fn a_peer_that_goes_ends_it_and_the_offset_stays_true() {
    on_both(1, |folder| async move {
        std::fs::write(folder.join("file"), pattern(20_000_000))?;
        let file = File::open(folder.join("file")).await?;
        let (near, far) = pair().await?;
        drop(far);
        let mut offset = 0;
        let error = file.send_to(&near, &mut offset, u64::MAX).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
        assert!(offset < 20_000_000);
        // A folder is not sent.
        let (near, _far) = pair().await?;
        let folder = File::open(&folder).await?;
        assert!(folder.send_to(&near, &mut 0, 10).await.is_err());
        Ok(())
    });
}

#[test]
fn a_file_that_is_cut_while_it_is_sent_ends_the_send() {
    on_both(1, |folder| async move {
        std::fs::write(folder.join("file"), pattern(20_000_000))?;
        let file = File::options().read(true).write(true).open(folder.join("file")).await?;
        let (near, far) = pair().await?;
        let mut offset = 0;
        {
            let mut send = pin!(file.send_to(&near, &mut offset, u64::MAX));
            // Until the connection takes no more.
            while poll_once(&mut send).await.is_pending() && near.try_write(b"").is_ok() {
                multikernel::task::yield_now().await;
            }
            break_off(&file).await?;
        }
        let received = spawn(async move { receive_all(&far).await });
        let before = offset;
        assert_eq!(file.send_to(&near, &mut offset, u64::MAX).await?, 0);
        drop(near);
        assert!(received.await?? == pattern(before as usize));
        Ok(())
    });
}

async fn break_off(file: &File) -> std::io::Result<()> {
    file.set_len(0).await
}
