//! What the client says on a connection, and how it checks the answers.

use anyhow::{Context, Result, bail, ensure};

use super::resp::Replies;

/// What the peers' `http` servers answer.
pub const HELLO: &[u8] = b"Hello, World!";

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// A kind of conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// So many bytes that come back as they were sent.
    Echo(usize),
    /// A GET request answered by [`HELLO`].
    Http,
    /// `SET` and `GET` by turns, of keys that only this connection uses.
    Resp,
}

impl Message {
    /// The requests that connection number `seed` sends again and again, one after the other.
    #[must_use]
    pub fn requests(self, seed: u64) -> Vec<Vec<u8>> {
        match self {
            Self::Resp => super::resp::conversation(seed).0,
            other => vec![other.request(seed)],
        }
    }

    /// The request that connection number `seed` sends; of several, all of them. Echoed ones differ, so that mixing connections up shows.
    #[must_use]
    pub fn request(self, seed: u64) -> Vec<u8> {
        match self {
            Self::Http => REQUEST.to_vec(),
            Self::Resp => super::resp::conversation(seed).0.concat(),
            Self::Echo(size) => {
                // Knuth's 64-bit linear congruence; any sequence without a short period would do.
                let mut state = seed;
                let mut byte = || {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 56) as u8
                };
                (0..size).map(|_| byte()).collect()
            }
        }
    }
}

/// Checks the answers on one connection.
#[derive(Debug)]
pub enum Checker {
    /// Bytes must equal the request; `at` is the position within it.
    Echo {
        /// Bytes of the current answer seen so far.
        at: usize,
    },
    /// Responses must be 200 with the right body.
    Http {
        /// An incomplete response.
        carry: Vec<u8>,
        /// The last response that passed: one of the same bytes passes too, and needs no parsing.
        passed: Vec<u8>,
    },
    /// Replies are known beforehand, to the byte.
    Resp(Replies),
}

impl Checker {
    /// For connection number `seed`, which speaks `message`.
    #[must_use]
    pub fn new(message: Message, seed: u64) -> Self {
        match message {
            Message::Resp => Self::Resp(Replies::new(&super::resp::conversation(seed).1)),
            Message::Echo(_) => Self::Echo { at: 0 },
            Message::Http => Self::Http { carry: Vec::new(), passed: Vec::new() },
        }
    }

    /// Takes `bytes` that arrived after `request` was sent, any number of times, and returns how many answers they
    /// complete.
    ///
    /// # Errors
    /// When they are not what was asked for.
    pub fn check(&mut self, request: &[u8], bytes: &[u8]) -> Result<u32> {
        match self {
            Self::Echo { at } => check_echo(at, request, bytes),
            Self::Resp(replies) => replies.check(bytes),
            Self::Http { carry, passed } if carry.is_empty() => {
                let (answers, used) = check_http(passed, bytes)?;
                carry.extend_from_slice(&bytes[used..]);
                Ok(answers)
            }
            Self::Http { carry, passed } => {
                carry.extend_from_slice(bytes);
                let (answers, used) = check_http(passed, carry)?;
                carry.drain(..used);
                Ok(answers)
            }
        }
    }
}

fn check_echo(at: &mut usize, request: &[u8], mut bytes: &[u8]) -> Result<u32> {
    let mut answers = 0;
    while !bytes.is_empty() {
        let expected = &request[*at..];
        let len = expected.len().min(bytes.len());
        ensure!(bytes[..len] == expected[..len], "wrong answer: the bytes that came back are not those sent");
        bytes = &bytes[len..];
        *at += len;
        if *at == request.len() {
            *at = 0;
            answers += 1;
        }
    }
    Ok(answers)
}

/// Complete responses at the start of `bytes`, and how many bytes they take.
fn check_http(passed: &mut Vec<u8>, bytes: &[u8]) -> Result<(u32, usize)> {
    let (mut answers, mut used) = (0, 0);
    loop {
        let rest = &bytes[used..];
        if passed.is_empty() || !rest.starts_with(passed) {
            let Some(len) = response_length(rest)? else { return Ok((answers, used)) };
            passed.clear();
            passed.extend_from_slice(&rest[..len]);
        }
        answers += 1;
        used += passed.len();
    }
}

fn response_length(bytes: &[u8]) -> Result<Option<usize>> {
    const OK: &[u8] = b"HTTP/1.1 200 ";
    let start = OK.len().min(bytes.len());
    ensure!(
        bytes[..start] == OK[..start],
        "wrong answer: {:?}",
        String::from_utf8_lossy(&bytes[..bytes.len().min(40)])
    );
    let Some(head) = bytes.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD) else {
        ensure!(bytes.len() < 4096, "wrong answer: a response head of more than 4 KiB");
        return Ok(None);
    };
    let body = head + END_OF_HEAD.len();
    let length = content_length(&bytes[..head])?;
    ensure!(length == HELLO.len(), "wrong answer: a body of {length} bytes");
    let Some(found) = bytes.get(body..body + length) else { return Ok(None) };
    ensure!(found == HELLO, "wrong answer: the body is {:?}", String::from_utf8_lossy(found));
    Ok(Some(body + length))
}

fn content_length(head: &[u8]) -> Result<usize> {
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        if line[..colon].eq_ignore_ascii_case(b"content-length") {
            let value = std::str::from_utf8(&line[colon + 1..]).context("wrong answer: content-length")?;
            return value.trim().parse().context("wrong answer: content-length");
        }
    }
    bail!("wrong answer: a response without content-length")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\ndate: today\r\n\r\nHello, World!";

    #[test]
    fn echoes_are_counted_however_they_are_cut() {
        let request = Message::Echo(10).request(3);
        assert_ne!(request, Message::Echo(10).request(4));
        let stream = request.repeat(5);
        for cut in 1..stream.len() {
            let mut checker = Checker::new(Message::Echo(10), 0);
            let answers: u32 = stream.chunks(cut).map(|chunk| checker.check(&request, chunk).unwrap()).sum();
            assert_eq!(answers, 5);
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let request = Message::Echo(64).request(0);
        for place in 0..64 {
            let mut answer = request.clone();
            answer[place] ^= 1;
            assert!(Checker::new(Message::Echo(64), 0).check(&request, &answer).is_err());
        }
    }

    #[test]
    fn responses_are_counted_however_they_are_cut() {
        let stream = RESPONSE.repeat(3);
        for cut in 1..stream.len() {
            let mut checker = Checker::new(Message::Http, 0);
            let answers: u32 = stream.chunks(cut).map(|chunk| checker.check(REQUEST, chunk).unwrap()).sum();
            assert_eq!(answers, 3, "cut at {cut}");
        }
    }

    #[test]
    fn a_response_unlike_the_last_one_is_read_anew() {
        let other = b"HTTP/1.1 200 OK\r\ncontent-length:13\r\n\r\nHello, World!";
        let mut checker = Checker::new(Message::Http, 0);
        assert_eq!(checker.check(REQUEST, &[RESPONSE, other, other, RESPONSE].concat()).unwrap(), 4);
        let wrong = [RESPONSE, b"HTTP/1.1 200 OK\r\ncontent-length:13\r\n\r\nHello, World?"].concat();
        assert!(checker.check(REQUEST, &wrong).is_err());
    }

    #[test]
    fn other_responses_are_refused() {
        let wrong: [&[u8]; 4] = [
            b"HTTP/1.1 500 Oh\r\ncontent-length: 13\r\n\r\nHello, World!",
            b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nHello, world!",
            b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nHello, World",
            b"HTTP/1.1 200 OK\r\n\r\nHello, World!",
        ];
        for answer in wrong {
            assert!(Checker::new(Message::Http, 0).check(REQUEST, answer).is_err(), "{answer:?}");
        }
    }
}
