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
#[derive(Debug)]
pub struct Link {
    next: AtomicPtr<Link>,
}

impl Link {
    /// A link in no queue.
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
pub unsafe trait Linked {}

/// A push that came after the owner had closed the inbox. The node is still the caller's.
///
/// What the owner did before closing is visible to whoever gets this.
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
mod tests {
    use super::*;

    #[repr(C)]
    struct Node {
        link: Link,
        value: u32,
    }

    // SAFETY: `repr(C)`, and the link comes first.
    unsafe impl Linked for Node {}

    fn node(value: u32) -> NonNull<Node> {
        NonNull::from(Box::leak(Box::new(Node { link: Link::new(), value })))
    }

    fn free(node: NonNull<Node>) -> u32 {
        // SAFETY: every node of these tests comes from `node` and is freed once, when it is in no queue.
        unsafe { Box::from_raw(node.as_ptr()) }.value
    }

    #[test]
    fn takes_in_the_order_of_pushes() {
        let inbox = Inbox::new();
        assert!(inbox.is_empty());
        for value in 0..5 {
            // SAFETY: a fresh node each time.
            unsafe { inbox.push(node(value)) }.unwrap();
        }
        assert!(!inbox.is_empty());
        // SAFETY: one thread only.
        let values: Vec<u32> = unsafe { inbox.take() }.map(free).collect();
        assert_eq!(values, [0, 1, 2, 3, 4]);
        assert!(inbox.is_empty());
        // SAFETY: as above.
        assert_eq!(unsafe { inbox.take() }.count(), 0);
    }

    #[test]
    fn a_node_may_be_pushed_again_while_its_batch_is_read() {
        let inbox = Inbox::new();
        for value in 0..3 {
            // SAFETY: a fresh node each time.
            unsafe { inbox.push(node(value)) }.unwrap();
        }
        // SAFETY: one thread only; a node that was handed out is in no queue.
        unsafe {
            for node in inbox.take() {
                inbox.push(node).unwrap();
            }
        }
        // SAFETY: as above.
        let values: Vec<u32> = unsafe { inbox.take() }.map(free).collect();
        assert_eq!(values, [0, 1, 2]);
    }

    #[test]
    fn closing_returns_the_rest_and_refuses_what_follows() {
        let inbox = Inbox::new();
        // SAFETY: fresh nodes, one thread only.
        unsafe {
            inbox.push(node(1)).unwrap();
            assert_eq!(inbox.close().map(free).collect::<Vec<_>>(), [1]);
            let late = node(2);
            assert_eq!(inbox.push(late), Err(Closed));
            assert_eq!(free(late), 2);
            assert!(inbox.is_empty());
            assert_eq!(inbox.take().count(), 0);
            assert_eq!(inbox.close().count(), 0);
        }
    }

    #[test]
    #[cfg(debug_assertions)]
    fn an_unfinished_batch_is_loud() {
        let inbox = Inbox::new();
        let lost = node(7);
        // SAFETY: a fresh node, one thread only.
        let dropped = std::panic::catch_unwind(|| unsafe {
            inbox.push(lost).unwrap();
            drop(inbox.take());
        });
        assert!(dropped.is_err());
        assert_eq!(free(lost), 7);
    }

    #[test]
    fn crosses_threads_whatever_its_nodes_are() {
        #[repr(C)]
        struct NotSend(Link, *const ());
        // SAFETY: `repr(C)`, and the link comes first.
        unsafe impl Linked for NotSend {}
        fn crosses<T: Send + Sync>() {}
        crosses::<Inbox<NotSend>>();
    }
}
