#[multikernel::main]
async unsafe fn not_safe() {}

#[multikernel::main]
async extern "C" fn abi() {}

fn main() {}
