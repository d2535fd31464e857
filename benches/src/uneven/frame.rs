//! What is said on a connection: how much to compute, and who has.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Bytes of a request, and of its answer: rounds to compute, the connection, the request, and the thread that answered,
/// in that order, four bytes each.
pub const LEN: usize = 16;

/// A request or an answer as it travels.
pub type Frame = [u8; LEN];

/// Request `number` of `connection`, which costs so many rounds.
#[must_use]
pub fn request(rounds: u32, connection: u32, number: u32) -> Frame {
    let mut frame = [0; LEN];
    for (place, value) in frame.chunks_exact_mut(4).zip([rounds, connection, number]) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    frame
}

/// Computes what `frame` asks for, and makes it the answer.
pub fn answer(frame: &mut Frame) {
    let rounds = u32::from_le_bytes(frame[..4].try_into().expect("four bytes"));
    compute(rounds);
    frame[12..].copy_from_slice(&this_thread().to_le_bytes());
}

/// Which thread of its process answered `request`. Nothing if it is not an answer to it.
#[must_use]
pub fn answered_by(request: &Frame, answer: &Frame) -> Option<u32> {
    let thread = u32::from_le_bytes(answer[12..].try_into().expect("four bytes"));
    (request[..12] == answer[..12] && thread > 0).then_some(thread)
}

/// How many rounds take `time` on this machine now.
#[must_use]
pub fn rounds_in(time: Duration) -> u32 {
    const ROUNDS: u32 = 1_000_000;
    // The shortest: whatever else happened made the others longer.
    let measure = |_| {
        let start = Instant::now();
        compute(ROUNDS);
        start.elapsed()
    };
    let once = (0..20).map(measure).min().expect("there are twenty");
    (f64::from(ROUNDS) * time.as_secs_f64() / once.as_secs_f64()) as u32
}

fn compute(rounds: u32) {
    let mut state = u64::from(rounds);
    for _ in 0..rounds {
        state = black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

/// Numbers from 1, in the order in which threads answer first.
fn this_thread() -> u32 {
    static THREADS: AtomicU32 = AtomicU32::new(1);
    thread_local! {
        static NUMBER: Cell<u32> = const { Cell::new(0) };
    }
    NUMBER.with(|number| {
        if number.get() == 0 {
            // Relaxed: nothing but the number is shared.
            number.set(THREADS.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_who_gave_it_and_to_what() {
        let asked = request(3, 4, 5);
        let mut frame = asked;
        assert_eq!(answered_by(&asked, &frame), None, "nobody has answered");
        answer(&mut frame);
        let here = answered_by(&asked, &frame).unwrap();
        assert_eq!(answered_by(&request(3, 4, 6), &frame), None, "the answer to another request");
        let mut again = asked;
        std::thread::spawn(move || {
            answer(&mut again);
            assert_ne!(answered_by(&asked, &again).unwrap(), here);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn twice_the_time_is_twice_the_rounds() {
        let [short, long] = [10, 1000].map(|micros| rounds_in(Duration::from_micros(micros)));
        assert!(short > 100 && long > 20 * short, "{short} rounds in 10 us, {long} in 1 ms");
    }
}
