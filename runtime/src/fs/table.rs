//! The file table: one replicated object of each Machine.
//!
//! What is replicated is which slot means which file. Each replica also knows where its own core keeps the file, and
//! changes that core's driver along with itself: the vote on an Open is the registration with the driver, the commit of a
//! Close lets the driver go of it.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Waker;

use multikernel_replicate::StateMachine;

use super::drain::Drain;
use crate::context;
use crate::driver::{FileId, FileRefusal, Place, Reactor};

pub(super) enum Command {
    Open { generation: u64, file: Arc<OwnedFd> },
    Close { generation: u64, drain: Arc<Drain>, only_if_idle: bool },
}

/// Why a core does not go along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Full { limit: usize },
    System(i32),
    Closed,
    Busy { in_flight: u32 },
}

impl From<FileRefusal> for Refusal {
    fn from(refusal: FileRefusal) -> Self {
        match refusal {
            FileRefusal::Full { limit } => Refusal::Full { limit },
            FileRefusal::System(errno) => Refusal::System(errno),
        }
    }
}

struct Entry {
    generation: u64,
    file: Arc<OwnedFd>,
    place: Place,
}

/// A vote for an Open that is not decided.
struct Opening {
    id: FileId,
    place: Place,
    /// The slot is a new one, not one that was free.
    is_new: bool,
}

/// A vote for a Close that is not decided, with this core's share of its drain.
struct Closing {
    generation: u64,
    share: Waker,
}

/// One core's replica.
#[derive(Default)]
pub(super) struct FileTable {
    slots: Vec<Option<Entry>>,
    /// Free slots. The last is taken first, and given back first when a vote is undone: so all cores have the same.
    free: Vec<u32>,
    by_generation: BTreeMap<u64, u32>,
    opening: Vec<Opening>,
    closing: Vec<Closing>,
}

/// As a core that joins gets it.
pub(super) struct Saved {
    slots: Vec<Option<(u64, Arc<OwnedFd>)>>,
    free: Vec<u32>,
}

fn with_driver<R>(f: impl FnOnce(&mut Reactor) -> R) -> R {
    context::with_core(|core| f(&mut core.expect("replicas live on cores").reactor.borrow_mut()))
}

impl FileTable {
    /// The name of an open file.
    pub(super) fn find(&self, generation: u64) -> Option<FileId> {
        self.by_generation.get(&generation).map(|slot| FileId { slot: *slot, generation })
    }

    fn place(&self, id: FileId) -> Place {
        self.slots[id.slot as usize].as_ref().expect("found by its generation").place
    }

    fn vote_for_close(
        &mut self,
        generation: u64,
        drain: &Arc<Drain>,
        only_if_idle: bool,
    ) -> Result<(), Refusal> {
        let is_closing = self.closing.iter().any(|closing| closing.generation == generation);
        let id = self.find(generation).filter(|_| !is_closing).ok_or(Refusal::Closed)?;
        if only_if_idle {
            let place = self.place(id);
            with_driver(|driver| driver.suspend_file(place))
                .map_err(|in_flight| Refusal::Busy { in_flight })?;
        }
        self.closing.push(Closing { generation, share: drain.share() });
        Ok(())
    }

    fn open(&mut self, id: FileId, file: Arc<OwnedFd>, place: Place) {
        self.slots[id.slot as usize] = Some(Entry { generation: id.generation, file, place });
        self.by_generation.insert(id.generation, id.slot);
        with_driver(|driver| driver.publish_file(id, place));
    }

    fn close(&mut self, generation: u64) {
        let at = self.closing.iter().position(|closing| closing.generation == generation);
        let share = self.closing.remove(at.expect("it was voted for")).share;
        let slot = self.by_generation.remove(&generation).expect("it was open at the vote");
        let entry = self.slots[slot as usize].take().expect("it was open at the vote");
        self.free.push(slot);
        // Before the share: when the close is answered, the descriptor is closed.
        drop(entry.file);
        with_driver(|driver| {
            driver.withdraw_file(FileId { slot, generation });
            driver.release_file(entry.place, share);
        });
    }
}

impl StateMachine for FileTable {
    type Command = Command;
    type Refusal = Refusal;
    type Snapshot = Saved;
    const VETO: bool = true;

    fn prepare(&mut self, command: &Command) -> Result<(), Refusal> {
        match command {
            Command::Open { generation, file } => {
                let place = with_driver(|driver| driver.add_file(file.clone()))?;
                let free = self.free.pop();
                let slot = free.unwrap_or_else(|| {
                    self.slots.push(None);
                    (self.slots.len() - 1) as u32
                });
                let id = FileId { slot, generation: *generation };
                self.opening.push(Opening { id, place, is_new: free.is_none() });
                Ok(())
            }
            Command::Close { generation, drain, only_if_idle } => {
                self.vote_for_close(*generation, drain, *only_if_idle)
            }
        }
    }

    fn commit(&mut self, command: &Command) {
        match command {
            Command::Open { generation, file } => {
                let at = self.opening.iter().position(|opening| opening.id.generation == *generation);
                let opening = self.opening.remove(at.expect("it was voted for"));
                self.open(opening.id, file.clone(), opening.place);
            }
            Command::Close { generation, .. } => self.close(*generation),
        }
    }

    fn abort(&mut self, command: &Command) {
        match command {
            Command::Open { .. } => {
                let Opening { id, place, is_new } =
                    self.opening.pop().expect("the latest vote is undone first");
                if is_new {
                    self.slots.pop();
                } else {
                    self.free.push(id.slot);
                }
                with_driver(|driver| driver.release_file(place, Waker::noop().clone()));
            }
            Command::Close { only_if_idle, .. } => {
                let Closing { generation, share } =
                    self.closing.pop().expect("the latest vote is undone first");
                if *only_if_idle {
                    let id = self.find(generation).expect("it stays open");
                    let place = self.place(id);
                    with_driver(|driver| driver.resume_file(place));
                }
                // Nobody waits for a close that is not committed.
                drop(share);
            }
        }
    }

    fn snapshot(&self) -> Saved {
        let saved = |entry: &Entry| (entry.generation, entry.file.clone());
        Saved {
            slots: self.slots.iter().map(|entry| entry.as_ref().map(saved)).collect(),
            free: self.free.clone(),
        }
    }

    /// If this core cannot take all of them, it takes none: what is dropped lets go of its files.
    fn restore(saved: &Saved) -> Result<Self, Refusal> {
        let mut table = FileTable::default();
        table.free.clone_from(&saved.free);
        table.slots.resize_with(saved.slots.len(), || None);
        for (slot, entry) in saved.slots.iter().enumerate() {
            if let Some((generation, file)) = entry {
                let place = with_driver(|driver| driver.add_file(file.clone()))?;
                let id = FileId { slot: slot as u32, generation: *generation };
                table.open(id, file.clone(), place);
            }
        }
        Ok(table)
    }

    /// Of the slots, their generations and the order of the free ones (FNV-1a).
    fn digest(&self) -> Option<u64> {
        let open = self.slots.iter().map(|entry| entry.as_ref().map_or(0, |entry| entry.generation));
        let free = self.free.iter().map(|slot| u64::from(*slot));
        let mix = |sum: u64, more: u64| (sum ^ more).wrapping_mul(0x0100_0000_01b3);
        Some(open.chain([u64::MAX]).chain(free).fold(0xcbf2_9ce4_8422_2325, mix))
    }
}

impl Drop for FileTable {
    fn drop(&mut self) {
        context::with_core(|core| {
            let Some(Ok(mut driver)) = core.map(|core| core.reactor.try_borrow_mut()) else { return };
            let mut places: Vec<_> = self.opening.drain(..).map(|opening| opening.place).collect();
            for (slot, entry) in self.slots.iter().enumerate() {
                if let Some(Entry { generation, place, .. }) = entry {
                    driver.withdraw_file(FileId { slot: slot as u32, generation: *generation });
                    places.push(*place);
                }
            }
            places.into_iter().for_each(|place| driver.release_file(place, Waker::noop().clone()));
        });
    }
}
