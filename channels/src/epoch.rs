//! What a core that has voted may not hear yet.
//!
//! The cores of a Machine agree in rounds. A core that has voted on a round and does not know how it ends is
//! *prepared*; else it is *settled*. Channels promise that a core which has not committed a round hands out no message
//! that another core sent after it had committed that round (R49 to R52). Senders do nothing for that. The core that
//! decides publishes the round in one word of the Machine, [`Deciding`], before it tells anybody; a receiving end whose
//! core is prepared looks there between finding a message and handing it out, and if the round is being decided it
//! holds the message back until its core knows as well.
//!
//! The runtime says when its cores are prepared and settled. On other threads nothing is held.

use std::fmt;

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicBool, AtomicU64, Ordering, SharedArc, per_thread, process_wide};

/// The latest round of a Machine that may have been committed somewhere: one word that all its cores share.
pub struct Deciding(CachePadded<AtomicU64>);

impl Deciding {
    /// Nothing after `version` has been decided.
    #[must_use]
    pub fn new(version: u64) -> Self {
        Self(CachePadded::new(AtomicU64::new(version)))
    }

    /// Round `version` is going to be decided. To be called before anybody is told how it ended.
    pub fn publish(&self, version: u64) {
        // Release: pairs with the Acquire in `get`, for whoever acts upon the number. What is held does not hang on it:
        // the message that is looked at has brought this change with it (R50). Rounds end in order; should two cores
        // decide the same one, the later changes nothing.
        self.0.fetch_max(version, Ordering::Release);
    }

    /// The latest round that may have been committed somewhere.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire) // pairs with the Release in `publish`
    }
}

impl fmt::Debug for Deciding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Deciding").field(&self.get()).finish()
    }
}

struct Prepared {
    word: SharedArc<Deciding>,
    version: u64,
}

per_thread! {
    /// Apart from what follows, because it is asked for each message and, having nothing to drop, costs one load.
    static IS_PREPARED: bool = false
}

per_thread! {
    static PREPARED: Option<Prepared> = None
}

process_wide! {
    /// Whether anything is held. For tests.
    static HOLDING: AtomicBool = AtomicBool::new(true)
}

/// The calling thread's core, which has committed round `version` and none after it, has voted on the next one.
pub fn prepared(word: &SharedArc<Deciding>, version: u64) {
    PREPARED.with(|cell| {
        // The word is that of the last time, as a rule: its count of references is on a line that all cores share.
        let word = match cell.replace(None) {
            Some(last) if SharedArc::ptr_eq(&last.word, word) => last.word,
            _ => SharedArc::clone(word),
        };
        cell.set(Some(Prepared { word, version }));
    });
    IS_PREPARED.with(|is_prepared| is_prepared.set(true));
}

/// The calling thread's core knows how the round ended on which it has voted; or it ends.
pub fn settled() {
    IS_PREPARED.with(|is_prepared| is_prepared.set(false));
}

/// Whether the calling thread's core has voted and does not know the end.
#[inline]
#[must_use]
pub fn is_prepared() -> bool {
    IS_PREPARED.with(|is_prepared| is_prepared.get())
}

/// Whether the calling thread must not hand out now what it has found in a channel: it may have been sent after a
/// commit that this thread's core has still to make. To be asked after the message has been acquired, and what comes
/// after the question is not to be taken (R51).
#[inline]
#[must_use]
pub fn holds() -> bool {
    held_until().is_some()
}

/// As [`holds`], with the round that this core has to commit first.
#[inline]
#[must_use]
pub fn held_until() -> Option<u64> {
    if is_prepared() { is_behind() } else { None }
}

#[cold]
fn is_behind() -> Option<u64> {
    let deciding = PREPARED.with(|cell| {
        let prepared = cell.replace(None);
        let deciding = prepared.as_ref().map(|prepared| prepared.word.get());
        let deciding = deciding.filter(|word| prepared.as_ref().is_some_and(|own| *word > own.version));
        cell.set(prepared);
        deciding
    });
    // Relaxed: set before the test begins.
    deciding.filter(|_| HOLDING.load(Ordering::Relaxed))
}

/// For tests: whether messages are held, on all threads. A test that still passes without shows nothing.
pub fn hold_messages(hold: bool) {
    HOLDING.store(hold, Ordering::Relaxed);
}
