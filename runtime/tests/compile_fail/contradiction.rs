#[multikernel::main(worker_threads = 2, flavor = "current_thread")]
async fn main() {}

#[multikernel::main(worker_threads = 2, cores = 2)]
async fn other() {}
