//! The options in the attribute's parentheses: `cores = 2, driver = "epoll"`.
//!
//! All of them are read before anything is reported, so that one compilation shows every mistake.

use proc_macro2::{Literal, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprLit, Ident, Lit, LitStr, Path, Result, Token};

const NAMES: [&str; 10] = [
    "cores",
    "driver",
    "pinning",
    "polling",
    "thread_name",
    "max_blocking_threads",
    "flavor",
    "worker_threads",
    "start_paused",
    "crate",
];

/// The options that say how many cores, of which one is enough, and what a second one is told.
const COUNTS: [&str; 2] = ["cores", "worker_threads"];

/// What the attribute asks for, each option as the tokens of one call on the builder.
pub(crate) struct Options {
    /// Where the crate `multikernel` is.
    pub(crate) krate: TokenStream,
    /// `.cores(2usize).driver(..)`, in the order they were written, but for `.flavor(..)`, which comes first.
    pub(crate) calls: TokenStream,
}

/// One `name = value`, not yet understood.
struct Given {
    name: Ident,
    value: Value,
}

enum Value {
    Literal(Lit),
    Path(Path),
    Other(Error),
}

impl Options {
    pub(crate) fn parse(tokens: TokenStream) -> Result<Options> {
        let given = Punctuated::<Given, Token![,]>::parse_terminated.parse2(tokens)?;
        let given: Vec<Given> = given.into_iter().collect();
        let krate = given.iter().find_map(|option| match &option.value {
            Value::Path(path) if option.name == "crate" => Some(quote!(#path)),
            _ => None,
        });
        let krate = krate.unwrap_or_else(|| quote!(::multikernel));

        let mut calls = TokenStream::new();
        let mut errors = Vec::new();
        for (index, option) in given.iter().enumerate() {
            let name = option.name.to_string();
            if given[..index].iter().any(|earlier| earlier.name == name) {
                errors.push(Error::new(option.name.span(), format!("option `{name}` is given twice")));
                continue;
            }
            match option.call(&krate) {
                // It says how many cores there are unless something else does.
                Ok(call) if name == "flavor" => calls = [call, calls].into_iter().collect(),
                Ok(call) => calls.extend(call),
                Err(error) => errors.push(error),
            }
        }
        errors.extend(contradictions(&given));
        match combine(errors) {
            None => Ok(Options { krate, calls }),
            Some(error) => Err(error),
        }
    }
}

/// One error that shows all of `errors`.
pub(crate) fn combine(errors: Vec<Error>) -> Option<Error> {
    errors.into_iter().reduce(|mut all, error| {
        all.combine(error);
        all
    })
}

/// Options that are right by themselves and do not go together.
fn contradictions(given: &[Given]) -> Vec<Error> {
    let counts: Vec<_> =
        given.iter().filter(|option| COUNTS.iter().any(|name| option.name == name)).collect();
    let one_thread = given.iter().any(|option| match &option.value {
        Value::Literal(Lit::Str(text)) => option.name == "flavor" && text.value() == "current_thread",
        _ => false,
    });
    let mut errors = Vec::new();
    for (index, option) in counts.iter().enumerate() {
        let (name, span) = (&option.name, option.name.span());
        if counts[..index].iter().any(|earlier| earlier.name != *name) {
            errors
                .push(Error::new(span, "`cores` and `worker_threads` are two names for one thing: give one"));
        }
        if one_thread {
            let text =
                format!("`{name}` does not go with `flavor = \"current_thread\"`, which means one core");
            errors.push(Error::new(span, text));
        }
    }
    errors
}

impl Parse for Given {
    fn parse(input: ParseStream<'_>) -> Result<Given> {
        let before = input.span();
        let name = input.call(Ident::parse_any).map_err(|_| {
            Error::new(before, format!("expected `option = value`; the options are {}", list(&NAMES, '`')))
        })?;
        if !NAMES.contains(&name.to_string().as_str()) {
            // Its value may be anything: read past it, so that the options behind it are looked at too.
            while !input.is_empty() && !input.peek(Token![,]) {
                input.parse::<proc_macro2::TokenTree>()?;
            }
            let value = Value::Other(unknown(&name));
            return Ok(Given { name, value });
        }
        if !input.peek(Token![=]) {
            let example = example(&name.to_string());
            return Err(Error::new(name.span(), format!("option `{name}` needs a value: `{example}`")));
        }
        input.parse::<Token![=]>()?;
        let value = if name == "crate" { Value::path(input)? } else { Value::literal(&name, input)? };
        Ok(Given { name, value })
    }
}

impl Value {
    fn literal(name: &Ident, input: ParseStream<'_>) -> Result<Value> {
        Ok(match input.parse::<Expr>()? {
            Expr::Lit(ExprLit { lit, .. }) => Value::Literal(lit),
            other => Value::Other(Error::new_spanned(other, wrong_type(&name.to_string()))),
        })
    }

    fn path(input: ParseStream<'_>) -> Result<Value> {
        if let Ok(literal) = input.fork().parse::<Lit>() {
            input.parse::<Lit>()?;
            return Ok(Value::Other(Error::new(literal.span(), wrong_type("crate"))));
        }
        input.call(Path::parse_mod_style).map(Value::Path)
    }
}

impl Given {
    /// The call on the builder that this option means; none for `crate`.
    fn call(&self, krate: &TokenStream) -> Result<TokenStream> {
        let literal = match &self.value {
            Value::Literal(literal) => literal,
            Value::Path(_) => return Ok(TokenStream::new()),
            Value::Other(error) => return Err(error.clone()),
        };
        let name = self.name.to_string();
        let method = format_ident!("{name}", span = Span::call_site());
        let value = match name.as_str() {
            "cores" | "worker_threads" | "max_blocking_threads" => at_least_one(&name, literal)?,
            "flavor" => variant(&name, literal, &quote!(#krate::runtime::RuntimeFlavor), &FLAVORS)?,
            "driver" => variant(&name, literal, &quote!(#krate::runtime::DriverChoice), &DRIVERS)?,
            "pinning" => variant(&name, literal, &quote!(#krate::runtime::Pinning), &PINNINGS)?,
            "polling" => polling(literal, &quote!(#krate::runtime::Polling))?,
            "start_paused" => yes_or_no(&name, literal)?,
            _ => thread_name(literal)?,
        };
        Ok(quote!(.#method(#value)))
    }
}

const DRIVERS: [(&str, &str); 3] = [("auto", "Auto"), ("uring", "Uring"), ("epoll", "Epoll")];
const PINNINGS: [(&str, &str); 3] = [("auto", "Auto"), ("always", "Always"), ("never", "Never")];
const FLAVORS: [(&str, &str); 2] = [("current_thread", "CurrentThread"), ("multi_thread", "MultiThread")];

/// A whole number that is not zero.
fn at_least_one(name: &str, literal: &Lit) -> Result<TokenStream> {
    let Lit::Int(int) = literal else { return Err(Error::new(literal.span(), wrong_type(name))) };
    if !matches!(int.suffix(), "" | "usize") {
        return Err(Error::new(int.span(), wrong_type(name)));
    }
    // The widest number that every target of this crate has.
    let number: u32 = int.base10_parse().map_err(|_| {
        Error::new(int.span(), format!("`{name}` is out of range: at most {} can be written", u32::MAX))
    })?;
    if number == 0 {
        return Err(Error::new(int.span(), format!("`{name}` must be at least 1")));
    }
    let mut literal = Literal::usize_suffixed(number as usize);
    literal.set_span(int.span());
    Ok(quote!(#literal))
}

fn yes_or_no(name: &str, literal: &Lit) -> Result<TokenStream> {
    match literal {
        Lit::Bool(value) => Ok(quote!(#value)),
        other => Err(Error::new(other.span(), wrong_type(name))),
    }
}

/// One of the names in `values`, as the variant of `kind` beside it.
fn variant(name: &str, literal: &Lit, kind: &TokenStream, values: &[(&str, &str)]) -> Result<TokenStream> {
    let text = string(name, literal)?;
    let given = text.value();
    let Some((_, variant)) = values.iter().find(|(value, _)| *value == given) else {
        let valid: Vec<&str> = values.iter().map(|(value, _)| *value).collect();
        let message = format!("unknown {name} {given:?}; the valid values are {}", list(&valid, '"'));
        return Err(Error::new(text.span(), message));
    };
    let variant = Ident::new(variant, Span::call_site());
    Ok(quote!(#kind::#variant))
}

/// `"auto"`, `"off"`, or a time with its unit.
fn polling(literal: &Lit, kind: &TokenStream) -> Result<TokenStream> {
    let text = string("polling", literal)?;
    let given = text.value();
    match given.as_str() {
        "auto" => return Ok(quote!(#kind::Auto)),
        "off" => return Ok(quote!(#kind::Off)),
        _ => {}
    }
    let (digits, unit) = given.split_at(given.find(|c: char| !c.is_ascii_digit()).unwrap_or(given.len()));
    let micros = match unit {
        "us" => digits.parse::<u64>().ok(),
        "ms" => digits.parse::<u64>().ok().and_then(|millis| millis.checked_mul(1000)),
        _ => None,
    };
    match micros {
        Some(0) => Err(Error::new(text.span(), "polling for no time at all is written `polling = \"off\"`")),
        Some(micros) => {
            let micros = Literal::u64_suffixed(micros);
            Ok(quote!(#kind::For(::core::time::Duration::from_micros(#micros))))
        }
        None => Err(Error::new(
            text.span(),
            format!(
                "unknown polling {given:?}; the valid values are \"auto\", \"off\", and a time in \
                 microseconds or milliseconds such as \"50us\" or \"1ms\""
            ),
        )),
    }
}

fn thread_name(literal: &Lit) -> Result<TokenStream> {
    let text = string("thread_name", literal)?;
    let name = text.value();
    if name.is_empty() {
        return Err(Error::new(text.span(), "`thread_name` must not be empty"));
    }
    if name.contains('\0') {
        return Err(Error::new(text.span(), "`thread_name` must not contain a zero byte"));
    }
    Ok(quote_spanned!(text.span()=> #text))
}

fn string<'a>(name: &str, literal: &'a Lit) -> Result<&'a LitStr> {
    match literal {
        Lit::Str(text) if text.suffix().is_empty() => Ok(text),
        other => Err(Error::new(other.span(), wrong_type(name))),
    }
}

fn wrong_type(name: &str) -> String {
    let kind = match name {
        "cores" | "worker_threads" | "max_blocking_threads" => "a whole number",
        "crate" => "a path without quotes",
        "start_paused" => "`true` or `false`",
        "polling" => "a string; a time carries its unit",
        _ => "a string",
    };
    format!("`{name}` takes {kind}: `{}`", example(name))
}

fn example(name: &str) -> &'static str {
    match name {
        "cores" => "cores = 2",
        "driver" => "driver = \"epoll\"",
        "pinning" => "pinning = \"never\"",
        "polling" => "polling = \"50us\"",
        "thread_name" => "thread_name = \"web\"",
        "max_blocking_threads" => "max_blocking_threads = 64",
        "flavor" => "flavor = \"current_thread\"",
        "worker_threads" => "worker_threads = 2",
        "start_paused" => "start_paused = true",
        _ => "crate = my_crate::multikernel",
    }
}

fn unknown(name: &Ident) -> Error {
    Error::new(name.span(), format!("unknown option `{name}`; the options are {}", list(&NAMES, '`')))
}

/// `a`, `b` and `c`.
fn list(names: &[&str], quote: char) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{quote}{name}{quote}")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
