#[multikernel::main(cores)]
async fn main() {}

#[multikernel::main(cores(2))]
async fn parentheses() {}

#[multikernel::main("epoll")]
async fn literal() {}

#[multikernel::main(cores = 1 driver = "epoll")]
async fn no_comma() {}
