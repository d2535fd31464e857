//! Counts words on all cores: lines go out to the cores, words come back to one, and the totals are asked for.

use std::collections::HashMap;

use multikernel::channels::{call, mpsc, spsc};
use multikernel::{cores, spawn_local, spawn_on};

const TEXT: &str =
    "the core that sends writes\nthe core that receives reads\nand nobody else touches the line";

// ANCHOR: worker
/// Runs on each core: takes lines, sends on their words.
async fn split(mut lines: spsc::Receiver<String>, words: mpsc::Sender<String>) {
    while let Some(line) = lines.recv().await {
        for word in line.split_whitespace() {
            words.send(word.to_owned()).await.expect("the words are wanted to the end");
        }
    }
}
// ANCHOR_END: worker

// ANCHOR: owner
/// Runs on one core and owns the totals: nobody else can touch them, and anybody can be told.
async fn count(mut words: mpsc::Receiver<String>, mut questions: call::Callee<String, usize>) {
    let mut totals = HashMap::new();
    while let Some(word) = words.recv().await {
        *totals.entry(word).or_insert(0) += 1;
    }
    while let Some(question) = questions.next().await {
        let (word, reply) = question.into_parts();
        let _ = reply.send(totals.get(&word).copied().unwrap_or(0)); // fails if nobody waits for it any more
    }
}
// ANCHOR_END: owner

#[multikernel::main(cores = 3)]
async fn main() {
    // ANCHOR: wiring
    let (words, all_words) = mpsc::channel(64);
    let (mut ask, questions) = call::channel();
    spawn_local(count(all_words, questions));

    let mut out = Vec::new();
    for core in cores() {
        let (lines, its_lines) = spsc::channel(16);
        let words = words.clone();
        spawn_on(core, move || split(its_lines, words));
        out.push(lines);
    }
    drop(words); // the clones are on their cores; when the last ends, so do the words

    for (number, line) in TEXT.lines().enumerate() {
        let lines = number % out.len();
        out[lines].send(line.to_owned()).await.expect("the core takes all its lines");
    }
    drop(out);

    for word in ["the", "core", "line", "lock"] {
        let total = ask.call(word.to_owned()).await.expect("the totals are there to the end");
        println!("{word}: {total}");
    }
    // ANCHOR_END: wiring
}
