//! What the answers of one visit, or the figures of all of them, come to.

use std::collections::BTreeMap;
use std::time::Duration;

use super::client::Answer;

/// The latency that so many of a hundred answers do not exceed, in microseconds.
#[must_use]
pub fn percentile(answers: &[Answer], percent: usize) -> f64 {
    let mut latencies: Vec<_> = answers.iter().map(|answer| answer.latency).collect();
    if latencies.is_empty() {
        return f64::NAN;
    }
    let place = (latencies.len() * percent / 100).min(latencies.len() - 1);
    latencies.select_nth_unstable(place).1.as_secs_f64() * 1e6
}

/// Those that came from `from` to before `to`.
#[must_use]
pub fn between(answers: &[Answer], from: Duration, to: Duration) -> &[Answer] {
    let place = |time| answers.partition_point(|answer| answer.at < time);
    &answers[place(from)..place(to).max(place(from))]
}

/// For how long, at the longest, the answers on all of the connections came from one and the same thread, in milliseconds.
/// An answer stands for the time since the one before it on its connection.
#[must_use]
pub fn longest_on_one_thread(answers: &[Answer], connections: usize) -> f64 {
    let mut last: BTreeMap<u32, u32> = BTreeMap::new();
    let (mut since, mut longest) = (None, Duration::ZERO);
    for answer in answers {
        last.insert(answer.connection, answer.thread);
        let together = last.len() == connections && last.values().all(|thread| *thread == answer.thread);
        since = together.then(|| since.unwrap_or(answer.at));
        if let Some(since) = since {
            longest = longest.max(answer.at - since);
        }
    }
    longest.as_secs_f64() * 1e3
}

/// How often the answers on a connection began to come from another thread.
#[must_use]
pub fn moves(answers: &[Answer]) -> usize {
    let mut last = BTreeMap::new();
    let changed = |answer: &&Answer| {
        last.insert(answer.connection, answer.thread).is_some_and(|thread| thread != answer.thread)
    };
    answers.iter().filter(changed).count()
}

/// How many times as many answers came from the thread with the most of them as from that with the fewest, of so many threads.
#[must_use]
pub fn largest_to_smallest(answers: &[Answer], threads: usize) -> f64 {
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    answers.iter().for_each(|answer| *counts.entry(answer.thread).or_default() += 1);
    let largest = counts.values().copied().max().unwrap_or_default();
    let smallest =
        if counts.len() < threads { 0 } else { counts.values().copied().min().unwrap_or_default() };
    f64::from(largest) / f64::from(smallest)
}

/// How long after `from` the 99th percentile of all that came until `to` was at most `limit` microseconds, in milliseconds;
/// all of the time, if it never was.
#[must_use]
pub fn back_within(answers: &[Answer], from: Duration, to: Duration, limit: f64) -> f64 {
    const STEP: Duration = Duration::from_millis(10);
    /// A hundredth of less says nothing.
    const FEWEST: usize = 500;
    let mut at = from;
    while at < to {
        let rest = between(answers, at, to);
        if rest.len() < FEWEST {
            break;
        }
        if percentile(rest, 99) <= limit {
            return (at - from).as_secs_f64() * 1e3;
        }
        at += STEP;
    }
    (to - from).as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(millis: u64, latency: u64, connection: u32, thread: u32) -> Answer {
        let (at, latency) = (Duration::from_millis(millis), Duration::from_micros(latency));
        Answer { at, latency, connection, thread }
    }

    #[test]
    fn one_slow_answer_of_a_hundred_is_the_99th_percentile() {
        let mut answers = vec![answer(0, 10, 0, 1); 99];
        answers.push(answer(0, 500, 0, 1));
        assert_eq!(percentile(&answers, 50), 10.0);
        assert_eq!(percentile(&answers, 99), 500.0);
        assert!(percentile(&[], 99).is_nan());
    }

    #[test]
    fn time_on_one_thread_begins_when_the_last_connection_comes_and_ends_when_one_leaves() {
        let mut answers =
            vec![answer(0, 1, 0, 1), answer(5, 1, 1, 1), answer(10, 1, 2, 2), answer(20, 1, 2, 1)];
        assert_eq!(longest_on_one_thread(&answers, 3), 0.0);
        answers.extend([answer(35, 1, 0, 1), answer(40, 1, 1, 2), answer(90, 1, 0, 1)]);
        assert_eq!(longest_on_one_thread(&answers, 3), 15.0);
        assert_eq!(longest_on_one_thread(&answers[..2], 3), 0.0, "the third has not been heard of");
        assert_eq!(moves(&answers), 2);
    }

    #[test]
    fn a_thread_that_answers_nothing_has_the_fewest() {
        let answers = [answer(0, 1, 0, 1), answer(0, 1, 1, 1), answer(0, 1, 2, 2)];
        assert_eq!(largest_to_smallest(&answers, 2), 2.0);
        assert_eq!(largest_to_smallest(&answers, 3), f64::INFINITY);
    }

    #[test]
    fn it_is_back_when_the_rest_is_quick() {
        // 10 a millisecond; slow from the 100th to the 150th.
        let slow = |millis| if (100..150).contains(&millis) { 900 } else { 50 };
        let answers: Vec<_> = (0..300).flat_map(|at| vec![answer(at, slow(at), 0, 1); 10]).collect();
        let (from, to) = (Duration::from_millis(100), Duration::from_millis(300));
        assert_eq!(back_within(&answers, from, to, 100.0), 50.0);
        assert_eq!(back_within(&answers, from, to, 40.0), 200.0, "never");
        assert_eq!(between(&answers, from, to).len(), 2000);
    }
}
