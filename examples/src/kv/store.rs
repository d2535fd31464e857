//! The keys and values of one core.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::codec::Args;
use super::key::Key;
use super::pubsub::Listeners;
use super::reply::{OUT_OF_MEMORY, Reply};
use super::verb::Verb;

/// A time that never comes. Times are milliseconds since the server began.
pub(super) const NEVER: u64 = u64::MAX;

/// What an entry takes beside its key and its value, about.
const OVERHEAD: usize = 96;
/// What an element of a list takes beside its bytes.
const ELEMENT: usize = size_of::<Box<[u8]>>();

#[derive(Debug)]
#[expect(clippy::box_collection, reason = "a deque is twice as large as a text, and there are more of those")]
pub(super) enum Value {
    Text(Vec<u8>),
    /// Never empty. Boxed, so that an entry fits a cache line.
    List(Box<VecDeque<Box<[u8]>>>),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) value: Value,
    /// When it is no longer there.
    pub(super) due: u64,
}

const _: () = assert!(size_of::<(Key, Entry)>() <= 64);

/// The keys and values of one core, and who listens to its channels. Needs no lock: only that core has it.
#[derive(Debug)]
pub struct Store {
    pub(super) entries: HashMap<Key, Entry>,
    /// Those that are due at some time.
    dues: BTreeSet<(u64, Key)>,
    /// The first of these times, or [`NEVER`].
    first_due: u64,
    pub(super) now: u64,
    memory: usize,
    limit: usize,
    /// Who listens.
    pub listeners: Listeners,
}

impl Value {
    fn memory(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::List(list) => list.iter().map(|element| element.len() + ELEMENT).sum(),
        }
    }
}

/// What an element takes in memory.
pub(super) fn element(bytes: &[u8]) -> usize {
    bytes.len() + ELEMENT
}

impl Store {
    /// An empty one, which holds about so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            entries: HashMap::new(),
            dues: BTreeSet::new(),
            first_due: NEVER,
            now: 0,
            memory: 0,
            limit,
            listeners: Listeners::default(),
        }
    }

    /// Says what time it is. It does not run backwards.
    pub fn set_time(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// Does what a command says, and writes one reply. The arguments are those after its name.
    pub fn run(&mut self, verb: Verb, args: Args<'_>, out: &mut Vec<u8>) {
        match verb {
            Verb::Get => self.get(args, out),
            Verb::Set => self.set(args, out),
            Verb::MGet => self.mget(args, out),
            Verb::MSet => self.mset(args, out),
            Verb::Append => self.append(args, out),
            Verb::StrLen => self.strlen(args, out),
            Verb::Incr => self.add(args.at(0), 1, out),
            Verb::Decr => self.add(args.at(0), -1, out),
            Verb::IncrBy => self.incrby(args, out),
            Verb::DecrBy => self.decrby(args, out),
            Verb::LPush | Verb::RPush => self.push(verb, args, out),
            Verb::LPop | Verb::RPop => self.pop(verb, args, out),
            Verb::LRange => self.lrange(args, out),
            Verb::LLen => self.llen(args, out),
            Verb::Del => self.del(args, out),
            Verb::Exists => self.exists(args, out),
            Verb::Expire => self.expire(verb, args, 1000, out),
            Verb::PExpire => self.expire(verb, args, 1, out),
            Verb::Ttl => self.ttl(args, 1000, out),
            Verb::PTtl => self.ttl(args, 1, out),
            Verb::Persist => self.persist(args, out),
            Verb::Type => self.kind(args, out),
            Verb::DbSize => {
                self.remove_due(usize::MAX);
                out.integer(self.entries.len() as i64);
            }
            Verb::FlushAll => self.flush(out),
            Verb::Publish => out.integer(self.listeners.publish(args.at(0), args.at(1)) as i64),
            _ => out.error("ERR no core has to do with this command"),
        }
    }

    /// Removes what is due, at most so many. Says whether there may be more.
    pub fn remove_due(&mut self, most: usize) -> bool {
        for _ in 0..most {
            if self.first_due > self.now {
                return false;
            }
            let (_, key) = self.dues.pop_first().expect("the first is due");
            self.entries.remove(&key).into_iter().for_each(|entry| self.forget(&key, &entry));
            self.look_up_first_due();
        }
        true
    }

    /// The entry of a key, if there is one and its time has not come.
    #[inline]
    pub(super) fn find(&mut self, key: &[u8]) -> Option<&mut Entry> {
        // Before the first is due none is, and there is nothing to look at.
        if self.first_due <= self.now && self.entries.get(key).is_some_and(|entry| entry.due <= self.now) {
            self.remove(key);
        }
        self.entries.get_mut(key)
    }

    /// Removes an entry. Says whether it was there.
    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        let Some((key, entry)) = self.entries.remove_entry(key) else { return false };
        self.forget(&key, &entry);
        self.set_due_of(key, entry.due, NEVER);
        true
    }

    /// Adds an entry where there is none. What it needs has been asked of [`has_room`](Self::has_room).
    pub(super) fn insert(&mut self, key: &[u8], value: Value) {
        self.memory += key.len() + value.memory() + OVERHEAD;
        self.entries.insert(key.into(), Entry { value, due: NEVER });
    }

    /// Changes when an entry is due.
    pub(super) fn set_due(&mut self, key: &[u8], due: u64) {
        let entry = self.entries.get_mut(key).expect("the caller has found it");
        let before = std::mem::replace(&mut entry.due, due);
        if before != due {
            self.set_due_of(key.into(), before, due);
        }
    }

    fn set_due_of(&mut self, key: Key, before: u64, due: u64) {
        if before == NEVER && due == NEVER {
            return;
        }
        let mut place = (before, key);
        self.dues.remove(&place);
        if due != NEVER {
            place.0 = due;
            self.dues.insert(place);
        }
        self.look_up_first_due();
    }

    fn look_up_first_due(&mut self) {
        self.first_due = self.dues.first().map_or(NEVER, |(due, _)| *due);
    }

    /// Whether so many bytes more may be kept. If not, the reply says so.
    #[inline]
    pub(super) fn has_room(&self, key: &[u8], bytes: usize, out: &mut Vec<u8>) -> bool {
        let has = self.memory + key.len() + bytes + OVERHEAD <= self.limit;
        if !has {
            out.error(OUT_OF_MEMORY);
        }
        has
    }

    /// A value has grown, or shrunk.
    #[inline]
    pub(super) fn resized(&mut self, before: usize, after: usize) {
        self.memory = self.memory + after - before;
    }

    fn forget(&mut self, key: &[u8], entry: &Entry) {
        self.memory -= key.len() + entry.value.memory() + OVERHEAD;
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        self.entries = HashMap::new();
        self.dues = BTreeSet::new();
        self.first_due = NEVER;
        self.memory = 0;
        out.simple("OK");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Server;
    use super::*;

    #[test]
    fn what_is_due_is_gone_at_that_moment_and_not_before() {
        let mut server = Server::new();
        assert_eq!(server.ask("SET a 1 PX 100"), "+OK\r\n");
        server.store.set_time(99);
        assert_eq!(server.ask("GET a"), "$1\r\n1\r\n");
        assert_eq!(server.ask("PTTL a"), ":1\r\n");
        server.store.set_time(100);
        assert_eq!(server.ask("GET a"), "$-1\r\n");
        assert_eq!(server.ask("PTTL a"), ":-2\r\n");
        assert_eq!(server.ask("SET a 2"), "+OK\r\n");
        assert_eq!(server.ask("TTL a"), ":-1\r\n");
    }

    #[test]
    fn what_nobody_asks_for_is_removed_in_portions() {
        let mut server = Server::new();
        for key in 0..10 {
            server.ask(&format!("SET {key} x PX {}", 10 + key));
        }
        server.ask("SET keep x");
        server.store.set_time(17);
        assert!(server.store.remove_due(5));
        assert_eq!(server.store.entries.len(), 6);
        assert!(!server.store.remove_due(5), "there were only three more");
        assert_eq!(server.store.entries.len(), 3);
        assert_eq!(server.store.dues.len(), 2);
    }

    #[test]
    fn a_time_limit_can_be_moved_and_lifted() {
        let mut server = Server::new();
        server.ask("SET a 1 EX 10");
        assert_eq!(server.ask("PEXPIRE a 500"), ":1\r\n");
        assert_eq!(server.ask("PERSIST a"), ":1\r\n");
        assert_eq!(server.ask("PERSIST a"), ":0\r\n");
        server.store.set_time(1_000_000);
        assert_eq!(server.ask("GET a"), "$1\r\n1\r\n");
        assert!(server.store.dues.is_empty());
        assert_eq!(server.ask("EXPIRE a 0"), ":1\r\n");
        assert_eq!(server.ask("EXISTS a"), ":0\r\n");
        assert_eq!(server.ask("EXPIRE a 10"), ":0\r\n");
    }

    #[test]
    fn memory_is_counted_and_bounded() {
        let mut server = Server::new();
        let ask = [
            "SET a 12345",
            "SET a 1",
            "APPEND a 2345678",
            "SET b x PX 5",
            "RPUSH l one two three",
            "LPOP l",
            "INCR n",
            "SET l text",
            "RPUSH l2 a b",
            "LPOP l2 2",
            "DEL a",
            "SET b y",
            "PEXPIRE b 1",
        ];
        for text in ask {
            server.ask(text);
            let counted = |(key, entry): (&Key, &Entry)| key.len() + entry.value.memory() + OVERHEAD;
            let sum: usize = server.store.entries.iter().map(counted).sum();
            assert_eq!(server.store.memory, sum, "after {text}");
        }
        server.store.set_time(5);
        server.store.remove_due(9);
        assert_eq!(server.ask("DBSIZE"), ":2\r\n");
        server.store.limit = server.store.memory + OVERHEAD + 2;
        assert_eq!(server.ask("SET x 12"), format!("-{OUT_OF_MEMORY}\r\n"));
        assert_eq!(server.ask("SET x 1"), "+OK\r\n");
        assert_eq!(server.ask("RPUSH y 1"), format!("-{OUT_OF_MEMORY}\r\n"));
        assert_eq!(server.ask("APPEND x 1"), format!("-{OUT_OF_MEMORY}\r\n"));
        assert_eq!(server.ask("FLUSHALL"), "+OK\r\n");
        assert_eq!(server.store.memory, 0);
    }
}
