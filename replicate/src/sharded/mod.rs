//! State in a fixed number of parts, each owned by one core.

mod error;
mod local;
mod mail;
mod owners;
mod state;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Arc;

use multikernel_channels::oneshot;

pub use error::ShardError;

use crate::CoreId;
use crate::handle::{Closed, CreateError, Replicated, new_object};
use crate::host;
use crate::limits::{SLOT_QUEUE, SLOTS};
use local::Local;
use mail::{Ask, Common, Factory, Mail, Parcel, Request};
use owners::Owners;

const NO_CORE: &str = "a sharded object must be made, and asked for its owners, on a core of its Machine";

/// State in a fixed number of slots, each owned by one core and found by a key.
///
/// A slot holds a `T`, its *part*, which lives on its owner's core and is never seen by another: it needs no lock and need not
/// be `Sync`. Whoever wants something of a part sends it a closure ([`with`](Self::with)), which runs on the owner, one after
/// the other for each part. On the owner's own core that is a call, elsewhere a message there and one back.
///
/// The handle is small, cloned at will and sent anywhere. When the last one is dropped all parts are dropped, each on its
/// owner's core.
///
/// # When to shard, and when to replicate
///
/// | | [`Replicated`] | `Sharded` |
/// |---|---|---|
/// | reading | local, synchronous, as cheap as a field | a message there and back, unless the owner is this core |
/// | changing | an agreement of all cores | as reading: both are `&mut` |
/// | memory | a copy for each core | one |
/// | a command to all of it at once | yes, or nothing | no: [`map_reduce`](Self::map_reduce) visits part by part |
/// | a core dies | nothing is lost | what its parts held is lost |
///
/// Replicate what is read much and changed seldom: routes, limits, schemas. Shard what is changed about as often as it is read, or
/// is too large to have on every core: sessions, caches, counters by client. Take several times as many slots as there are cores,
/// so that they can be shared out evenly; they cannot be more later.
///
/// # Keys
///
/// A key is hashed the same way on every core, and in every process. So whoever may choose keys may choose many of one slot.
///
/// # When cores come and go
///
/// The assignment of slots to cores is itself replicated. It changes with the view, and no more slots move than must: those of a
/// core that leaves, or as many for a core that joins as make it even. Nothing of this is the caller's concern, but for time:
///
/// - While the cores vote on the change, closures for slots that would move wait. Then the owner sends the part to the new
///   owner, where closures wait until it is there. Some closures wait on the owner's core
///   ([`SLOT_QUEUE`](crate::limits::SLOT_QUEUE) for each slot), more on the core of the task that has sent them: none is refused,
///   none is lost, none runs twice.
/// - *Order.* While a slot stays where it is, closures that one task sends to it run in the order of the first polls of their
///   `with`. Across a move they need not, unless each is awaited before the next: they may have been sent to different owners.
/// - *Death.* The parts of a core that dies are lost, and those that were about to arrive from it; their new owners make them anew
///   with the factory when they are next asked for. A closure that had been answered may thus have been in vain. One that had
///   not begun runs on the new part.
///
/// ```
/// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
/// use std::collections::HashMap;
///
/// use multikernel_replicate::Sharded;
///
/// let visits = Sharded::new(8, |_slot| HashMap::new()).await?;
/// let count = visits.with("ada", |visits: &mut HashMap<&str, u64>| {
///     let count = visits.entry("ada").or_default();
///     *count += 1;
///     *count
/// });
/// assert_eq!(count.await?, 1); // wherever it is
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
///
/// # Panics in closures
///
/// A closure that panics fails alone, with [`ShardError::Panicked`]. Its part stays as the closure left it, as with a mutex that
/// knows no poisoning: if that may be half done, have the closure put it right, or replace it.
pub struct Sharded<T: Send + 'static> {
    owners: Replicated<Owners<T>>,
    common: Arc<Common<T>>,
}

impl<T: Send + 'static> Clone for Sharded<T> {
    fn clone(&self) -> Self {
        Self { owners: self.owners.clone(), common: Arc::clone(&self.common) }
    }
}

impl<T: Send + 'static> fmt::Debug for Sharded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharded")
            .field("object", &self.common.object.0)
            .field("slots", &self.common.slots)
            .finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Sharded<T> {
    /// Makes an object of so many slots. The factory gets the number of a slot and makes its part, on the core that owns it:
    /// all now, and some again when a core has died. All are there when this returns.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::Sharded;
    ///
    /// let logs = Sharded::new(16, |slot| vec![format!("log {slot} begins")]).await?;
    /// assert_eq!(logs.with_slot(3, |log| log[0].clone()).await?, "log 3 begins");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`CreateError::Panicked`] if the factory panics; then no core has a part.
    ///
    /// # Panics
    ///
    /// On a thread that is no core, without slots, or with more than [`SLOTS`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the object ends again.
    pub async fn new(
        slots: usize,
        factory: impl Fn(usize) -> T + Send + Sync + 'static,
    ) -> Result<Self, CreateError> {
        Self::bounded(slots, SLOT_QUEUE, Arc::new(factory)).await
    }

    async fn bounded(slots: usize, queue: usize, factory: Arc<Factory<T>>) -> Result<Self, CreateError> {
        assert!((1..=SLOTS).contains(&slots), "a sharded object has from 1 to {SLOTS} slots");
        let gateway = host::with(|host| host.map(|host| Arc::clone(host.gateway()))).expect(NO_CORE);
        let common = Arc::new(Common { object: new_object(), slots, queue, gateway, factory });
        let found = {
            let common = Arc::clone(&common);
            move || Owners::found(&common)
        };
        let owners = Replicated::create(common.object, found).await?;
        Ok(Self { owners, common })
    }

    /// How many slots there are.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::Sharded;
    /// let sharded = Sharded::new(16, |_| 0).await?;
    /// assert_eq!(sharded.slots(), 16);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[must_use]
    pub fn slots(&self) -> usize {
        self.common.slots
    }

    /// The slot of a key: the same on every core and in every run.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::Sharded;
    /// let sharded = Sharded::new(16, |_| 0).await?;
    /// assert!(sharded.slot("ada") < 16);
    /// assert_eq!(sharded.slot("ada"), sharded.slot("ada"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn slot<K: Hash + ?Sized>(&self, key: &K) -> usize {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        // The upper bits of the product: as even as the remainder, without a division.
        ((u128::from(hash) * self.common.slots as u128) >> 64) as usize
    }

    /// The core that owns the part of a key, as far as this core knows: it may be about to change.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::CoreId;
    /// # use multikernel_replicate::Sharded;
    ///
    /// let sharded = Sharded::new(16, |_| 0).await?;
    /// let is_a_call = sharded.owner("ada") == CoreId::current();
    /// println!("{}", if is_a_call { "here" } else { "by message" });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// On a thread that is no core of the object's Machine, and if the object is closed.
    pub fn owner<K: Hash + ?Sized>(&self, key: &K) -> CoreId {
        let local = self.local().expect(NO_CORE);
        local.owner(self.slot(key))
    }

    /// Runs a closure with the part of a key, on the core that owns it, and returns what it returns.
    ///
    /// If the owner is this core, the closure runs within the first poll. It has to be `Send` all the same, and so has what it
    /// returns: who owns a part may change.
    ///
    /// The closure holds up its core for as long as it runs. It may use other objects, and drop handles; it cannot wait for
    /// anything. What it asks of its own part waits until it has returned.
    ///
    /// Works on any thread, on cores of other Machines too; then it goes through some core of this.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use std::collections::HashMap;
    ///
    /// # use multikernel_replicate::Sharded;
    /// let visits = Sharded::new(16, |_| HashMap::new()).await?;
    /// for _ in 0..3 {
    ///     let count = |visits: &mut HashMap<u32, u64>| *visits.entry(17).and_modify(|n| *n += 1).or_insert(1);
    ///     println!("visit {}", visits.with(&17, count).await?);
    /// }
    /// assert_eq!(visits.with(&17, |visits| visits[&17]).await?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`ShardError`]: the closure has panicked, or the object is closed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before its first poll the closure does not run. Later that abandons the answer; the closure runs
    /// once, or not at all if it has not begun.
    pub fn with<K, F, R>(
        &self,
        key: &K,
        f: F,
    ) -> impl Future<Output = Result<R, ShardError>> + Send + use<'_, T, K, F, R>
    where
        K: Hash + ?Sized,
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        let slot = self.slot(key);
        self.with_slot(slot, f)
    }

    /// As [`with`](Self::with), but names the slot.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::Sharded;
    /// let logs = Sharded::new(4, |_| Vec::new()).await?;
    /// logs.with_slot(2, |log| log.push("a line")).await?;
    /// assert_eq!(logs.with_slot(2, |log| log.len()).await?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As for `with`.
    ///
    /// # Panics
    ///
    /// If there is no such slot.
    ///
    /// # Cancel safety
    ///
    /// As for `with`.
    pub fn with_slot<F, R>(
        &self,
        slot: usize,
        f: F,
    ) -> impl Future<Output = Result<R, ShardError>> + Send + use<'_, T, F, R>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        assert!(slot < self.common.slots, "there is no slot {slot}");
        async move {
            match self.call(slot, f) {
                Ok(result) => result,
                Err(f) => self.ask(slot, f).await.unwrap_or(Err(ShardError::Closed)),
            }
        }
    }

    /// Visits every part once, each on its owner's core, and combines what `map` returns, in the order of the slots:
    /// `reduce(reduce(slot 0, slot 1), slot 2)` and so on. `reduce` runs here.
    ///
    /// The owners work at the same time, and closures of others come between: it is no picture of one moment.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::Sharded;
    /// let words = Sharded::new(4, |slot| vec!["x".repeat(slot)]).await?;
    /// let longest = words.map_reduce(|words| words.iter().map(String::len).max(), Option::max);
    /// assert_eq!(longest.await?, Some(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`ShardError`], if it fails on one part: that of the first such slot. It has run on the others all the same.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, each part has been visited, is going to be, or is not; none is twice.
    #[expect(clippy::manual_async_fn, reason = "it says that the future is `Send`")]
    pub fn map_reduce<U, M, R>(
        &self,
        map: M,
        mut reduce: R,
    ) -> impl Future<Output = Result<U, ShardError>> + Send + use<'_, T, U, M, R>
    where
        U: Send + 'static,
        M: Fn(&mut T) -> U + Send + Sync + 'static,
        R: FnMut(U, U) -> U + Send,
    {
        async move {
            let mut combined = None;
            for answer in self.ask_all(map) {
                let next = answer.await.unwrap_or(Err(ShardError::Closed))?;
                combined = Some(match combined.take() {
                    Some(before) => reduce(before, next),
                    None => next,
                });
            }
            combined.ok_or(ShardError::Closed)
        }
    }

    /// Visits every part once, each on its owner's core. As [`map_reduce`](Self::map_reduce), without an answer.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::Sharded;
    /// let caches = Sharded::new(4, |_| vec![1, 2, 3]).await?;
    /// caches.for_each(Vec::clear).await?;
    /// assert_eq!(caches.map_reduce(|cache| cache.len(), |all, more| all + more).await?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub fn for_each<F>(&self, f: F) -> impl Future<Output = Result<(), ShardError>> + Send + use<'_, T, F>
    where
        F: Fn(&mut T) + Send + Sync + 'static,
    {
        self.map_reduce(f, |(), ()| ())
    }

    /// Ends the object: all parts are dropped, each on its owner's core. Handles that are left find it closed.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::{ShardError, Sharded};
    ///
    /// let sharded = Sharded::new(4, |_| 0).await?;
    /// let other = sharded.clone();
    /// sharded.close().await?;
    /// assert_eq!(other.with_slot(0, |part| *part).await, Err(ShardError::Closed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// If it was closed already.
    pub async fn close(self) -> Result<(), Closed> {
        self.owners.close().await
    }

    fn local(&self) -> Option<std::rc::Rc<Local<T>>> {
        local::find(self.common.object)
    }

    /// Runs the closure here and now, if the part is here and nothing comes first. Otherwise it comes back.
    fn call<R, F: FnOnce(&mut T) -> R>(&self, slot: usize, f: F) -> Result<Result<R, ShardError>, F> {
        let Some(local) = self.local() else { return Err(f) };
        match local.begin(slot) {
            Some(taken) => Ok(local.run(slot, taken, f)),
            None => Err(f),
        }
    }

    /// Sends the closure to the part.
    fn ask<R, F>(&self, slot: usize, f: F) -> oneshot::Receiver<Result<R, ShardError>>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        let (request, answer) = request(slot, f);
        match self.local() {
            Some(local) => local.receive(Mail::Request(request)),
            None => Parcel::send_to_any(&self.common, Mail::Request(request)),
        }
        answer
    }

    /// Sends a closure to every part, one message for each owner.
    fn ask_all<U, M>(&self, map: M) -> Vec<oneshot::Receiver<Result<U, ShardError>>>
    where
        U: Send + 'static,
        M: Fn(&mut T) -> U + Send + Sync + 'static,
    {
        let map = Arc::new(map);
        let requests = (0..self.common.slots).map(|slot| {
            let map = Arc::clone(&map);
            request(slot, move |part: &mut T| map(part))
        });
        let (requests, answers) = requests.unzip();
        let mail = Mail::Requests(requests);
        match self.local() {
            Some(local) => local.receive(mail),
            None => Parcel::send_to_any(&self.common, mail),
        }
        answers
    }
}

fn request<T, R, F>(slot: usize, f: F) -> (Request<T>, oneshot::Receiver<Result<R, ShardError>>)
where
    F: FnOnce(&mut T) -> R + Send + 'static,
    R: Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Request { slot, origin: None, errand: Box::new(Ask { f, reply }) }, answer)
}
