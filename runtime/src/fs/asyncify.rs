//! A call that blocks, on a thread for such calls.

use crate::machine::runtime::Handle;

/// Does not begin if the future is dropped before a thread takes it; else runs to its end, and what it gives is dropped there.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
pub(super) async fn asyncify<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    let blocking = Handle::current().machine.blocking.clone();
    blocking.run(call).await
}
