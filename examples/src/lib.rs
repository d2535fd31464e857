//! What the servers in `src/bin` are made of, so that tests and benches can use it too.

pub mod kv;
pub mod server;
