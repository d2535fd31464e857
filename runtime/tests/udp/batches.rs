//! Many datagrams in one call, and datagrams that the system cuts and joins.

use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;

use multikernel::net::UdpSocket;
use multikernel::net::udp::{Datagram, RecvBatch};

use crate::pair;
use crate::support::{on_both, pattern};

async fn send_all(socket: &UdpSocket, mut datagrams: &[Datagram<'_>]) -> io::Result<()> {
    while !datagrams.is_empty() {
        datagrams = &datagrams[socket.send_batch(datagrams).await?..];
    }
    Ok(())
}

#[test]
fn a_call_moves_no_more_than_its_bound_and_loses_nothing() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        let numbers: Vec<[u8; 2]> = (0..100_u16).map(u16::to_le_bytes).collect();
        let datagrams: Vec<_> = numbers.iter().map(|number| Datagram::new(number)).collect();
        assert_eq!(near.send_batch(&datagrams).await?, RecvBatch::MAX);
        assert_eq!(near.send_batch(&datagrams[RecvBatch::MAX..]).await?, 100 - RecvBatch::MAX);
        assert_eq!(near.send_batch(&[]).await?, 0);
        let mut batch = RecvBatch::new(16, 100);
        let mut got = Vec::new();
        while got.len() < 100 {
            let count = far.recv_batch(&mut batch).await?;
            assert_eq!(count, batch.len());
            assert_eq!(count, (100 - got.len()).min(16));
            for received in batch.iter() {
                assert_eq!(received.from(), near.local_addr()?);
                assert!(!received.is_truncated() && received.segment_size().is_none());
                got.push(<[u8; 2]>::try_from(received.payload()).unwrap());
            }
        }
        assert_eq!(got, numbers);
        assert_eq!(far.try_recv_batch(&mut batch).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(batch.is_empty());
        Ok(())
    });
}

#[test]
fn a_batch_has_many_targets_of_many_lengths() {
    on_both(1, || async {
        let sender = UdpSocket::bind("127.0.0.1:0").await?;
        let receivers = [UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.2:0").await?];
        let data = pattern(2000);
        let lengths = [0, 1, 2000, 17, 900];
        let mut datagrams = Vec::new();
        for length in lengths {
            for receiver in &receivers {
                datagrams.push(Datagram::new(&data[..length]).to(receiver.local_addr()?));
            }
        }
        send_all(&sender, &datagrams).await?;
        let mut batch = RecvBatch::new(32, 1000);
        for receiver in &receivers {
            assert_eq!(receiver.recv_batch(&mut batch).await?, lengths.len());
            for (received, length) in batch.iter().zip(lengths) {
                assert_eq!(received.is_truncated(), length > 1000);
                assert_eq!(received.payload(), &data[..length.min(1000)]);
                assert_eq!(received.segments().collect::<Vec<_>>(), [received.payload()]);
            }
        }
        Ok(())
    });
}

#[test]
fn addresses_of_ipv6_come_and_go() {
    on_both(1, || async {
        let Ok(far) = UdpSocket::bind("[::1]:0").await else { return Ok(()) };
        let near = UdpSocket::bind("[::1]:0").await?;
        near.send_batch(&[Datagram::new(b"hello").to(far.local_addr()?)]).await?;
        let mut batch = RecvBatch::new(1, 10);
        far.recv_batch(&mut batch).await?;
        let from = batch.iter().next().map(|received| received.from());
        assert_eq!(from, Some(near.local_addr()?));
        Ok(())
    });
}

#[test]
fn a_bad_datagram_is_told_about_when_it_is_the_first() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        let too_long = vec![0; 70_000];
        let bad = [
            (Datagram::new(b"abc").segments(0), ErrorKind::InvalidInput),
            (Datagram::new(&too_long).segments(100), ErrorKind::InvalidInput),
            (Datagram::new(&too_long), io::Error::from_raw_os_error(libc::EMSGSIZE).kind()),
        ];
        for (bad, kind) in bad {
            let datagrams = [Datagram::new(b"one"), bad, Datagram::new(b"two")];
            assert_eq!(near.send_batch(&datagrams).await?, 1);
            assert_eq!(near.send_batch(&datagrams[1..]).await.unwrap_err().kind(), kind);
            assert_eq!(near.send_batch(&datagrams[2..]).await?, 1);
            let mut batch = RecvBatch::new(8, 10);
            assert_eq!(far.recv_batch(&mut batch).await?, 2);
            assert!(batch.iter().map(|received| received.payload()).eq([b"one", b"two"]));
        }
        Ok(())
    });
}

#[test]
fn what_the_system_cuts_arrives_in_pieces() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        if near.max_segments() == 1 {
            return Ok(());
        }
        let data = pattern(10 * 1200 + 500);
        let cut = Datagram::new(&data).segments(1200);
        assert_eq!(near.send_batch(&[cut, Datagram::new(b"end").segments(1200)]).await?, 2);
        let mut batch = RecvBatch::new(32, 1500);
        let mut got = Vec::new();
        while got.len() < 12 {
            far.recv_batch(&mut batch).await?;
            got.extend(batch.iter().map(|received| received.payload().to_vec()));
        }
        let pieces = cut.pieces().map(|piece| piece.payload()).chain([&b"end"[..]]);
        assert!(got.iter().map(|payload| &payload[..]).eq(pieces));
        Ok(())
    });
}

#[test]
fn what_the_system_cuts_and_joins_keeps_its_ends() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        match far.set_gro(true) {
            Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(()),
            result => result?,
        }
        if near.max_segments() == 1 {
            return Ok(());
        }
        let data = pattern(20 * 1000 + 300);
        near.send_batch(&[Datagram::new(&data).segments(1000), Datagram::new(b"alone")]).await?;
        let mut batch = RecvBatch::new(4, 65_535);
        let (mut got, mut joined) = (Vec::new(), 0);
        while got.len() < 22 {
            far.recv_batch(&mut batch).await?;
            for received in batch.iter() {
                joined += usize::from(received.segment_size() == Some(1000));
                got.extend(received.segments().map(<[u8]>::to_vec));
            }
        }
        // On loopback nothing takes apart what was sent as one.
        assert_eq!(joined, 1);
        assert!(got.iter().map(|segment| &segment[..]).eq(data.chunks(1000).chain([&b"alone"[..]])));
        // Sent back as it came.
        let whole = Datagram::new(&data[..5000]).segments(1000);
        near.send_batch(&[whole]).await?;
        far.recv_batch(&mut batch).await?;
        let received = batch.iter().next().unwrap();
        let size = received.segment_size().unwrap();
        far.send_batch(&[Datagram::new(received.payload()).segments(size)]).await?;
        for at in 0..5 {
            let mut buf = [0; 1500];
            assert_eq!(near.recv(&mut buf).await?, 1000);
            assert!(buf[..1000] == data[at * 1000..][..1000]);
        }
        far.set_gro(false)?;
        near.send_batch(&[whole]).await?;
        assert_eq!(far.recv(&mut [0; 1500]).await?, 1000);
        Ok(())
    });
}

/// Without checksums the system does not cut. Other systems have other reasons; the error is the same.
#[test]
fn where_the_system_refuses_to_cut_the_pieces_go_out_one_by_one() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        if near.max_segments() == 1 {
            return Ok(());
        }
        let on: libc::c_int = 1;
        let (value, length) = (std::ptr::from_ref(&on).cast(), size_of_val(&on) as libc::socklen_t);
        // SAFETY: the option reads one integer that lives across the call.
        let set =
            unsafe { libc::setsockopt(near.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, value, length) };
        assert_eq!(set, 0);
        let data = pattern(2500);
        let cut = Datagram::new(&data).segments(1000);
        let error = near.send_batch(&[cut]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("segments of 1000 bytes"), "{error}");
        let pieces: Vec<_> = cut.pieces().collect();
        assert_eq!(near.send_batch(&pieces).await?, 3);
        let mut batch = RecvBatch::new(8, 1500);
        assert_eq!(far.recv_batch(&mut batch).await?, 3);
        assert!(batch.iter().map(|received| received.payload()).eq(data.chunks(1000)));
        Ok(())
    });
}

#[test]
fn a_batch_of_no_sensible_size_is_a_panic_that_says_so() {
    for (count, bytes) in [(0, 1), (RecvBatch::MAX + 1, 1), (1, 0)] {
        let refused = std::panic::catch_unwind(|| RecvBatch::new(count, bytes)).unwrap_err();
        assert!(refused.downcast_ref::<String>().is_some() || refused.downcast_ref::<&str>().is_some());
    }
}
