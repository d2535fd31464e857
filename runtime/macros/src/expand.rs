//! From the `async fn` to the plain function that the compiler and the test harness call.
//!
//! The body goes into an inner `async fn` with the return type as written. Types are then inferred as in any other
//! `async fn`, `?` and `return` included, and errors point at the text of the user.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Error, FnArg, ItemFn, Result, Safety};

use crate::options::{Options, combine};

/// Which of the two attributes is being expanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Main,
    Test,
}

impl Kind {
    fn attribute(self) -> &'static str {
        match self {
            Kind::Main => "#[multikernel::main]",
            Kind::Test => "#[multikernel::test]",
        }
    }
}

pub(crate) fn expand(kind: Kind, options: TokenStream, item: TokenStream) -> TokenStream {
    let function = match syn::parse2::<ItemFn>(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            // Half-written code, or no function at all. Handing the text on lets the compiler and editors see it.
            let error = not_a_function(kind, &item).unwrap_or(error).to_compile_error();
            return quote!(#item #error);
        }
    };
    let checked = check(kind, &function);
    match (Options::parse(options), checked) {
        (Ok(options), Ok(())) => generate(kind, &options, &function),
        (Err(error), Ok(())) | (Ok(_), Err(error)) => fallback(kind, &function, &error),
        (Err(mut error), Err(more)) => {
            error.combine(more);
            fallback(kind, &function, &error)
        }
    }
}

/// An error of our own when the item is whole, but is something else than a function.
fn not_a_function(kind: Kind, item: &TokenStream) -> Option<Error> {
    let other = syn::parse2::<syn::Item>(item.clone()).ok()?;
    Some(Error::new_spanned(other, format!("`{}` goes on an `async fn`", kind.attribute())))
}

/// What the attribute cannot run: each with its own span.
fn check(kind: Kind, function: &ItemFn) -> Result<()> {
    let attribute = kind.attribute();
    let sig = &function.sig;
    let mut errors = Vec::new();
    let mut refuse = |tokens: &dyn ToTokens, text: String| {
        errors.push(Error::new_spanned(tokens.to_token_stream(), text));
    };
    if sig.asyncness.is_none() {
        refuse(&sig.fn_token, format!("`{attribute}` needs an `async fn`: write `async fn {}`", sig.ident));
    }
    if !sig.inputs.is_empty() || sig.variadic.is_some() {
        let arguments = (&sig.inputs, &sig.variadic);
        let text = format!("a function with `{attribute}` takes no arguments");
        refuse(&Pair(arguments.0, arguments.1), text);
    }
    let generics = &sig.generics;
    if !generics.params.is_empty() {
        refuse(
            &generics,
            format!("a function with `{attribute}` cannot be generic: nothing names its types"),
        );
    }
    if let Some(clause) = &generics.where_clause {
        refuse(clause, format!("a function with `{attribute}` takes no `where` clause"));
    }
    if !matches!(sig.safety, Safety::Default) {
        refuse(&sig.safety, format!("a function with `{attribute}` is neither `unsafe` nor `safe`"));
    }
    if let Some(abi) = &sig.abi {
        refuse(abi, format!("a function with `{attribute}` has no ABI of its own"));
    }
    if kind == Kind::Test {
        for attribute in function.attrs.iter().filter(|attribute| is_test(attribute.path())) {
            refuse(attribute, "`#[multikernel::test]` makes the function a test: remove this one".to_owned());
        }
    }
    combine(errors).map_or(Ok(()), Err)
}

/// Two things that stand side by side in the source.
struct Pair<'a, A, B>(&'a A, &'a B);

impl<A: ToTokens, B: ToTokens> ToTokens for Pair<'_, A, B> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
        self.1.to_tokens(tokens);
    }
}

/// Whether `path` names a test attribute, of ours or of others.
fn is_test(path: &syn::Path) -> bool {
    path.segments.last().is_some_and(|last| last.ident == "test" && last.arguments.is_none())
}

fn generate(kind: Kind, options: &Options, function: &ItemFn) -> TokenStream {
    let Options { krate, calls } = options;
    let ItemFn { attrs, vis, sig, block, .. } = function;
    let (ident, output) = (&sig.ident, &sig.output);
    let (test, builder, failed) = match kind {
        Kind::Main => (
            None,
            quote!(new),
            quote! {{
                ::std::eprintln!("error: {}", error);
                ::std::process::exit(1)
            }},
        ),
        Kind::Test => (
            Some(quote!(#[::core::prelude::v1::test])),
            quote!(new_test),
            quote!(::core::panic!("the runtime of this test did not start: {}", error)),
        ),
    };
    quote! {
        #test
        #(#attrs)*
        #vis fn #ident() #output {
            #[allow(clippy::unused_async)]
            async fn __multikernel_body() #output #block

            match #krate::runtime::Builder::#builder() #calls .run(__multikernel_body) {
                ::core::result::Result::Ok(output) => output,
                ::core::result::Result::Err(error) => #failed,
            }
        }
    }
}

/// The errors, and the function in a form that is checked but never runs: a mistake in the attribute then brings up
/// neither "no `main` function" nor "unused import", and editors keep working inside the body.
fn fallback(kind: Kind, function: &ItemFn, error: &Error) -> TokenStream {
    let errors = error.to_compile_error();
    if function.sig.inputs.iter().any(|input| matches!(input, FnArg::Receiver(_))) {
        // A method cannot become an inner function.
        return quote!(#function #errors);
    }
    let ItemFn { attrs, vis, sig, block, .. } = function;
    let ident = &sig.ident;
    let attrs = attrs.iter().filter(|attribute| kind == Kind::Main || !is_test(attribute.path()));
    let test = (kind == Kind::Test).then(|| quote!(#[::core::prelude::v1::test]));
    quote! {
        #errors
        #test
        #(#attrs)*
        #vis fn #ident() {
            #[allow(dead_code)]
            #sig #block
        }
    }
}
