#[multikernel::main(cores = 1, driver = "epoll", cores = 2)]
async fn main() {}
