//! The host of the calling thread.

use std::cell::Cell;
use std::ptr;

use crate::host::Host;

thread_local! {
    static CURRENT: Cell<*const Host> = const { Cell::new(ptr::null()) };
}

/// Calls `f` with the host of the calling thread, if that is a core.
///
/// ```
#[doc = include_str!("../../doc/host.md")]
/// assert_eq!(with(|host| host.map(Host::core)), None); // this thread is no core
/// assert_eq!(host.enter(|| with(|host| host.map(Host::core))), Some(a));
/// ```
#[inline]
pub fn with<R>(f: impl FnOnce(Option<&Host>) -> R) -> R {
    let host = CURRENT.get();
    // SAFETY: `enter` set it on this thread to a host that it borrows until it has set it back, and the reference does not
    // outlive `f`, which returns before that.
    f(unsafe { host.as_ref() })
}

impl Host {
    /// Makes this the calling thread's host while `f` runs.
    ///
    /// ```
    #[doc = include_str!("../../doc/host.md")]
    /// let version = host.enter(|| with(|host| host.unwrap().version()));
    /// assert_eq!(version, Version::START);
    /// ```
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Restore(*const Host);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _restore = Restore(CURRENT.replace(self));
        f()
    }
}
