//! Channels and patterns.
//!
//! A channel belongs to the core that its name belongs to, as a key would. Patterns are on every core, since each has
//! channels that may match.

use std::collections::HashMap;

use bytes::Bytes;
use multikernel::channels::mpsc;
use tokio_util::sync::CancellationToken;

use super::reply::Reply;

/// Where a connection gets what is published.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Whose it is.
    pub id: u64,
    /// Encoded messages.
    pub mailbox: mpsc::Sender<Bytes>,
    /// Cancelled when the mailbox is full: a connection that does not read is closed, as there is nobody to wait for it.
    pub overrun: CancellationToken,
}

/// Who listens to the channels of one core.
#[derive(Debug, Default)]
pub struct Listeners {
    channels: HashMap<Box<[u8]>, Vec<Listener>>,
    patterns: HashMap<Box<[u8]>, Vec<Listener>>,
}

/// By name, or by pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Messages of the channel with this name.
    Name,
    /// Messages of all channels whose names match.
    Pattern,
}

impl By {
    /// The word with which a reply begins.
    fn word(self, name: &'static str, pattern: &'static str) -> &'static str {
        match self {
            Self::Name => name,
            Self::Pattern => pattern,
        }
    }

    /// The reply when a connection begins to listen, to so many things now.
    pub fn begun(self, name: &[u8], count: usize, out: &mut Vec<u8>) {
        out.array(3);
        out.bulk(self.word("subscribe", "psubscribe").as_bytes());
        out.bulk(name);
        out.integer(count as i64);
    }

    /// The reply when a connection ends to listen. Without a name it did not listen to anything.
    pub fn ended(self, name: Option<&[u8]>, count: usize, out: &mut Vec<u8>) {
        out.array(3);
        out.bulk(self.word("unsubscribe", "punsubscribe").as_bytes());
        match name {
            Some(name) => out.bulk(name),
            None => out.nil(),
        }
        out.integer(count as i64);
    }
}

impl Listeners {
    fn table(&mut self, by: By) -> &mut HashMap<Box<[u8]>, Vec<Listener>> {
        match by {
            By::Name => &mut self.channels,
            By::Pattern => &mut self.patterns,
        }
    }

    /// A connection begins to listen. It does so once, however often it says it.
    pub fn add(&mut self, by: By, name: &[u8], listener: Listener) {
        let listeners = self.table(by).entry(name.into()).or_default();
        if listeners.iter().all(|other| other.id != listener.id) {
            listeners.push(listener);
        }
    }

    /// A connection no longer listens.
    pub fn remove(&mut self, by: By, name: &[u8], id: u64) {
        let table = self.table(by);
        let Some(listeners) = table.get_mut(name) else { return };
        listeners.retain(|listener| listener.id != id);
        if listeners.is_empty() {
            table.remove(name);
        }
    }

    /// Hands a message to all who listen, and says how many they are.
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let mut count = 0;
        if let Some(listeners) = self.channels.get_mut(channel) {
            count += send(listeners, &["message".as_bytes(), channel, message]);
            if listeners.is_empty() {
                self.channels.remove(channel);
            }
        }
        self.patterns.retain(|pattern, listeners| {
            if matches(pattern, channel) {
                count += send(listeners, &["pmessage".as_bytes(), pattern, channel, message]);
            }
            !listeners.is_empty()
        });
        count
    }
}

/// Those who are gone, or cannot follow, listen no longer.
fn send(listeners: &mut Vec<Listener>, parts: &[&[u8]]) -> usize {
    let mut encoded = Vec::new();
    encoded.array(parts.len());
    parts.iter().for_each(|part| encoded.bulk(part));
    let encoded = Bytes::from(encoded);
    listeners.retain(|listener| {
        let is_sent = listener.mailbox.try_send(encoded.clone()).is_ok();
        if !is_sent {
            listener.overrun.cancel();
        }
        is_sent
    });
    listeners.len()
}

/// Whether a text matches a pattern: `*` any bytes, `?` one, `[abc]`, `[^abc]` and `[a-c]` one of these, `\` the next as it
/// is. Takes time in proportion to the product of their lengths at worst.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on if the bytes since the last star do not match: the star takes one more.
    let mut star = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
            continue;
        }
        match text.get(t) {
            None if p == pattern.len() => return true,
            None => {}
            Some(byte) => {
                if let Some(length) = matches_one(&pattern[p..], *byte) {
                    (p, t) = (p + length, t + 1);
                    continue;
                }
            }
        }
        match star {
            Some((after, taken)) if taken < text.len() => {
                star = Some((after, taken + 1));
                (p, t) = (after, taken + 1);
            }
            _ => return false,
        }
    }
}

/// Whether a byte matches the first item of a pattern, which is no star: then, how long the item is.
fn matches_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', class @ ..] => {
            let (is_in, length) = in_class(class, byte);
            is_in.then_some(1 + length)
        }
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Whether a byte is of a class, and how long the class is. One that does not end goes to the end of the pattern.
fn in_class(class: &[u8], byte: u8) -> (bool, usize) {
    let is_negated = class.first() == Some(&b'^');
    let (mut place, mut is_in) = (usize::from(is_negated), false);
    loop {
        let (hit, length) = match &class[place..] {
            [] => break,
            [b']', ..] => {
                place += 1;
                break;
            }
            [b'\\', escaped, ..] => (*escaped == byte, 2),
            [a, b'-', z, ..] => ((*a.min(z)..=*a.max(z)).contains(&byte), 3),
            [one, ..] => (*one == byte, 1),
        };
        is_in |= hit;
        place += length;
    }
    (is_in != is_negated, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(id: u64, capacity: usize) -> (Listener, mpsc::Receiver<Bytes>) {
        let (mailbox, messages) = mpsc::channel(capacity);
        (Listener { id, mailbox, overrun: CancellationToken::new() }, messages)
    }

    #[test]
    fn patterns_match_as_those_of_redis_do() {
        let cases: [(&str, &[&str], &[&str]); 10] = [
            ("*", &["", "a", "abc"], &[]),
            ("a*c", &["ac", "abc", "abcbc"], &["a", "abcd"]),
            ("h?llo", &["hello", "hallo"], &["hllo", "heello"]),
            ("h[ae]llo", &["hello", "hallo"], &["hillo"]),
            ("h[^e]llo", &["hallo"], &["hello", "hllo"]),
            ("h[a-c]llo", &["hbllo"], &["hdllo"]),
            ("h[c-a]llo", &["hbllo"], &["hdllo"]),
            ("a\\*c", &["a*c"], &["abc", "a\\*c"]),
            ("*.*.x", &["a.b.x", "..x", "a.b.x.x"], &["a.x", "a.b.x.y"]),
            ("news[", &[], &["news", "news["]),
        ];
        for (pattern, hits, misses) in cases {
            for text in hits {
                assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
            }
            for text in misses {
                assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_time_to_speak_of() {
        let pattern = "a*".repeat(1000) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(10_000).as_bytes()));
    }

    #[test]
    fn who_listens_by_name_and_by_pattern_hears_twice() {
        let mut listeners = Listeners::default();
        let (ada, mut messages) = listener(1, 8);
        listeners.add(By::Name, b"news", ada.clone());
        listeners.add(By::Name, b"news", ada.clone());
        listeners.add(By::Pattern, b"n*", ada);
        assert_eq!(listeners.publish(b"news", b"hi"), 2);
        assert_eq!(listeners.publish(b"other", b"hi"), 0);
        assert_eq!(messages.try_recv().unwrap(), "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n");
        let by_pattern = "*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$2\r\nhi\r\n";
        assert_eq!(messages.try_recv().unwrap(), by_pattern);
        assert!(messages.try_recv().is_err());
        listeners.remove(By::Name, b"news", 1);
        listeners.remove(By::Pattern, b"n*", 1);
        assert_eq!(listeners.publish(b"news", b"hi"), 0);
        assert!(listeners.channels.is_empty() && listeners.patterns.is_empty());
    }

    #[test]
    fn who_does_not_read_is_dropped_and_told_so_alone() {
        let mut listeners = Listeners::default();
        let ((slow, _unread), (quick, mut read)) = (listener(1, 2), listener(2, 2));
        let (gone, dropped) = listener(3, 2);
        drop(dropped);
        for listener in [&slow, &quick, &gone] {
            listeners.add(By::Name, b"c", listener.clone());
        }
        let counts = [0; 4].map(|_| {
            let count = listeners.publish(b"c", b"m");
            read.try_recv().unwrap();
            count
        });
        assert_eq!(counts, [2, 2, 1, 1]);
        assert!(slow.overrun.is_cancelled() && !quick.overrun.is_cancelled());
    }
}
