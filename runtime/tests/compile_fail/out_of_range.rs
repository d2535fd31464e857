#[multikernel::main(cores = 0, max_blocking_threads = 0, polling = "0us", thread_name = "")]
async fn main() {}

#[multikernel::main(cores = 18446744073709551616, thread_name = "a\0b")]
async fn other() {}
