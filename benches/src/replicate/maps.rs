//! Maps that two cores read and one of them may write: each crate's, and ours.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, RwLock};

use anyhow::{Context, Result, anyhow};
use arc_swap::ArcSwap;
use dashmap::DashMap;
use left_right::{Absorb, ReadHandle, WriteHandle};
use multikernel::replicate::{Replicated, StateMachine};
use multikernel::task::yield_now;

/// Keys are the numbers below this.
pub(super) const ENTRIES: u64 = 10_000;

/// What is under a key: in its lower half always the same, in the upper how often it was written.
pub(super) fn value(key: u64, writes: u64) -> u64 {
    writes << 32 | (key * 3 + 1)
}

fn entries() -> HashMap<u64, u64> {
    (0..ENTRIES).map(|key| (key, value(key, 0))).collect()
}

/// A core's way to read the map.
pub(super) trait Read: Send + 'static {
    /// Is called on the core, before it reads.
    fn arrive(&mut self) {}

    /// Zero, which no key has, if the key is not there.
    fn get(&self, key: u64) -> u64;
}

/// The one who writes.
pub(super) trait Write: Send + 'static {
    /// Writes, now or later but in order.
    fn write(&mut self, key: u64, value: u64) -> impl Future<Output = Result<()>>;

    /// Waits until all that was written is read everywhere.
    fn settle(&mut self) -> impl Future<Output = Result<()>> {
        async { Ok(()) }
    }
}

/// One way to share a map.
pub(super) trait Map: 'static {
    type Read: Read;
    type Write: Write;

    /// A new map, full, with a way to it for each core. Called on the core that writes.
    fn open() -> impl Future<Output = Result<([Self::Read; 2], Self::Write)>>;
}

/// Each core has its own, and nobody can write: the limit.
pub(super) struct Plain;

/// Not there before the core has it.
#[derive(Default)]
pub(super) struct Own(HashMap<u64, u64>);

impl Map for Plain {
    type Read = Own;
    type Write = Nobody;

    async fn open() -> Result<([Own; 2], Nobody)> {
        Ok(([Own::default(), Own::default()], Nobody))
    }
}

impl Read for Own {
    fn arrive(&mut self) {
        self.0 = entries();
    }

    #[inline]
    fn get(&self, key: u64) -> u64 {
        self.0.get(&key).copied().unwrap_or(0)
    }
}

pub(super) struct Nobody;

impl Write for Nobody {
    async fn write(&mut self, _: u64, _: u64) -> Result<()> {
        Err(anyhow!("this map cannot be written"))
    }
}

/// A map behind an `Arc`, which both cores and the writer have.
macro_rules! shared {
    (
        $map:ident($inner:ty) = $open:expr;
        get: |$r:ident, $key:ident| $get:expr;
        write: |$w:ident, $at:ident, $value:ident| $write:expr;
    ) => {
        pub(super) struct $map(Arc<$inner>);

        impl Map for $map {
            type Read = Self;
            type Write = Self;

            async fn open() -> Result<([Self; 2], Self)> {
                let map = Arc::new($open);
                Ok(([Self(Arc::clone(&map)), Self(Arc::clone(&map))], Self(map)))
            }
        }

        impl Read for $map {
            #[inline]
            fn get(&self, $key: u64) -> u64 {
                let $r = &*self.0;
                $get
            }
        }

        impl Write for $map {
            async fn write(&mut self, $at: u64, $value: u64) -> Result<()> {
                let $w = &*self.0;
                $write;
                Ok(())
            }
        }
    };
}

const POISONED: &str = "nobody panics under this lock";

shared! {
    Swap(ArcSwap<HashMap<u64, u64>>) = ArcSwap::from_pointee(entries());
    get: |map, key| map.load().get(&key).copied().unwrap_or(0);
    write: |map, key, value| {
        // The only writer, so nothing is lost between the two.
        let mut next = HashMap::clone(&map.load());
        next.insert(key, value);
        map.store(Arc::new(next))
    };
}

shared! {
    Papaya(papaya::HashMap<u64, u64>) = entries().into_iter().collect();
    get: |map, key| map.pin().get(&key).copied().unwrap_or(0);
    write: |map, key, value| map.pin().insert(key, value);
}

shared! {
    Dash(DashMap<u64, u64>) = entries().into_iter().collect();
    get: |map, key| map.get(&key).map_or(0, |value| *value);
    write: |map, key, value| map.insert(key, value);
}

shared! {
    Locked(RwLock<HashMap<u64, u64>>) = RwLock::new(entries());
    get: |map, key| map.read().expect(POISONED).get(&key).copied().unwrap_or(0);
    write: |map, key, value| map.write().expect(POISONED).insert(key, value);
}

shared! {
    Mutual(Mutex<HashMap<u64, u64>>) = Mutex::new(entries());
    get: |map, key| map.lock().expect(POISONED).get(&key).copied().unwrap_or(0);
    write: |map, key, value| map.lock().expect(POISONED).insert(key, value);
}

pub(super) struct LeftRight;

#[derive(Default)]
pub(super) struct Side(HashMap<u64, u64>);

pub(super) struct Insert(u64, u64);

impl Absorb<Insert> for Side {
    fn absorb_first(&mut self, insert: &mut Insert, _: &Self) {
        self.0.insert(insert.0, insert.1);
    }

    fn sync_with(&mut self, first: &Self) {
        self.0.clone_from(&first.0);
    }
}

impl Map for LeftRight {
    type Read = ReadHandle<Side>;
    type Write = WriteHandle<Side, Insert>;

    async fn open() -> Result<([Self::Read; 2], Self::Write)> {
        let (mut write, read) = left_right::new::<Side, Insert>();
        write.extend(entries().into_iter().map(|(key, value)| Insert(key, value)));
        write.publish();
        Ok(([read.clone(), read], write))
    }
}

impl Read for ReadHandle<Side> {
    #[inline]
    fn get(&self, key: u64) -> u64 {
        self.enter().and_then(|side| side.0.get(&key).copied()).unwrap_or(0)
    }
}

impl Write for WriteHandle<Side, Insert> {
    async fn write(&mut self, key: u64, value: u64) -> Result<()> {
        self.append(Insert(key, value));
        self.publish();
        Ok(())
    }
}

/// Ours. `AWAITED`: the writer waits for each write to be committed.
pub(super) struct Ours<const AWAITED: bool>;

/// A replica of the map.
pub(super) struct MapState(HashMap<u64, u64>);

impl StateMachine for MapState {
    type Command = (u64, u64);
    type Refusal = ();
    type Snapshot = HashMap<u64, u64>;
    const VETO: bool = false;

    fn prepare(&mut self, _: &(u64, u64)) -> Result<(), ()> {
        Ok(())
    }

    fn commit(&mut self, &(key, value): &(u64, u64)) {
        self.0.insert(key, value);
    }

    fn abort(&mut self, _: &(u64, u64)) {}

    fn snapshot(&self) -> HashMap<u64, u64> {
        self.0.clone()
    }

    fn restore(entries: &HashMap<u64, u64>) -> Result<Self, ()> {
        Ok(Self(entries.clone()))
    }
}

pub(super) struct Writer<const AWAITED: bool>(Replicated<MapState>);

impl<const AWAITED: bool> Map for Ours<AWAITED> {
    type Read = Replicated<MapState>;
    type Write = Writer<AWAITED>;

    async fn open() -> Result<([Self::Read; 2], Self::Write)> {
        let map = Replicated::new(|| MapState(entries())).await?;
        Ok(([map.clone(), map.clone()], Writer(map)))
    }
}

impl Read for Replicated<MapState> {
    #[inline]
    fn get(&self, key: u64) -> u64 {
        self.read(|map| map.0.get(&key).copied().unwrap_or(0))
    }
}

impl<const AWAITED: bool> Write for Writer<AWAITED> {
    async fn write(&mut self, key: u64, value: u64) -> Result<()> {
        if AWAITED {
            self.0.propose((key, value)).await?;
            return Ok(());
        }
        // Its bound on what is under way is the back-pressure.
        let mut command = (key, value);
        while let Err(full) = self.0.announce(command) {
            command = full.into_command();
            yield_now().await;
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<()> {
        // A proposal behind all others, which are everywhere when it is.
        self.0.propose((0, value(0, 0))).await.map(drop).context("the last proposal")
    }
}
