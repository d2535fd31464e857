//! HTTP on every core.

fn main() {}
