//! All cores of the process, by their number: for messages to a core that may have ended.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{PoisonError, RwLock};

use multikernel_channels::sync::Arc;

use crate::context::CoreUid;
use crate::machine::mailbox::Mailbox;

static CORES: RwLock<Option<HashMap<CoreUid, Arc<Mailbox>>>> = RwLock::new(None);

/// A number no core of this process has had.
pub(crate) fn new_uid() -> CoreUid {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: only the count matters.
    CoreUid(NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)).expect("2^64 cores"))
}

pub(crate) fn enlist(mailbox: &Arc<Mailbox>) {
    let mut cores = CORES.write().unwrap_or_else(PoisonError::into_inner);
    cores.get_or_insert_default().insert(mailbox.uid, mailbox.clone());
}

pub(crate) fn strike(uid: CoreUid) {
    let mut cores = CORES.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(cores) = cores.as_mut() {
        cores.remove(&uid);
    }
}

pub(crate) fn find(uid: CoreUid) -> Option<Arc<Mailbox>> {
    CORES.read().unwrap_or_else(PoisonError::into_inner).as_ref()?.get(&uid).cloned()
}
