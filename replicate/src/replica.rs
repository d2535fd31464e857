//! One replica, whatever its type. Code of users runs here, and its panics end here.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::command::Denial;
use crate::handle::Proposal;
use crate::{Change, Command, CoreSet, ObjectId, StateMachine, Time};

/// What a snapshot is, of a type that only its object knows.
pub(crate) type Saving = dyn Any + Send + Sync;

/// A command, of a type that only its object knows: alone, or that place of several (a `Box<[S::Command]>`).
#[derive(Clone)]
pub(crate) enum Erased {
    Alone(Arc<Saving>),
    Among(Arc<Saving>, usize),
}

impl Erased {
    pub(crate) fn new<C: Send + Sync + 'static>(command: Proposal<C>) -> Self {
        command.kept(|command| Self::Alone(command), |commands, at| Self::Among(commands, at))
    }

    fn get<C: 'static>(&self) -> Option<&C> {
        match self {
            Self::Alone(command) => command.downcast_ref(),
            Self::Among(commands, at) => commands.downcast_ref::<Box<[C]>>()?.get(*at),
        }
    }
}

/// Runs code of users. Nothing, if it panics.
pub(crate) fn contain<T>(f: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(f)).map_err(drop_payload).ok()
}

/// What a panic carries may panic when it is dropped. Then that is what is dropped, until nothing panics.
fn drop_payload(mut payload: Box<dyn Any + Send>) {
    while let Err(next) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        payload = next;
    }
}

/// A [`StateMachine`], without its types.
pub(crate) trait Replica {
    fn may_veto(&self) -> bool;
    fn begin(&mut self, members: CoreSet);
    fn prepare(&mut self, command: &Erased) -> Result<(), Denial>;
    fn commit(&mut self, command: &Erased);
    fn commit_announced(&mut self, command: &Erased);
    fn abort(&mut self, command: &Erased);
    fn prepare_view(&mut self, change: &Change) -> Result<(), Denial>;
    fn commit_view(&mut self, change: &Change);
    fn abort_view(&mut self, change: &Change);
    fn save(&self) -> (Box<Saving>, Restore);
    fn digest(&self) -> Option<u64>;
    fn kind(&self) -> &'static str;
    fn next_due(&self) -> Option<Time>;
    fn on_due(&self, object: ObjectId, now: Time) -> Option<Command>;
    fn as_any(&self) -> &dyn Any;
}

/// Makes a replica of what `save` has saved.
pub(crate) type Restore = fn(&Saving) -> Result<Box<dyn Replica>, Denial>;

fn denied<S: StateMachine>(refusal: S::Refusal) -> Denial {
    Denial::Refused(Arc::new(refusal))
}

fn command<S: StateMachine>(command: &Erased) -> Option<&S::Command> {
    command.get()
}

fn restore<S: StateMachine>(saved: &Saving) -> Result<Box<dyn Replica>, Denial> {
    let saved = saved.downcast_ref().ok_or(Denial::Closed)?;
    Ok(Box::new(S::restore(saved).map_err(denied::<S>)?))
}

impl<S: StateMachine> Replica for S {
    fn may_veto(&self) -> bool {
        S::VETO
    }

    fn begin(&mut self, members: CoreSet) {
        StateMachine::begin(self, members);
    }

    fn prepare(&mut self, order: &Erased) -> Result<(), Denial> {
        let order = command::<S>(order).ok_or(Denial::Closed)?;
        StateMachine::prepare(self, order).map_err(denied::<S>)
    }

    fn commit(&mut self, order: &Erased) {
        if let Some(order) = command::<S>(order) {
            StateMachine::commit(self, order);
        }
    }

    fn commit_announced(&mut self, order: &Erased) {
        if let Some(order) = command::<S>(order) {
            StateMachine::commit_announced(self, order);
        }
    }

    fn abort(&mut self, order: &Erased) {
        if let Some(order) = command::<S>(order) {
            StateMachine::abort(self, order);
        }
    }

    fn prepare_view(&mut self, change: &Change) -> Result<(), Denial> {
        StateMachine::prepare_view(self, change).map_err(denied::<S>)
    }

    fn commit_view(&mut self, change: &Change) {
        StateMachine::commit_view(self, change);
    }

    fn abort_view(&mut self, change: &Change) {
        StateMachine::abort_view(self, change);
    }

    fn save(&self) -> (Box<Saving>, Restore) {
        (Box::new(self.snapshot()), restore::<S>)
    }

    fn digest(&self) -> Option<u64> {
        StateMachine::digest(self)
    }

    fn kind(&self) -> &'static str {
        std::any::type_name::<S>()
    }

    fn next_due(&self) -> Option<Time> {
        StateMachine::next_due(self)
    }

    fn on_due(&self, object: ObjectId, now: Time) -> Option<Command> {
        StateMachine::on_due(self, now).map(|order| Command::change::<S>(object, order))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
