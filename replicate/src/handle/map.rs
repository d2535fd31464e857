//! A map on every core.

use std::borrow::Borrow;
use std::hash::Hash;
use std::ops::Deref;
use std::time::Duration;

use super::{Committed, CreateError, NO_CORE, ProposeError, Replicated};
use crate::host;
use crate::ready::{Map, MapCommand};
use crate::{StateMachine, Time};

/// Why a [`ReplicatedMap`] was not changed.
pub type MapError<K, V> = ProposeError<Map<K, V>>;

/// A map that every core reads as its own, as fast as a `HashMap`: each core has all entries.
///
/// It is a [`Replicated`] of a [`Map`], and has that one's methods too.
///
/// ```
/// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
/// use multikernel_replicate::ReplicatedMap;
/// use multikernel_replicate::ready::MapRefusal;
///
/// let routes = ReplicatedMap::new().await?;
/// routes.insert("/", "index").await.unwrap();
/// assert_eq!(routes.get("/"), Some("index"));
///
/// let taken = routes.insert_if_absent("/", "other").await.unwrap_err();
/// assert_eq!(taken.refusal(), Some(&MapRefusal::Present { key: "/" }));
/// # Ok::<(), multikernel_replicate::CreateError>(())
/// # }).unwrap().unwrap();
/// ```
pub struct ReplicatedMap<K, V>(Replicated<Map<K, V>>)
where
    Map<K, V>: StateMachine;

impl<K, V> ReplicatedMap<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// An empty map on every core.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::ReplicatedMap;
    ///
    /// let routes = ReplicatedMap::<String, u16>::new().await?;
    /// assert!(routes.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Replicated::new`], as for panics and dropping the future.
    pub async fn new() -> Result<Self, CreateError> {
        Replicated::new(Map::new).await.map(Self)
    }

    /// The same, refusing to have more entries than that.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::ReplicatedMap;
    /// use multikernel_replicate::ready::MapRefusal;
    ///
    /// let routes = ReplicatedMap::with_capacity_limit(1).await?;
    /// routes.insert("a", 1).await?;
    /// let error = routes.insert("b", 2).await.unwrap_err();
    /// assert_eq!(error.refusal(), Some(&MapRefusal::Full { limit: 1 }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Replicated::new`].
    pub async fn with_capacity_limit(limit: usize) -> Result<Self, CreateError> {
        Replicated::new(move || Map::with_capacity_limit(limit)).await.map(Self)
    }

    /// A copy of the value of a key, as this core has it now. To look without a copy: [`Replicated::read`].
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::ReplicatedMap;
    /// let routes = ReplicatedMap::new().await?;
    /// routes.insert("a".to_owned(), 1).await?;
    /// assert_eq!((routes.get("a"), routes.get("b")), (Some(1), None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// As [`Replicated::read`].
    #[must_use]
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.read(|map| map.get(key).cloned())
    }

    /// Whether a key is there.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::ReplicatedMap;
    /// let routes = ReplicatedMap::new().await?;
    /// routes.insert("a", 1).await?;
    /// assert!(routes.contains_key("a") && !routes.contains_key("b"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// As [`Replicated::read`].
    #[must_use]
    pub fn contains_key<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.read(|map| map.contains_key(key))
    }

    /// How many entries there are.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::ReplicatedMap;
    /// let routes = ReplicatedMap::new().await?;
    /// routes.insert("a", 1).await?;
    /// routes.insert("a", 2).await?;
    /// assert_eq!(routes.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// As [`Replicated::read`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.read(Map::len)
    }

    /// Whether there is no entry.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::ReplicatedMap;
    /// let routes = ReplicatedMap::new().await?;
    /// assert!(routes.is_empty());
    /// routes.insert("a", 1).await?;
    /// assert!(!routes.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// As [`Replicated::read`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.read(Map::is_empty)
    }

    /// Puts an entry in on every core, over one that is there.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::ReplicatedMap;
    /// let routes = ReplicatedMap::new().await?;
    /// routes.insert("a", 1).await?;
    /// for task in multikernel::on_each_core(move || async move { routes.get("a") }) {
    ///     assert_eq!(task.await?, Some(1));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Replicated::propose`], as for dropping the future.
    pub async fn insert(&self, key: K, value: V) -> Result<Committed, MapError<K, V>> {
        self.propose(Map::insert(key, value)).await
    }

    /// Puts an entry in that goes some time after `lifetime`, on every core at the same version. Until then it is there, late or not.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use std::time::Duration;
    ///
    /// use futures::StreamExt;
    /// # use multikernel_replicate::ReplicatedMap;
    ///
    /// let guests = ReplicatedMap::new().await?;
    /// let mut changes = guests.changes();
    /// guests.insert_for("ada", 1, Duration::from_millis(1)).await?;
    /// while guests.contains_key("ada") {
    ///     changes.next().await;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Replicated::propose`], as for dropping the future.
    ///
    /// # Panics
    ///
    /// On a thread that is no core.
    pub async fn insert_for(
        &self,
        key: K,
        value: V,
        lifetime: Duration,
    ) -> Result<Committed, MapError<K, V>> {
        let now = host::with(|host| host.expect(NO_CORE).now());
        let lifetime = u64::try_from(lifetime.as_nanos()).unwrap_or(u64::MAX);
        self.propose(Map::insert_until(key, value, Time(now.0.saturating_add(lifetime)))).await
    }

    /// Puts an entry in on every core, or on none if one has the key.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::ready::MapRefusal;
    /// # use multikernel_replicate::ReplicatedMap;
    ///
    /// let desks = ReplicatedMap::new().await?;
    /// desks.insert_if_absent(7, "ada").await?;
    /// let error = desks.insert_if_absent(7, "bob").await.unwrap_err();
    /// assert_eq!(error.refusal(), Some(&MapRefusal::Present { key: 7 }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Replicated::propose`], as for dropping the future. The refusal names the key.
    pub async fn insert_if_absent(&self, key: K, value: V) -> Result<Committed, MapError<K, V>> {
        self.propose(Map::insert_if_absent(key, value)).await
    }

    /// Takes an entry out on every core, if it is there.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::ReplicatedMap;
    /// let routes = ReplicatedMap::new().await?;
    /// routes.insert("a", 1).await?;
    /// routes.remove("a").await?;
    /// assert_eq!(routes.get("a"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Replicated::propose`], as for dropping the future.
    pub async fn remove(&self, key: K) -> Result<Committed, MapError<K, V>> {
        self.propose(Map::remove(key)).await
    }

    /// All of these changes or, if one of them is refused, none. Made by the functions of [`Map`].
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::ready::Map;
    /// # use multikernel_replicate::ReplicatedMap;
    ///
    /// let desks = ReplicatedMap::new().await?;
    /// desks.insert(7, "ada").await?;
    /// let moves = [Map::remove(7), Map::insert_if_absent(8, "ada")];
    /// desks.batch(moves).await?;
    /// assert_eq!((desks.get(&7), desks.get(&8)), (None, Some("ada")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Replicated::propose`], as for dropping the future.
    pub async fn batch(
        &self,
        commands: impl IntoIterator<Item = MapCommand<K, V>>,
    ) -> Result<Committed, MapError<K, V>> {
        self.propose(Map::batch(commands)).await
    }
}

impl<K, V> Clone for ReplicatedMap<K, V>
where
    Map<K, V>: StateMachine,
{
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> std::fmt::Debug for ReplicatedMap<K, V>
where
    Map<K, V>: StateMachine,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ReplicatedMap").field(&self.0).finish()
    }
}

impl<K, V> Deref for ReplicatedMap<K, V>
where
    Map<K, V>: StateMachine,
{
    type Target = Replicated<Map<K, V>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
