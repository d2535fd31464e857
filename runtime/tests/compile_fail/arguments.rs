#[multikernel::main]
async fn main(arguments: Vec<String>, more: u8) {
    println!("{arguments:?} {more}");
}

struct Server;

impl Server {
    #[multikernel::main]
    fn serve(&self) {}
}
