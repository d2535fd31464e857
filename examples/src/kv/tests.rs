//! The parts together, without a socket.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use proptest::prelude::*;
use tokio_util::codec::Decoder;

use super::codec::{Batch, DecodeError, Nonsense, Resp};
use super::plan::Plan;
use super::session::Session;
use super::store::Store;
use super::verb::{Reach, Verb};

const SESSION: Session = Session { id: 7, listens: false, clients: 1, memory: 1 << 30, uptime: 3 };

/// A server of one core, or of several, to be asked in words.
pub(super) struct Server {
    pub(super) store: Store,
    others: Vec<Store>,
}

impl Server {
    pub(super) fn new() -> Self {
        Self::of(1)
    }

    fn of(cores: usize) -> Self {
        let store = || Store::new(1 << 30);
        Self { store: store(), others: (1..cores).map(|_| store()).collect() }
    }

    /// What it replies to a line.
    pub(super) fn ask(&mut self, line: &str) -> String {
        let batches = decoded(&[format!("{line}\r\n").as_bytes()]).unwrap();
        String::from_utf8(self.answer(batches)).unwrap()
    }

    fn answer(&mut self, batches: Vec<Batch>) -> Vec<u8> {
        let mut out = Vec::new();
        let slots = 1 + self.others.len();
        for batch in batches.into_iter().map(Arc::new) {
            let mut plan = Plan::new(batch.clone(), slots);
            for number in 0..batch.len() {
                match SESSION.admit(batch.request(number)) {
                    Err(error) => plan.say(|out| super::reply::Reply::error(out, &error)),
                    Ok(verb) if verb.reach() == Reach::Session => {
                        plan.say(|out| SESSION.answer(verb, batch.request(number).after(1), out));
                    }
                    Ok(verb) => plan
                        .ask(verb, number, |key| key.iter().map(|b| usize::from(*b)).sum::<usize>() % slots),
                }
            }
            while !plan.write(&mut out) {
                let errands: Vec<_> = plan.errands().collect();
                assert!(!errands.is_empty(), "nothing to write and nothing to do");
                for (slot, mut errand) in errands {
                    let now = self.store.now;
                    let store = if slot == 0 { &mut self.store } else { &mut self.others[slot - 1] };
                    errand.run(store, now);
                    plan.give_back(slot, errand);
                }
            }
        }
        out
    }
}

/// Decodes what arrives in these pieces.
fn decoded(pieces: &[&[u8]]) -> Result<Vec<Batch>, Nonsense> {
    let (mut source, mut batches) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        source.extend_from_slice(piece);
        loop {
            match Resp.decode(&mut source) {
                Ok(Some(batch)) => batches.push(batch),
                Ok(None) => break,
                Err(DecodeError::Protocol(nonsense)) => return Err(nonsense),
                Err(DecodeError::Io(error)) => panic!("{error}"),
            }
        }
    }
    Ok(batches)
}

fn requests(batches: &[Batch]) -> Vec<Vec<Vec<u8>>> {
    let requests = batches.iter().flat_map(|batch| (0..batch.len()).map(|number| batch.request(number)));
    requests.map(|request| request.iter().map(<[u8]>::to_vec).collect()).collect()
}

fn encoded(request: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    super::reply::Reply::array(&mut out, request.len());
    request.iter().for_each(|arg| super::reply::Reply::bulk(&mut out, arg));
    out
}

/// Cuts bytes at the places given.
fn cut<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    places.push(bytes.len());
    let mut start = 0;
    places.into_iter().map(|end| &bytes[std::mem::replace(&mut start, end)..end]).collect()
}

/// A few keys, so that commands meet.
fn command() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let names = [
        "GET", "SET", "DEL", "EXISTS", "INCR", "DECRBY", "APPEND", "MGET", "MSET", "STRLEN", "LPUSH",
        "RPUSH", "LPOP", "RPOP", "LRANGE", "LLEN", "EXPIRE", "TTL", "PERSIST", "TYPE", "DBSIZE", "FLUSHALL",
        "PING", "ECHO", "NONE",
    ];
    let word = prop_oneof![
        4 => "[a-e]",
        2 => "(-?[0-9]|10|9223372036854775807)",
        1 => "(NX|XX|EX|PX)",
    ];
    let words = prop::collection::vec(word, 0..5);
    let name = (0..names.len() * 20).prop_map(move |pick| {
        // Everything is forgotten less often.
        let name = names[pick % names.len()];
        if name == "FLUSHALL" && pick > names.len() { "SET" } else { name }
    });
    (name, words).prop_map(|(name, words)| {
        std::iter::once(name.to_owned()).chain(words).map(String::into_bytes).collect()
    })
}

proptest! {
    #[test]
    fn however_bytes_arrive_they_mean_the_same(
        sent in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6), 1..20),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let bytes: Vec<_> = sent.iter().flat_map(|request| encoded(request)).collect();
        let batches = decoded(&cut(&bytes, &places)).unwrap();
        prop_assert_eq!(requests(&batches), sent);
    }

    #[test]
    fn however_nonsense_arrives_it_is_told_apart_at_the_same_place(
        bytes in prop::collection::vec(prop::sample::select(b"*$0123-\r\nab \"".to_vec()), 0..60),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let whole = decoded(&[&bytes]).map(|batches| requests(&batches));
        let parts = decoded(&cut(&bytes, &places)).map(|batches| requests(&batches));
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn many_cores_answer_as_one_does(
        sent in prop::collection::vec(command(), 1..60),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        cores in 2_usize..6,
    ) {
        let bytes: Vec<_> = sent.iter().flat_map(|request| encoded(request)).collect();
        let one = Server::of(1).answer(decoded(&[&bytes]).unwrap());
        let many = Server::of(cores).answer(decoded(&cut(&bytes, &places)).unwrap());
        prop_assert_eq!(String::from_utf8_lossy(&one), String::from_utf8_lossy(&many));
    }
}

#[test]
fn what_comes_before_nonsense_is_answered_first() {
    let mut source = BytesMut::from(&b"PING\r\n\r\n*0\r\n*1\r\n$4\r\nPING\r\n*1\r\n+4\r\n"[..]);
    let batch = Resp.decode(&mut source).unwrap().unwrap();
    assert_eq!(batch.len(), 2);
    let Err(DecodeError::Protocol(nonsense)) = Resp.decode(&mut source) else { panic!("it is nonsense") };
    assert_eq!(nonsense, Nonsense::NoBulk(b'+'));
}

#[test]
fn what_is_too_large_is_refused_before_it_arrives() {
    let cases: [(&[u8], Nonsense); 7] = [
        (b"*65537\r\n", Nonsense::Count),
        (b"*x\r\n", Nonsense::Count),
        (b"*1\r\n$16777217\r\n", Nonsense::Length),
        (b"*1\r\n$-1\r\n", Nonsense::Length),
        (b"*00000000000000000000000000000000000", Nonsense::CountLine),
        (b"*1\r\n$0000000000000000000000000000000000", Nonsense::LengthLine),
        (&[b'x'; 64 << 10], Nonsense::Inline),
    ];
    for (bytes, nonsense) in cases {
        assert_eq!(decoded(&[bytes]).map(|batches| requests(&batches)), Err(nonsense));
    }
}

#[test]
fn a_batch_is_bounded_and_loses_nothing() {
    let bytes = b"PING\r\n".repeat(super::BATCH * 2 + 1);
    let lengths: Vec<_> = decoded(&[&bytes]).unwrap().iter().map(Batch::len).collect();
    assert_eq!(lengths, [super::BATCH, super::BATCH, 1]);
}

#[test]
fn answers_of_many_bytes_come_in_portions_and_in_order() {
    let mut server = Server::of(3);
    let value = "x".repeat(super::ANSWERS / 2);
    for key in ["a", "b", "c"] {
        server.ask(&format!("APPEND {key} {}", &value[..60_000]));
        for _ in 0..8 {
            server.ask(&format!("APPEND {key} {}", &value[..60_000]));
        }
    }
    let keys: VecDeque<_> = ["a", "b", "c", "none"].into_iter().cycle().take(40).collect();
    let asked: String = keys.iter().map(|key| format!("GET {key}\r\n")).collect();
    let replies = server.answer(decoded(&[asked.as_bytes()]).unwrap());
    let expected: Vec<u8> = keys
        .iter()
        .flat_map(|key| {
            if *key == "none" {
                b"$-1\r\n".to_vec()
            } else {
                [b"$540000\r\n", &value.as_bytes()[..0]].concat()
            }
        })
        .collect();
    let without_values: Vec<u8> = replies.split(|byte| *byte == b'x').flat_map(<[u8]>::to_vec).collect();
    let without_ends = String::from_utf8(without_values).unwrap().replace("540000\r\n\r\n", "540000\r\n");
    assert_eq!(without_ends.as_bytes(), expected);
    assert_eq!(replies.iter().filter(|byte| **byte == b'x').count(), 30 * 540_000);
}

#[test]
fn a_command_is_refused_as_redis_does_it() {
    let mut server = Server::new();
    let cases = [
        ("GET", "-ERR wrong number of arguments for 'get' command\r\n"),
        ("foo a b", "-ERR unknown command 'foo', with args beginning with: 'a' 'b' \r\n"),
        ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command\r\n"),
        ("SELECT 1", "-ERR DB index is out of range\r\n"),
        ("HELLO 3", "-NOPROTO unsupported protocol version\r\n"),
        ("SET a b EX", "-ERR syntax error\r\n"),
        ("SET a b NX XX", "-ERR syntax error\r\n"),
        ("SET a b EX 0", "-ERR invalid expire time in 'set' command\r\n"),
        ("SET a b PX x", "-ERR value is not an integer or out of range\r\n"),
    ];
    for (asked, reply) in cases {
        assert_eq!(server.ask(asked), reply);
    }
    let listens = Session { listens: true, ..SESSION };
    let batches = decoded(&[b"GET a\r\nPING\r\n"]).unwrap();
    assert!(listens.admit(batches[0].request(0)).unwrap_err().starts_with("ERR Can't execute 'get': only"));
    assert_eq!(listens.admit(batches[0].request(1)), Ok(Verb::Ping));
}
