#[multikernel::main(core = 2)]
async fn main() {}

#[multikernel::main(threads = 2, flavour = "current_thread")]
async fn misspelt() {}
