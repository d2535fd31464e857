//! Many datagrams in one call, and datagrams that the system cuts and joins.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use super::mmsg::{self, Slot};
use crate::limits::{DATAGRAMS_PER_CALL, SEGMENTS_PER_DATAGRAM};

/// A datagram to be sent by [`UdpSocket::send_batch`](super::UdpSocket::send_batch).
///
/// # Examples
///
/// ```
/// use multikernel::net::{UdpSocket, udp::Datagram};
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let (client, server) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
/// let target = server.local_addr()?;
/// let batch = [Datagram::new(b"one").to(target), Datagram::new(b"two").to(target)];
/// assert_eq!(client.send_batch(&batch).await?, 2);
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    pub(super) payload: &'a [u8],
    pub(super) to: Option<SocketAddr>,
    pub(super) segment_size: Option<u16>,
}

impl<'a> Datagram<'a> {
    /// A datagram to the peer that the socket is connected to.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{UdpSocket, udp::Datagram};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (client, server) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// client.connect(server.local_addr()?).await?;
    /// client.send_batch(&[Datagram::new(b"hello")]).await?;
    /// assert_eq!(server.recv(&mut [0; 1500]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub const fn new(payload: &'a [u8]) -> Datagram<'a> {
        Datagram { payload, to: None, segment_size: None }
    }

    /// The same to `addr`.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::udp::Datagram;
    ///
    /// let datagram = Datagram::new(b"hello").to(([127, 0, 0, 1], 9).into());
    /// # drop(datagram);
    /// ```
    pub const fn to(self, addr: SocketAddr) -> Datagram<'a> {
        Datagram { to: Some(addr), ..self }
    }

    /// The same cut by the system, or by the network card, into datagrams of `size` bytes, of which the last may be
    /// shorter (`UDP_SEGMENT`): one passage through the system instead of many.
    ///
    /// They are at most 64, and `size` is what one packet to that address takes. Where the system cannot do it,
    /// [`send_batch`](super::UdpSocket::send_batch) says `Unsupported`; send the [`pieces`](Self::pieces) then.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::{UdpSocket, udp::Datagram};
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (client, server) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// # if client.max_segments() == 1 { return Ok(()); }
    /// let payload = [7; 2500];
    /// client.send_batch(&[Datagram::new(&payload).to(server.local_addr()?).segments(1200)]).await?;
    /// for length in [1200, 1200, 100] {
    ///     assert_eq!(server.recv(&mut [0; 1500]).await?, length);
    /// }
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub const fn segments(self, size: u16) -> Datagram<'a> {
        Datagram { segment_size: Some(size), ..self }
    }

    /// The bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::udp::Datagram;
    ///
    /// assert_eq!(Datagram::new(b"hello").payload(), b"hello");
    /// ```
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// What the system would cut it into, as datagrams of their own.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::udp::Datagram;
    ///
    /// let payload = [7; 2500];
    /// let pieces: Vec<_> = Datagram::new(&payload).segments(1200).pieces().collect();
    /// assert_eq!(pieces[2], Datagram::new(&payload[2400..]));
    /// ```
    pub fn pieces(self) -> impl Iterator<Item = Datagram<'a>> {
        let size = self.segment_size.map_or(usize::MAX, usize::from).max(1);
        let whole = self.payload.is_empty().then_some(self.payload);
        let payloads = whole.into_iter().chain(self.payload.chunks(size));
        payloads.map(move |payload| Datagram { payload, segment_size: None, ..self })
    }

    /// Why it cannot be sent, as far as that can be known before.
    pub(super) fn check(&self) -> io::Result<()> {
        let invalid = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        match self.segment_size {
            Some(0) => invalid("a datagram cannot be cut into segments of 0 bytes".into()),
            Some(size) if self.payload.len().div_ceil(size.into()) > SEGMENTS_PER_DATAGRAM => {
                let length = self.payload.len();
                invalid(format!(
                    "{length} bytes in segments of {size} are more than {SEGMENTS_PER_DATAGRAM} segments"
                ))
            }
            _ => Ok(()),
        }
    }
}

/// Memory for datagrams that are received in one call, by [`UdpSocket::recv_batch`](super::UdpSocket::recv_batch). It is used again and again.
///
/// # Examples
///
/// A server that echoes:
///
/// ```
/// use multikernel::net::UdpSocket;
/// use multikernel::net::udp::{Datagram, RecvBatch};
///
/// async fn echo(socket: UdpSocket) -> std::io::Result<()> {
///     let mut batch = RecvBatch::new(32, 1500);
///     loop {
///         socket.recv_batch(&mut batch).await?;
///         let answers: Vec<_> = batch.iter().map(|got| Datagram::new(got.payload()).to(got.from())).collect();
///         let mut rest = &answers[..];
///         while !rest.is_empty() {
///             rest = &rest[socket.send_batch(rest).await?..];
///         }
///     }
/// }
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let server = UdpSocket::bind("127.0.0.1:0").await?;
/// let client = UdpSocket::bind("127.0.0.1:0").await?;
/// client.connect(server.local_addr()?).await?;
/// multikernel::spawn(echo(server));
/// client.send(b"hello").await?;
/// assert_eq!(client.recv(&mut [0; 1500]).await?, 5);
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct RecvBatch {
    bytes: Vec<u8>,
    /// Room for one datagram.
    each: usize,
    slots: Vec<Slot>,
    /// As many as the last call received.
    count: usize,
}

impl RecvBatch {
    /// The most datagrams of one call: enough that the call costs little, few enough that a core does not stay in it.
    pub const MAX: usize = DATAGRAMS_PER_CALL;

    /// Makes room for `count` datagrams of `bytes_each`, all of it at once.
    ///
    /// What is longer is cut off. With [`set_gro`](super::UdpSocket::set_gro) one received datagram is as long as 65,535 bytes.
    ///
    /// # Panics
    ///
    /// When `count` is 0 or more than [`MAX`](Self::MAX), or `bytes_each` is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::udp::RecvBatch;
    ///
    /// let batch = RecvBatch::new(RecvBatch::MAX, 1500);
    /// assert!(batch.is_empty());
    /// ```
    pub fn new(count: usize, bytes_each: usize) -> RecvBatch {
        assert!((1..=RecvBatch::MAX).contains(&count), "a batch has 1 to {} datagrams", RecvBatch::MAX);
        assert!(bytes_each > 0, "a batch has room for at least one byte of each datagram");
        RecvBatch {
            bytes: vec![0; count * bytes_each],
            each: bytes_each,
            slots: vec![Slot::default(); count],
            count: 0,
        }
    }

    /// How many datagrams the last call received; 0 before the first call and after one that failed.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::udp::RecvBatch;
    ///
    /// assert_eq!(RecvBatch::new(8, 1500).len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::udp::RecvBatch;
    ///
    /// assert!(RecvBatch::new(8, 1500).is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The datagrams that the last call received, in order.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::udp::RecvBatch;
    ///
    /// fn log(batch: &RecvBatch) {
    ///     for datagram in batch.iter() {
    ///         println!("{} bytes from {}", datagram.payload().len(), datagram.from());
    ///     }
    /// }
    /// # log(&RecvBatch::new(8, 1500));
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Received<'_>> {
        let rooms = self.bytes.chunks_exact(self.each);
        self.slots[..self.count].iter().zip(rooms).map(|(slot, room)| Received { slot, room })
    }

    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.count = 0;
        self.count = mmsg::receive(socket, &mut self.bytes, self.each, &mut self.slots)?;
        Ok(self.count)
    }
}

impl fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A datagram in a [`RecvBatch`]; several that the system has joined, if the socket asks for that.
///
/// # Examples
///
/// ```
/// use multikernel::net::{UdpSocket, udp::RecvBatch};
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let (client, server) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
/// client.send_to(b"hello", server.local_addr()?).await?;
/// let mut batch = RecvBatch::new(8, 4);
/// server.recv_batch(&mut batch).await?;
/// let received = batch.iter().next().unwrap();
/// assert_eq!((received.payload(), received.from()), (&b"hell"[..], client.local_addr()?));
/// assert!(received.is_truncated());
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Copy)]
pub struct Received<'a> {
    slot: &'a Slot,
    room: &'a [u8],
}

impl<'a> Received<'a> {
    /// The bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::udp::Received;
    ///
    /// fn is_handshake(received: Received<'_>) -> bool {
    ///     received.payload().first() == Some(&0x16)
    /// }
    /// ```
    pub fn payload(&self) -> &'a [u8] {
        &self.room[..self.slot.length().min(self.room.len())]
    }

    /// Who sent it.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::udp::Received;
    ///
    /// fn is_local(received: Received<'_>) -> bool {
    ///     received.from().ip().is_loopback()
    /// }
    /// ```
    pub fn from(&self) -> SocketAddr {
        self.slot.from()
    }

    /// Whether it was longer than the room for it, and is cut off.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::udp::RecvBatch;
    ///
    /// fn whole(batch: &RecvBatch) -> impl Iterator<Item = &[u8]> {
    ///     batch.iter().filter(|received| !received.is_truncated()).map(|received| received.payload())
    /// }
    /// # assert!(whole(&RecvBatch::new(8, 1500)).next().is_none());
    /// ```
    pub fn is_truncated(&self) -> bool {
        self.slot.is_truncated()
    }

    /// The length of each of the datagrams that the system has joined to this one, the last aside, which may be shorter.
    /// `None` when this is one datagram as it was sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::udp::{Datagram, Received};
    ///
    /// /// Sends it back as it came.
    /// fn echo(received: Received<'_>) -> Datagram<'_> {
    ///     let answer = Datagram::new(received.payload()).to(received.from());
    ///     match received.segment_size() {
    ///         Some(size) => answer.segments(size),
    ///         None => answer,
    ///     }
    /// }
    /// ```
    pub fn segment_size(&self) -> Option<u16> {
        self.slot.segment_size().filter(|size| usize::from(*size) < self.slot.length())
    }

    /// The datagrams in it, as they were sent: one, if the system has joined none.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::udp::RecvBatch;
    ///
    /// fn datagrams(batch: &RecvBatch) -> usize {
    ///     batch.iter().map(|received| received.segments().count()).sum()
    /// }
    /// # assert_eq!(datagrams(&RecvBatch::new(8, 1500)), 0);
    /// ```
    pub fn segments(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let payload = self.payload();
        let size = self.segment_size().map_or(usize::MAX, usize::from);
        payload.is_empty().then_some(payload).into_iter().chain(payload.chunks(size))
    }
}

impl fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("from", &self.from())
            .field("length", &self.payload().len())
            .field("is_truncated", &self.is_truncated())
            .field("segment_size", &self.segment_size())
            .finish()
    }
}
