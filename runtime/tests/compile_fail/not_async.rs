#[multikernel::main]
fn main() {}

#[multikernel::test]
fn test() {}
