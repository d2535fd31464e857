//! Replies, written as they go out.

/// The value has another type than the command is for.
pub const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
/// The options of a command make no sense.
pub const SYNTAX: &str = "ERR syntax error";
/// An argument, or a value, is no number, or too large a one.
pub const NOT_INTEGER: &str = "ERR value is not an integer or out of range";
/// There is no room for more.
pub const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";
/// A string would become longer than strings may be.
pub const TOO_LONG: &str = "ERR string exceeds maximum allowed size";

/// Writes replies one after the other.
pub trait Reply {
    /// A short text without line ends, such as `OK`.
    fn simple(&mut self, text: &str);
    /// An error: its code, a blank, and what is wrong, in one line.
    fn error(&mut self, text: &str);
    /// A number.
    fn integer(&mut self, value: i64);
    /// Bytes.
    fn bulk(&mut self, bytes: &[u8]);
    /// Nothing, where there might have been bytes.
    fn nil(&mut self);
    /// Nothing, where there might have been an array.
    fn nil_array(&mut self);
    /// So many replies, which follow.
    fn array(&mut self, count: usize);
}

fn line(out: &mut Vec<u8>, kind: u8, value: i64) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.extend_from_slice(b"\r\n");
}

impl Reply for Vec<u8> {
    fn simple(&mut self, text: &str) {
        self.push(b'+');
        self.extend_from_slice(text.as_bytes());
        self.extend_from_slice(b"\r\n");
    }

    fn error(&mut self, text: &str) {
        self.push(b'-');
        // A line end within would end the reply.
        self.extend(text.bytes().map(|byte| if byte.is_ascii_control() { b' ' } else { byte }));
        self.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn integer(&mut self, value: i64) {
        line(self, b':', value);
    }

    #[inline]
    fn bulk(&mut self, bytes: &[u8]) {
        line(self, b'$', bytes.len() as i64);
        self.extend_from_slice(bytes);
        self.extend_from_slice(b"\r\n");
    }

    fn nil(&mut self) {
        self.extend_from_slice(b"$-1\r\n");
    }

    fn nil_array(&mut self) {
        self.extend_from_slice(b"*-1\r\n");
    }

    fn array(&mut self, count: usize) {
        line(self, b'*', count as i64);
    }
}

/// A number in its one canonical form: no sign but a minus, no zeros in front.
#[must_use]
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    match text {
        [b'0'] => return Some(0),
        [b'1'..=b'9', ..] | [b'-', b'1'..=b'9', ..] => {}
        _ => return None,
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        for (text, value) in [("0", 0), ("-1", -1), ("10", 10), ("9223372036854775807", i64::MAX)] {
            assert_eq!(parse_integer(text.as_bytes()), Some(value));
        }
        for text in ["", "-", "+1", "01", "-0", " 1", "1 ", "1.0", "9223372036854775808"] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn an_error_is_one_line_whatever_it_quotes() {
        let mut out = Vec::new();
        out.error("ERR unknown command 'a\r\n+OK'");
        assert_eq!(out, b"-ERR unknown command 'a  +OK'\r\n");
    }
}
