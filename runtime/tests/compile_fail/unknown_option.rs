#[multikernel::main(core = 2)]
async fn main() {}

#[multikernel::main(worker_threads = 2, flavor = "current_thread")]
async fn from_elsewhere() {}
