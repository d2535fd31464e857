//! Memory of ended tasks, kept for the next ones of its size.
//!
//! A core spawns and ends tasks at a rate at which the system allocator would show; sizes repeat, since a program
//! has few kinds of task. Blocks freed on their home are kept in one list per size class up to a bound; blocks freed
//! on another thread go to the system allocator.

use std::alloc::{Layout, handle_alloc_error};
use std::cell::Cell;
use std::ptr::{NonNull, null_mut};

use multikernel_channels::sync::{alloc, dealloc};

use crate::limits::{RECYCLED_BYTES_PER_CLASS, RECYCLED_TASK_BYTES};

const STEP: usize = 32;
const CLASSES: usize = RECYCLED_TASK_BYTES / STEP;
const ALIGN: usize = 16;

/// A free block, while it is one.
struct Free {
    next: *mut Free,
}

struct Class {
    head: Cell<*mut Free>,
    bytes: Cell<usize>,
}

/// One core's kept blocks.
pub(crate) struct Recycler {
    classes: [Class; CLASSES],
}

/// The class of `layout`, or `None` when it is too large or over-aligned to be kept.
fn class_of(layout: Layout) -> Option<usize> {
    (layout.size() <= RECYCLED_TASK_BYTES && layout.align() <= ALIGN)
        .then(|| layout.size().saturating_sub(1) / STEP)
}

/// What is asked of the system for `layout`: whole classes, so that any later task of the class fits.
fn real_layout(layout: Layout) -> Layout {
    match class_of(layout) {
        Some(class) => Layout::from_size_align((class + 1) * STEP, ALIGN).expect("a small size"),
        None => layout,
    }
}

fn allocate_new(layout: Layout) -> NonNull<u8> {
    let layout = real_layout(layout);
    // SAFETY: a task is never of size zero.
    NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Allocates on a thread that has no recycler.
pub(crate) fn allocate(home: Option<&Recycler>, layout: Layout) -> NonNull<u8> {
    let Some((recycler, class)) = home.zip(class_of(layout)) else { return allocate_new(layout) };
    let class = &recycler.classes[class];
    let Some(block) = NonNull::new(class.head.get()) else { return allocate_new(layout) };
    // SAFETY: a block in the list is ours alone and holds a `Free`.
    class.head.set(unsafe { block.as_ref().next });
    class.bytes.set(class.bytes.get() - real_layout(layout).size());
    block.cast()
}

/// Frees what [`allocate`] gave for the same `layout`, on any thread.
///
/// # Safety
/// `block` came from [`allocate`] with this `layout`, and nothing uses it any more.
pub(crate) unsafe fn free(home: Option<&Recycler>, block: NonNull<u8>, layout: Layout) {
    let real = real_layout(layout);
    if let Some((recycler, class)) = home.zip(class_of(layout)) {
        let class = &recycler.classes[class];
        if class.bytes.get() + real.size() <= RECYCLED_BYTES_PER_CLASS {
            let free = block.cast::<Free>();
            // SAFETY: the block is unused, at least `STEP` large and aligned for a pointer.
            unsafe { free.write(Free { next: class.head.get() }) };
            class.head.set(free.as_ptr());
            class.bytes.set(class.bytes.get() + real.size());
            return;
        }
    }
    // SAFETY: `allocate` asked the system for `real_layout(layout)`, whichever class list it went through since.
    unsafe { dealloc(block.as_ptr(), real) }
}

impl Recycler {
    pub(crate) fn new() -> Self {
        Self { classes: std::array::from_fn(|_| Class { head: Cell::new(null_mut()), bytes: Cell::new(0) }) }
    }
}

impl Drop for Recycler {
    fn drop(&mut self) {
        for (index, class) in self.classes.iter().enumerate() {
            let layout = Layout::from_size_align((index + 1) * STEP, ALIGN).expect("a small size");
            let mut block = class.head.get();
            while !block.is_null() {
                // SAFETY: a block in the list holds a `Free` and was allocated with its class's layout.
                unsafe {
                    let next = (*block).next;
                    dealloc(block.cast(), layout);
                    block = next;
                }
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_freed_block_serves_the_next_task_of_its_class() {
        let recycler = Recycler::new();
        let first = Layout::from_size_align(161, 8).unwrap();
        let second = Layout::from_size_align(190, 16).unwrap();
        let block = allocate(Some(&recycler), first);
        // SAFETY: allocated with this layout just above; nothing uses it.
        unsafe { free(Some(&recycler), block, first) };
        let again = allocate(Some(&recycler), second);
        assert_eq!(block, again);
        // SAFETY: as above; this time to the system.
        unsafe { free(None, again, second) };
    }

    #[test]
    fn kept_memory_is_bounded() {
        let recycler = Recycler::new();
        let layout = Layout::from_size_align(RECYCLED_TASK_BYTES, 8).unwrap();
        let count = RECYCLED_BYTES_PER_CLASS / layout.size() + 3;
        let blocks: Vec<_> = (0..count).map(|_| allocate(Some(&recycler), layout)).collect();
        for block in blocks {
            // SAFETY: allocated with this layout just above; nothing uses it.
            unsafe { free(Some(&recycler), block, layout) };
        }
        assert!(recycler.classes[CLASSES - 1].bytes.get() <= RECYCLED_BYTES_PER_CLASS);
    }

    #[test]
    fn large_and_over_aligned_tasks_go_to_the_system() {
        assert_eq!(class_of(Layout::from_size_align(RECYCLED_TASK_BYTES + 1, 8).unwrap()), None);
        assert_eq!(class_of(Layout::from_size_align(64, 128).unwrap()), None);
        assert_eq!(class_of(Layout::from_size_align(STEP, 8).unwrap()), Some(0));
        assert_eq!(class_of(Layout::from_size_align(STEP + 1, 8).unwrap()), Some(1));
    }
}
