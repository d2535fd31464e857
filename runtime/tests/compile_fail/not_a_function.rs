#[multikernel::main]
struct Main;

fn main() {}
