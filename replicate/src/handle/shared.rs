//! What the handles of one object have in common.

use std::sync::Arc;

use multikernel_channels::oneshot;

use crate::host::{self, Failure, Gateway, Host, Job};
use crate::limits::FIXED_OBJECTS;
use crate::{Command, ObjectId};

/// What all handles of one object have in common. The last one ends the object.
pub(super) struct Shared {
    pub(super) id: ObjectId,
    pub(super) gateway: Arc<dyn Gateway>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.id.0 < FIXED_OBJECTS {
            return;
        }
        let destroy = Command::destroy(self.id);
        self.on_a_core(move |host| host.announce(destroy));
    }
}

impl Shared {
    /// Runs `job` here, if this is a core of the object's Machine, else on some core that is. False, if the Machine has ended.
    pub(super) fn on_a_core(&self, job: impl FnOnce(&Host) + Send + 'static) -> bool {
        host::with(|host| match host.filter(|host| Arc::ptr_eq(host.gateway(), &self.gateway)) {
            Some(host) => {
                job(host);
                true
            }
            None => self.gateway.run(Job::new(job)),
        })
    }

    /// Runs `job` in the same way, and waits for what it answers.
    pub(super) async fn ask<A>(
        &self,
        job: impl FnOnce(&Host, oneshot::Sender<A>) + Send + 'static,
    ) -> Result<A, Failure>
    where
        A: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        if !self.on_a_core(move |host| job(host, reply)) {
            return Err(Failure::Closed);
        }
        answer.await.map_err(|_has_ended| Failure::Unknown)
    }
}
