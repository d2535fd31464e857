//! What a completion says it belongs to: 4 bits of kind, 28 bits of generation, 32 bits of index.

use super::super::interest::Interest;
use super::super::slots::Key;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A single watched direction of a source.
    Poll(Interest, Key),
    /// An operation in the in-flight table.
    Op(Key),
    /// The receive of a streaming source.
    Receive(Key),
    /// The cancel of a receive; completes visibly only when it fails.
    Stop(Key),
    /// The core's own eventfd.
    Bell,
    /// A cancel or a close; completes visibly only when it fails.
    Silent,
    /// A message to the ring of the peer with this number; completes visibly only when it fails.
    Ring(u32),
    /// A message from another core's ring.
    Rung,
}

const KIND_SHIFT: u32 = 60;
const READ: u64 = 1;
const WRITE: u64 = 2;
const BELL: u64 = 3;
const SILENT: u64 = 4;
const RING: u64 = 5;
const RUNG: u64 = 6;
const OP: u64 = 7;
const RECEIVE: u64 = 8;
const STOP: u64 = 9;
const URGENT: u64 = 10;
const ERROR: u64 = 11;

impl Token {
    pub(super) fn pack(self) -> u64 {
        let (kind, rest) = match self {
            Token::Poll(direction, key) => {
                let kind = match direction {
                    Interest::READABLE => READ,
                    Interest::WRITABLE => WRITE,
                    Interest::PRIORITY => URGENT,
                    _ => ERROR,
                };
                (kind, place(key))
            }
            Token::Op(key) => (OP, place(key)),
            Token::Receive(key) => (RECEIVE, place(key)),
            Token::Stop(key) => (STOP, place(key)),
            Token::Bell => (BELL, 0),
            Token::Silent => (SILENT, 0),
            Token::Ring(peer) => (RING, u64::from(peer)),
            Token::Rung => (RUNG, 0),
        };
        kind << KIND_SHIFT | rest
    }

    /// `None` for what this driver never sends.
    pub(super) fn unpack(bits: u64) -> Option<Token> {
        let key = Key { index: bits as u32, generation: (bits >> 32) as u32 & 0x0fff_ffff };
        Some(match bits >> KIND_SHIFT {
            READ => Token::Poll(Interest::READABLE, key),
            WRITE => Token::Poll(Interest::WRITABLE, key),
            URGENT => Token::Poll(Interest::PRIORITY, key),
            ERROR => Token::Poll(Interest::ERROR, key),
            BELL => Token::Bell,
            SILENT => Token::Silent,
            RING => Token::Ring(bits as u32),
            RUNG => Token::Rung,
            OP => Token::Op(key),
            RECEIVE => Token::Receive(key),
            STOP => Token::Stop(key),
            _ => return None,
        })
    }
}

fn place(key: Key) -> u64 {
    u64::from(key.generation) << 32 | u64::from(key.index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_trip() {
        let key = Key { index: u32::MAX - 1, generation: 0x0fff_ffff };
        let tokens = [
            Token::Poll(Interest::READABLE, key),
            Token::Poll(Interest::WRITABLE, key),
            Token::Poll(Interest::PRIORITY, key),
            Token::Poll(Interest::ERROR, key),
            Token::Op(key),
            Token::Receive(key),
            Token::Stop(key),
            Token::Bell,
            Token::Silent,
            Token::Ring(255),
            Token::Rung,
        ];
        for token in tokens {
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
        assert_eq!(Token::unpack(0), None);
    }
}
