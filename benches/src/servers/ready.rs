//! One echo without a buffer of the connection's own, for servers that wait by readiness.

use std::io;

pub(super) enum Echoed {
    All,
    /// The socket took a part only; the connection keeps what is left until it is sent.
    Some {
        rest: Vec<u8>,
    },
    End,
}

/// Reads into `buffer`, which all connections share, and writes out of it.
pub(super) fn echo(
    buffer: &mut [u8],
    read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    write: impl FnOnce(&[u8]) -> io::Result<usize>,
) -> io::Result<Echoed> {
    let len = read(buffer)?;
    if len == 0 {
        return Ok(Echoed::End);
    }
    let sent = match write(&buffer[..len]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        result => result?,
    };
    Ok(if sent == len { Echoed::All } else { Echoed::Some { rest: buffer[sent..len].to_vec() } })
}
