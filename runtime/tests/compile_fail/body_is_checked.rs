//! A wrong option does not hide a mistake in the body, and brings up no other error.

use std::collections::HashMap;

#[multikernel::main(cores = 0)]
async fn main() -> Result<(), std::num::ParseIntError> {
    let mut numbers: HashMap<u8, u8> = HashMap::new();
    numbers.insert(1, "2".parse()?);
    let wrong: bool = 1;
    Ok(())
}
