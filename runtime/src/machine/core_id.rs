//! The names of cores.

pub use multikernel_replicate::CoreId;

use crate::machine::runtime::Handle;

/// The cores of the current Machine.
///
/// # Panics
/// On a thread that is neither a core nor a guest.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new().cores(4).run(|| async {
/// assert_eq!(multikernel::cores().len(), 4);
/// # }).unwrap();
/// ```
pub fn cores() -> impl ExactSizeIterator<Item = CoreId> {
    Handle::current().cores()
}
