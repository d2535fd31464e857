//! A closure sent to another core: the slow, general message, for what has no envelope of its own.

use std::ptr::NonNull;

use crate::context::{self, Resources};
use crate::machine::mailbox::{Arrival, Envelope, Mailbox};
use crate::task::{home, quietly};

#[repr(C)]
struct Call<F> {
    envelope: Envelope,
    f: F,
}

/// Runs `f` on the core behind `mailbox`, soon, between two polls. `Err` gives `f` back when that core has ended.
pub(crate) fn post<F>(mailbox: &Mailbox, f: F) -> Result<(), F>
where
    F: FnOnce(&Resources) + Send + 'static,
{
    let call = Box::leak(Box::new(Call { envelope: Envelope::new(deliver::<F>), f }));
    let call = NonNull::from(call);
    // SAFETY: freshly made, `Send`, and given up with the post.
    match unsafe { mailbox.post(call.cast()) } {
        Ok(()) => {
            home::note_post();
            Ok(())
        }
        // SAFETY: refused, so it is still ours, and was leaked from a box above.
        Err(_) => Err(unsafe { Box::from_raw(call.as_ptr()) }.f),
    }
}

/// A call found in the closed inbox runs like any other: the core is no home any more, but its driver and its timers
/// are still there.
unsafe fn deliver<F: FnOnce(&Resources)>(envelope: NonNull<Envelope>, _: Arrival) {
    // SAFETY: `post` pairs this function with a boxed `Call<F>`, whose envelope comes first; the message owned it.
    let call = unsafe { Box::from_raw(envelope.cast::<Call<F>>().as_ptr()) };
    quietly(|| context::with_core(|core| (call.f)(core.expect("delivered on a core"))));
}
