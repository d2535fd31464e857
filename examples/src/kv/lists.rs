//! Commands on lists.

use std::collections::VecDeque;
use std::ops::Range;

use super::codec::Args;
use super::reply::{NOT_INTEGER, Reply, WRONG_TYPE, parse_integer};
use super::store::{Entry, Store, Value, element};
use super::verb::Verb;

impl Store {
    /// `LPUSH` and `RPUSH`.
    pub(super) fn push(&mut self, verb: Verb, args: Args<'_>, out: &mut Vec<u8>) {
        let (key, elements) = (args.at(0), args.after(1));
        let bytes = elements.iter().map(element).sum();
        if !self.has_room(key, bytes, out) {
            return;
        }
        let add = |list: &mut VecDeque<Box<[u8]>>| {
            for element in elements.iter() {
                match verb {
                    Verb::LPush => list.push_front(element.into()),
                    _ => list.push_back(element.into()),
                }
            }
            list.len() as i64
        };
        match self.find(key) {
            Some(Entry { value: Value::List(list), .. }) => {
                out.integer(add(list));
                self.resized(0, bytes);
            }
            Some(_) => out.error(WRONG_TYPE),
            None => {
                let mut list = VecDeque::new();
                out.integer(add(&mut list));
                self.insert(key, Value::List(Box::new(list)));
            }
        }
    }

    /// `LPOP` and `RPOP`: one element, or an array of at most so many.
    pub(super) fn pop(&mut self, verb: Verb, args: Args<'_>, out: &mut Vec<u8>) {
        let key = args.at(0);
        let most = match args.iter().nth(1).map(|count| parse_integer(count).map(usize::try_from)) {
            None => None,
            Some(Some(Ok(most))) => Some(most),
            Some(_) => return out.error("ERR value is out of range, must be positive"),
        };
        let list = match self.find(key) {
            Some(Entry { value: Value::List(list), .. }) => list,
            Some(_) => return out.error(WRONG_TYPE),
            None if most.is_some() => return out.nil_array(),
            None => return out.nil(),
        };
        let count = most.map_or(1, |most| most.min(list.len()));
        if most.is_some() {
            out.array(count);
        }
        let mut bytes = 0;
        for _ in 0..count {
            let taken = if verb == Verb::LPop { list.pop_front() } else { list.pop_back() };
            let taken = taken.expect("it has that many");
            bytes += element(&taken);
            out.bulk(&taken);
        }
        let is_empty = list.is_empty();
        self.resized(bytes, 0);
        if is_empty {
            self.remove(key);
        }
    }

    pub(super) fn lrange(&mut self, args: Args<'_>, out: &mut Vec<u8>) {
        let (Some(first), Some(last)) = (parse_integer(args.at(1)), parse_integer(args.at(2))) else {
            return out.error(NOT_INTEGER);
        };
        match self.find(args.at(0)) {
            Some(Entry { value: Value::List(list), .. }) => {
                let range = range(first, last, list.len());
                out.array(range.len());
                list.range(range).for_each(|element| out.bulk(element));
            }
            Some(_) => out.error(WRONG_TYPE),
            None => out.array(0),
        }
    }

    pub(super) fn llen(&mut self, args: Args<'_>, out: &mut Vec<u8>) {
        match self.find(args.at(0)) {
            Some(Entry { value: Value::List(list), .. }) => out.integer(list.len() as i64),
            Some(_) => out.error(WRONG_TYPE),
            None => out.integer(0),
        }
    }
}

/// The elements from the first to the last, both included. Negative ones count from the end.
fn range(first: i64, last: i64, length: usize) -> Range<usize> {
    let length = length as i64;
    let from_start = |place: i64| if place < 0 { place.saturating_add(length) } else { place };
    let start = from_start(first).clamp(0, length);
    let end = from_start(last).saturating_add(1).clamp(start, length);
    start as usize..end as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_what_there_is() {
        let cases = [
            ((0, -1), 0..3),
            ((1, 1), 1..2),
            ((-2, -1), 1..3),
            ((-9, 9), 0..3),
            ((2, 1), 2..2),
            ((5, 9), 3..3),
            ((0, -4), 0..0),
            ((i64::MIN, i64::MAX), 0..3),
            ((i64::MAX, i64::MIN), 3..3),
        ];
        for ((first, last), expected) in cases {
            assert_eq!(range(first, last, 3), expected, "{first} {last}");
        }
    }
}
