//! A stream that is given to the standard library, with what a core has received ahead of its reader.

use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use multikernel::net::{TcpListener, TcpStream, UnixStream};
use multikernel::runtime::{DriverKind, Handle};
use multikernel::time::sleep;
use multikernel::{CoreId, spawn_on};

use crate::support::{OpenSocket, done_within, on_both, pattern};

const BYTES: usize = 20_000;

async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let near = TcpStream::connect(listener.local_addr()?).await?;
    Ok((near, listener.accept().await?.0))
}

/// A stream that this core receives for, and that has received bytes which nobody has read where there is a ring. Of the
/// pattern, the first byte has been read.
async fn with_bytes_ahead() -> io::Result<(TcpStream, TcpStream)> {
    let (near, far) = pair().await?;
    far.send_all(pattern(1)).await.result?;
    assert_eq!(near.recv().await?[..], pattern(1));
    far.send_all(pattern(BYTES)[1..].to_vec()).await.result?;
    // A core that sleeps has seen what there is to see.
    sleep(Duration::from_millis(5)).await;
    Ok((near, far))
}

fn has_ring() -> bool {
    Handle::current().driver().kind == DriverKind::Uring
}

/// What the standard library reads behind what was received ahead.
fn all((mut stream, mut all): (impl Read, Vec<u8>)) -> io::Result<Vec<u8>> {
    stream.read_to_end(&mut all)?;
    Ok(all)
}

#[test]
fn what_was_received_ahead_comes_with_the_stream() {
    on_both(1, || async {
        let (near, far) = with_bytes_ahead().await?;
        assert_eq!(near.into_std().is_err(), has_ring(), "it is no silent loss");
        drop(far);

        let (near, far) = with_bytes_ahead().await?;
        let (stream, ahead) = near.into_parts().await?;
        assert_eq!(!ahead.is_empty(), has_ring());
        far.send_all(&b"and more"[..]).await.result?;
        drop(far);
        stream.set_nonblocking(false)?;
        assert!(all((stream, ahead))? == [&pattern(BYTES)[1..], b"and more"].concat());

        // Of halves, together.
        let (near, far) = with_bytes_ahead().await?;
        drop(far);
        let (reader, writer) = near.into_split();
        let (stream, ahead) = reader.reunite(writer).unwrap().into_parts().await?;
        stream.set_nonblocking(false)?;
        assert!(all((stream, ahead))? == pattern(BYTES)[1..]);
        Ok(())
    });
}

#[test]
fn unix_streams_do_the_same_and_without_bytes_ahead_there_are_none() {
    on_both(1, || async {
        let (near, far) = UnixStream::pair()?;
        far.send_all(pattern(1)).await.result?;
        assert_eq!(near.recv().await?[..], pattern(1));
        far.send_all(pattern(BYTES)).await.result?;
        sleep(Duration::from_millis(5)).await;
        drop(far);
        let (stream, ahead) = near.into_parts().await?;
        stream.set_nonblocking(false)?;
        assert!(all((stream, ahead))? == pattern(BYTES));

        let (near, far) = pair().await?;
        far.send_all(pattern(5)).await.result?;
        drop(far);
        let (stream, ahead) = near.into_parts().await?;
        assert!(ahead.is_empty());
        stream.set_nonblocking(false)?;
        assert_eq!(all((stream, ahead))?, pattern(5));
        Ok(())
    });
}

#[test]
fn another_core_takes_it_apart() {
    on_both(2, || async {
        let (near, far) = with_bytes_ahead().await?;
        drop(far);
        let parts = spawn_on(CoreId::new(1), move || async move { near.into_parts().await });
        let (stream, ahead) = parts.await.unwrap()?;
        stream.set_nonblocking(false)?;
        assert!(all((stream, ahead))? == pattern(BYTES)[1..]);
        Ok(())
    });
}

#[test]
fn a_reset_is_not_lost() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        far.send_all(pattern(1)).await.result?;
        assert_eq!(near.recv().await?[..], pattern(1));
        socket2::SockRef::from(&far).set_linger(Some(Duration::ZERO))?;
        drop(far);
        sleep(Duration::from_millis(5)).await;
        let error = match near.into_parts().await {
            Ok((mut stream, _)) => stream.read(&mut [0]).unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        Ok(())
    });
}

#[test]
fn given_up_it_closes_the_connection_and_leaves_nothing() {
    on_both(2, || async {
        for there in 0..2 {
            for waits in 0.. {
                let (near, far) = with_bytes_ahead().await?;
                let open = OpenSocket::of(&near);
                let parting = move || async move { done_within(waits, near.into_parts()).await.is_some() };
                let is_done = spawn_on(CoreId::new(there), parting).await.unwrap();
                open.until_closed().await;
                // The end, or a reset for what nobody has read.
                assert!(far.recv().await.map_or(true, |bytes| bytes.is_empty()));
                if is_done {
                    break;
                }
            }
        }
        Ok(())
    });
}
