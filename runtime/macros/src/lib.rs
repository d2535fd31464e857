//! The attributes `#[multikernel::main]` and `#[multikernel::test]`.
//!
//! Use them through the crate `multikernel`, which re-exports and documents them.

mod expand;
mod options;
#[cfg(test)]
mod tests;

use expand::Kind;
use proc_macro::TokenStream;

/// Runs an `async fn main` on a Machine: documented at `multikernel::main`.
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Kind::Main, options.into(), item.into()).into()
}

/// Runs an `async fn` as a test, on a Machine of its own: documented at `multikernel::test`.
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Kind::Test, options.into(), item.into()).into()
}
