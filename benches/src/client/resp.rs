//! What the client says to a key-value server, in the protocol of Redis, and the replies it expects.

use anyhow::{Result, ensure};

/// Keys that a connection uses.
const KEYS: u64 = 64;
/// Bytes of a value.
const VALUE: usize = 64;

/// The requests of connection number `seed`, and a reply for each. Each key is set to two values by turns and asked for
/// after each, so that neither an old value nor another connection's passes.
#[must_use]
pub fn conversation(seed: u64) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    for (turn, number) in (0..2).flat_map(|turn| (0..KEYS).map(move |number| (turn, number))) {
        let key = format!("key:{seed:05}:{number:06}");
        let value = format!("{seed}.{number}.{turn}.").repeat(VALUE);
        let value = &value[..VALUE];
        requests
            .push(format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${VALUE}\r\n{value}\r\n", key.len()).into());
        replies.push(b"+OK\r\n".to_vec());
        requests.push(format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len()).into());
        replies.push(format!("${VALUE}\r\n{value}\r\n").into());
    }
    (requests, replies)
}

/// Replies that come again and again in this order.
#[derive(Debug)]
pub struct Replies {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    /// How many bytes have come.
    at: usize,
    /// The reply that is coming.
    next: usize,
}

impl Replies {
    /// None has come yet.
    #[must_use]
    pub fn new(replies: &[Vec<u8>]) -> Self {
        let mut ends = Vec::with_capacity(replies.len());
        let mut bytes = Vec::new();
        for reply in replies {
            bytes.extend_from_slice(reply);
            ends.push(bytes.len());
        }
        Self { bytes, ends, at: 0, next: 0 }
    }

    /// How many replies `bytes` complete.
    ///
    /// # Errors
    /// When they are not the ones expected.
    pub fn check(&mut self, mut bytes: &[u8]) -> Result<u32> {
        let mut answers = 0;
        while !bytes.is_empty() {
            let expected = &self.bytes[self.at..];
            let len = expected.len().min(bytes.len());
            ensure!(
                bytes[..len] == expected[..len],
                "wrong answer: {:?}",
                String::from_utf8_lossy(&bytes[..len.min(40)])
            );
            bytes = &bytes[len..];
            self.at += len;
            while self.ends.get(self.next).is_some_and(|end| *end <= self.at) {
                self.next += 1;
                answers += 1;
            }
            if self.at == self.bytes.len() {
                (self.at, self.next) = (0, 0);
            }
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_however_they_are_cut() {
        let (requests, replies) = conversation(3);
        assert_eq!(requests.len(), replies.len());
        let stream = replies.concat().repeat(2);
        for cut in [1, 2, 7, 64, 1000, stream.len()] {
            let mut expected = Replies::new(&replies);
            let answers: u32 = stream.chunks(cut).map(|chunk| expected.check(chunk).unwrap()).sum();
            assert_eq!(answers as usize, 2 * replies.len(), "cut at {cut}");
        }
    }

    #[test]
    fn other_replies_are_refused() {
        let (_, replies) = conversation(3);
        let good = replies.concat();
        // Another connection's, an old value, nothing, an error.
        let old = [&replies[0][..], &replies[1 + 2 * KEYS as usize]].concat();
        let wrong: [&[u8]; 4] =
            [&conversation(4).1.concat(), &old, b"+OK\r\n$-1\r\n", b"-ERR unknown command\r\n"];
        for answer in wrong {
            assert!(Replies::new(&replies).check(answer).is_err(), "{answer:?}");
        }
        for place in 0..good.len() {
            let mut answer = good.clone();
            answer[place] ^= 1;
            assert!(Replies::new(&replies).check(&answer).is_err());
        }
    }
}
