//! One core's memory for direct I/O, which its ring knows once and for all.
//!
//! It is one piece, registered as one buffer and handed out in equal parts. A part goes back to its core when it is dropped,
//! wherever that is. Memory that a ring has registered is locked, and bounded for each user; where it is refused, and on epoll,
//! there is none, and buffers come from the heap.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::Arc;

use super::{Driver, Reactor};
use crate::context::{self, CoreUid};
use crate::limits::{DIRECT_ALIGNMENT, DIRECT_BUFFER_BYTES, DIRECT_BUFFERS};

const LAYOUT: Layout =
    match Layout::from_size_align(DIRECT_BUFFERS as usize * DIRECT_BUFFER_BYTES, DIRECT_ALIGNMENT) {
        Ok(layout) => layout,
        Err(_) => panic!("the bounds of direct I/O do not fit"),
    };

/// The memory. The ring and every part that is in use hold it.
#[derive(Debug)]
pub(crate) struct Arena {
    base: NonNull<u8>,
    home: CoreUid,
}

// SAFETY: it is an address. Who may use which part of the memory is agreed by handing out each once.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    fn new(home: CoreUid) -> Option<Arena> {
        // SAFETY: the layout has a size.
        let base = NonNull::new(unsafe { alloc_zeroed(LAYOUT) })?;
        Some(Arena { base, home })
    }

    /// The mark of the ring that knows it.
    pub(crate) fn ring(&self) -> u64 {
        self.home.0.get()
    }

    /// Where a part is.
    pub(crate) fn part(&self, index: u16) -> NonNull<u8> {
        assert!(index < DIRECT_BUFFERS);
        // SAFETY: within the allocation, by the assertion.
        unsafe { self.base.add(usize::from(index) * DIRECT_BUFFER_BYTES) }
    }

    /// Takes a part of the calling core's arena.
    pub(crate) fn take() -> Option<(Arc<Arena>, u16)> {
        context::with_core(|core| {
            let core = core?;
            core.reactor.borrow_mut().take_part(core.uid)
        })
    }

    /// Gives a part back, which nobody uses any more.
    pub(crate) fn give_back(self: Arc<Self>, index: u16) {
        if super::is_forked_child() {
            return;
        }
        let rest = context::with_core(|core| {
            // Busy when a driver in mid-turn drops it: then it goes by message, as from another thread.
            let here = core.filter(|core| core.uid == self.home);
            match here.and_then(|core| core.reactor.try_borrow_mut().ok()) {
                Some(mut reactor) => {
                    reactor.arenas.free.push(index);
                    None
                }
                None => Some(self),
            }
        });
        let Some(arena) = rest else { return };
        // Refused when that core has ended; then the memory goes with the last part.
        let _ = context::post(arena.home, move |core| core.reactor.borrow_mut().arenas.free.push(index));
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; nobody has a part any more, and the ring is closed or will not use it.
        unsafe { dealloc(self.base.as_ptr(), LAYOUT) };
    }
}

/// A core's arena, made when it is first asked for.
#[derive(Debug, Default)]
pub(crate) struct Arenas {
    arena: Option<Arc<Arena>>,
    free: Vec<u16>,
    /// Do not ask again.
    refused: bool,
}

impl Reactor {
    fn take_part(&mut self, home: CoreUid) -> Option<(Arc<Arena>, u16)> {
        if self.arenas.arena.is_none() && !self.arenas.refused {
            self.make_arena(home);
        }
        let arena = self.arenas.arena.as_ref()?;
        Some((arena.clone(), self.arenas.free.pop()?))
    }

    fn make_arena(&mut self, home: CoreUid) {
        self.arenas.refused = true;
        let Driver::Uring(uring) = &mut self.driver else { return };
        let Some(arena) = Arena::new(home) else { return };
        let memory = libc::iovec { iov_base: arena.base.as_ptr().cast(), iov_len: LAYOUT.size() };
        // SAFETY: the reactor keeps the arena until its ring is closed.
        match unsafe { uring.register_arena(memory) } {
            Ok(()) => {
                self.arenas.arena = Some(Arc::new(arena));
                self.arenas.free = (0..DIRECT_BUFFERS).rev().collect();
            }
            Err(error) => tracing::debug!(%error, "buffers for direct I/O are not registered"),
        }
    }
}
