//! A pool and what it lends.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, ready};

use crate::budget::poll_proceed;
use crate::bulk::Bytes;
use crate::bulk::home::{Header, Home, Returned};
use crate::hub::{Side, poll_port};
use crate::sync::SharedArc;

/// A buffer on loan from a [`Pool`] of bytes. It can be used like a `[u8]`.
pub type Buffer = Loan<Bytes>;

/// A fixed number of objects that are lent, to any thread, and come back when they are dropped.
///
/// A pool stays on the thread where it was made: it is not `Send`. If it is dropped while some of its objects are out,
/// each of those lives until it is dropped, where it is dropped.
///
/// ```
/// use multikernel_channels::bulk::Pool;
///
/// let pool = Pool::new(1, 4096);
/// let buffer = pool.try_take().unwrap();
/// std::thread::spawn(move || println!("{} bytes", buffer.len())).join().unwrap(); // dropped there
/// assert!(pool.try_take().is_some()); // and home again
/// ```
pub struct Pool<T = Bytes> {
    home: SharedArc<Home>,
    /// Makes an object that comes back as good as new.
    refresh: fn(&mut T),
    /// It owns objects, and is bound to its thread.
    _objects: PhantomData<(Box<Node<T>>, *const ())>,
}

/// A lent object and what it needs to come home.
#[repr(C)]
struct Node<T> {
    header: Header,
    home: SharedArc<Home>,
    object: T,
}

impl Pool {
    /// `count` buffers of `bytes` bytes each, all allocated here and once.
    ///
    /// A buffer that is taken is as long as it can be. It starts out as zeros; later it holds what was in it before.
    ///
    /// # Panics
    ///
    /// When `count` is zero.
    ///
    /// ```
    /// let pool = multikernel_channels::bulk::Pool::new(2, 4096);
    /// let (first, second) = (pool.try_take(), pool.try_take());
    /// assert!(first.is_some() && second.is_some() && pool.try_take().is_none());
    /// ```
    #[must_use]
    pub fn new(count: usize, bytes: usize) -> Self {
        Self::with(count, || Bytes::zeroed(bytes), Bytes::use_all)
    }
}

impl<T> Pool<T> {
    /// `count` objects, each from a call of `make`. Whenever one is taken, `refresh` sees it first.
    ///
    /// # Panics
    ///
    /// When `count` is zero: from such a pool nothing could ever be taken.
    ///
    /// # Example
    ///
    /// Vectors that keep their memory:
    ///
    /// ```
    /// use multikernel_channels::bulk::Pool;
    ///
    /// let pool = Pool::with(1, || Vec::with_capacity(64), Vec::clear);
    /// let mut numbers = pool.try_take().unwrap();
    /// numbers.extend(0..10);
    /// drop(numbers);
    /// let numbers = pool.try_take().unwrap();
    /// assert!(numbers.is_empty() && numbers.capacity() >= 64);
    /// ```
    #[must_use]
    pub fn with(count: usize, mut make: impl FnMut() -> T, refresh: fn(&mut T)) -> Self {
        assert!(count > 0, "a pool has at least one object");
        let home = Home::new(count);
        let pool = Self { home, refresh, _objects: PhantomData };
        for _ in 0..count {
            let node = Node { header: Header::new(), home: SharedArc::clone(&pool.home), object: make() };
            // SAFETY: a pool is on its home thread, as everywhere in this file.
            unsafe { pool.home.add(NonNull::from(Box::leak(Box::new(node))).cast()) };
        }
        pool
    }

    /// Takes an object if one is there and nobody [waits](Self::take) for one.
    ///
    /// # Example
    ///
    /// ```
    /// let pool = multikernel_channels::bulk::Pool::new(1, 16);
    /// let buffer = pool.try_take().unwrap();
    /// assert!(pool.try_take().is_none());
    /// drop(buffer);
    /// assert!(pool.try_take().is_some());
    /// ```
    #[must_use]
    pub fn try_take(&self) -> Option<Loan<T>> {
        // SAFETY: a pool is on its home thread.
        if unsafe { self.home.is_next(None) } { self.grab().map(|loan| self.refreshed(loan)) } else { None }
    }

    /// Waits for an object and takes it. Who waits first is served first.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, nothing has been taken, and its place in the queue is given up.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let pool = multikernel_channels::bulk::Pool::new(1, 16);
    /// let buffer = pool.take().await;
    /// std::thread::spawn(move || drop(buffer));
    /// let buffer = pool.take().await; // when the thread has dropped it
    /// # drop(buffer);
    /// # })
    /// ```
    pub fn take(&self) -> Taking<'_, T> {
        Taking { pool: self, number: None }
    }

    #[inline]
    fn grab(&self) -> Option<Loan<T>> {
        // SAFETY: a pool is on its home thread.
        let node = unsafe { self.home.grab() }?.cast();
        Some(Loan { node, _object: PhantomData })
    }

    fn refreshed(&self, mut loan: Loan<T>) -> Loan<T> {
        (self.refresh)(&mut loan);
        loan
    }
}

impl<T> Drop for Pool<T> {
    fn drop(&mut self) {
        // SAFETY: a pool is on its home thread.
        for node in unsafe { self.home.close() } {
            // SAFETY: it was leaked by `with`, is not lent, and nobody else has a pointer to it any more.
            drop(unsafe { Box::from_raw(node.cast::<Node<T>>().as_ptr()) });
        }
    }
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// What [`Pool::take`] returns.
///
/// ```
/// # futures::executor::block_on(async {
/// let pool = multikernel_channels::bulk::Pool::new(1, 8);
/// let taking = pool.take(); // nothing has happened yet
/// assert_eq!(taking.await.len(), 8);
/// # })
/// ```
#[must_use = "nothing is taken before the future is polled"]
pub struct Taking<'a, T> {
    pool: &'a Pool<T>,
    /// In the queue of those who wait.
    number: Option<u64>,
}

impl<T> Taking<'_, T> {
    fn leave(&mut self) {
        if let Some(number) = self.number.take() {
            // SAFETY: a pool is on its home thread, and so is who borrows it.
            unsafe { self.pool.home.leave(number) };
        }
    }
}

impl<T> Future for Taking<'_, T> {
    type Output = Loan<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Loan<T>> {
        let progress = ready!(poll_proceed(cx));
        let pool = self.pool;
        // SAFETY: a pool is on its home thread, and so is who borrows it.
        if unsafe { pool.home.is_next(self.number) }
            && let Poll::Ready(loan) = poll_port(&pool.home, Side::Receiver, cx, || pool.grab())
        {
            self.leave();
            progress.made();
            return Poll::Ready(pool.refreshed(loan));
        }
        // SAFETY: as above.
        self.number = Some(unsafe { pool.home.queue(self.number, cx.waker()) });
        Poll::Pending
    }
}

impl<T> Drop for Taking<'_, T> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<T> fmt::Debug for Taking<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taking").field("waits", &self.number.is_some()).finish_non_exhaustive()
    }
}

/// An object on loan from a [`Pool`]. It can be used like a `T`, sent to another thread, and goes home when it is dropped.
///
/// ```compile_fail,E0277
/// let pool = multikernel_channels::bulk::Pool::with(1, || std::rc::Rc::new(1), |_| ());
/// let loan = pool.try_take().unwrap();
/// std::thread::spawn(move || drop(loan));
/// ```
///
/// ```
/// let pool = multikernel_channels::bulk::Pool::with(1, Vec::<u8>::new, Vec::clear);
/// let mut loan = pool.try_take().unwrap();
/// loan.push(1); // it is a `Vec`
/// drop(loan);
/// assert!(pool.try_take().unwrap().is_empty()); // refreshed, its memory kept
/// ```
pub struct Loan<T> {
    node: NonNull<Node<T>>,
    _object: PhantomData<Node<T>>,
}

// SAFETY: a loan is the only way to its object while it lives, so it may go wherever the object may; there it may also
// drop it, if the pool is gone. The reference to the home may go anywhere.
unsafe impl<T: Send> Send for Loan<T> {}
// SAFETY: a shared loan gives nothing but a shared object.
unsafe impl<T: Sync> Sync for Loan<T> {}

impl<T> Deref for Loan<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the node is ours until we give it back.
        unsafe { &self.node.as_ref().object }
    }
}

impl<T> DerefMut for Loan<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and we are borrowed by `&mut`.
        unsafe { &mut self.node.as_mut().object }
    }
}

impl<T> Drop for Loan<T> {
    fn drop(&mut self) {
        let object = self.node.cast();
        // SAFETY: the node is ours until it is given back.
        let home = unsafe { &self.node.as_ref().home };
        // SAFETY: the home lent the node, and nobody uses it after us.
        let returned = unsafe { home.take_back(object) }.unwrap_or_else(|| {
            let home = SharedArc::clone(home); // ours, for as long as it takes (R38)
            // SAFETY: as above. It came from the home thread, so it may go there.
            unsafe { Home::send_back(&home, object) }
        });
        if let Returned::ToFree = returned {
            // SAFETY: it was leaked by `Pool::with`, is still ours (R39), and nobody else has a pointer to it.
            drop(unsafe { Box::from_raw(self.node.as_ptr()) });
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Loan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Loan").field(&**self).finish()
    }
}
