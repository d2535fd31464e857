//! Commands on keys, whatever their values.

use super::codec::Args;
use super::reply::{NOT_INTEGER, Reply, parse_integer};
use super::store::{NEVER, Store, Value};
use super::verb::Verb;

impl Store {
    pub(super) fn del(&mut self, args: Args<'_>, out: &mut Vec<u8>) {
        let is_there = self.find(args.at(0)).is_some();
        out.integer(i64::from(is_there && self.remove(args.at(0))));
    }

    pub(super) fn exists(&mut self, args: Args<'_>, out: &mut Vec<u8>) {
        out.integer(i64::from(self.find(args.at(0)).is_some()));
    }

    /// `EXPIRE` and `PEXPIRE`. A time that has come removes the key.
    pub(super) fn expire(&mut self, verb: Verb, args: Args<'_>, unit: i64, out: &mut Vec<u8>) {
        let key = args.at(0);
        let Some(life) = parse_integer(args.at(1)) else { return out.error(NOT_INTEGER) };
        if let Some(option) = args.iter().nth(2) {
            return out.error(&format!("ERR Unsupported option {}", option.escape_ascii()));
        }
        let now = self.now as i64;
        let Some(due) = life.checked_mul(unit).and_then(|life| life.checked_add(now)) else {
            return out.error(&format!("ERR invalid expire time in '{}' command", verb.name()));
        };
        let is_there = self.find(key).is_some();
        if is_there && due <= now {
            self.remove(key);
        } else if is_there {
            self.set_due(key, due as u64);
        }
        out.integer(i64::from(is_there));
    }

    pub(super) fn ttl(&mut self, args: Args<'_>, unit: u64, out: &mut Vec<u8>) {
        let now = self.now;
        out.integer(match self.find(args.at(0)) {
            None => -2,
            Some(entry) if entry.due == NEVER => -1,
            Some(entry) => ((entry.due - now + unit / 2) / unit) as i64,
        });
    }

    pub(super) fn persist(&mut self, args: Args<'_>, out: &mut Vec<u8>) {
        let has_limit = self.find(args.at(0)).is_some_and(|entry| entry.due != NEVER);
        if has_limit {
            self.set_due(args.at(0), NEVER);
        }
        out.integer(i64::from(has_limit));
    }

    pub(super) fn kind(&mut self, args: Args<'_>, out: &mut Vec<u8>) {
        out.simple(match self.find(args.at(0)).map(|entry| &entry.value) {
            None => "none",
            Some(Value::Text(_)) => "string",
            Some(Value::List(_)) => "list",
        });
    }
}
