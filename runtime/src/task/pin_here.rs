//! A task that wants to stay.

use crate::task::hand_over::pin_current;

/// The current task stays on its core from here on: it is not handed over to another, however much there is to do here.
///
/// For tasks that are [`Send`], and so were started by [`spawn`](crate::spawn), but have come to depend on where they are: on
/// what a core has in its caches, say, or on a [`CoreLocal`](crate::CoreLocal) value across an `.await`. Those of
/// [`spawn_local`](crate::spawn_local) and [`spawn_on`](crate::spawn_on) stay anyway. A core that [retires](crate::runtime::Handle::retire)
/// waits for its tasks that stay.
///
/// Outside a task, as inside `Runtime::block_on`, there is nothing to pin, and this does nothing.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new().cores(2).run(|| async {
/// use multikernel::CoreId;
/// use multikernel::task::{pin_here, yield_now};
///
/// multikernel::spawn(async {
///     pin_here();
///     let here = CoreId::current();
///     yield_now().await;
///     assert_eq!(CoreId::current(), here);
/// }).await.unwrap();
/// # }).unwrap();
/// ```
pub fn pin_here() {
    pin_current();
}
