//! The system calls that move many datagrams, and the options that let the system cut and join them.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::udp_batch::Datagram;
use crate::limits::DATAGRAMS_PER_CALL;

/// Arrays of what the system reads and writes; as much of them is initialised as a call has datagrams.
type PerDatagram<T> = [MaybeUninit<T>; DATAGRAMS_PER_CALL];

/// A socket address as the system has it, of IPv4 or IPv6: as long as the longer of the two.
#[repr(C, align(4))]
#[derive(Clone, Copy, Default)]
struct Name {
    bytes: [u8; Name::V6_BYTES],
}

impl Name {
    const V4_BYTES: usize = size_of::<libc::sockaddr_in>();
    const V6_BYTES: usize = size_of::<libc::sockaddr_in6>();

    /// The address, and how many bytes of it count.
    fn new(addr: SocketAddr) -> (Name, usize) {
        let mut bytes = [0; Name::V6_BYTES];
        bytes[2..4].copy_from_slice(&addr.port().to_be_bytes());
        let (family, length) = match addr {
            SocketAddr::V4(addr) => {
                bytes[4..8].copy_from_slice(&addr.ip().octets());
                (libc::AF_INET, Name::V4_BYTES)
            }
            SocketAddr::V6(addr) => {
                bytes[4..8].copy_from_slice(&addr.flowinfo().to_ne_bytes());
                bytes[8..24].copy_from_slice(&addr.ip().octets());
                bytes[24..28].copy_from_slice(&addr.scope_id().to_ne_bytes());
                (libc::AF_INET6, Name::V6_BYTES)
            }
        };
        bytes[..2].copy_from_slice(&(family as libc::sa_family_t).to_ne_bytes());
        (Name { bytes }, length)
    }

    fn part<const N: usize>(&self, at: usize) -> [u8; N] {
        *self.bytes[at..].first_chunk().expect("a field of the address lies within it")
    }

    fn addr(&self) -> SocketAddr {
        let port = u16::from_be_bytes(self.part(2));
        if libc::c_int::from(libc::sa_family_t::from_ne_bytes(self.part(0))) == libc::AF_INET6 {
            let ip = Ipv6Addr::from(self.part::<16>(8));
            let (flow, scope) = (u32::from_ne_bytes(self.part(4)), u32::from_ne_bytes(self.part(24)));
            SocketAddrV6::new(ip, port, flow, scope).into()
        } else {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::from(self.part::<4>(4))), port)
        }
    }
}

/// A control message is a length, of one word, a level and a kind, of one integer each, and a value; the next one begins
/// with the next word.
const WORD: usize = size_of::<usize>();
const INT: usize = size_of::<libc::c_int>();
/// Bytes before the value.
const HEAD: usize = WORD + 2 * INT;
/// Words of a message whose value is no longer than an integer.
const MESSAGE_WORDS: usize = (HEAD + INT).div_ceil(WORD);
/// Room for the control messages of one datagram: the one that is asked for, and some that others may have asked for.
const CONTROL_WORDS: usize = 4 * MESSAGE_WORDS;

/// What the system says about one received datagram.
#[derive(Clone, Copy, Default)]
pub(super) struct Slot {
    name: Name,
    length: usize,
    flags: libc::c_int,
    control: [usize; CONTROL_WORDS],
    control_bytes: usize,
}

impl Slot {
    pub(super) fn length(&self) -> usize {
        self.length
    }

    pub(super) fn from(&self) -> SocketAddr {
        self.name.addr()
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.flags & libc::MSG_TRUNC != 0
    }

    /// The length of the datagrams that were joined to this one.
    pub(super) fn segment_size(&self) -> Option<u16> {
        let mut rest = &self.control[..(self.control_bytes / WORD).min(CONTROL_WORDS)];
        while rest.len() >= MESSAGE_WORDS {
            if (int_at(rest, WORD), int_at(rest, WORD + INT)) == (libc::SOL_UDP, libc::UDP_GRO) {
                return u16::try_from(int_at(rest, HEAD)).ok();
            }
            let length = rest[0].max(HEAD);
            rest = rest.get(length.div_ceil(WORD)..)?;
        }
        None
    }
}

/// The integer that begins with that byte.
fn int_at(words: &[usize], byte: usize) -> libc::c_int {
    let word = words[byte / WORD].to_ne_bytes();
    libc::c_int::from_ne_bytes(*word[byte % WORD..].first_chunk().expect("a word holds whole integers"))
}

/// The control message of UDP with a `value`, `length` bytes of which count.
fn control_message(kind: libc::c_int, value: [u8; INT], length: usize) -> [usize; MESSAGE_WORDS] {
    let mut bytes = [0; MESSAGE_WORDS * WORD];
    bytes[..WORD].copy_from_slice(&(HEAD + length).to_ne_bytes());
    bytes[WORD..][..INT].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
    bytes[WORD + INT..][..INT].copy_from_slice(&kind.to_ne_bytes());
    bytes[HEAD..][..INT].copy_from_slice(&value);
    let (words, _) = bytes.as_chunks();
    std::array::from_fn(|at| usize::from_ne_bytes(words[at]))
}

/// The control message that asks for segments of `size` bytes.
fn cut_into(size: u16) -> [usize; MESSAGE_WORDS] {
    let [first, second] = size.to_ne_bytes();
    control_message(libc::UDP_SEGMENT, [first, second, 0, 0], size_of::<u16>())
}

/// Receives into pieces of `bytes`, each of `each` bytes, without waiting; says how many datagrams.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    each: usize,
    slots: &mut [Slot],
) -> io::Result<usize> {
    let mut parts: PerDatagram<libc::iovec> = [const { MaybeUninit::uninit() }; _];
    let mut headers: PerDatagram<libc::mmsghdr> = [const { MaybeUninit::uninit() }; _];
    let mut asked = 0;
    let rooms = bytes.chunks_exact_mut(each).zip(slots.iter_mut());
    for ((room, slot), (part, header)) in rooms.zip(parts.iter_mut().zip(&mut headers)) {
        let part = part.write(libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() });
        let mut message = empty_message();
        message.msg_iov = part;
        message.msg_iovlen = 1;
        message.msg_name = slot.name.bytes.as_mut_ptr().cast();
        message.msg_namelen = Name::V6_BYTES as libc::socklen_t;
        message.msg_control = slot.control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&slot.control) as _;
        header.write(libc::mmsghdr { msg_hdr: message, msg_len: 0 });
        asked += 1;
    }
    let (first, no_time_limit) = (headers.as_mut_ptr().cast(), std::ptr::null_mut());
    // SAFETY: the first `asked` headers have been written just now. Each points to room, a name and control words that are
    // borrowed for longer than this call and are as long as the header says; the system writes nothing else.
    let got =
        unsafe { libc::recvmmsg(socket.as_raw_fd(), first, asked, libc::MSG_DONTWAIT as _, no_time_limit) };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    for (slot, header) in slots.iter_mut().zip(&headers[..got]) {
        // SAFETY: at most `asked` datagrams were received, and that many headers are initialised.
        let header = unsafe { header.assume_init_ref() };
        slot.length = header.msg_len as usize;
        slot.flags = header.msg_hdr.msg_flags;
        slot.control_bytes = header.msg_hdr.msg_controllen as _;
    }
    Ok(got)
}

/// Sends as many as there is room for, at most as many as one call takes, without waiting; says how many.
pub(super) fn send(socket: BorrowedFd<'_>, datagrams: &[Datagram<'_>]) -> io::Result<usize> {
    let Some(front) = datagrams.first() else { return Ok(0) };
    front.check()?;
    let mut names: PerDatagram<Name> = [const { MaybeUninit::uninit() }; _];
    let mut controls: PerDatagram<[usize; MESSAGE_WORDS]> = [const { MaybeUninit::uninit() }; _];
    let mut parts: PerDatagram<libc::iovec> = [const { MaybeUninit::uninit() }; _];
    let mut headers: PerDatagram<libc::mmsghdr> = [const { MaybeUninit::uninit() }; _];
    let mut asked = 0;
    let rooms = names.iter_mut().zip(&mut controls).zip(parts.iter_mut().zip(&mut headers));
    // One that cannot be sent is told about when it is the first.
    let good = datagrams.iter().take_while(|datagram| datagram.check().is_ok());
    for (datagram, ((name, control), (part, header))) in good.zip(rooms) {
        let payload = datagram.payload;
        let part =
            part.write(libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() });
        let mut message = empty_message();
        message.msg_iov = part;
        message.msg_iovlen = 1;
        if let Some(to) = datagram.to {
            let (addr, length) = Name::new(to);
            message.msg_name = std::ptr::from_mut(name.write(addr)).cast();
            message.msg_namelen = length as libc::socklen_t;
        }
        // One that is no longer than a segment is sent as it is.
        if let Some(size) = datagram.segment_size
            && usize::from(size) < payload.len()
        {
            let control = control.write(cut_into(size));
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(control) as _;
        }
        header.write(libc::mmsghdr { msg_hdr: message, msg_len: 0 });
        asked += 1;
    }
    let (first, flags) = (headers.as_mut_ptr().cast(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
    // SAFETY: the first `asked` headers have been written just now, and all they point to was written too and lives across
    // this call: payloads are borrowed by the caller, the rest is in the arrays above. The system writes the lengths sent
    // into the headers and nothing through their pointers.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), first, asked, flags as _) };
    usize::try_from(sent).map_err(|_| refusal(io::Error::last_os_error(), front))
}

/// Why `datagram` was not sent.
fn refusal(error: io::Error, datagram: &Datagram<'_>) -> io::Error {
    let cannot_cut = [libc::EIO, libc::EINVAL, libc::EOPNOTSUPP, libc::EMSGSIZE];
    let Some(size) = datagram.segment_size.filter(|size| usize::from(*size) < datagram.payload.len()) else {
        return error;
    };
    if !error.raw_os_error().is_some_and(|errno| cannot_cut.contains(&errno)) {
        return error;
    }
    let why = format!("the system refuses to cut a datagram into segments of {size} bytes: {error}");
    io::Error::new(io::ErrorKind::Unsupported, why)
}

fn empty_message() -> libc::msghdr {
    // SAFETY: a message of zeros has null pointers and lengths of zero: no name, no parts, no control.
    unsafe { mem::zeroed() }
}

/// Whether the system knows how to cut datagrams of this socket.
pub(super) fn can_segment(socket: BorrowedFd<'_>) -> bool {
    let mut size: libc::c_int = 0;
    let mut length = size_of_val(&size) as libc::socklen_t;
    let (value, fd) = (std::ptr::from_mut(&mut size).cast(), socket.as_raw_fd());
    // SAFETY: the option writes at most `length` bytes, which is the room there is; both live across the call.
    unsafe { libc::getsockopt(fd, libc::SOL_UDP, libc::UDP_SEGMENT, value, &raw mut length) == 0 }
}

pub(super) fn set_gro(socket: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let on = libc::c_int::from(on);
    let (value, length) = (std::ptr::from_ref(&on).cast(), size_of_val(&on) as libc::socklen_t);
    // SAFETY: the option reads `length` bytes of `on`, which lives across the call.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, value, length) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOPROTOOPT) => {
            let why = "this system does not join datagrams that arrive (UDP_GRO)";
            Err(io::Error::new(io::ErrorKind::Unsupported, why))
        }
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_they_were_made_from() {
        for addr in ["1.2.3.4:56789", "[2001:db8::7%9]:80", "[::ffff:1.2.3.4]:1"] {
            let addr: SocketAddr = addr.parse().unwrap();
            let (name, length) = Name::new(addr);
            assert_eq!(name.addr(), addr);
            // socket2 has it as the system does.
            assert_eq!(length, socket2::SockAddr::from(addr).len() as usize);
        }
    }

    #[test]
    fn the_size_of_segments_is_found_behind_other_control_messages() {
        let mut slot = Slot::default();
        assert_eq!(slot.segment_size(), None);
        let gro = control_message(libc::UDP_GRO, 1200_i32.to_ne_bytes(), INT);
        slot.control[..MESSAGE_WORDS].copy_from_slice(&cut_into(700));
        slot.control[MESSAGE_WORDS..][..MESSAGE_WORDS].copy_from_slice(&gro);
        slot.control_bytes = 2 * MESSAGE_WORDS * WORD;
        assert_eq!(slot.segment_size(), Some(1200));
        // One that was cut off, and lengths that make no sense.
        slot.control_bytes -= 1;
        assert_eq!(slot.segment_size(), None);
        slot.control_bytes = usize::MAX;
        for length in [0, 1, WORD, usize::MAX - WORD, usize::MAX] {
            slot.control[0] = length;
            slot.segment_size();
        }
    }
}
