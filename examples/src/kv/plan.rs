//! What a batch of requests asks of which core, and how the answers become replies again.

use std::mem;
use std::sync::Arc;

use super::ANSWERS;
use super::codec::{Args, Batch};
use super::reply::{Reply, parse_integer};
use super::store::Store;
use super::verb::{Reach, Verb};

/// A short answer has about so many bytes.
const LIKELY_ANSWER: usize = 32;

/// The way from requests to replies, in the order of the requests.
#[derive(Debug)]
pub struct Plan {
    batch: Arc<Batch>,
    errands: Vec<Errand>,
    steps: Vec<Step>,
    /// The first step that is not done.
    step: usize,
    /// Replies that need no core.
    said: Vec<u8>,
    /// How many of them have been written.
    said_written: usize,
    /// What [`Step::Count`] has added up.
    total: i64,
    /// The first error that [`Step::Check`] has met.
    error: Option<Vec<u8>>,
}

/// What one core has to do of a batch. It goes there and comes back with answers.
#[derive(Debug, Default)]
pub struct Errand {
    batch: Option<Arc<Batch>>,
    pieces: Vec<Piece>,
    /// How many pieces are done.
    done: usize,
    answers: Vec<u8>,
    /// Where each answer ends.
    ends: Vec<u32>,
    /// How many answers have been taken.
    taken: usize,
}

/// A command on one key.
#[derive(Clone, Copy, Debug)]
struct Piece {
    verb: Verb,
    /// Its arguments, counted from the first of the batch.
    from: u32,
    to: u32,
}

/// How the next bytes of the replies come about.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many bytes that were said without a core.
    Say(usize),
    /// The next so many answers of a core.
    Copy { slot: usize, count: usize },
    /// The next answer of a core is a number to add.
    Count { slot: usize },
    /// The sum of the numbers.
    Total,
    /// The next answer of a core is nothing new, or an error.
    Check { slot: usize },
    /// The first of these errors, or that there was none.
    Verdict,
}

impl Errand {
    /// Does the pieces that are left, with the state of the core they are for, at a certain time. Stops early when there are
    /// many bytes of answers.
    pub fn run(&mut self, store: &mut Store, now: u64) {
        store.set_time(now);
        self.answers.clear();
        self.ends.clear();
        self.taken = 0;
        let Some(batch) = &self.batch else { return };
        // Room at once for answers that are short.
        let left = self.pieces.len() - self.done;
        self.ends.reserve(left);
        self.answers.reserve(left * LIKELY_ANSWER);
        while let Some(piece) = self.pieces.get(self.done).filter(|_| self.answers.len() < ANSWERS) {
            store.run(piece.verb, batch.args(piece.from, piece.to), &mut self.answers);
            self.ends.push(self.answers.len() as u32);
            self.done += 1;
        }
    }

    fn waits(&self) -> bool {
        self.taken == self.ends.len() && self.done < self.pieces.len()
    }

    /// The next answers, at most so many, and how many they are.
    fn take(&mut self, most: usize) -> (&[u8], usize) {
        let count = most.min(self.ends.len() - self.taken);
        let start = if self.taken == 0 { 0 } else { self.ends[self.taken - 1] as usize };
        self.taken += count;
        let end = if self.taken == 0 { 0 } else { self.ends[self.taken - 1] as usize };
        (&self.answers[start..end], count)
    }

    fn take_one(&mut self) -> Option<&[u8]> {
        let (answer, count) = self.take(1);
        (count == 1).then_some(answer)
    }
}

impl Plan {
    /// Nothing yet, for a batch and so many cores.
    #[must_use]
    pub fn new(batch: Arc<Batch>, slots: usize) -> Self {
        let errand = || Errand { batch: Some(batch.clone()), ..Errand::default() };
        Self {
            errands: (0..slots).map(|_| errand()).collect(),
            batch,
            steps: Vec::new(),
            step: 0,
            said: Vec::new(),
            said_written: 0,
            total: 0,
            error: None,
        }
    }

    /// A reply that needs no core.
    pub fn say(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.said.len();
        write(&mut self.said);
        let more = self.said.len() - before;
        match self.steps[self.step..].last_mut() {
            Some(Step::Say(bytes)) => *bytes += more,
            _ => self.steps.push(Step::Say(more)),
        }
    }

    /// A request that cores see to. `slot_of` says which one owns a key.
    pub fn ask(&mut self, verb: Verb, number: usize, slot_of: impl Fn(&[u8]) -> usize) {
        let batch = Arc::clone(&self.batch);
        let (from, args) = (batch.first(number) + 1, batch.request(number).after(1));
        let to = from + args.len() as u32;
        match verb.reach() {
            Reach::Key => self.copy(slot_of(args.at(0)), Piece { verb, from, to }),
            Reach::Keys if verb == Verb::MGet => self.ask_for_values(from, args, slot_of),
            Reach::Keys if args.len() == 1 => self.copy(slot_of(args.at(0)), Piece { verb, from, to }),
            Reach::Keys => {
                for (from, key) in (from..).zip(args.iter()) {
                    let slot = self.give(slot_of(key), Piece { verb, from, to: from + 1 });
                    self.steps.push(Step::Count { slot });
                }
                self.steps.push(Step::Total);
            }
            Reach::Pairs => {
                for (from, key) in (from..).zip(args.iter()).step_by(2) {
                    let slot = self.give(slot_of(key), Piece { verb, from, to: from + 2 });
                    self.steps.push(Step::Check { slot });
                }
                self.steps.push(Step::Verdict);
            }
            Reach::Every => {
                for slot in 0..self.errands.len() {
                    self.give(slot, Piece { verb, from, to });
                    let is_count = verb == Verb::DbSize;
                    self.steps.push(if is_count { Step::Count { slot } } else { Step::Check { slot } });
                }
                self.steps.push(if verb == Verb::DbSize { Step::Total } else { Step::Verdict });
            }
            Reach::Session => self.say(|out| out.error("ERR no core has to do with this command")),
        }
    }

    fn ask_for_values(&mut self, from: u32, keys: Args<'_>, slot_of: impl Fn(&[u8]) -> usize) {
        self.say(|out| out.array(keys.len()));
        for (from, key) in (from..).zip(keys.iter()) {
            self.copy(slot_of(key), Piece { verb: Verb::MGet, from, to: from + 1 });
        }
    }

    fn give(&mut self, slot: usize, piece: Piece) -> usize {
        let pieces = &mut self.errands[slot].pieces;
        if pieces.capacity() == 0 {
            pieces.reserve(self.batch.len());
        }
        pieces.push(piece);
        slot
    }

    fn copy(&mut self, slot: usize, piece: Piece) {
        self.give(slot, piece);
        match self.steps[self.step..].last_mut() {
            Some(Step::Copy { slot: last, count }) if *last == slot => *count += 1,
            _ => self.steps.push(Step::Copy { slot, count: 1 }),
        }
    }

    /// The errands that have to go to their cores before more can be written. Each must come
    /// [back](Self::give_back) before that.
    pub fn errands(&mut self) -> impl Iterator<Item = (usize, Errand)> {
        let waiting = self.errands.iter_mut().enumerate().filter(|(_, errand)| errand.waits());
        waiting.map(|(slot, errand)| (slot, mem::take(errand)))
    }

    /// An errand is back from its core.
    pub fn give_back(&mut self, slot: usize, errand: Errand) {
        self.errands[slot] = errand;
    }

    /// Writes what is known of the replies. Says whether that was all; otherwise there are errands.
    pub fn write(&mut self, out: &mut Vec<u8>) -> bool {
        while let Some(step) = self.steps.get_mut(self.step) {
            match step {
                Step::Say(bytes) => {
                    let end = self.said_written + *bytes;
                    out.extend_from_slice(&self.said[self.said_written..end]);
                    self.said_written = end;
                }
                Step::Copy { slot, count } => {
                    let (answers, taken) = self.errands[*slot].take(*count);
                    out.extend_from_slice(answers);
                    *count -= taken;
                    if *count > 0 {
                        return false;
                    }
                }
                Step::Count { slot } => {
                    let Some(answer) = self.errands[*slot].take_one() else { return false };
                    self.total += parse_integer(&answer[1..answer.len() - 2]).expect("counts are numbers");
                }
                Step::Total => out.integer(mem::take(&mut self.total)),
                Step::Check { slot } => {
                    let Some(answer) = self.errands[*slot].take_one() else { return false };
                    if answer[0] == b'-' && self.error.is_none() {
                        self.error = Some(answer.to_vec());
                    }
                }
                Step::Verdict => match self.error.take() {
                    Some(error) => out.extend_from_slice(&error),
                    None => out.simple("OK"),
                },
            }
            self.step += 1;
        }
        true
    }
}
