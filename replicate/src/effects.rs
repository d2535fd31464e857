//! What the protocol does to the world.

use crate::message::{Outcome, Seq, Wire};
use crate::objects::Objects;
use crate::{CoreId, ObjectId, Step, Version};

/// How the protocol speaks. Each call takes effect at once and in order; the core may die between any two.
///
/// ```
/// use multikernel_replicate::{CoreId, Effects, Objects, Outcome, Seq, Version, Wire};
///
/// /// Keeps what is to be sent.
/// struct Outbox<O: Objects>(Vec<(CoreId, Wire<O>)>);
///
/// impl<O: Objects> Effects<O> for Outbox<O> {
///     fn post(&mut self, to: CoreId, message: Wire<O>) {
///         self.0.push((to, message));
///     }
///     fn ring(&mut self, _to: CoreId) {}
///     fn is_asleep(&mut self, _core: CoreId) -> bool {
///         false
///     }
///     fn deciding(&mut self, _version: Version) {}
///     fn advanced(&mut self, _version: Version) {}
///     fn answer(&mut self, _seq: Seq, _outcome: Outcome<O::Refusal>) {}
///     fn left(&mut self) {}
/// }
/// ```
pub trait Effects<O: Objects> {
    /// Pushes a message to the ring to that core, without ringing. Never waits: the rings are as large as
    /// [`RING`](crate::limits::RING) says.
    fn post(&mut self, to: CoreId, message: Wire<O>);

    /// Wakes that core if it is asleep.
    fn ring(&mut self, to: CoreId);

    /// Whether that core is asleep, and will read all that was posted to it before it runs anything. (A fence after the posts,
    /// then its state word.)
    fn is_asleep(&mut self, core: CoreId) -> bool;

    /// This round is about to be decided: no message that says how has been pushed. The caller keeps the highest such version in one
    /// word of the Machine, for [`Agreement::admits`](crate::Agreement::admits).
    fn deciding(&mut self, version: Version);

    /// All rounds up to this one are applied here.
    fn advanced(&mut self, version: Version);

    /// A proposal of this core has come to its end. [`Seq::NONE`]: this core does not join, if refused.
    fn answer(&mut self, seq: Seq, outcome: Outcome<O::Refusal>);

    /// This core has left and nobody will send it anything more: it may end.
    fn left(&mut self);

    /// That core's replica of an object of this kind differs from the one here at the same version.
    fn diverged(&mut self, core: CoreId, version: Version, object: ObjectId, kind: &'static str) {
        let _ = (core, version, object, kind);
    }

    /// A step of one of the declared tables was taken.
    fn step(&mut self, step: Step) {
        let _ = step;
    }

    /// Pushes a message and wakes its reader.
    fn send(&mut self, to: CoreId, message: Wire<O>) {
        self.post(to, message);
        self.ring(to);
    }
}
