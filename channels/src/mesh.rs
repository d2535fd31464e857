//! Rings from each core to each other, made on first use.
//!
//! What the cores of a Machine say to each other for their own purposes, in messages that are bounded by a protocol: a
//! push never waits, because a ring grows to what the protocol says. Most pairs of cores say little, and there are many, so rings
//! begin small, the smaller the more cores there are. A reader looks at a few words, not at a ring for each other core, to learn
//! who has sent something; but at the rings of a few it looks itself, and those save the word, which is a cache line that goes
//! to and fro as well (rules R60 to R65 of the protocol page).

use std::collections::VecDeque;
use std::fmt;

use crossbeam_utils::CachePadded;

use crate::limits::MESH_WATCHED;
use crate::memory::{self, Charge};
use crate::ring::{Consumer, PopError, Producer, PushError, bytes, ring};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};

const BITS: usize = 64;

/// What all ends of a mesh share.
///
/// ```
/// use multikernel_channels::mesh::{End, Mesh, News};
///
/// let mesh = Mesh::new(2, 16);
/// let (mut one, mut other) = (End::new(&mesh, 0), End::new(&mesh, 1));
/// one.push(1, "hello");
/// assert!(other.has_news());
/// assert_eq!(other.read(), Some((0, News::Message("hello"))));
/// drop(one);
/// assert_eq!(other.read(), Some((0, News::Gone)));
/// assert_eq!(other.read(), None);
/// ```
pub struct Mesh<T> {
    places: Box<[CachePadded<Place<T>>]>,
    most: usize,
}

/// What both ends of a ring have beside it.
struct Way {
    /// The reader looks at the ring itself, for as long as there is the ring.
    is_watched: AtomicBool,
    _memory: Charge,
}

/// The writing end of a ring.
struct Outgoing<T> {
    producer: Producer<T>,
    way: Arc<Way>,
}

/// The reading end of a ring that the reader does not know yet.
struct Arrival<T> {
    from: usize,
    consumer: Consumer<T>,
    way: Arc<Way>,
    /// It takes the place of the ring before, which was full. Else it begins a new life of its writer.
    continues: bool,
}

/// Where others leave word for one core.
struct Place<T> {
    /// A bit for each core that has sent something since the reader looked last.
    hints: Box<[CachePadded<AtomicU64>]>,
    /// Rings that the reader does not know yet.
    new: Mutex<Vec<Arrival<T>>>,
}

impl<T> Place<T> {
    fn hint(&self, from: usize) {
        // Release: pairs with the Acquire in `take_hint`, which then sees what was pushed before this (R61).
        self.hints[from / BITS].fetch_or(1 << (from % BITS), Ordering::Release);
    }

    /// A new ring from there.
    fn add(&self, from: usize, capacity: usize, memory: Charge, continues: bool) -> Outgoing<T> {
        let (producer, consumer) = ring(capacity);
        let way = Arc::new(Way { is_watched: AtomicBool::new(false), _memory: memory });
        let arrival = Arrival { from, consumer, way: Arc::clone(&way), continues };
        self.new.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(arrival);
        Outgoing { producer, way }
    }

    fn take_new(&self) -> Vec<Arrival<T>> {
        std::mem::take(&mut *self.new.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl<T> Mesh<T> {
    /// How much a ring takes with all that belongs to it.
    const fn bytes(capacity: usize) -> usize {
        bytes::<T>(capacity) + size_of::<Way>() + size_of::<Arrival<T>>()
    }

    /// The room of a pair's first ring, within the limit; the smallest there is beyond it, since a push never waits.
    fn first(&self) -> (usize, Charge) {
        let first = memory::first_slots(self.places.len(), size_of::<T>()).min(self.most);
        let within = Charge::new(Self::bytes(first), false).map(|memory| (first, memory));
        within.unwrap_or_else(|| (1, Self::needed(Self::bytes(1))))
    }

    fn needed(bytes: usize) -> Charge {
        Charge::new(bytes, true).expect("what is needed is given")
    }
}

impl<T: Send> Mesh<T> {
    /// A mesh of that many cores. At most `most` messages may be unread from one core to another.
    ///
    /// Memory follows use: the first ring from one core to another has room for at most 256 bytes of messages, less if
    /// there are more than 90 cores, or for one message; it grows to as many as were ever unread at once. Rings count against
    /// the 128 MiB that all ways between cores may take together in a process. Beyond it a first ring is for one message.
    ///
    /// # Panics
    ///
    /// If `most` is zero.
    ///
    /// ```
    /// let mesh = multikernel_channels::mesh::Mesh::<String>::new(4, 128);
    /// # drop(mesh);
    /// ```
    #[must_use]
    pub fn new(cores: usize, most: usize) -> Arc<Self> {
        assert!(most > 0, "a ring holds at least one message");
        let place = || {
            let hints = (0..cores.div_ceil(BITS)).map(|_| CachePadded::new(AtomicU64::new(0))).collect();
            CachePadded::new(Place { hints, new: Mutex::new(Vec::new()) })
        };
        Arc::new(Self { places: (0..cores).map(|_| place()).collect(), most })
    }
}

impl<T> fmt::Debug for Mesh<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh").field("cores", &self.places.len()).field("most", &self.most).finish()
    }
}

/// What an [`End`] reads.
///
/// ```
/// use multikernel_channels::mesh::News;
///
/// let news = News::Message(7);
/// assert_ne!(news, News::Gone);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News<T> {
    /// A message.
    Message(T),
    /// The core has dropped its end. Nothing more comes from this life of it.
    Gone,
}

/// One core's end of a [`Mesh`].
///
/// ```
/// use multikernel_channels::mesh::{End, Mesh};
///
/// let mesh = Mesh::new(2, 8);
/// let mut end = End::new(&mesh, 0);
/// end.push(1, 'x');
/// assert_eq!(End::new(&mesh, 1).read(), None, "it was meant for an earlier life of core 1");
/// ```
pub struct End<T: Send> {
    me: usize,
    mesh: Arc<Mesh<T>>,
    outgoing: Box<[Option<Outgoing<T>>]>,
    /// From each core the rings that are not read to the end, the oldest first.
    incoming: Box<[VecDeque<Arrival<T>>]>,
    /// Hints that were taken and whose rings are not read yet.
    seen: Box<[u64]>,
    /// Cores at whose oldest ring this end looks itself.
    watched: Vec<usize>,
    /// The core whose ring is being read.
    reading: Option<usize>,
    _memory: Charge,
}

impl<T: Send> End<T> {
    /// The end of the core with that number. Each core has one at a time; when it is dropped, the others learn that it is
    /// gone, and there may be another later.
    ///
    /// # Panics
    ///
    /// If the mesh has no such core.
    ///
    /// ```
    /// use multikernel_channels::mesh::{End, Mesh};
    ///
    /// let mesh = Mesh::<u8>::new(2, 1);
    /// assert!(!End::new(&mesh, 1).has_news());
    /// ```
    #[must_use]
    pub fn new(mesh: &Arc<Mesh<T>>, me: usize) -> Self {
        let cores = mesh.places.len();
        assert!(me < cores, "the mesh has no core {me}");
        // What was meant for an earlier life of this core.
        drop(mesh.places[me].take_new());
        Self {
            me,
            mesh: Arc::clone(mesh),
            outgoing: (0..cores).map(|_| None).collect(),
            incoming: (0..cores).map(|_| VecDeque::new()).collect(),
            seen: vec![0; cores.div_ceil(BITS)].into(),
            watched: Vec::with_capacity(MESH_WATCHED),
            reading: None,
            _memory: Mesh::<T>::needed(
                cores * (size_of::<Option<Outgoing<T>>>() + size_of::<VecDeque<Arrival<T>>>()),
            ),
        }
    }

    /// Pushes a message. Its reader is not woken; what is pushed to a core that is gone is dropped, at some time.
    ///
    /// # Panics
    ///
    /// If too much is unread: it is the caller's protocol that bounds that.
    ///
    /// ```
    /// # use multikernel_channels::mesh::{End, Mesh};
    /// # let mesh = Mesh::new(2, 1);
    /// # let mut end = End::new(&mesh, 0);
    /// end.push(1, "look");
    /// // .. and now core 1's doorbell
    /// ```
    pub fn push(&mut self, to: usize, message: T) {
        let place = &self.mesh.places[to];
        let mut message = Some(message);
        while let Some(unsent) = message.take() {
            let ring_to = self.outgoing[to].get_or_insert_with(|| {
                let (first, memory) = self.mesh.first();
                place.add(self.me, first, memory, false)
            });
            match ring_to.producer.try_push(unsent) {
                // Relaxed (R65): what it says is of the reader, which knows it, and it stays true.
                Ok(()) if ring_to.way.is_watched.load(Ordering::Relaxed) => return,
                Ok(()) => {}
                Err(PushError::Closed(unsent)) => {
                    // An earlier life of the reader has dropped it.
                    self.outgoing[to] = None;
                    message = Some(unsent);
                }
                Err(PushError::Full(unsent)) => {
                    let full = ring_to.producer.capacity();
                    assert!(
                        full < self.mesh.most,
                        "more is unread than the protocol allows: its bound is wrong"
                    );
                    let larger = (2 * full).min(self.mesh.most);
                    let memory = Mesh::<T>::needed(Mesh::<T>::bytes(larger));
                    // R63: known to the reader before the old ring ends.
                    *ring_to = place.add(self.me, larger, memory, true);
                    message = Some(unsent);
                }
            }
        }
        place.hint(self.me);
    }

    /// Whether somebody has sent something. One load for each 64 cores, and some for the rings that are watched.
    ///
    /// ```
    /// # use multikernel_channels::mesh::{End, Mesh};
    /// # let mesh = Mesh::<u8>::new(2, 1);
    /// # let end = End::new(&mesh, 0);
    /// assert!(!end.has_news());
    /// ```
    #[must_use]
    #[inline]
    pub fn has_news(&self) -> bool {
        // Relaxed: what is read is ordered by `take_hint`; whoever sleeps on the answer fences first (R12).
        self.reading.is_some()
            || self.mesh.places[self.me].hints.iter().any(|word| word.load(Ordering::Relaxed) != 0)
            || self.watched_with_news().is_some()
    }

    /// A watched core whose ring is not empty. That one has ended, or is continued, is said by a hint.
    #[inline]
    fn watched_with_news(&self) -> Option<usize> {
        let is_full =
            |from: &usize| self.incoming[*from].front().is_some_and(|ring| !ring.consumer.is_empty());
        self.watched.iter().copied().find(is_full)
    }

    /// What was sent next. `None` when all that was sent before has been read.
    ///
    /// ```
    /// # use multikernel_channels::mesh::{End, Mesh, News};
    /// # let mesh = Mesh::new(2, 4);
    /// # let (mut one, mut other) = (End::new(&mesh, 0), End::new(&mesh, 1));
    /// one.push(1, 1);
    /// one.push(1, 2);
    /// while let Some((from, News::Message(number))) = other.read() {
    ///     println!("{from} says {number}");
    /// }
    /// ```
    pub fn read(&mut self) -> Option<(usize, News<T>)> {
        loop {
            let from = match self.reading {
                Some(from) => from,
                // Hints first: who is watched sets few, and nobody must wait for ever.
                None => self.take_hint().or_else(|| self.watched_with_news())?,
            };
            if self.incoming[from].is_empty() {
                self.learn();
            }
            if self.reading.is_none() {
                self.watch(from);
            }
            self.reading = Some(from);
            match self.incoming[from].front_mut().map(|ring| ring.consumer.try_pop()) {
                Some(Ok(message)) => return Some((from, News::Message(message))),
                Some(Err(PopError::Closed)) => {
                    self.learn();
                    self.incoming[from].pop_front();
                    // R63: a ring that was full has ended too.
                    let is_gone = !self.incoming[from].front().is_some_and(|next| next.continues);
                    if is_gone {
                        self.watched.retain(|watched| *watched != from);
                    }
                    self.watch(from);
                    if is_gone {
                        return Some((from, News::Gone));
                    }
                }
                // R62: a hint that is set again says so if there is more.
                Some(Err(PopError::Empty)) | None => self.reading = None,
            }
        }
    }

    /// Takes in the rings that others have made.
    fn learn(&mut self) {
        for arrival in self.mesh.places[self.me].take_new() {
            let rings = &mut self.incoming[arrival.from];
            rings.reserve_exact(1); // mostly there is one
            rings.push_back(arrival);
        }
    }

    /// Looks at the oldest ring of that core from now on, if there is one, and this end does not look at too many.
    fn watch(&mut self, from: usize) {
        let Some(oldest) = self.incoming[from].front() else { return };
        if !self.watched.contains(&from) {
            if self.watched.len() == MESH_WATCHED {
                return;
            }
            self.watched.push(from);
        }
        // Relaxed, both: see `push`. Only this end writes it; a line that the writer reads is not touched without need.
        if !oldest.way.is_watched.load(Ordering::Relaxed) {
            oldest.way.is_watched.store(true, Ordering::Relaxed);
        }
    }

    fn take_hint(&mut self) -> Option<usize> {
        for (at, seen) in self.seen.iter_mut().enumerate() {
            let hints = &self.mesh.places[self.me].hints[at];
            // Relaxed: a look. Acquire: pairs with the Release in `hint`.
            if *seen == 0 && hints.load(Ordering::Relaxed) != 0 {
                *seen = hints.swap(0, Ordering::Acquire);
            }
            if *seen != 0 {
                let bit = seen.trailing_zeros() as usize;
                *seen &= *seen - 1;
                return Some(at * BITS + bit);
            }
        }
        None
    }
}

impl<T: Send> Drop for End<T> {
    /// Tells every core that this one is gone. The caller rings them.
    fn drop(&mut self) {
        for to in (0..self.mesh.places.len()).filter(|to| *to != self.me) {
            let place = &self.mesh.places[to];
            // Without a ring to the reader's present life: one that nobody writes any more.
            if self.outgoing[to].take().is_none_or(|ring_to| ring_to.producer.is_closed()) {
                drop(place.add(self.me, 1, Mesh::<T>::needed(Mesh::<T>::bytes(1)), false));
            }
            place.hint(self.me);
        }
    }
}

impl<T: Send> fmt::Debug for End<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End").field("core", &self.me).field("mesh", &self.mesh).finish()
    }
}

#[cfg(all(test, not(loom)))]
#[path = "mesh_tests.rs"]
mod tests;
