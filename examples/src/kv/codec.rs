//! The wire format of Redis (RESP 2): requests as arrays of bulk strings, or as plain lines.

use std::fmt;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::{ARGUMENTS, BATCH, BULK, INLINE, REQUEST};

/// A line that announces a number is not longer than this, its end included.
const NUMBER_LINE: usize = 32;
/// An argument with its length has about so many bytes, if it is short.
const LIKELY_ARGUMENT: usize = 16;
/// How much room a long request that has not arrived in full is given at once.
const ROOM: usize = 64 << 10;

/// Decodes requests, as many at a time as have arrived; encodes replies, which come encoded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resp;

/// Requests that arrived together, at least one, in order.
#[derive(Debug)]
pub struct Batch {
    bytes: Bytes,
    spans: Vec<Span>,
    /// Where the spans of each request end.
    ends: Vec<u32>,
}

/// An argument: where it is in the bytes of its batch.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

/// Some arguments in a row.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

/// Why a connection ends.
#[derive(Debug)]
pub enum DecodeError {
    /// It broke.
    Io(io::Error),
    /// What arrived makes no sense, and so does not what may follow.
    Protocol(Nonsense),
}

/// What makes no sense about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonsense {
    /// The number of arguments is none, or there are too many.
    Count,
    /// An argument does not begin as it should, but with this.
    NoBulk(u8),
    /// The length of an argument is none, or it is too long.
    Length,
    /// The line that says how many arguments there are does not end.
    CountLine,
    /// The line that says how long an argument is does not end.
    LengthLine,
    /// An inline request does not end.
    Inline,
    /// An inline request has quotes, which would need unpacking.
    Quotes,
    /// The request is too long.
    Request,
}

impl Batch {
    /// How many requests there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// A request: its name and its arguments.
    ///
    /// # Panics
    ///
    /// If there is no such request.
    #[must_use]
    pub fn request(&self, number: usize) -> Args<'_> {
        self.args(self.first(number), self.ends[number])
    }

    /// Where the arguments of a request begin, counted from the first of the batch.
    #[must_use]
    pub fn first(&self, number: usize) -> u32 {
        if number == 0 { 0 } else { self.ends[number - 1] }
    }

    /// Arguments by where they are, counted from the first of the batch.
    #[must_use]
    pub fn args(&self, from: u32, to: u32) -> Args<'_> {
        Args { bytes: &self.bytes, spans: &self.spans[from as usize..to as usize] }
    }
}

impl<'a> Args<'a> {
    /// How many there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.spans.is_empty()
    }

    /// An argument.
    ///
    /// # Panics
    ///
    /// If there is no such argument.
    #[must_use]
    #[inline]
    pub fn at(self, place: usize) -> &'a [u8] {
        let span = self.spans[place];
        &self.bytes[span.start as usize..span.end as usize]
    }

    /// Those that come after the first so many.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    #[must_use]
    pub fn after(self, count: usize) -> Self {
        Self { spans: &self.spans[count..], ..self }
    }

    /// One after the other.
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a [u8]> {
        self.spans.iter().map(move |span| &self.bytes[span.start as usize..span.end as usize])
    }
}

impl Decoder for Resp {
    type Item = Batch;
    type Error = DecodeError;

    /// All requests that are there in full. What comes before nonsense is a batch of its own.
    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Batch>, DecodeError> {
        // A guess, so that neither grows many times: most arguments of small requests take more bytes than this.
        let likely = (source.len() / LIKELY_ARGUMENT).min(BATCH);
        let (mut spans, mut ends) = (Vec::with_capacity(likely), Vec::with_capacity(likely / 2));
        let mut done = 0;
        while ends.len() < BATCH && done < source.len() {
            let before = spans.len();
            match request(source, done, &mut spans) {
                Ok(Some(end)) => {
                    done = end;
                    if spans.len() > before {
                        ends.push(spans.len() as u32);
                    }
                }
                Ok(None) if source.len() - done <= REQUEST => {
                    spans.truncate(before);
                    break;
                }
                Err(_) if !ends.is_empty() => {
                    spans.truncate(before);
                    break;
                }
                Ok(None) => return Err(DecodeError::Protocol(Nonsense::Request)),
                Err(error) => return Err(DecodeError::Protocol(error)),
            }
            if done > REQUEST {
                break;
            }
        }
        if ends.is_empty() {
            // Empty lines, maybe.
            source.advance(done);
            if source.len() >= ROOM {
                source.reserve(ROOM);
            }
            return Ok(None);
        }
        Ok(Some(Batch { bytes: source.split_to(done).freeze(), spans, ends }))
    }

    /// Half a request at the end is nobody's.
    fn decode_eof(&mut self, source: &mut BytesMut) -> Result<Option<Batch>, DecodeError> {
        self.decode(source)
    }
}

impl Encoder<&[u8]> for Resp {
    type Error = io::Error;

    fn encode(&mut self, replies: &[u8], target: &mut BytesMut) -> io::Result<()> {
        target.extend_from_slice(replies);
        Ok(())
    }
}

/// Reads one request, which begins at `at`, and appends its arguments. Says where it ends, if it is there in full.
fn request(bytes: &[u8], at: usize, spans: &mut Vec<Span>) -> Result<Option<usize>, Nonsense> {
    if bytes[at] != b'*' {
        return inline(bytes, at, spans);
    }
    let Some((count, mut at)) = number(bytes, at + 1, Nonsense::CountLine, Nonsense::Count)? else {
        return Ok(None);
    };
    if count > ARGUMENTS as i64 {
        return Err(Nonsense::Count);
    }
    // No arguments, or fewer: no request.
    for _ in 0..count {
        match bytes.get(at) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(other) => return Err(Nonsense::NoBulk(*other)),
        }
        let Some((length, start)) = number(bytes, at + 1, Nonsense::LengthLine, Nonsense::Length)? else {
            return Ok(None);
        };
        if !(0..=BULK as i64).contains(&length) {
            return Err(Nonsense::Length);
        }
        let end = start + length as usize;
        if bytes.len() < end + 2 {
            return Ok(None);
        }
        spans.push(Span { start: start as u32, end: end as u32 });
        at = end + 2;
    }
    Ok(Some(at))
}

/// A number that fills the rest of a line. Says where the next line begins.
#[inline]
fn number(
    bytes: &[u8],
    at: usize,
    endless: Nonsense,
    bad: Nonsense,
) -> Result<Option<(i64, usize)>, Nonsense> {
    // Nearly always one or two digits.
    if let [a @ b'0'..=b'9', b'\r', b'\n', ..] = bytes[at..] {
        return Ok(Some((i64::from(a - b'0'), at + 3)));
    }
    if let [a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] = bytes[at..] {
        return Ok(Some((i64::from(a - b'0') * 10 + i64::from(b - b'0'), at + 4)));
    }
    let line = &bytes[at..bytes.len().min(at + NUMBER_LINE)];
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        return if line.len() == NUMBER_LINE { Err(endless) } else { Ok(None) };
    };
    let digits = line[..end].strip_suffix(b"\r").ok_or(bad)?;
    let value = super::reply::parse_integer(digits).ok_or(bad)?;
    Ok(Some((value, at + end + 1)))
}

/// A request for people: words on a line.
fn inline(bytes: &[u8], at: usize, spans: &mut Vec<Span>) -> Result<Option<usize>, Nonsense> {
    let line = &bytes[at..bytes.len().min(at + INLINE)];
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        return if line.len() == INLINE { Err(Nonsense::Inline) } else { Ok(None) };
    };
    let line = &line[..end];
    if line.iter().any(|byte| [b'"', b'\''].contains(byte)) {
        return Err(Nonsense::Quotes);
    }
    let mut word = None;
    for (place, byte) in line.iter().chain(b" ").enumerate() {
        match (word, byte.is_ascii_whitespace()) {
            (None, false) => word = Some(place),
            (Some(start), true) => {
                spans.push(Span { start: (at + start) as u32, end: (at + place) as u32 });
                word = None;
            }
            _ => {}
        }
    }
    Ok(Some(at + end + 1))
}

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "invalid multibulk length",
            Self::NoBulk(byte) => return write!(f, "expected '$', got '{}'", byte.escape_ascii()),
            Self::Length => "invalid bulk length",
            Self::CountLine => "too big mbulk count string",
            Self::LengthLine => "too big bulk count string",
            Self::Inline => "too big inline request",
            Self::Quotes => "quotes in an inline request are not supported",
            Self::Request => "too big request",
        })
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Protocol(nonsense) => write!(f, "Protocol error: {nonsense}"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl From<io::Error> for DecodeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
