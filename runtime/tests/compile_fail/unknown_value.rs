#[multikernel::main(driver = "kqueue", pinning = "sometimes", polling = "50")]
async fn main() {}

#[multikernel::main(flavor = "threaded")]
async fn other() {}
