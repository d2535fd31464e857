//! The half of a [`Doorbell`](crate::doorbell::Doorbell) that is one byte of memory: who must wake whom (rules R12 to
//! R14). It is public as a part of [`doorbell`](crate::doorbell).

use crate::sync::{AtomicU8, Ordering, fence};

/// What a core is doing, as others see it.
///
/// # Example
///
/// ```
/// use multikernel_channels::doorbell::{Doorbell, State};
///
/// let doorbell = Doorbell::new()?;
/// assert_eq!(doorbell.state(), State::Running);
/// doorbell.prepare_park();
/// assert_eq!(doorbell.state(), State::Parked);
/// assert!(doorbell.must_ring());
/// assert_eq!(doorbell.state(), State::Rung);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// It works, and will look at its queues before it parks.
    Running,
    /// It has nothing to do and watches its queues for a while before it parks.
    Polling,
    /// It sleeps, or is about to: whoever sends must see that it wakes.
    Parked,
    /// It is still parked and some sender has taken it on itself to wake it.
    Rung,
}

impl State {
    fn from_word(word: u8) -> Self {
        const ALL: [State; 4] = [State::Running, State::Polling, State::Parked, State::Rung];
        ALL[usize::from(word)]
    }
}

/// The word by which a core tells senders whether they must wake it.
///
/// Owner and senders follow rule R12: a sender publishes, fences, looks at the word; the owner writes `Parked`,
/// fences, looks at its queues. One of the two sees the other.
///
/// | from | by | to |
/// |---|---|---|
/// | any | owner: [`prepare_park`](Self::prepare_park) | `Parked` |
/// | `Parked` | one sender: [`must_ring`](Self::must_ring) | `Rung` |
/// | any | owner: [`unpark`](Self::unpark) | `Running` |
/// | any | owner: [`set_polling`](Self::set_polling) | `Polling` |
///
/// # Example
///
/// ```
/// use multikernel_channels::doorbell::StateWord;
///
/// let word = StateWord::new();
/// assert!(!word.must_ring()); // it is awake, and will look
///
/// word.prepare_park();
/// assert!(word.must_ring()); // this sender has to wake it
/// assert!(!word.must_ring()); // and no other
/// assert!(word.unpark()); // the owner hears of it once
/// ```
#[derive(Debug)]
pub struct StateWord(AtomicU8);

impl StateWord {
    /// The word of a core that is running.
    ///
    /// ```
    /// # use multikernel_channels::doorbell::{State, StateWord};
    /// assert_eq!(StateWord::new().state(), State::Running);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicU8::new(State::Running as u8))
    }

    /// Owner: from here on senders wake us. Look at every queue once more, and sleep only if all are empty.
    ///
    /// ```
    /// # use multikernel_channels::doorbell::StateWord;
    /// # let (word, queues_are_empty, sleep) = (StateWord::new(), || true, || ());
    /// word.prepare_park();
    /// if queues_are_empty() {
    ///     sleep();
    /// }
    /// word.unpark();
    /// ```
    #[inline]
    pub fn prepare_park(&self) {
        // Relaxed: the fence orders it before the owner's check (R12: S, F).
        self.0.store(State::Parked as u8, Ordering::Relaxed);
        // SeqCst: pairs with the fence of `must_ring`.
        fence(Ordering::SeqCst);
    }

    /// Owner: awake again, or not going to sleep after all. True if a sender rang, or is just about to: its ring may
    /// still be on the way (R14).
    ///
    /// ```
    /// # let word = multikernel_channels::doorbell::StateWord::new();
    /// word.prepare_park();
    /// let rung_by_somebody = word.must_ring();
    /// assert_eq!(word.unpark(), rung_by_somebody);
    /// ```
    #[inline]
    pub fn unpark(&self) -> bool {
        // An exchange, so that a ring is noticed exactly once. Acquire: pairs with the fence and exchange of the
        // sender that rang, whose message is then visible to the very next look. Relaxed store: it publishes nothing.
        self.0.swap(State::Running as u8, Ordering::Acquire) == State::Rung as u8
    }

    /// Owner: nothing to do, watching the queues for a while. Senders need not ring.
    ///
    /// ```
    /// # let word = multikernel_channels::doorbell::StateWord::new();
    /// word.set_polling();
    /// assert!(!word.must_ring());
    /// ```
    #[inline]
    pub fn set_polling(&self) {
        // Relaxed: publishes nothing. Only `Parked` obliges a sender, and its order is what R12 is about.
        self.0.store(State::Polling as u8, Ordering::Relaxed);
    }

    /// Sender, after publishing a message: must *we* wake the owner? True for exactly one sender per sleep, and that
    /// one must do it.
    ///
    /// ```
    /// # let (word, wake_owner) = (multikernel_channels::doorbell::StateWord::new(), || ());
    /// // .. the message is in the owner's queue ..
    /// if word.must_ring() {
    ///     wake_owner();
    /// }
    /// ```
    #[inline]
    #[must_use = "the sender that gets true must wake the owner; nobody else will"]
    pub fn must_ring(&self) -> bool {
        // SeqCst: pairs with the fence of `prepare_park` (R12: F, L).
        fence(Ordering::SeqCst);
        // Relaxed: ordered after the publishing by the fence.
        if self.0.load(Ordering::Relaxed) != State::Parked as u8 {
            return false;
        }
        // Strong, because a spurious failure would be a lost wake. Relaxed success: the fence above makes it a
        // release, and it pairs with the Acquire in `unpark`. Relaxed failure: another sender rings, or the owner is
        // awake and looks again before it sleeps (R13).
        let (from, to) = (State::Parked as u8, State::Rung as u8);
        self.0.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// What the owner is doing, for observers. Old by the time it is read.
    ///
    /// ```
    /// # use multikernel_channels::doorbell::{State, StateWord};
    /// # let word = StateWord::new();
    /// word.set_polling();
    /// assert_eq!(word.state(), State::Polling);
    /// ```
    #[must_use]
    pub fn state(&self) -> State {
        // Relaxed: an observation. Whoever goes by it fences first (R64).
        State::from_word(self.0.load(Ordering::Relaxed))
    }
}

impl Default for StateWord {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_transition_of_the_state_word() {
        const ALL: [State; 4] = [State::Running, State::Polling, State::Parked, State::Rung];
        let after = |verb: fn(&StateWord) -> bool| {
            ALL.map(|from| {
                let word = StateWord(AtomicU8::new(from as u8));
                assert_eq!(word.state(), from);
                let told = verb(&word);
                (word.state(), told)
            })
        };
        use State::{Parked, Polling, Rung, Running};
        let must_ring = after(StateWord::must_ring);
        assert_eq!(must_ring, [(Running, false), (Polling, false), (Rung, true), (Rung, false)]);
        let unpark = after(StateWord::unpark);
        assert_eq!(unpark, [(Running, false), (Running, false), (Running, false), (Running, true)]);
        let prepare_park = after(|word| {
            word.prepare_park();
            false
        });
        assert_eq!(prepare_park, [(Parked, false); 4]);
        let set_polling = after(|word| {
            word.set_polling();
            false
        });
        assert_eq!(set_polling, [(Polling, false); 4]);
    }
}
