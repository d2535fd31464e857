//! The HTTP example in a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use super::client::Bystanders;
use super::{Driver, PATIENCE, proc, wait_for};

/// The path of the HTTP example.
pub(crate) const HTTP: &str = env!("CARGO_BIN_EXE_http");

/// A process that is killed when this is dropped.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    fn wait(&mut self) -> ExitStatus {
        wait_for("the process ends", || self.0.try_wait().expect("it is our child"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running HTTP example.
pub(crate) struct Server {
    process: Process,
    lines: Receiver<String>,
    complaints: Option<JoinHandle<String>>,
    pub(crate) addr: SocketAddr,
    pub(crate) cores: usize,
}

impl Server {
    /// Starts one on a free port of 127.0.0.1.
    pub(crate) fn start(driver: Driver) -> Server {
        let mut child = Command::new(HTTP)
            .arg("127.0.0.1:0")
            .env("MULTIKERNEL_DRIVER", driver.variable())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let lines = lines_of(child.stdout.take().expect("it is piped"));
        let complaints = Some(all_of(child.stderr.take().expect("it is piped")));
        let mut server =
            Server { process: Process(child), lines, complaints, addr: ([127, 0, 0, 1], 0).into(), cores: 0 };

        let first = server.line();
        let rest =
            first.strip_prefix("serving HTTP on http://").expect("the first line says where it serves");
        let (addr, rest) = rest.split_once(" with ").expect("and with how many cores");
        server.addr = addr.parse().expect("an address");
        let count = rest.split_whitespace().next().expect("a number of cores");
        server.cores = count.parse().expect("a number of cores");

        let second = server.line();
        match driver {
            Driver::Epoll => {
                assert!(second.starts_with("driver: epoll (MULTIKERNEL_DRIVER=epoll"), "{second}")
            }
            Driver::Uring if second.starts_with("driver: io_uring (MULTIKERNEL_DRIVER=uring") => {}
            Driver::Uring => println!("io_uring is not to be had here, so this tells about epoll: {second}"),
        }
        server
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    pub(crate) fn bystanders(&self) -> Bystanders {
        Bystanders::of(self.addr, self.cores)
    }

    /// The next line it prints.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("the server prints a line")
    }

    /// Waits until it has `count` descriptors open.
    #[track_caller]
    pub(crate) fn wait_for_descriptors(&self, what: &str, count: usize) {
        wait_for(what, || (proc::descriptors(self.pid()) == count).then_some(()));
    }

    /// Grants it no descriptors but those below a number that leaves it up to `more`; gives that number.
    pub(crate) fn limit_descriptors(&self, more: usize) -> usize {
        let limit = proc::descriptors(self.pid()) + more;
        let both = Some(limit as u64);
        prlimit(Some(self.unix_pid()), Resource::Nofile, Rlimit { current: both, maximum: both })
            .expect("the limits of a child can be lowered");
        limit
    }

    pub(crate) fn terminate(&self) {
        kill_process(self.unix_pid(), Signal::TERM).expect("a child can be signalled");
    }

    fn unix_pid(&self) -> Pid {
        Pid::from_child(&self.process.0)
    }

    /// Waits for its end, and gives its exit code and what it has printed since the last [`line`](Self::line).
    ///
    /// # Panics
    /// When it has written anything to its standard error.
    pub(crate) fn wait(mut self) -> (Option<i32>, Vec<String>) {
        let code = self.process.wait().code();
        self.assert_no_complaints();
        (code, self.lines.iter().collect())
    }

    /// Stops it and checks that it leaves at once and with no word of a panic, which is how each bad day should end.
    #[track_caller]
    pub(crate) fn stop(self) {
        let start = Instant::now();
        self.terminate();
        let (code, lines) = self.wait();
        assert_eq!(code, Some(0), "{lines:?}");
        assert!(!lines.iter().any(|line| line.starts_with("giving up")), "{lines:?}, {:?}", start.elapsed());
    }

    fn assert_no_complaints(&mut self) {
        let complaints = self.complaints.take().expect("asked once").join().expect("reading does not fail");
        assert_eq!(complaints, "", "nothing goes to the server's standard error");
    }
}

fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        lines.map_while(|line| sender.send(line).ok()).for_each(drop);
    });
    lines
}

fn all_of(mut output: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).expect("the server writes UTF-8");
        text
    })
}

/// Runs a command that should refuse to start, and checks that it does so properly: one line on standard error that
/// begins with `error: `, exit code 1, no panic, no backtrace. Gives that line.
///
/// # Errors
/// The command cannot be run.
#[track_caller]
pub(crate) fn refused(command: &mut Command) -> std::io::Result<String> {
    let mut child = command
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let printed = all_of(child.stdout.take().expect("it is piped"));
    let complaints = all_of(child.stderr.take().expect("it is piped"));
    let status = Process(child).wait();
    let complaints = complaints.join().expect("reading does not fail");
    assert_eq!(status.code(), Some(1), "{complaints}");
    assert_eq!(
        printed.join().expect("reading does not fail"),
        "",
        "a server that does not serve says nothing else"
    );
    assert_eq!(complaints.lines().count(), 1, "one line: {complaints}");
    assert!(complaints.starts_with("error: ") && complaints.ends_with('\n'), "{complaints}");
    assert!(!complaints.contains("panicked") && !complaints.contains("Error {"), "for people: {complaints}");
    Ok(complaints.trim_end().to_owned())
}
