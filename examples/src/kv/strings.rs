//! Commands on strings.

use super::BULK;
use super::codec::Args;
use super::reply::{NOT_INTEGER, Reply, SYNTAX, TOO_LONG, WRONG_TYPE, parse_integer};
use super::store::{Entry, NEVER, Store, Value};

/// The options of `SET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Options {
    /// Milliseconds, or for ever.
    life: Option<u64>,
    /// Whether the key has to be there, or has to be missing.
    if_there: Option<bool>,
}

impl Options {
    fn read(args: Args<'_>) -> Result<Self, &'static str> {
        let mut options = Self { life: None, if_there: None };
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let unit = match word.to_ascii_uppercase().as_slice() {
                b"NX" if options.if_there != Some(true) => {
                    options.if_there = Some(false);
                    continue;
                }
                b"XX" if options.if_there != Some(false) => {
                    options.if_there = Some(true);
                    continue;
                }
                b"EX" => 1000,
                b"PX" => 1,
                _ => return Err(SYNTAX),
            };
            let (None, Some(number)) = (options.life, words.next()) else { return Err(SYNTAX) };
            let number = parse_integer(number).ok_or(NOT_INTEGER)?;
            let life = u64::try_from(number).ok().filter(|number| *number > 0);
            let life =
                life.and_then(|number| number.checked_mul(unit)).filter(|life| *life <= i64::MAX as u64);
            options.life = Some(life.ok_or("ERR invalid expire time in 'set' command")?);
        }
        Ok(options)
    }
}

impl Store {
    pub(super) fn get(&mut self, args: Args<'_>, out: &mut Vec<u8>) {
        match self.find(args.at(0)) {
            Some(Entry { value: Value::Text(text), .. }) => out.bulk(text),
            Some(_) => out.error(WRONG_TYPE),
            None => out.nil(),
        }
    }

    /// What is no string is not there.
    pub(super) fn mget(&mut self, args: Args<'_>, out: &mut Vec<u8>) {
        match self.find(args.at(0)) {
            Some(Entry { value: Value::Text(text), .. }) => out.bulk(text),
            _ => out.nil(),
        }
    }

    pub(super) fn set(&mut self, args: Args<'_>, out: &mut Vec<u8>) {
        let key = args.at(0);
        let mut due = NEVER;
        if args.len() > 2 {
            let options = match Options::read(args.after(2)) {
                Ok(options) => options,
                Err(error) => return out.error(error),
            };
            if options.if_there.is_some_and(|there| self.find(key).is_some() != there) {
                return out.nil();
            }
            due = options.life.map_or(NEVER, |life| self.now.saturating_add(life));
        }
        if self.put(key, args.at(1), due, out) {
            out.simple("OK");
        }
    }

    pub(super) fn mset(&mut self, args: Args<'_>, out: &mut Vec<u8>) {
        if self.put(args.at(0), args.at(1), NEVER, out) {
            out.simple("OK");
        }
    }

    /// Sets a key to a text. If there is no room for it, says so and changes nothing.
    fn put(&mut self, key: &[u8], text: &[u8], due: u64, out: &mut Vec<u8>) -> bool {
        if !self.has_room(key, text.len(), out) {
            return false;
        }
        match self.find(key) {
            Some(Entry { value: Value::Text(old), due: old_due }) => {
                let (before, moves) = (old.len(), *old_due != due);
                // What is much too large now gives its memory back.
                if old.capacity() / 4 > text.len() {
                    *old = Vec::new();
                }
                old.clear();
                old.extend_from_slice(text);
                self.resized(before, text.len());
                if moves {
                    self.set_due(key, due);
                }
                return true;
            }
            Some(_) => _ = self.remove(key),
            None => {}
        }
        self.insert(key, Value::Text(text.to_vec()));
        self.set_due(key, due);
        true
    }

    pub(super) fn append(&mut self, args: Args<'_>, out: &mut Vec<u8>) {
        let (key, more) = (args.at(0), args.at(1));
        if !self.has_room(key, more.len(), out) {
            return;
        }
        match self.find(key) {
            Some(Entry { value: Value::Text(text), .. }) if text.len() + more.len() > BULK => {
                out.error(TOO_LONG)
            }
            Some(Entry { value: Value::Text(text), .. }) => {
                text.extend_from_slice(more);
                out.integer(text.len() as i64);
                self.resized(0, more.len());
            }
            Some(_) => out.error(WRONG_TYPE),
            None => {
                self.insert(key, Value::Text(more.to_vec()));
                out.integer(more.len() as i64);
            }
        }
    }

    pub(super) fn strlen(&mut self, args: Args<'_>, out: &mut Vec<u8>) {
        match self.find(args.at(0)) {
            Some(Entry { value: Value::Text(text), .. }) => out.integer(text.len() as i64),
            Some(_) => out.error(WRONG_TYPE),
            None => out.integer(0),
        }
    }

    pub(super) fn incrby(&mut self, args: Args<'_>, out: &mut Vec<u8>) {
        match parse_integer(args.at(1)) {
            Some(by) => self.add(args.at(0), by, out),
            None => out.error(NOT_INTEGER),
        }
    }

    pub(super) fn decrby(&mut self, args: Args<'_>, out: &mut Vec<u8>) {
        match parse_integer(args.at(1)).map(i64::checked_neg) {
            Some(Some(by)) => self.add(args.at(0), by, out),
            Some(None) => out.error("ERR decrement would overflow"),
            None => out.error(NOT_INTEGER),
        }
    }

    pub(super) fn add(&mut self, key: &[u8], by: i64, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        // As for any text of twenty digits.
        if !self.has_room(key, 20, out) {
            return;
        }
        match self.find(key) {
            Some(Entry { value: Value::Text(text), .. }) => {
                let Some(value) = parse_integer(text) else { return out.error(NOT_INTEGER) };
                let Some(sum) = value.checked_add(by) else {
                    return out.error("ERR increment or decrement would overflow");
                };
                let before = text.len();
                text.clear();
                text.extend_from_slice(digits.format(sum).as_bytes());
                let after = text.len();
                self.resized(before, after);
                out.integer(sum);
            }
            Some(_) => out.error(WRONG_TYPE),
            None => {
                self.insert(key, Value::Text(digits.format(by).into()));
                out.integer(by);
            }
        }
    }
}
