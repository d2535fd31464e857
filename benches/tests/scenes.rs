//! `fs`, `udp` and `resp` in small: that they measure, and that each detector fails on a run planted to be bad.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use indicatif::ProgressBar;
use multikernel_benches::client::datagrams::{self, Datagrams};
use multikernel_benches::client::load::{Load, Plan};
use multikernel_benches::client::message::Message;
use multikernel_benches::client::reads::Reads;
use multikernel_benches::client::{self, Work};
use multikernel_benches::fs::BLOCK;
use multikernel_benches::harness::pairs::{self, Entrant, Pace, Series};
use multikernel_benches::harness::process::Server;
use multikernel_benches::resp::redis;
use multikernel_benches::runs::fs::Blocks;
use multikernel_benches::runs::resp::wait_for;
use multikernel_benches::servers::{self, Protocol};

const EXE: &str = env!("CARGO_BIN_EXE_multikernel-benches");
/// Long enough for a slice to hold an answer while other tests keep all CPUs busy.
const PACE: Pace = Pace { slice: Duration::from_millis(100), rounds: 2 };
const LOAD: datagrams::Plan = datagrams::Plan {
    peers: 2,
    window: 8,
    size: 64,
    lost_after: Duration::from_millis(100),
    patience: Duration::from_secs(3),
};

fn start(name: &str, protocol: Protocol, more: &[&str]) -> Server {
    let args = [&["serve", name, protocol.name(), "1"], more].concat();
    let args: Vec<_> = args.into_iter().map(str::to_owned).collect();
    Server::start(Path::new(EXE), &args).unwrap()
}

fn names_for(protocol: Protocol) -> Vec<&'static str> {
    let all = servers::all().filter(|server| server.protocols.contains(&protocol));
    all.map(|server| server.name).filter(|name| *name != redis::NAME || redis::version().is_some()).collect()
}

/// Every server for `protocol`, under load that `connect` makes.
fn measure(
    protocol: Protocol,
    more: &[&str],
    connect: impl Fn(&Server) -> Result<Box<dyn Work>>,
) -> Vec<Series> {
    let names = names_for(protocol);
    let servers: Vec<_> = names.iter().map(|name| start(name, protocol, more)).collect();
    let entrant = |(name, server): (&&str, &Server)| {
        let work = connect(server).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        Entrant { name: (*name).to_owned(), cores: 1, pid: server.pid(), work }
    };
    let mut entrants: Vec<_> = names.iter().zip(&servers).map(entrant).collect();
    let all = pairs::run(&mut entrants, PACE, 2, &ProgressBar::hidden()).unwrap();
    for series in &all {
        assert_eq!(series.failure, None, "{}", series.name);
        assert_eq!((series.rate.len(), series.cpu.len()), (PACE.rounds, PACE.rounds));
        assert!(series.rate.iter().chain(&series.cpu).all(|figure| *figure > 0.0), "{}", series.name);
    }
    all
}

fn error_of<T>(result: Result<T>) -> String {
    format!("{:#}", result.err().expect("a bad run must fail"))
}

#[test]
fn fs_measures_every_reader() {
    let blocks = Blocks::make(1).unwrap();
    let path = blocks.path().to_path_buf();
    let connect = |server: &Server| Ok(Box::new(Reads::connect(server.addr())?) as Box<dyn Work>);
    let all = measure(Protocol::Fs, &["--file", path.to_str().unwrap()], connect);
    let has = |name| all.iter().any(|series| series.name == name);
    assert!(["raw", "tokio-ct", "monoio", "glommio", "compio", "multikernel"].into_iter().all(has));
    drop(blocks);
    assert!(!path.exists(), "it removes what it has made");
}

#[test]
fn a_reader_that_gets_other_blocks_fails() {
    let blocks = Blocks::make(1).unwrap();
    // All blocks are somewhere else than their numbers say.
    let bytes = std::fs::read(blocks.path()).unwrap();
    std::fs::write(blocks.path(), [&bytes[BLOCK..], &bytes[..BLOCK]].concat()).unwrap();
    for name in names_for(Protocol::Fs) {
        let reader = start(name, Protocol::Fs, &["--file", blocks.path().to_str().unwrap()]);
        let error = error_of(Reads::connect(reader.addr()));
        assert!(error.contains("no report"), "{name}: {error}");
    }
}

#[test]
fn udp_measures_every_server() {
    for plan in [LOAD, datagrams::Plan { size: 1400, peers: 1, window: 64, ..LOAD }] {
        let connect =
            |server: &Server| Ok(Box::new(Datagrams::connect(server.addr(), plan)?) as Box<dyn Work>);
        for series in measure(Protocol::Udp, &[], connect) {
            assert!(!series.latency.is_empty(), "{}", series.name);
        }
    }
}

/// A server within this process, which sends what `answers` makes of each datagram and its number.
fn planted(answers: fn(u64, Vec<u8>) -> Vec<Vec<u8>>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut room = [0; 2048];
        for number in 0.. {
            let (len, from) = socket.recv_from(&mut room).unwrap();
            for answer in answers(number, room[..len].to_vec()) {
                // The client may have seen enough and left.
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    addr
}

#[test]
fn lost_datagrams_are_counted_and_hang_nothing() {
    let plan = datagrams::Plan { lost_after: Duration::from_millis(10), ..LOAD };
    let addr = planted(|number, bytes| if number % 10 == 9 { vec![] } else { vec![bytes] });
    let mut load = Datagrams::connect(addr, plan).unwrap();
    let slice = load.slice(PACE.slice, &mut client::latencies()).unwrap();
    let counts = load.counts().get();
    assert!(slice.counted > 0 && counts.lost > 0, "{counts:?}");
    assert_eq!(counts.sent, counts.answered + counts.lost);
}

#[test]
fn a_late_answer_is_none_that_nobody_asked_for() {
    let plan = datagrams::Plan { lost_after: Duration::from_millis(10), ..LOAD };
    let addr = planted(|number, bytes| {
        // All that waits meanwhile has been given up.
        if number % 100 == 99 {
            thread::sleep(Duration::from_millis(50));
        }
        vec![bytes]
    });
    let mut load = Datagrams::connect(addr, plan).unwrap();
    load.slice(PACE.slice, &mut client::latencies()).unwrap();
    load.slice(PACE.slice, &mut client::latencies()).unwrap();
    let counts = load.counts().get();
    assert!(counts.late > 0, "{counts:?}");
    assert_eq!(counts.sent, counts.answered + counts.lost);
}

#[test]
fn wrong_datagrams_fail() {
    let error = error_of(Datagrams::connect(
        planted(|_, mut bytes| {
            bytes[40] ^= 1;
            vec![bytes]
        }),
        LOAD,
    ));
    assert!(error.contains("wrong answer"), "{error}");
    let error = error_of(Datagrams::connect(
        planted(|_, mut bytes| {
            bytes[8] ^= 1;
            vec![bytes]
        }),
        LOAD,
    ));
    assert!(error.contains("wrong answer"), "{error}");
    let error = error_of(Datagrams::connect(planted(|_, bytes| vec![bytes[..30].to_vec()]), LOAD));
    assert!(error.contains("wrong answer"), "{error}");
    let twice = Datagrams::connect(planted(|_, bytes| vec![bytes.clone(), bytes]), LOAD);
    let error = error_of(twice.and_then(|mut load| load.slice(PACE.slice, &mut client::latencies())));
    assert!(error.contains("more answers than datagrams"), "{error}");
    let patience = Duration::from_millis(300);
    let error = error_of(Datagrams::connect(planted(|_, _| vec![]), datagrams::Plan { patience, ..LOAD }));
    assert!(error.contains("no answer"), "{error}");
}

#[test]
fn resp_measures_every_server() {
    for pipeline in [1, 16] {
        let plan = Plan { message: Message::Resp, connections: 4, pipeline, patience: client::PATIENCE };
        let connect = |server: &Server| {
            wait_for(server)?;
            Ok(Box::new(Load::connect(server.addr(), plan)?) as Box<dyn Work>)
        };
        measure(Protocol::Resp, &[], connect);
    }
}

#[test]
fn a_server_with_other_replies_fails() {
    let plan = Plan { message: Message::Resp, connections: 1, pipeline: 1, patience: client::PATIENCE };
    // An echo server.
    let server = start("tokio-ct", Protocol::Echo, &[]);
    let error = error_of(Load::connect(server.addr(), plan));
    assert!(error.contains("wrong answer"), "{error}");
}

#[test]
fn whole_runs_print_tables_and_goals() {
    let runs: [&[&str]; 3] = [&["fs", "--mib", "1"], &["udp"], &["resp", "--connections", "8"]];
    for run in runs {
        let output = Command::new(EXE).args(run).args(["--quick", "--rounds", "1"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{text}{error}");
        let is_row = |line: &&str| line.starts_with("multikernel ");
        assert!(text.lines().filter(is_row).count() >= 2, "{text}");
        assert!(text.lines().any(|line| line.starts_with("goal: multikernel ")), "{text}");
        assert!(text.contains("Linux"), "{text}");
    }
}

#[test]
fn uneven_measures_in_every_small_scene() {
    // Not the burst: ten thousand connections need more descriptors than every system gives.
    let args = ["uneven", "--quick", "--rounds", "1", "--only", "tokio-mt,multikernel-each"];
    let output =
        Command::new(EXE).args(args).args(["--scene", "shared,taken,skew,few,steady"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}{error}");
    for name in ["tokio-mt", "multikernel-each"] {
        let rows: Vec<_> = text.lines().filter(|line| line.starts_with(&format!("{name} "))).collect();
        assert_eq!(rows.len(), 5, "{text}");
        // A figure for every measure.
        assert!(rows.iter().all(|row| row.contains(" to ") && !row.ends_with('-')), "{text}");
    }
    assert!(text.lines().any(|line| line.starts_with("goal: ")), "{text}");
}
