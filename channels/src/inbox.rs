//! One core's queue of system messages.
//!
//! Any thread pushes; the owner alone takes. A message is a [`Link`] that is already part of its object, so pushing
//! allocates nothing and the queue is never full. Pushing is one compare-exchange; taking is one exchange for
//! everything there is, and looking into an empty inbox is a plain load.
//!
//! The links form a stack, newest first, which the owner turns round when it has taken it (rules R1 to R5).

use std::error::Error;
use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use crate::sync::{AtomicPtr, Ordering, fence};

/// The place in an object by which it hangs in an [`Inbox`].
///
/// # Example
///
/// It is one word, and the first field of its object:
///
/// ```
/// use multikernel_channels::inbox::Link;
///
/// #[repr(C)]
/// struct Task {
///     link: Link,
///     priority: u8,
/// }
/// assert_eq!(size_of::<Link>(), size_of::<usize>());
/// ```
#[derive(Debug)]
pub struct Link {
    next: AtomicPtr<Link>,
}

impl Link {
    /// A link in no queue. A node that has been handed out may be pushed again with the link it has.
    ///
    /// ```
    /// # use multikernel_channels::inbox::Link;
    /// # struct Task { link: Link, priority: u8 }
    /// let task = Task { link: Link::new(), priority: 3 };
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { next: AtomicPtr::new(ptr::null_mut()) }
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

/// An object that can hang in an [`Inbox`].
///
/// # Safety
///
/// The type is `#[repr(C)]` and its first field is a [`Link`], so that a pointer to it is a pointer to its link, and
/// back. Nothing but an inbox touches that link.
///
/// # Example
///
/// ```
/// use multikernel_channels::inbox::{Link, Linked};
///
/// #[repr(C)]
/// struct Task {
///     link: Link,
///     priority: u8,
/// }
/// // SAFETY: `repr(C)`, and the link comes first, private to this module, which does not touch it.
/// unsafe impl Linked for Task {}
/// ```
pub unsafe trait Linked {}

/// A push that came after the owner had closed the inbox. The node is still the caller's.
///
/// What the owner did before closing is visible to whoever gets this.
///
/// # Example
///
/// What could not be sent is dropped by whoever wanted to send it:
///
/// ```
/// # use std::ptr::NonNull;
/// # use multikernel_channels::inbox::{Closed, Inbox, Link, Linked};
/// # #[repr(C)]
/// # struct Note(Link);
/// # // SAFETY: `repr(C)`, and the link comes first.
/// # unsafe impl Linked for Note {}
/// # let inbox = Inbox::new();
/// # // SAFETY: this thread is the only one that takes.
/// # assert_eq!(unsafe { inbox.close() }.count(), 0);
/// let note = NonNull::from(Box::leak(Box::new(Note(Link::new()))));
/// // SAFETY: it lives on the heap, is in no queue, and any thread may have it.
/// if let Err(Closed) = unsafe { inbox.push(note) } {
///     // SAFETY: it is still ours, and came from a box.
///     drop(unsafe { Box::from_raw(note.as_ptr()) });
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the inbox is closed")
    }
}

impl Error for Closed {}

/// What `head` holds once the owner has closed: an address no [`Link`] can have, because it is not aligned for one.
fn closed() -> *mut Link {
    const { assert!(align_of::<Link>() > 1) };
    ptr::without_provenance_mut(1)
}

/// One core's intrusive many-to-one queue.
///
/// Dropping an inbox does not look at what it still holds: close it first and hand its nodes back.
///
/// # Example
///
/// ```
/// use std::ptr::NonNull;
/// use multikernel_channels::inbox::{Closed, Inbox, Link, Linked};
///
/// #[repr(C)]
/// struct Note {
///     link: Link,
///     text: &'static str,
/// }
/// // SAFETY: `repr(C)`, and the link comes first.
/// unsafe impl Linked for Note {}
///
/// fn note(text: &'static str) -> NonNull<Note> {
///     NonNull::from(Box::leak(Box::new(Note { link: Link::new(), text })))
/// }
///
/// let inbox = Inbox::new();
/// // SAFETY: both live until they are boxed again below, and each is pushed once.
/// unsafe {
///     inbox.push(note("first"))?;
///     inbox.push(note("second"))?;
/// }
/// // SAFETY: this thread is the only one that takes.
/// let batch = unsafe { inbox.take() };
/// // SAFETY: a node that was handed out is ours again, and came from a box.
/// let texts: Vec<_> = batch.map(|note| unsafe { Box::from_raw(note.as_ptr()) }.text).collect();
/// assert_eq!(texts, ["first", "second"]);
/// # Ok::<(), Closed>(())
/// ```
pub struct Inbox<T: Linked> {
    /// Null, the newest link, or [`closed`].
    head: AtomicPtr<Link>,
    // Nodes go in and come out, so the type is invariant in `T`; the inbox owns none of them. Send and Sync follow
    // from the atomic and hold for every `T`: the inbox alone never touches a `T`, it passes pointers on, and `push`
    // makes its caller promise that the owner's thread may have what they point to.
    _nodes: PhantomData<fn(NonNull<T>) -> NonNull<T>>,
}

impl<T: Linked> Inbox<T> {
    /// An empty, open inbox.
    ///
    /// ```
    /// # use multikernel_channels::inbox::{Inbox, Link, Linked};
    /// # #[repr(C)]
    /// # struct Note(Link);
    /// # // SAFETY: `repr(C)`, and the link comes first.
    /// # unsafe impl Linked for Note {}
    /// let inbox = Inbox::<Note>::new();
    /// assert!(inbox.is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { head: AtomicPtr::new(ptr::null_mut()), _nodes: PhantomData }
    }

    /// Puts `node` at the end. Lock-free; what the caller did before is visible to the owner once it takes the node.
    ///
    /// Whoever pushes to an owner that may be asleep asks its [`Doorbell`](crate::doorbell::Doorbell) next.
    ///
    /// # Errors
    ///
    /// [`Closed`] when the owner has closed the inbox. The node is in no queue then and still the caller's.
    ///
    /// # Safety
    ///
    /// - `node` stays valid, with no `&mut` to it, until [`take`](Self::take) or [`close`](Self::close) hands it out.
    /// - It is in no queue now, and nobody else pushes it meanwhile.
    /// - The owner's thread may access and keep it, whatever `T` says about `Send`.
    ///
    /// # Example
    ///
    /// From another thread, to an owner that may be asleep:
    ///
    /// ```
    /// # use std::ptr::NonNull;
    /// use std::sync::Arc;
    /// use multikernel_channels::doorbell::Doorbell;
    /// # use multikernel_channels::inbox::{Inbox, Link, Linked};
    /// # #[repr(C)]
    /// # struct Note(Link);
    /// # // SAFETY: `repr(C)`, and the link comes first.
    /// # unsafe impl Linked for Note {}
    ///
    /// let shared = Arc::new((Inbox::new(), Doorbell::new()?));
    /// # let sender = Arc::clone(&shared);
    /// std::thread::spawn(move || {
    ///     let (inbox, doorbell) = &*sender;
    ///     let note = NonNull::from(Box::leak(Box::new(Note(Link::new()))));
    ///     // SAFETY: it lives on the heap, is in no queue, and any thread may have it.
    ///     unsafe { inbox.push(note) }.expect("the owner is there");
    ///     if doorbell.must_ring() {
    ///         doorbell.ring();
    ///     }
    /// })
    /// # .join().unwrap();
    /// # // SAFETY: this thread is the owner, and the nodes came from boxes.
    /// # assert_eq!(unsafe { shared.0.take().map(|note| Box::from_raw(note.as_ptr())) }.count(), 1);
    /// # std::io::Result::Ok(())
    /// ```
    #[inline]
    pub unsafe fn push(&self, node: NonNull<T>) -> Result<(), Closed> {
        let link = node.cast::<Link>();
        // Relaxed: nothing is read through the old head; the compare-exchange below does the publishing.
        let mut head = self.head.load(Ordering::Relaxed);
        while head != closed() {
            // SAFETY: `T: Linked` makes the node's address that of its link, and the caller says it is valid. Until
            // the exchange below succeeds the link is ours (R1).
            // Relaxed: published by the exchange.
            unsafe { link.as_ref() }.next.store(head, Ordering::Relaxed);
            // Release (R2): pairs with the Acquire exchange in `take` and `close`. The old head need not be the same
            // visit of that node (R3): whatever is the head now belongs after this node.
            match self.head.compare_exchange_weak(head, link.as_ptr(), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => head = now,
            }
        }
        // Acquire (R5): with the load that saw `closed`, pairs with the Release half of the exchange in `close`.
        fence(Ordering::Acquire);
        Err(Closed)
    }

    /// Whether nothing waits here: one relaxed load, so a hint, unless the rule about parking (R12) makes it more.
    ///
    /// ```
    /// # use multikernel_channels::inbox::{Inbox, Link, Linked};
    /// # use multikernel_channels::doorbell::Doorbell;
    /// # #[repr(C)]
    /// # struct Note(Link);
    /// # // SAFETY: `repr(C)`, and the link comes first.
    /// # unsafe impl Linked for Note {}
    /// # fn may_sleep(inbox: &Inbox<Note>, doorbell: &Doorbell) -> bool {
    /// doorbell.prepare_park();
    /// inbox.is_empty() // if so, the next push is followed by a ring
    /// # }
    /// # assert!(may_sleep(&Inbox::new(), &Doorbell::new().unwrap()));
    /// ```
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // Relaxed: a hint. As the check before parking it comes after the fence of `prepare_park`, which pairs with
        // the fence of `must_ring` (R12).
        let head = self.head.load(Ordering::Relaxed);
        head.is_null() || head == closed()
    }

    /// Everything pushed so far, oldest first. Costs one load when there is nothing.
    ///
    /// # Safety
    ///
    /// Only the owner calls this: no other thread is in `take` or `close` at the same time.
    ///
    /// # Example
    ///
    /// A turn of the owner's loop; what arrives meanwhile waits for the next turn:
    ///
    /// ```
    /// # use std::ptr::NonNull;
    /// # use multikernel_channels::inbox::{Inbox, Link, Linked};
    /// # #[repr(C)]
    /// # struct Note { link: Link, text: &'static str }
    /// # // SAFETY: `repr(C)`, and the link comes first.
    /// # unsafe impl Linked for Note {}
    /// # let inbox = Inbox::new();
    /// # let note = Box::leak(Box::new(Note { link: Link::new(), text: "hello" }));
    /// # // SAFETY: a fresh node that lives on the heap.
    /// # unsafe { inbox.push(NonNull::from(note)) }.unwrap();
    /// // SAFETY: this thread is the owner.
    /// for note in unsafe { inbox.take() } {
    ///     // SAFETY: a node that was handed out is ours, and came from a box.
    ///     let note = unsafe { Box::from_raw(note.as_ptr()) };
    ///     assert_eq!(note.text, "hello");
    /// }
    /// ```
    #[inline]
    pub unsafe fn take(&self) -> Batch<T> {
        // Nobody but the owner takes or closes, so an inbox seen holding nodes still holds them in the exchange.
        if self.is_empty() {
            return Batch::of(ptr::null_mut());
        }
        // Acquire (R2): pairs with the Release exchange of every push whose node is in the stack.
        Batch::of(self.head.swap(ptr::null_mut(), Ordering::Acquire))
    }

    /// Closes for good and returns the rest, oldest first. Every later push fails; closing again returns nothing.
    ///
    /// # Safety
    ///
    /// Only the owner calls this: no other thread is in `take` or `close` at the same time.
    ///
    /// # Example
    ///
    /// The end of an owner:
    ///
    /// ```
    /// # use std::ptr::NonNull;
    /// # use multikernel_channels::inbox::{Closed, Inbox, Link, Linked};
    /// # #[repr(C)]
    /// # struct Note(Link);
    /// # // SAFETY: `repr(C)`, and the link comes first.
    /// # unsafe impl Linked for Note {}
    /// # let inbox = Inbox::new();
    /// # let note = NonNull::from(Box::leak(Box::new(Note(Link::new()))));
    /// # // SAFETY: a fresh node that lives on the heap.
    /// # unsafe { inbox.push(note) }.unwrap();
    /// // SAFETY: this thread is the owner.
    /// let undelivered = unsafe { inbox.close() };
    /// assert_eq!(undelivered.collect::<Vec<_>>(), [note]);
    /// // SAFETY: the node was handed out, so it is in no queue.
    /// assert_eq!(unsafe { inbox.push(note) }, Err(Closed));
    /// # // SAFETY: it was refused, so it is ours, and it came from a box.
    /// # drop(unsafe { Box::from_raw(note.as_ptr()) });
    /// ```
    pub unsafe fn close(&self) -> Batch<T> {
        // Acquire (R2): as in `take`. Release (R5): pairs with the Acquire fence of a push that is refused.
        let head = self.head.swap(closed(), Ordering::AcqRel);
        Batch::of(if head == closed() { ptr::null_mut() } else { head })
    }
}

impl<T: Linked> Default for Inbox<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Linked> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("is_empty", &self.is_empty()).finish_non_exhaustive()
    }
}

/// The nodes of one [`take`](Inbox::take) or [`close`](Inbox::close), oldest first.
///
/// The iterator is past a node before it hands it out: the node may be freed or pushed again at once.
///
/// A batch must be read to its end. It does not own the nodes in a way it could give up, so what is left in one that
/// is dropped early is lost: in debug builds that panics, in release builds the nodes leak.
///
/// # Example
///
/// ```
/// # use multikernel_channels::inbox::{Inbox, Link, Linked};
/// # #[repr(C)]
/// # struct Note(Link);
/// # // SAFETY: `repr(C)`, and the link comes first.
/// # unsafe impl Linked for Note {}
/// # let inbox = Inbox::<Note>::new();
/// // SAFETY: this thread is the owner.
/// let batch = unsafe { inbox.take() };
/// let delivered = batch.count(); // reads it to its end
/// # assert_eq!(delivered, 0);
/// ```
#[must_use = "the nodes of a batch that is not read to its end are lost"]
pub struct Batch<T: Linked> {
    /// The oldest link not yet handed out.
    next: *mut Link,
    _nodes: PhantomData<NonNull<T>>,
}

impl<T: Linked> Batch<T> {
    /// The stack that starts at `newest` (null, or a link whose whole chain has been taken), turned round.
    #[inline]
    fn of(newest: *mut Link) -> Self {
        let mut oldest = ptr::null_mut();
        let mut rest = NonNull::new(newest);
        while let Some(link) = rest {
            // SAFETY: the chain was taken by an Acquire exchange, so its nodes are ours, are valid until handed out
            // (contract of `push`), and their links are the ones their pushers wrote (R1, R2).
            let next = &unsafe { link.as_ref() }.next;
            // Relaxed, both: after the Acquire nobody else touches these links (R1).
            rest = NonNull::new(next.load(Ordering::Relaxed));
            next.store(oldest, Ordering::Relaxed);
            oldest = link.as_ptr();
        }
        Self { next: oldest, _nodes: PhantomData }
    }
}

impl<T: Linked> Iterator for Batch<T> {
    type Item = NonNull<T>;

    #[inline]
    fn next(&mut self) -> Option<NonNull<T>> {
        let link = NonNull::new(self.next)?;
        // SAFETY: this node has not been handed out yet, so it is valid and ours (contract of `push`).
        // Relaxed: only this thread touches it (R1). Read before the node leaves (R4).
        self.next = unsafe { link.as_ref() }.next.load(Ordering::Relaxed);
        // The pointer came in as one to a `T` and kept its provenance.
        Some(link.cast())
    }
}

impl<T: Linked> FusedIterator for Batch<T> {}

impl<T: Linked> Drop for Batch<T> {
    fn drop(&mut self) {
        // A panic that is already on its way is the louder of the two, and a second one would abort.
        debug_assert!(
            self.next.is_null() || std::thread::panicking(),
            "a batch was dropped with nodes in it"
        );
    }
}

impl<T: Linked> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("done", &self.next.is_null()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
#[path = "inbox_tests.rs"]
mod tests;
