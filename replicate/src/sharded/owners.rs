//! The assignment of slots to cores, as a replicated state machine.

use std::convert::Infallible;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::rc::Rc;
use std::sync::Arc;

use crate::sharded::local::Local;
use crate::sharded::mail::Common;
use crate::sharded::table::Table;
use crate::{Change, CoreId, CoreSet, StateMachine};

/// Slots whose owners have got what the slot holds, each with its turn.
pub(crate) struct Arrived(pub(crate) Vec<(usize, u32)>);

/// One core's replica of the assignment, with what this core has of the object. Parts are no part of the state that is
/// replicated: a snapshot has none.
pub(crate) struct Owners<T: Send + 'static> {
    local: Rc<Local<T>>,
}

impl<T: Send + 'static> Owners<T> {
    /// The first replica of the calling core. It makes no part before it is told of the members.
    pub(crate) fn found(common: &Arc<Common<T>>) -> Self {
        let alone = Table::new(common.slots, CoreSet::only(CoreId::current()));
        Self { local: Local::new(Arc::clone(common), alone, false) }
    }
}

/// What a core that joins has to know.
pub(crate) struct Saved<T> {
    common: Arc<Common<T>>,
    table: Table,
}

impl<T: Send + 'static> StateMachine for Owners<T> {
    type Command = Arrived;
    type Refusal = Infallible;
    type Snapshot = Saved<T>;
    const VETO: bool = false;

    fn begin(&mut self, members: CoreSet) {
        let common = Arc::clone(self.local.common());
        let table = Table::new(common.slots, members);
        self.local = Local::new(common, table, true);
    }

    fn prepare(&mut self, _: &Arrived) -> Result<(), Infallible> {
        Ok(())
    }

    fn commit(&mut self, Arrived(arrived): &Arrived) {
        self.local.with_table(|table| arrived.iter().for_each(|(slot, turn)| table.arrived(*slot, *turn)));
    }

    fn abort(&mut self, _: &Arrived) {}

    fn snapshot(&self) -> Saved<T> {
        Saved { common: Arc::clone(self.local.common()), table: self.local.table() }
    }

    fn restore(saved: &Saved<T>) -> Result<Self, Infallible> {
        Ok(Self { local: Local::new(Arc::clone(&saved.common), saved.table.clone(), false) })
    }

    fn digest(&self) -> Option<u64> {
        Some(BuildHasherDefault::<DefaultHasher>::default().hash_one(self.local.table()))
    }

    fn prepare_view(&mut self, change: &Change) -> Result<(), Infallible> {
        self.local.with_table(|table| table.prepare(change));
        Ok(())
    }

    fn commit_view(&mut self, change: &Change) {
        self.local.view_changed(change);
    }

    fn abort_view(&mut self, _: &Change) {
        self.local.with_table(Table::abort);
        self.local.settle_soon();
    }
}

impl<T: Send + 'static> Drop for Owners<T> {
    fn drop(&mut self) {
        self.local.close();
    }
}
