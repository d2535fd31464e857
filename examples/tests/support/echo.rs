//! A server that sends back what it gets and keeps no memory for who is silent, in a process of its own.

use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{ChildStdout, Command, Stdio};

use multikernel::io::AsyncWriteExt;
use multikernel::net::{TcpListener, TcpStream};
use multikernel::runtime::{Builder, Handle};
use multikernel::spawn;

use super::Driver;
use super::server::Process;

/// Set in the server's process.
const IS_SERVER: &str = "MULTIKERNEL_TEST_IS_ECHO_SERVER";
const ANNOUNCEMENT: &str = "echoing on ";

/// Dropping it kills it.
pub(crate) struct EchoServer {
    process: Process,
    pub(crate) addr: SocketAddr,
    /// The one it has, which need not be the one it was asked to use.
    pub(crate) driver: String,
    _printed: BufReader<ChildStdout>,
}

impl EchoServer {
    pub(crate) fn start(driver: Driver) -> EchoServer {
        let (_, module) = module_path!().split_once("::").expect("a module of a crate");
        let mut child = Command::new(std::env::current_exe().expect("a test knows its file"))
            .args(["--exact", &format!("{module}::server_process"), "--ignored", "--nocapture"])
            .env("MULTIKERNEL_DRIVER", driver.variable())
            .env(IS_SERVER, "yes")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a test can be run once more");
        let mut printed = BufReader::new(child.stdout.take().expect("it is piped"));
        let process = Process(child);
        let (addr, driver) = printed
            .by_ref()
            .lines()
            .find_map(|line| {
                let line = line.expect("it prints text");
                // What runs the tests may have printed on the same line before.
                let (addr, driver) = line.split_once(ANNOUNCEMENT)?.1.split_once(" with ")?;
                Some((addr.parse().expect("an address"), driver.to_owned()))
            })
            .expect("it says where it listens");
        EchoServer { process, addr, driver, _printed: printed }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

#[test]
#[ignore = "no test: what the server's process does"]
fn server_process() {
    if std::env::var_os(IS_SERVER).is_some() {
        Builder::new().run(serve).expect("the server starts").expect("the server listens");
    }
}

async fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{ANNOUNCEMENT}{} with {}", listener.local_addr()?, Handle::current().driver().kind);
    loop {
        let (one, _) = listener.accept().await?;
        spawn(in_whole_buffers(one));
        let (other, _) = listener.accept().await?;
        spawn(by_readiness(other));
    }
}

async fn in_whole_buffers(stream: TcpStream) -> io::Result<()> {
    loop {
        let bytes = stream.recv().await?;
        if bytes.is_empty() {
            return Ok(());
        }
        stream.send_all(bytes).await.result?;
    }
}

async fn by_readiness(mut stream: TcpStream) -> io::Result<()> {
    loop {
        stream.readable().await?;
        match try_read(&stream) {
            Ok(bytes) if bytes.is_empty() => return Ok(()),
            Ok(bytes) => stream.write_all(&bytes).await?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

fn try_read(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = [0; 4096];
    let count = stream.try_read(&mut bytes)?;
    Ok(bytes[..count].to_vec())
}
