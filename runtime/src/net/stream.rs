//! What kinds of streams have in common, for the halves they are split into.

use std::io;

use super::StreamIo;

/// A connected stream of one kind.
pub trait Stream {
    /// How the ends of its connections are named.
    type Addr;

    #[expect(private_interfaces, reason = "the trait is public in name only: nobody else can implement it")]
    fn io(&self) -> &StreamIo;

    fn local_addr(&self) -> io::Result<Self::Addr>;

    fn peer_addr(&self) -> io::Result<Self::Addr>;
}
