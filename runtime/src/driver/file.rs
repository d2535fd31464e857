//! One core's part of the file table: where each file is, and what is in flight on it.
//!
//! The table itself is replicated (`fs::table`); here is what only this core knows. A file has a place, and on io_uring the
//! number of the place is its index in the ring's registered table. It keeps the place until the last operation is through,
//! also when it is closed and its slot of the table means another file by then.

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::Waker;

use slab::Slab;

use super::file_op::On;
use super::order::Order;
use super::running::Running;
use super::uring::Subject;
use super::{Driver, Reactor};
use crate::context::CoreUid;
use crate::limits::FILES;

/// The name of a file in a Machine's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    pub(crate) slot: u32,
    /// Of all files of the process, so that neither the slot's next file nor another Machine's is taken for this one.
    pub(crate) generation: u64,
}

/// Where this core keeps a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

/// Why a core does not take a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileRefusal {
    Full {
        limit: usize,
    },
    /// The error number of the registration.
    System(i32),
}

struct Entry {
    file: Arc<OwnedFd>,
    /// It is in the ring's table.
    is_registered: bool,
    in_flight: u32,
    life: Life,
}

enum Life {
    Open,
    /// This core has said that nothing is in flight, and keeps it so until the others have said what they say. Here is
    /// who waits to start something.
    Suspended(Vec<Waker>),
    /// This is woken after the last operation.
    Closed(Waker),
}

pub(super) struct Files {
    /// The generation and the place of the file in each slot.
    open: Vec<Option<(u64, Place)>>,
    entries: Slab<Entry>,
    limit: usize,
}

impl Default for Files {
    fn default() -> Self {
        Files { open: Vec::new(), entries: Slab::new(), limit: FILES }
    }
}

/// What an operation is to name.
pub(super) enum Target {
    Registered(u32),
    Plain(RawFd),
}

/// The outcome of [`Reactor::start_file`].
pub(super) enum Started {
    OnRing(Running),
    /// It is counted as in flight until the lease is given back.
    Leased(Arc<OwnedFd>, Place),
    /// A file that is in no table.
    Lent(Arc<File>),
    /// Not now. The waker is kept, and woken when that changes.
    Suspended,
    Closed,
}

impl Files {
    fn entry(&mut self, place: Place) -> &mut Entry {
        &mut self.entries[place.0 as usize]
    }

    /// The place of a file that is open.
    fn find(&self, id: FileId) -> Option<Place> {
        let (generation, place) = (*self.open.get(id.slot as usize)?)?;
        (generation == id.generation).then_some(place)
    }
}

impl Entry {
    fn target(&self, place: Place) -> Target {
        if self.is_registered { Target::Registered(place.0) } else { Target::Plain(self.file.as_raw_fd()) }
    }
}

impl Reactor {
    /// Takes a file in: from [`publish_file`](Self::publish_file) on there can be operations.
    pub(crate) fn add_file(&mut self, file: Arc<OwnedFd>) -> Result<Place, FileRefusal> {
        let limit = self.files.limit;
        if self.files.entries.len() >= limit {
            return Err(FileRefusal::Full { limit });
        }
        let index = self.files.entries.vacant_key() as u32;
        let is_registered = match &mut self.driver {
            Driver::Uring(uring) => uring.register_file(index, file.as_raw_fd()).map_err(refusal)?,
            Driver::Epoll(_) => false,
        };
        self.files.entries.insert(Entry { file, is_registered, in_flight: 0, life: Life::Open });
        Ok(Place(index))
    }

    /// From now on `id` means the file at this place.
    pub(crate) fn publish_file(&mut self, id: FileId, place: Place) {
        let slot = id.slot as usize;
        if self.files.open.len() <= slot {
            self.files.open.resize(slot + 1, None);
        }
        self.files.open[slot] = Some((id.generation, place));
    }

    /// From now on `id` means nothing.
    pub(crate) fn withdraw_file(&mut self, id: FileId) {
        if self.files.find(id).is_some() {
            self.files.open[id.slot as usize] = None;
        }
    }

    /// Starts nothing more on this file until [`resume_file`](Self::resume_file), if nothing is in flight; else says how
    /// much is.
    pub(crate) fn suspend_file(&mut self, place: Place) -> Result<(), u32> {
        let entry = self.files.entry(place);
        if entry.in_flight > 0 {
            return Err(entry.in_flight);
        }
        entry.life = Life::Suspended(Vec::new());
        Ok(())
    }

    pub(crate) fn resume_file(&mut self, place: Place) {
        self.change_life(place, Life::Open);
    }

    /// Lets the file go, as soon as its last operation is through. `answer` is woken then, in a turn: a waker may run code that
    /// must not meet a borrow, of the agreement for instance.
    pub(crate) fn release_file(&mut self, place: Place, answer: Waker) {
        self.change_life(place, Life::Closed(answer));
        if self.files.entry(place).in_flight == 0 {
            let answer = self.let_go(place);
            self.early.extend(answer);
        }
    }

    fn change_life(&mut self, place: Place, life: Life) {
        if let Life::Suspended(waiting) = mem::replace(&mut self.files.entry(place).life, life) {
            self.early.extend(waiting);
        }
    }

    fn let_go(&mut self, place: Place) -> Option<Waker> {
        let entry = self.files.entries.remove(place.0 as usize);
        if entry.is_registered
            && let Driver::Uring(uring) = &mut self.driver
        {
            uring.unregister_file(place.0);
        }
        match entry.life {
            Life::Closed(answer) => Some(answer),
            Life::Open | Life::Suspended(_) => None,
        }
    }

    /// An operation on a file has completed.
    fn end_file_op(&mut self, place: Place) -> Option<Waker> {
        let entry = self.files.entry(place);
        entry.in_flight -= 1;
        let is_over = entry.in_flight == 0 && matches!(entry.life, Life::Closed(_));
        if is_over { self.let_go(place) } else { None }
    }

    /// Counts the operations that the ring has completed.
    pub(super) fn settle_files(&mut self, woken: &mut Vec<Waker>) {
        let Driver::Uring(uring) = &mut self.driver else { return };
        if uring.ops.through.is_empty() {
            return;
        }
        let mut through = mem::take(&mut uring.ops.through);
        for place in through.drain(..) {
            woken.extend(self.end_file_op(place));
        }
        if let Driver::Uring(uring) = &mut self.driver {
            uring.ops.through = through; // for its memory
        }
    }

    /// A lease is given back.
    pub(super) fn end_lease(&mut self, place: Place) {
        let answer = self.end_file_op(place);
        self.early.extend(answer);
    }

    /// Starts an operation, on the ring if there is one and it is asked for; else leases the descriptor.
    ///
    /// # Safety
    ///
    /// The memory that `order` names must stay valid and alone in use until the operation is done, or for good; and a file of its
    /// own open as long.
    pub(super) unsafe fn start_file(
        &mut self,
        file: &On,
        order: Order,
        home: CoreUid,
        by_ring: bool,
        waker: &Waker,
    ) -> Started {
        let id = match file {
            On::Table(id) => *id,
            On::Own(file) => {
                return match &mut self.driver {
                    Driver::Uring(uring) if by_ring => {
                        let target = Target::Plain(file.as_raw_fd());
                        // SAFETY: the caller's promise.
                        let key =
                            unsafe { uring.start_file(target, order, home, Subject::Kept, waker.clone()) };
                        Started::OnRing(Running::new(home, key))
                    }
                    _ => Started::Lent(file.clone()),
                };
            }
        };
        let Some(place) = self.files.find(id) else { return Started::Closed };
        let entry = self.files.entry(place);
        if let Life::Suspended(waiting) = &mut entry.life {
            if !waiting.iter().any(|known| known.will_wake(waker)) {
                waiting.push(waker.clone());
            }
            return Started::Suspended;
        }
        entry.in_flight += 1;
        match &mut self.driver {
            Driver::Uring(uring) if by_ring => {
                // SAFETY: the caller's promise. The place, and with it the descriptor, stays until `end_file_op`.
                let key = unsafe {
                    uring.start_file(entry.target(place), order, home, Subject::Place(place), waker.clone())
                };
                Started::OnRing(Running::new(home, key))
            }
            _ => Started::Leased(entry.file.clone(), place),
        }
    }

    #[cfg(test)]
    pub(super) fn file_place(&self, id: FileId) -> Option<Place> {
        self.files.find(id)
    }

    /// Operations in flight on a file of this core.
    #[cfg(test)]
    pub(crate) fn file_ops(&mut self, id: FileId) -> Option<u32> {
        let place = self.files.find(id)?;
        Some(self.files.entry(place).in_flight)
    }

    /// How many files this core keeps, and how many of them in the ring's table.
    #[cfg(test)]
    pub(crate) fn files_kept(&self) -> (usize, usize) {
        let registered = self.files.entries.iter().filter(|(_, entry)| entry.is_registered).count();
        (self.files.entries.len(), registered)
    }

    #[cfg(test)]
    pub(crate) fn limit_files(&mut self, limit: usize) {
        self.files.limit = limit;
    }

    /// From now on new files are not put into the ring's table, as on an old system.
    #[cfg(test)]
    pub(crate) fn refuse_registration(&mut self) {
        if let Driver::Uring(uring) = &mut self.driver {
            uring.refuse_registration();
        }
    }
}

fn refusal(error: io::Error) -> FileRefusal {
    FileRefusal::System(error.raw_os_error().unwrap_or(libc::EIO))
}
