#[multikernel::test]
#[test]
async fn twice() {}

#[multikernel::test(cores = 0)]
#[should_panic]
async fn option(argument: u8) {}

fn main() {}
