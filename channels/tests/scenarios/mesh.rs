//! Rings from each core to each other: nothing is lost, also not by who sleeps or is taken to sleep.

use std::fmt::Debug;
use std::sync::Arc as StdArc;

use multikernel_channels::doorbell::{State, StateWord};
use multikernel_channels::mesh::{End, Mesh, News};
use multikernel_channels::sync::{Arc, Ordering, fence, thread};

use super::Bell;

/// A message so large that the first ring is for one of them.
pub type Large<T> = (T, [u8; 255]);

pub fn large<T>(message: T) -> Large<T> {
    (message, [0; 255])
}

/// Each writer sends its messages and goes. The reader sleeps when there is nothing, and sees all in order, then the end.
pub fn everything_arrives<B: Bell + 'static>(bell: B, writers: usize, messages: usize) {
    let (mesh, bell) = (Mesh::new(writers + 1, messages.max(1)), Arc::new(bell));
    let mut reader = End::new(&mesh, 0);
    let threads: Vec<_> = (1..=writers)
        .map(|me| {
            let (mut end, bell) = (End::new(&mesh, me), Arc::clone(&bell));
            thread::spawn(move || {
                let knock = || {
                    if bell.must_ring() {
                        bell.ring();
                    }
                };
                for number in 0..messages {
                    end.push(0, large(number));
                    knock();
                }
                drop(end);
                knock();
            })
        })
        .collect();
    let (mut next, mut gone) = (vec![0; writers + 1], 0);
    while gone < writers {
        match reader.read() {
            Some((from, News::Message((number, _)))) => {
                assert_eq!(number, next[from], "each writer's messages are in order");
                next[from] += 1;
            }
            Some((from, News::Gone)) => {
                assert_eq!(next[from], messages, "the end comes after all messages");
                gone += 1;
            }
            None => sleep(&*bell, &reader),
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn sleep<T: Send>(bell: &impl Bell, reader: &End<T>) {
    bell.park(|| !reader.has_news());
    bell.unpark();
}

/// As [`everything_arrives`], of a writer that stays: no later hint makes up for one that was missed. The reader watches the
/// rings of so many others before it hears of the writer: if it can watch no more, it knows of it by hints alone. Small
/// messages are together in one ring, large ones are not.
pub fn the_last_message_arrives<B, T>(bell: B, watched: usize, messages: usize, message: fn(usize) -> T)
where
    B: Bell + 'static,
    T: Send + PartialEq + Debug + 'static,
{
    let (mesh, bell) = (Mesh::new(2 + watched, messages), Arc::new(bell));
    let mut reader = End::new(&mesh, 0);
    let mut others: Vec<_> = (2..2 + watched).map(|me| End::new(&mesh, me)).collect();
    others.iter_mut().for_each(|other| other.push(0, message(0)));
    assert!(others.iter().all(|_| reader.read().is_some()) && reader.read().is_none());
    let writer = {
        let (mut end, bell) = (End::new(&mesh, 1), Arc::clone(&bell));
        thread::spawn(move || {
            for number in 0..messages {
                end.push(0, message(number));
                bell.after_publishing();
            }
            end
        })
    };
    let mut next = 0;
    while next < messages {
        match reader.read() {
            Some(news) => {
                assert_eq!(news, (1, News::Message(message(next))));
                next += 1;
            }
            None => sleep(&*bell, &reader),
        }
    }
    drop((writer.join().unwrap(), others));
}

/// One core posts and looks whether the other is parked, or rung by a third. If it was, the other reads the message before it
/// runs anything: then the first may go on as if it had been read.
pub fn who_is_taken_to_sleep_reads_before_it_runs() {
    let mesh = Mesh::new(2, 1);
    let word = Arc::new(StateWord::new());
    let (mut home, mut member) = (End::new(&mesh, 0), End::new(&mesh, 1));
    let sleeper = {
        let word = Arc::clone(&word);
        thread::spawn(move || {
            word.prepare_park();
            // Woken by something else, or not even asleep.
            word.unpark();
            // SeqCst: pairs with the fence below. Either this sees the message, or that sees this core awake.
            fence(Ordering::SeqCst);
            let has_read = member.has_news() && member.read().is_some();
            (has_read, member)
        })
    };
    let ringer = {
        let word = Arc::clone(&word);
        thread::spawn(move || word.must_ring())
    };
    home.push(1, ());
    fence(Ordering::SeqCst); // pairs with the fence above
    let seemed_asleep = matches!(word.state(), State::Parked | State::Rung);
    let (has_read, member) = sleeper.join().unwrap();
    assert!(has_read || !seemed_asleep, "it ran, and others went on without it");
    drop((ringer.join().unwrap(), home, member));
}

/// A core that goes and comes again: who writes to it meanwhile disturbs neither life.
pub fn a_core_comes_again() {
    let mesh = Mesh::new(2, 2);
    let mut writer = End::new(&mesh, 1);
    let token = StdArc::new(());
    let reader = End::new(&mesh, 0);
    let thread = {
        let (mesh, token) = (Arc::clone(&mesh), token.clone());
        thread::spawn(move || {
            writer.push(0, large(token.clone()));
            writer.push(0, large(token));
            drop((writer, mesh));
        })
    };
    drop(reader);
    let mut again = End::new(&mesh, 0);
    thread.join().unwrap();
    let (mut messages, mut ends) = (0, 0);
    while let Some((_, news)) = again.read() {
        match news {
            News::Message(_) => messages += 1,
            News::Gone => ends += 1,
        }
    }
    assert!(messages <= 2 && ends <= 1);
    drop((again, mesh));
    assert_eq!(StdArc::strong_count(&token), 1, "messages leaked");
}
