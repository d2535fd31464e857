//! What each core does, as figures; and a function that waits for minutes, whose tests take no time.

use std::time::Duration;

use multikernel::runtime::Handle;
use multikernel::time::{sleep, timeout};
use multikernel::{cores, spawn_balanced};

#[multikernel::main(cores = 2)]
async fn main() {
    let tasks: Vec<_> = (0..100).map(|_| spawn_balanced(multikernel::task::yield_now())).collect();
    for task in tasks {
        task.await.expect("to yield does not panic");
    }
    print!("{}", figures());

    let mut asked = 0;
    let answer = patiently(async || {
        asked += 1;
        (asked == 2).then_some("here")
    });
    assert_eq!(answer.await, Some("here"));
}

// ANCHOR: figures
/// A line for each core, for a page of figures. Reading disturbs nobody.
fn figures() -> String {
    let metrics = Handle::current().metrics();
    let line = |core| {
        let now = metrics.core(core);
        format!(
            "{core}: {} tasks, {} polls, busy for {:?}, {:?} until a new task is polled, slept {} times\n",
            now.tasks, now.polls, now.busy, now.queue_delay, now.parks
        )
    };
    cores().map(line).collect()
}
// ANCHOR_END: figures

// ANCHOR: patiently
/// Asks until there is an answer, with longer and longer pauses, for a minute at most.
async fn patiently<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let asking = async {
        let mut pause = Duration::from_millis(10);
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            sleep(pause).await;
            pause *= 2;
        }
    };
    timeout(Duration::from_secs(60), asking).await.ok()
}
// ANCHOR_END: patiently

#[cfg(test)]
mod tests {
    use super::*;
    use multikernel::time::{Instant, advance};

    // ANCHOR: paused
    #[multikernel::test(start_paused = true)]
    async fn it_gives_up_after_a_minute() {
        let start = Instant::now();
        let mut asked = 0;
        let answer = patiently(async || {
            asked += 1;
            None::<()>
        });
        assert_eq!(answer.await, None);
        // 10 + 20 + .. + 10 * 2^11 ms is less than a minute, one more is not.
        assert_eq!((asked, start.elapsed()), (13, Duration::from_secs(60)));
    }

    #[multikernel::test(start_paused = true)]
    async fn it_asks_again_when_the_pause_is_over() {
        let (asked, mut questions) = multikernel::channels::mpsc::channel(8);
        let task = multikernel::spawn_local(async move {
            patiently(async || asked.try_send(Instant::now()).is_err().then_some(())).await
        });
        let first = questions.recv().await.expect("it asks at once");
        advance(Duration::from_millis(10)).await; // by hand; without it, the clock jumps when nothing is left to do
        let second = questions.recv().await.expect("it asks again");
        assert_eq!(second - first, Duration::from_millis(10));
        drop(questions);
        assert_eq!(task.await.expect("it does not panic"), Some(()));
    }
    // ANCHOR_END: paused
}
