//! The attributes `#[multikernel::main]` and `#[multikernel::test]`.
//!
//! Use them through the crate `multikernel`, which re-exports and documents them.

mod expand;
mod options;
#[cfg(test)]
mod tests;

use expand::Kind;
use proc_macro::TokenStream;

/// Runs an `async fn` on a Machine. Its body stays on core 0, so what it holds need not be `Send`:
///
/// ```
/// use std::rc::Rc;
///
/// #[multikernel::main(cores = 2)]
/// async fn main() {
///     let not_send = Rc::new("core 0");
///     multikernel::task::yield_now().await;
///     assert_eq!(multikernel::CoreId::current().to_string(), *not_send);
/// }
/// ```
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Kind::Main, options.into(), item.into()).into()
}

/// Makes an `async fn` a test that runs on a Machine of its own. Several cores need not be several CPUs:
///
/// ```
/// use multikernel::CoreId;
///
/// #[multikernel::test(cores = 16)]
/// async fn reaches_the_last_core() {
///     let last = CoreId::new(15);
///     assert_eq!(multikernel::spawn_on(last, || async { CoreId::current() }).await.unwrap(), last);
/// }
/// ```
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Kind::Test, options.into(), item.into()).into()
}
