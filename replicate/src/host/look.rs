//! What one may ask a host.

use std::task::{Context, Poll};

use super::{Host, Part};
use crate::{CoreId, CoreSet, ObjectId, Version};

impl Host {
    /// This core.
    ///
    /// ```
    #[doc = include_str!("../../doc/host.md")]
    /// assert_eq!(host.core(), a);
    /// ```
    #[must_use]
    pub fn core(&self) -> CoreId {
        self.me
    }

    /// The last round that is decided here.
    ///
    /// ```
    #[doc = include_str!("../../doc/host.md")]
    /// assert_eq!(host.version(), Version::START);
    /// ```
    #[must_use]
    pub fn version(&self) -> Version {
        self.version.get()
    }

    pub(crate) fn settled_at(&self) -> Version {
        self.part.read(Part::settled_at).unwrap_or(self.version())
    }

    /// Ready when this core has that version.
    pub(crate) fn poll_version(&self, version: Version, cx: &mut Context<'_>) -> Poll<()> {
        if self.version() >= version {
            return Poll::Ready(());
        }
        self.watchers.borrow_mut().watch(None, version, cx.waker());
        Poll::Pending
    }

    /// Ready when the object has been changed after `seen`: the round. Nothing when it is closed.
    pub(crate) fn poll_change(
        &self,
        object: ObjectId,
        seen: Version,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Version>> {
        // All within the read: what a waker asks for as it is cloned has to wait.
        self.ask(|part| {
            if !part.objects().is_open(object) {
                return Poll::Ready(None);
            }
            match part.objects().changed(object) {
                Some(changed) if changed > seen => Poll::Ready(Some(changed)),
                _ => {
                    self.watchers.borrow_mut().watch(Some(object), seen, cx.waker());
                    Poll::Pending
                }
            }
        })
    }

    /// Whether a task here waits for a round: then this core must not be left asleep over one.
    ///
    /// ```
    #[doc = include_str!("../../doc/host.md")]
    /// assert!(!host.is_watched());
    /// ```
    #[must_use]
    pub fn is_watched(&self) -> bool {
        !self.watchers.borrow().is_empty()
    }

    pub(crate) fn changed(&self, object: ObjectId) -> Option<Version> {
        self.part.read(|part| part.objects().changed(object))?
    }

    /// The cores that live, as far as this core knows.
    ///
    /// ```
    #[doc = include_str!("../../doc/host.md")]
    /// assert_eq!(host.members(), CoreSet::only(a));
    /// ```
    #[must_use]
    pub fn members(&self) -> CoreSet {
        self.ask(Part::members)
    }
}
