//! Sources that change hands: who waits is woken though nothing has come, and a core that has no more to do with one stops
//! watching it.

use std::sync::Arc;
use std::task::Waker;

use super::source::{Afterlife, Descriptor, Source, forget};
use crate::context::{self, Resources};
use crate::task::quietly;

impl Source {
    /// Wakes those who wait to read, on whichever core, so that they look again.
    ///
    /// Nobody is missed who has registered before a fence of its own and then looks, if what it is to find was put there
    /// before a fence of the caller: one of the two sees the other.
    pub(crate) fn wake_readers(&self) {
        let descriptor = self.descriptor();
        context::with_core(|core| {
            let here = core.map(|core| core.uid);
            for uid in self.registered().into_iter().filter(|uid| Some(*uid) != here) {
                let descriptor = descriptor.clone();
                // Refused when that core has ended, and its tasks with it.
                let _ = context::post(uid, move |core| wake_here(core, &descriptor));
            }
            core.iter().for_each(|core| wake_here(core, descriptor));
        });
    }

    /// This core does not watch it any more. Who waits for it here nevertheless is woken, and registers again.
    pub(crate) fn unwatch(&self) {
        if super::is_forked_child() {
            return;
        }
        context::with_core(|core| {
            let Some(core) = core else { return };
            wake_here(core, self.descriptor());
            forget(core, self.descriptor().clone(), Afterlife::FileLivesOn);
        });
    }
}

fn wake_here(core: &Resources, descriptor: &Arc<Descriptor>) {
    let mut woken = Vec::new();
    core.reactor.borrow_mut().wake_readers(descriptor, &mut woken);
    woken.into_iter().for_each(|waker| quietly(|| waker.wake()));
}

impl super::Reactor {
    fn wake_readers(&mut self, descriptor: &Descriptor, woken: &mut Vec<Waker>) {
        if let Some((_, slot)) = self.slots.find_mut(descriptor) {
            slot.wake_readers(woken);
        }
    }
}
