#[multikernel::main(crate = "multikernel")]
async fn main() {}
