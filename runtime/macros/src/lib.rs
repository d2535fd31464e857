//! The attributes `#[multikernel::main]` and `#[multikernel::test]`.
