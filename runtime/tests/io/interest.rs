//! Waiting for what is neither to be read nor to be written: urgent data and errors.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};

use multikernel::io::unix::AsyncFd;
use multikernel::io::{Interest, Ready};
use multikernel::net::UdpSocket;
use socket2::SockRef;

use crate::common::{give_up_after, on_both, poll_once};
use crate::support::own_address;

fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    near.set_nonblocking(true)?;
    Ok((near, listener.accept()?.0))
}

/// The byte that is at hand beside the others.
fn urgent_byte(socket: &TcpStream) -> io::Result<u8> {
    let mut byte = [MaybeUninit::uninit()];
    SockRef::from(socket).recv_out_of_band(&mut byte)?;
    // SAFETY: a receive of one byte that has not failed has written it.
    Ok(unsafe { byte[0].assume_init() })
}

#[test]
fn urgent_data_is_told_from_other_data() {
    on_both(1, || async {
        let (ours, theirs) = connection()?;
        let socket = AsyncFd::with_interest(ours, Interest::READABLE | Interest::PRIORITY)?;
        let theirs = SockRef::from(&theirs);
        theirs.send(b"plain")?;
        let both = socket.ready(Interest::READABLE | Interest::PRIORITY).await?.ready();
        assert_eq!(both, Ready::READABLE);
        for urgent in [b'!', b'?'] {
            let mut waiting = Box::pin(socket.ready(Interest::PRIORITY));
            assert!(poll_once(&mut waiting.as_mut()).await.is_pending());
            theirs.send_out_of_band(&[urgent])?;
            let mut guard = waiting.await?;
            assert_eq!(guard.ready(), Ready::PRIORITY);
            assert_eq!(guard.try_io(|socket| urgent_byte(socket.get_ref())).unwrap()?, urgent);
            guard.clear_ready();
        }
        // Who reads has lost nothing by it.
        assert!(socket.ready(Interest::READABLE).await?.ready().is_readable());
        theirs.shutdown(std::net::Shutdown::Write)?;
        let end = socket.ready(Interest::PRIORITY).await?.ready();
        assert!(end.is_read_closed() && !end.is_priority(), "{end:?}: nothing will come any more");
        Ok(())
    });
}

#[test]
fn an_attempt_for_urgent_data_that_finds_none_hides_no_end_from_readers() {
    on_both(1, || async {
        let (ours, theirs) = connection()?;
        let socket = AsyncFd::with_interest(ours, Interest::READABLE | Interest::PRIORITY)?;
        let mut waiting = Box::pin(socket.ready(Interest::READABLE));
        assert!(poll_once(&mut waiting.as_mut()).await.is_pending());
        drop(theirs);
        drop(waiting.await?);
        let nothing = |_: &TcpStream| io::Result::<()>::Err(ErrorKind::WouldBlock.into());
        assert_eq!(socket.try_io(Interest::PRIORITY, nothing).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(socket.ready(Interest::READABLE).await?.ready().is_read_closed());
        Ok(())
    });
}

#[test]
fn errors_are_waited_for_and_stay_until_they_are_fetched() {
    on_both(1, || async {
        let nobody = std::net::UdpSocket::bind(own_address())?.local_addr()?;
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(nobody).await?;
        for is_read in [true, false] {
            let mut buf = [0; 8];
            let mut reading = Box::pin(socket.recv(&mut buf));
            let mut waiting = Box::pin(socket.ready(Interest::ERROR));
            assert!(poll_once(&mut reading.as_mut()).await.is_pending());
            assert!(poll_once(&mut waiting.as_mut()).await.is_pending());
            assert_eq!(socket.try_send(b"is anybody there?")?, 17);
            assert_eq!(waiting.await?, Ready::ERROR);
            // Somebody has looked for a message about an error, and found none.
            let nothing = || io::Result::<()>::Err(ErrorKind::WouldBlock.into());
            assert_eq!(socket.try_io(Interest::ERROR, nothing).unwrap_err().kind(), ErrorKind::WouldBlock);
            let error = if is_read {
                reading.await.unwrap_err()
            } else {
                socket.take_error()?.expect("it is there still")
            };
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            let _ = socket.try_io(Interest::ERROR, nothing);
            assert!(!give_up_after(3, socket.ready(Interest::ERROR)).await, "it was fetched");
        }
        Ok(())
    });
}

#[test]
fn sets_are_added_and_taken_apart() {
    let all = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY | Interest::ERROR;
    assert!(all.is_readable() && all.is_writable() && all.is_priority() && all.is_error());
    assert_eq!(format!("{all:?}"), "READABLE | WRITABLE | ERROR | PRIORITY");
    let left = all.remove(Interest::READABLE | Interest::ERROR).unwrap();
    assert_eq!(left, Interest::WRITABLE.add(Interest::PRIORITY));
    assert_eq!(left.remove(left), None);
    assert_eq!(left.remove(Interest::READABLE), Some(left));

    let ends = Ready::READ_CLOSED | Ready::WRITE_CLOSED;
    assert_eq!(Ready::ALL & ends, ends);
    assert_eq!(Ready::ALL - ends, Ready::READABLE | Ready::WRITABLE | Ready::ERROR | Ready::PRIORITY);
    assert!((ends - Ready::ALL).is_empty() && Ready::ALL.is_priority() && Ready::ALL.is_error());
}
