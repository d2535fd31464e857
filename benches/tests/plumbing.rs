//! The measurements in small: that they measure, and that each detector fails on a run planted to be bad.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use multikernel_benches::channels::cases::Case;
use multikernel_benches::channels::{self, measure};
use multikernel_benches::client::bulk::{Bulk, Target};
use multikernel_benches::client::churn::Churn;
use multikernel_benches::client::load::{Load, Plan};
use multikernel_benches::client::message::Message;
use multikernel_benches::client::{self, Slice, Work};
use multikernel_benches::harness::cpus::Cpus;
use multikernel_benches::harness::pairs::{self, Entrant, Pace, Series};
use multikernel_benches::harness::process::Server;
use multikernel_benches::harness::sched::CpuTime;
use multikernel_benches::harness::table;
use multikernel_benches::replicate;
use multikernel_benches::runs::{self, idle};
use multikernel_benches::timers;

const EXE: &str = env!("CARGO_BIN_EXE_multikernel-benches");
/// Long enough for a slice to hold an answer while other tests keep all CPUs busy.
const PACE: Pace = Pace { slice: Duration::from_millis(100), rounds: 2 };
const ECHO: Plan =
    Plan { connections: 4, message: Message::Echo(64), pipeline: 1, patience: Duration::from_millis(200) };

fn start(name: &str, protocol: &str) -> Server {
    Server::start(Path::new(EXE), &["serve", name, protocol, "1"].map(str::to_owned)).unwrap()
}

fn measure(works: Vec<(&str, &Server, Box<dyn Work>)>) -> Vec<Series> {
    let entrant = |(name, server, work): (&str, &Server, _)| {
        let name = name.to_owned();
        Entrant { name, cores: 1, pid: server.pid(), work }
    };
    let mut entrants: Vec<_> = works.into_iter().map(entrant).collect();
    pairs::run(&mut entrants, PACE, 2, &ProgressBar::hidden()).unwrap()
}

fn assert_measured(all: &[Series]) {
    for series in all {
        assert_eq!(series.failure, None, "{}", series.name);
        assert_eq!((series.rate.len(), series.cpu.len()), (PACE.rounds, PACE.rounds));
        assert!(series.rate.iter().all(|rate| *rate > 0.0) && !series.latency.is_empty());
    }
    let ratios = table::ratios("request", all);
    assert!(ratios.contains("1.000 (1.000 to 1.000)"), "a baseline is as good as itself:\n{ratios}");
}

#[test]
fn echo_measures_raw_and_tokio() {
    for plan in [ECHO, Plan { pipeline: 16, ..ECHO }, Plan { message: Message::Echo(10_000), ..ECHO }] {
        let servers =
            ["raw", "raw-epoll", "tokio-ct", "tokio-ct-ready"].map(|name| (name, start(name, "echo")));
        let works = servers.iter().map(|(name, server)| {
            let load: Box<dyn Work> = Box::new(Load::connect(server.addr(), plan).unwrap());
            (*name, server, load)
        });
        assert_measured(&measure(works.collect()));
    }
}

#[test]
fn http_measures_raw_and_tokio() {
    for pipeline in [1, 16] {
        let plan = Plan { message: Message::Http, pipeline, ..ECHO };
        let servers = ["raw", "tokio-ct"].map(|name| (name, start(name, "http")));
        let works = servers.iter().map(|(name, server)| {
            let load: Box<dyn Work> = Box::new(Load::connect(server.addr(), plan).unwrap());
            (*name, server, load)
        });
        assert_measured(&measure(works.collect()));
    }
}

#[test]
fn churn_measures_raw_and_tokio() {
    for per_connection in [1, 10] {
        let servers = ["raw", "tokio-ct"].map(|name| (name, start(name, "echo")));
        let works = servers.iter().map(|(name, server)| {
            let churn: Box<dyn Work> = Box::new(Churn::start(server.addr(), 4, per_connection, 64).unwrap());
            (*name, server, churn)
        });
        assert_measured(&measure(works.collect()));
    }
}

#[test]
fn proxy_measures_every_one() {
    let proxies = ["tokio-ct", "multikernel", "multikernel-epoll"].map(|name| {
        let target = Target::open().unwrap();
        let addr = target.addr().unwrap().to_string();
        let args = ["serve", name, "proxy", "1", &addr].map(str::to_owned);
        (name, Server::start(Path::new(EXE), &args).unwrap(), target)
    });
    let works = proxies.iter().map(|(name, server, target)| {
        let bulk: Box<dyn Work> = Box::new(Bulk::connect(server.addr(), target, 2).unwrap());
        (*name, server, bulk)
    });
    for series in measure(works.collect()) {
        assert_eq!(series.failure, None, "{}", series.name);
        assert_eq!((series.rate.len(), series.cpu.len()), (PACE.rounds, PACE.rounds));
        assert!(series.cpu.iter().all(|cpu| *cpu > 0.0));
    }
}

#[test]
fn a_proxy_that_passes_nothing_on_is_not_measured() {
    let target = Target::open().unwrap();
    // An echo server is none: it never connects.
    let server = start("tokio-ct", "echo");
    assert!(Bulk::connect(server.addr(), &target, 1).is_err());
}

#[test]
fn idle_measures_what_a_connection_keeps() {
    // tokio's echo holds a buffer of a page for each; allocation granularity makes it a little more or less.
    let bytes = idle::per_connection(&start("tokio-ct", "echo"), 400, 64).unwrap();
    assert!((2_000.0..12_000.0).contains(&bytes), "{bytes} bytes per connection");
}

#[test]
fn channels_measure_every_contender_in_every_case() {
    let cpus = Cpus::of_this_process().unwrap();
    let contenders = channels::contenders();
    let pace = measure::Pace { slice: Duration::from_micros(100), rounds: 2 };
    let (results, _) = measure::all(&contenders, &Case::all(), cpus, pace, &ProgressBar::hidden()).unwrap();
    for (contender, row) in contenders.iter().zip(&results) {
        assert_eq!(row.len(), contender.offers.len(), "{}", contender.name);
        for (case, series) in row {
            // Not whether it slept: that is for a machine with nothing else to do.
            assert_eq!(series.failure, None, "{} {}", contender.name, case.name());
            let shares = matches!(case, Case::Fairness | Case::Greedy);
            let figures = if shares { &series.off } else { &series.ns };
            assert!(figures.len() >= pace.rounds, "{} {}", contender.name, case.name());
            assert!(figures.iter().all(|figure| *figure >= 0.0 && figure.is_finite()));
            let timed = matches!(case, Case::Awake | Case::Parked);
            assert_eq!(timed, !series.latency.is_empty(), "{} {}", contender.name, case.name());
        }
    }
    let ours = contenders.iter().position(|contender| contender.name == "multikernel").unwrap();
    assert_eq!(results[ours].len(), Case::all().len(), "we can do everything");
}

#[test]
fn replicate_measures_every_contender_in_every_case() {
    let cpus = Cpus::of_this_process().unwrap();
    let contenders = replicate::contenders();
    let pace = replicate::measure::Pace { slice: Duration::from_micros(100), rounds: 2 };
    let cases = replicate::cases::Case::all();
    let results = replicate::measure::all(&contenders, &cases, cpus, pace, &ProgressBar::hidden()).unwrap();
    for (contender, row) in contenders.iter().zip(&results) {
        assert_eq!(row.len(), contender.offers.len(), "{}", contender.name);
        for (case, series) in row {
            // Not whether it slept: that is for a machine with nothing else to do.
            assert_eq!(series.failure, None, "{} {}", contender.name, case.name());
            assert_eq!(series.ns.len(), pace.rounds, "{} {}", contender.name, case.name());
            assert!(series.ns.iter().all(|ns| *ns > 0.0 && ns.is_finite()));
        }
    }
    let report = replicate::report::Report { contenders: &contenders, results: &results };
    let tables = report.tables();
    assert!(contenders.iter().all(|contender| tables.contains(contender.name)), "{tables}");
    let folder = std::env::temp_dir().join(format!("multikernel-replicate-{}", std::process::id()));
    replicate::plot::draw(&folder, &report).unwrap();
    assert!(std::fs::read_to_string(folder.join("replicate-read.svg")).unwrap().contains("dashmap"));
    assert!(std::fs::read_to_string(folder.join("replicate-propose.svg")).unwrap().contains("line"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn channels_watch_cores_with_nothing_to_do() {
    // In a process of its own, whose threads it counts.
    let args = ["channels", "--quick", "--figure", "idle", "--only", "multikernel,tokio,glommio"];
    let output = Command::new(EXE).args(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for name in ["multikernel", "tokio-ct", "tokio-mt", "glommio"] {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
        assert!(line.is_some_and(|line| line.ends_with('%')), "{name}: {text}");
    }
}

/// A server within this process: `answer` gets each connection with its number.
fn planted(answer: fn(usize, TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let stream = stream.unwrap();
            thread::spawn(move || answer(number, stream));
        }
    });
    addr
}

fn echo_changed(mut stream: TcpStream, answers: usize, change: fn(&mut [u8])) {
    let mut message = [0; 64];
    for _ in 0..answers {
        if stream.read_exact(&mut message).is_err() {
            return;
        }
        change(&mut message);
        // The client may have seen enough and left.
        let _ = stream.write_all(&message);
    }
}

fn garbage(_: usize, stream: TcpStream) {
    echo_changed(stream, usize::MAX, |message| message[63] ^= 1);
}

fn twice(_: usize, mut stream: TcpStream) {
    let mut message = [0; 64];
    while stream.read_exact(&mut message).is_ok() {
        let _ = stream.write_all(&message.repeat(2));
    }
}

fn only_two(number: usize, stream: TcpStream) {
    if number < 2 {
        echo_changed(stream, usize::MAX, |_| {});
    } else {
        // Held open, never answered.
        let _ = (&stream).read_to_end(&mut Vec::new());
    }
}

fn error_of<T>(result: Result<T>) -> String {
    format!("{:#}", result.err().expect("a bad run must fail"))
}

#[test]
fn wrong_answers_fail() {
    let error = error_of(Load::connect(planted(garbage), ECHO));
    assert!(error.contains("wrong answer"), "{error}");
    let error = error_of(Churn::start(planted(garbage), 2, 1, 64));
    assert!(error.contains("wrong answer"), "{error}");
    let error = error_of(Load::connect(planted(garbage), Plan { message: Message::Http, ..ECHO }));
    assert!(error.contains("wrong answer") || error.contains("no answer"), "{error}");
}

#[test]
fn more_answers_than_requests_fail() {
    let bad = Load::connect(planted(twice), ECHO)
        .and_then(|mut load| load.slice(Duration::from_millis(5), &mut client::latencies()));
    let error = error_of(bad);
    assert!(error.contains("more answers than requests"), "{error}");
}

#[test]
fn fewer_connections_than_asked_fail() {
    let error = error_of(Load::connect(planted(only_two), ECHO));
    assert!(error.contains("2 of 4 connections admitted"), "{error}");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = error_of(Load::connect(nobody, ECHO));
    assert!(error.contains("0 of 4 connections admitted"), "{error}");
}

#[test]
fn a_server_that_hangs_up_fails_its_series_and_the_run() {
    let addr = planted(|_, stream| echo_changed(stream, 5, |_| {}));
    let load = Load::connect(addr, ECHO).unwrap();
    let mut entrants =
        [Entrant { name: "quitter".into(), cores: 1, pid: std::process::id(), work: Box::new(load) }];
    let all = pairs::run(&mut entrants, PACE, 2, &ProgressBar::hidden()).unwrap();
    assert!(all[0].failure.is_some());
    assert!(runs::verdict(&all, |_| None).is_err());
}

/// A client that was never off its CPU. It says so rather than spin: the books of the scheduler are a tick behind.
struct Busy;

impl Work for Busy {
    fn slice(&mut self, length: Duration, latency: &mut Histogram<u64>) -> Result<Slice> {
        let start = Instant::now();
        thread::sleep(length);
        latency.saturating_record(1000);
        let whole = start.elapsed();
        let client = CpuTime { ran: whole, waited: Duration::ZERO };
        Ok(Slice { wall: whole, counted: 1, total: 1, whole, client })
    }
}

#[test]
fn a_client_that_is_the_bottleneck_fails_the_run() {
    let idle = start("tokio-ct", "echo");
    let all = measure(vec![("idle", &idle, Box::new(Busy))]);
    let reason = all[0].client_bound.as_deref().expect("the server did nothing");
    assert!(reason.contains("the client is the bottleneck"), "{reason}");
    assert!(runs::verdict(&all, |series| series.client_bound.clone()).is_err());
}

fn is_running(pid: u32) -> bool {
    PathBuf::from(format!("/proc/{pid}/stat")).exists()
}

#[test]
fn servers_do_not_outlive_their_owner() {
    let server = start("raw", "echo");
    let pid = server.pid();
    assert!(is_running(pid));
    drop(server);
    assert!(!is_running(pid), "dropped, and so killed and reaped");

    let panicking = thread::spawn(move || {
        let server = start("raw", "echo");
        std::panic::panic_any(server.pid());
    });
    let pid = *panicking.join().unwrap_err().downcast::<u32>().unwrap();
    assert!(!is_running(pid), "unwinding ends it as well");

    let mut orphan = Command::new(EXE)
        .args(["serve", "tokio-mt1", "echo", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    drop(orphan.stdin.take());
    assert!(orphan.wait().unwrap().success(), "a closed stdin ends it");
}

#[test]
fn a_server_that_cannot_start_is_an_error() {
    let bad = Server::start(Path::new(EXE), &["serve", "nothing", "echo", "1"].map(str::to_owned));
    assert!(error_of(bad).contains("ended before it announced a port"));
    let bad = Server::start(Path::new("/bin/echo"), &["hello".to_owned()]);
    assert!(error_of(bad).contains("announced \"hello\" and not a port"));
}

#[test]
fn unknown_input_is_one_clear_line() {
    for args in [
        &[] as &[&str],
        &["walk"],
        &["echo", "--speed", "9"],
        &["echo", "--only", "apache"],
        &["echo", "--connections", "0"],
        &["http", "--size", "5"],
        &["idle", "--connections", "900000", "--only", "raw"],
        &["tasks", "--only", "x"],
        &["timers", "--only", "x"],
        &["fs", "--only", "x"],
        &["udp", "--size", "15"],
        &["resp", "--pipeline", "1,0"],
        &["channels", "--only", "x"],
        &["channels", "--figure", "x"],
        &["replicate", "--only", "x"],
        &["replicate", "--figure", "x"],
        &["channels", "--only", "line", "--figure", "batch"],
        &["balance", "--figure", "x"],
    ] {
        let output = Command::new(EXE).args(args).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{args:?}: {error}");
        assert!(error.starts_with("error: "), "{args:?}: {error}");
    }
}

#[test]
fn timers_are_measured_beside_many_others() {
    let mut contenders = timers::contenders().unwrap();
    let size = timers::Size { live: 1_000, count: 100, sleepers: 5 };
    let all = timers::measure(&mut contenders, 2, size);
    assert_eq!(all.len(), 2);
    for series in all {
        for figures in [&series.insert, &series.cancel, &series.replace] {
            assert!(figures.len() == 2 && figures.iter().all(|ns| *ns > 0.0), "{series:?}");
        }
        assert!(series.late.iter().all(|round| round.len() == 5 && round.is_sorted()), "{series:?}");
        assert_eq!(series.late.len(), 2);
    }
}

#[test]
fn channels_print_tables_and_draw() {
    let folder = std::env::temp_dir().join(format!("multikernel-channels-{}", std::process::id()));
    let args =
        ["channels", "--quick", "--only", "layouts", "--figure", "u64,16B,batch", "--rounds", "2", "--plot"];
    let output = Command::new(EXE).args(args).arg(&folder).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(["slots-lined", "divided by ring's", "batch"].iter().all(|part| text.contains(part)), "{text}");
    assert!(std::fs::read_to_string(folder.join("throughput.svg")).unwrap().contains("rtrb"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn balance_is_simulated_and_says_so() {
    let args = ["balance", "--quick", "--figure", "skew", "--only", "placed,handing over"];
    let output = Command::new(EXE).args(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("SIMULATED, not measured"), "{text}");
    let lines = text.lines().filter(|line| line.contains(" placed once ") || line.contains(" handing over"));
    assert_eq!(lines.count(), 4, "each with 2 and 8 cores: {text}");
}

#[test]
fn a_whole_run_prints_a_table_and_saves_its_figures() {
    let file = std::env::temp_dir().join(format!("multikernel-benches-{}.json", std::process::id()));
    let args = ["idle", "--only", "raw,tokio-ct-ready", "--connections", "20", "--rounds", "1", "--json"];
    let output = Command::new(EXE).args(args).arg(&file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("bytes/connection") && text.contains("Linux"), "{text}");
    let saved: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(saved["bytes_per_connection"]["raw"].as_array().map(Vec::len), Some(1));
}
