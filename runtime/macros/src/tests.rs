//! What the attributes expand to and what they refuse, on token streams.

use proc_macro2::TokenStream;
use quote::quote;

use crate::expand::{Kind, expand};
use crate::options::Options;

fn calls(options: TokenStream) -> String {
    match Options::parse(options) {
        Ok(options) => options.calls.to_string().replace(' ', ""),
        Err(error) => panic!("refused: {error}"),
    }
}

/// The texts of all errors, in order.
fn errors(options: TokenStream) -> Vec<String> {
    match Options::parse(options) {
        Ok(options) => panic!("accepted: {}", options.calls),
        Err(error) => error.into_iter().map(|error| error.to_string()).collect(),
    }
}

fn expanded(kind: Kind, options: TokenStream, item: TokenStream) -> String {
    let tokens = expand(kind, options, item);
    syn::parse2::<syn::File>(tokens.clone()).expect("the expansion is a list of items");
    tokens.to_string()
}

fn same(left: &str, right: TokenStream) {
    assert_eq!(left, right.to_string());
}

#[test]
fn every_option_is_one_call_in_the_order_written() {
    let options = quote!(
        cores = 2,
        driver = "epoll",
        pinning = "always",
        polling = "50us",
        thread_name = "web",
        max_blocking_threads = 64,
        start_paused = true,
    );
    let expected = ".cores(2usize)\
        .driver(::multikernel::runtime::DriverChoice::Epoll)\
        .pinning(::multikernel::runtime::Pinning::Always)\
        .polling(::multikernel::runtime::Polling::For(::core::time::Duration::from_micros(50u64)))\
        .thread_name(\"web\")\
        .max_blocking_threads(64usize)\
        .start_paused(true)";
    assert_eq!(calls(options), expected);
    assert_eq!(calls(quote!()), "");
}

#[test]
fn every_value_has_its_variant() {
    for (value, variant) in [("auto", "Auto"), ("uring", "Uring"), ("epoll", "Epoll")] {
        let expected = format!(".driver(::multikernel::runtime::DriverChoice::{variant})");
        assert_eq!(calls(quote!(driver = #value)), expected);
    }
    for (value, variant) in [("auto", "Auto"), ("always", "Always"), ("never", "Never")] {
        let expected = format!(".pinning(::multikernel::runtime::Pinning::{variant})");
        assert_eq!(calls(quote!(pinning = #value)), expected);
    }
    for (value, variant) in [
        ("auto", "Auto"),
        ("off", "Off"),
        ("7us", "For(::core::time::Duration::from_micros(7u64))"),
        ("2ms", "For(::core::time::Duration::from_micros(2000u64))"),
    ] {
        let expected = format!(".polling(::multikernel::runtime::Polling::{variant})");
        assert_eq!(calls(quote!(polling = #value)), expected);
    }
}

#[test]
fn tokios_names_mean_what_they_mean_there() {
    assert_eq!(calls(quote!(worker_threads = 4)), ".worker_threads(4usize)");
    for (value, variant) in [("current_thread", "CurrentThread"), ("multi_thread", "MultiThread")] {
        let expected = format!(".flavor(::multikernel::runtime::RuntimeFlavor::{variant})");
        assert_eq!(calls(quote!(flavor = #value)), expected);
    }
}

#[test]
fn the_flavor_comes_before_what_says_how_many_cores() {
    let flavor = ".flavor(::multikernel::runtime::RuntimeFlavor::MultiThread)";
    for options in [
        quote!(flavor = "multi_thread", worker_threads = 4),
        quote!(worker_threads = 4, flavor = "multi_thread"),
    ] {
        assert_eq!(calls(options), format!("{flavor}.worker_threads(4usize)"));
    }
    let expected = format!("{flavor}.thread_name(\"web\").cores(2usize)");
    assert_eq!(calls(quote!(thread_name = "web", cores = 2, flavor = "multi_thread")), expected);
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let two_names = "`cores` and `worker_threads` are two names for one thing: give one";
    assert_eq!(errors(quote!(cores = 2, worker_threads = 2)), [two_names]);
    for name in ["cores", "worker_threads"] {
        let ident = quote::format_ident!("{name}");
        let text = format!("`{name}` does not go with `flavor = \"current_thread\"`, which means one core");
        assert_eq!(errors(quote!(flavor = "current_thread", #ident = 1)), std::slice::from_ref(&text));
        assert_eq!(errors(quote!(#ident = 1, flavor = "current_thread")), [text]);
    }
    assert_eq!(errors(quote!(flavor = "current_thread", cores = 1, worker_threads = 1)).len(), 3);
}

#[test]
fn the_crate_may_have_another_name() {
    let options = Options::parse(quote!(pinning = "never", crate = a::b)).expect("valid options");
    same(&options.krate.to_string(), quote!(a::b));
    same(&options.calls.to_string(), quote!(.pinning(a::b::runtime::Pinning::Never)));
    let options = Options::parse(quote!(crate = ::c)).expect("valid options");
    same(&options.krate.to_string(), quote!(::c));
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let all = errors(quote!(cores = 0, workers(3, 4), driver = "kqueue", cores = 1, pinning = 3));
    assert_eq!(all.len(), 5, "{all:?}");
    assert_eq!(all[0], "`cores` must be at least 1");
    assert!(all[1].starts_with("unknown option `workers`; the options are `cores`, `driver`,"), "{}", all[1]);
    assert_eq!(all[2], "unknown driver \"kqueue\"; the valid values are \"auto\", \"uring\" and \"epoll\"");
    assert_eq!(all[3], "option `cores` is given twice");
    assert_eq!(all[4], "`pinning` takes a string: `pinning = \"never\"`");
}

#[test]
fn numbers_are_whole_positive_and_in_range() {
    for wrong in [quote!("2"), quote!(2.0), quote!(true), quote!(-1), quote!(N), quote!(2u8), quote!(1 + 1)] {
        assert_eq!(errors(quote!(cores = #wrong)), ["`cores` takes a whole number: `cores = 2`"]);
    }
    assert_eq!(calls(quote!(cores = 0x10)), ".cores(16usize)");
    assert_eq!(calls(quote!(cores = 1_000usize)), ".cores(1000usize)");
    let wrong = "`start_paused` takes `true` or `false`: `start_paused = true`";
    assert_eq!(errors(quote!(start_paused = 1)), [wrong]);
    assert_eq!(errors(quote!(start_paused = "true")), [wrong]);
    assert_eq!(errors(quote!(max_blocking_threads = 0)), ["`max_blocking_threads` must be at least 1"]);
    let all = errors(quote!(cores = 99999999999999999999999));
    assert_eq!(all, ["`cores` is out of range: at most 4294967295 can be written"]);
}

#[test]
fn a_polling_time_needs_digits_and_a_unit() {
    for wrong in ["", "us", "50", "50s", "5 us", "-5us", "1.5ms", "Auto", "99999999999999999999ms"] {
        let all = errors(quote!(polling = #wrong));
        assert!(all[0].starts_with(&format!("unknown polling {wrong:?}; the valid values are")), "{all:?}");
    }
    assert_eq!(
        errors(quote!(polling = 50)),
        ["`polling` takes a string; a time carries its unit: `polling = \"50us\"`"]
    );
    let zero = "polling for no time at all is written `polling = \"off\"`";
    assert_eq!(errors(quote!(polling = "0us")), [zero]);
    // More milliseconds than microseconds can count.
    assert_eq!(errors(quote!(polling = "18446744073709551615ms")).len(), 1);
}

#[test]
fn a_thread_name_is_one_that_the_system_takes() {
    assert_eq!(errors(quote!(thread_name = "")), ["`thread_name` must not be empty"]);
    assert_eq!(errors(quote!(thread_name = "a\0b")), ["`thread_name` must not contain a zero byte"]);
    assert_eq!(errors(quote!(thread_name = b"a")), ["`thread_name` takes a string: `thread_name = \"web\"`"]);
}

#[test]
fn what_is_not_name_equals_value_is_explained() {
    assert_eq!(errors(quote!(cores)), ["option `cores` needs a value: `cores = 2`"]);
    assert_eq!(errors(quote!(cores(2))), ["option `cores` needs a value: `cores = 2`"]);
    assert!(errors(quote!("cores"))[0].starts_with("expected `option = value`; the options are `cores`"));
    assert_eq!(
        errors(quote!(crate = "a::b")),
        ["`crate` takes a path without quotes: `crate = my_crate::multikernel`"]
    );
    assert_eq!(errors(quote!(cores = 1 driver = "auto")).len(), 1);
}

#[test]
fn main_becomes_a_plain_function() {
    let item = quote! {
        #[doc = "The server."]
        pub async fn main() -> Result<(), Error> { serve().await }
    };
    same(
        &expanded(Kind::Main, quote!(cores = 2), item),
        quote! {
            #[doc = "The server."]
            pub fn main() -> Result<(), Error> {
                #[allow(clippy::unused_async)]
                async fn __multikernel_body() -> Result<(), Error> { serve().await }

                match ::multikernel::runtime::Builder::new().cores(2usize).run(__multikernel_body) {
                    ::core::result::Result::Ok(output) => output,
                    ::core::result::Result::Err(error) => {
                        ::std::eprintln!("error: {}", error);
                        ::std::process::exit(1)
                    },
                }
            }
        },
    );
}

#[test]
fn a_test_keeps_its_other_attributes() {
    let item = quote!(
        #[should_panic(expected = "x")]
        #[ignore = "slow"]
        async fn panics() {
            body()
        }
    );
    let text = expanded(Kind::Test, quote!(crate = mk), item);
    let head = quote! {
        #[::core::prelude::v1::test]
        #[should_panic(expected = "x")]
        #[ignore = "slow"]
        fn panics()
    };
    assert!(text.starts_with(&head.to_string()), "{text}");
    let call = quote!(match mk::runtime::Builder::new_test().run(__multikernel_body));
    assert!(text.contains(&call.to_string()), "{text}");
}

#[test]
fn functions_that_cannot_run_are_refused() {
    let cases = [
        (
            quote!(
                fn f() {}
            ),
            "needs an `async fn`: write `async fn f`",
        ),
        (
            quote!(
                async fn f(a: u8, b: u8) {}
            ),
            "takes no arguments",
        ),
        (
            quote!(
                async fn f<T>() {}
            ),
            "cannot be generic",
        ),
        (
            quote!(
                async fn f()
                where
                    u8: Copy,
                {
                }
            ),
            "takes no `where` clause",
        ),
        (
            quote!(
                async unsafe fn f() {}
            ),
            "is neither `unsafe` nor `safe`",
        ),
        (
            quote!(
                async extern "C" fn f() {}
            ),
            "has no ABI of its own",
        ),
        (
            quote!(
                struct S;
            ),
            "goes on an `async fn`",
        ),
    ];
    for (item, text) in cases {
        for kind in [Kind::Main, Kind::Test] {
            let out = expanded(kind, quote!(), item.clone());
            assert!(out.contains("compile_error") && out.contains(text), "{out}");
            assert!(!out.contains("Builder"), "{out}");
        }
    }
    for attribute in [quote!(#[test]), quote!(#[tokio::test]), quote!(#[::core::prelude::v1::test])] {
        let out = expanded(Kind::Test, quote!(), quote!(#attribute async fn f() {}));
        assert!(out.contains("makes the function a test: remove this one"), "{out}");
        assert_eq!(out.matches("# [").count(), 2, "one test attribute and one `allow`: {out}");
    }
}

#[test]
fn a_mistake_keeps_the_function_and_its_body() {
    let out = expanded(
        Kind::Main,
        quote!(cores = 0),
        quote!(
            #[cfg(x)]
            async fn main(a: u8) -> R {
                body(a)
            }
        ),
    );
    assert_eq!(out.matches("compile_error").count(), 2, "both mistakes are shown: {out}");
    let kept = quote! {
        #[cfg(x)]
        fn main() {
            #[allow(dead_code)]
            async fn main(a: u8) -> R { body(a) }
        }
    };
    assert!(out.ends_with(&kept.to_string()), "{out}");
}

#[test]
fn half_written_code_is_handed_on() {
    let item = quote!(async fn main() -> {});
    let out = expand(Kind::Main, quote!(), item.clone()).to_string();
    assert!(out.starts_with(&item.to_string()) && out.contains("compile_error"), "{out}");
}

#[test]
fn a_method_is_handed_on_as_it_is() {
    let item = quote!(
        async fn f(&self) {}
    );
    let out = expand(Kind::Main, quote!(), item.clone()).to_string();
    assert!(out.starts_with(&item.to_string()), "{out}");
    assert!(out.contains("takes no arguments"), "{out}");
}
