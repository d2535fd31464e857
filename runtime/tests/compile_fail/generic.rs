#[multikernel::main]
async fn generic<T: Default>() {
    T::default();
}

#[multikernel::main]
async fn clause()
where
    u8: Copy,
{
}

fn main() {}
