const CORES: usize = 2;

#[multikernel::main(cores = "2", driver = 1, pinning = true, polling = 50, thread_name = 'x')]
async fn main() {}

#[multikernel::main(cores = CORES, max_blocking_threads = 1.5, driver = Driver::Epoll)]
async fn other() {}
