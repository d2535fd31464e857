//! Coming and going.

use super::{Host, Part, contain};
use crate::objects::Objects;
use crate::{CoreId, CoreSet, Replicas, Seq};

impl Host {
    /// Begins a new life of this core, which has left, or whose thread is new: asks to join. `all` are the cores that are there,
    /// also those that join or leave at this time, `gone` all others. `tell` hears whether it is a member, or was refused.
    ///
    /// ```
    #[doc = include_str!("../../doc/host.md")]
    /// let host = Host::joiner(b, Rc::new(Nowhere), Arc::new(Nowhere));
    /// host.join(CoreSet::only(a), CoreSet::EMPTY, |is_member| println!("member: {is_member}"));
    /// assert!(!host.ask(Part::is_member), "nobody has answered yet");
    /// ```
    pub fn join(&self, all: CoreSet, gone: CoreSet, tell: impl FnOnce(bool) + 'static) {
        let part = Part::joiner(self.me, Replicas::default());
        drop(self.part.change(|old| std::mem::replace(old, part))); // what it drops may read
        self.joining.replace(Some(Box::new(tell)));
        self.act(|part, desk| {
            gone.iter().for_each(|core| part.gone(core, desk));
            part.knock(all, desk);
        });
    }

    /// Proposes that this core leaves, which runs no task any more that proposes. `tell` hears whether it has left; until
    /// then the core goes on. False, without a call of `tell`, if it is no member or is leaving already.
    ///
    /// ```
    #[doc = include_str!("../../doc/host.md")]
    /// use std::cell::Cell;
    ///
    /// let told = Rc::new(Cell::new(None));
    /// let tell = told.clone();
    /// assert!(host.leave(move |has_left| tell.set(Some(has_left))));
    /// assert_eq!(told.get(), Some(false), "the last core cannot leave");
    /// ```
    pub fn leave(&self, tell: impl FnOnce(bool) + 'static) -> bool {
        if !self.ask(Part::is_member) || self.leaving.borrow().is_some() {
            return false;
        }
        self.act(|part, desk| {
            *self.leaving.borrow_mut() = Some((part.next_seq(), Box::new(tell)));
            part.leave(desk)
        });
        true
    }

    /// Tells who asked this core to leave that it has left, or that it may not (`seq` was refused).
    pub(super) fn end_leave(&self, seq: Option<Seq>, has_left: bool) {
        let told = self.leaving.borrow_mut().take_if(|(asked, _)| seq.is_none_or(|seq| seq == *asked));
        if let Some((_, tell)) = told {
            tell(has_left);
        }
    }

    /// That core has dropped its end, and all that it sent has been read.
    ///
    /// ```
    #[doc = include_str!("../../doc/host.md")]
    /// let host = Host::founder(a, CoreSet::below(2), Rc::new(Nowhere), Arc::new(Nowhere));
    /// host.gone(b);
    /// assert_eq!(host.members(), CoreSet::only(a));
    /// ```
    pub fn gone(&self, core: CoreId) {
        self.act(|part, desk| part.gone(core, desk));
    }

    /// Drops all replicas, and tells everyone who waits that nothing will come. The Machine ends.
    ///
    /// ```
    #[doc = include_str!("../../doc/host.md")]
    /// let limit = host.enter(|| futures::executor::block_on(ReplicatedCell::new(7))).unwrap();
    /// host.close();
    /// assert!(host.enter(|| limit.try_read(|limit| *limit.get())).is_err());
    /// ```
    pub fn close(&self) {
        self.part.change(|part| part.objects_mut().clear());
        let (waiters, later) = (self.waiters.take(), self.later.take());
        contain(|| drop((waiters, later)));
    }
}
