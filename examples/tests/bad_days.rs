//! Bad input and bad days: whoever misbehaves suffers alone, and the HTTP example keeps serving the others.
//!
//! The tests run the example in a process of its own. [`Bystanders`] ask on every core all the while, and fail the
//! test if one of them is not served. Each day ends with the server leaving properly and without a complaint.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use support::client::{Bystanders, Client, REQUEST, connect};
use support::echo::EchoServer;
use support::panicking::PanickingServer;
use support::server::{HTTP, Server, refused};
use support::{Driver, PATIENCE, on_both_drivers, proc, wait_for};

const MIB: usize = 1024 * 1024;

on_both_drivers!(
    a_port_in_use_is_refused_in_one_line,
    an_address_that_cannot_be_resolved_is_refused_in_one_line,
    a_privileged_port_is_refused_in_one_line,
    clients_that_reset_end_their_own_connections,
    a_client_that_has_sent_all_it_will_send_gets_its_answer,
    garbage_ends_its_own_connection,
    an_endless_head_is_cut_off,
    a_head_that_comes_byte_by_byte_is_answered_in_the_end,
    answers_that_nobody_reads_stop_the_requests,
    a_thousand_idle_connections_cost_little,
    ten_thousand_idle_connections_hold_no_buffer,
    without_descriptors_connections_wait_and_the_server_does_not_spin,
    handlers_that_panic_end_their_own_connections,
    stopping_finishes_what_is_under_way,
);

fn http(driver: Driver) -> Command {
    let mut command = Command::new(HTTP);
    command.env("MULTIKERNEL_DRIVER", driver.variable());
    command
}

fn a_port_in_use_is_refused_in_one_line(driver: Driver) {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = other.local_addr().unwrap().to_string();
    let line = refused(http(driver).arg(&addr)).unwrap();
    assert!(line.contains(&addr) && line.contains("in use"), "{line}");
}

fn an_address_that_cannot_be_resolved_is_refused_in_one_line(driver: Driver) {
    // An empty label: the resolver refuses such a name without asking the network.
    let line = refused(http(driver).arg("no..such..host:80")).unwrap();
    assert!(line.contains("cannot resolve \"no..such..host\""), "{line}");
    let line = refused(http(driver).arg("127.0.0.1")).unwrap();
    assert!(line.contains("\"127.0.0.1\" names no port"), "{line}");
}

fn a_privileged_port_is_refused_in_one_line(driver: Driver) {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let first: u16 = first.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024);
    if first <= 1 {
        println!("skipped: here every port is free to all (ip_unprivileged_port_start is {first})");
        return;
    }
    // The file may lie in a directory that only we may enter; its descriptor leads anybody there.
    let file = std::fs::File::open(HTTP).unwrap();
    let mut command = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd()));
    command.env("MULTIKERNEL_DRIVER", driver.variable()).arg(format!("127.0.0.1:{}", first - 1));
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    match refused(&mut command) {
        Ok(line) => assert!(line.contains("ermission denied"), "{line}"),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            println!("skipped: this process may not run the example as another user: {error}");
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn an_unknown_option_is_refused_in_one_line() {
    let line = refused(Command::new(HTTP).arg("--cheese")).unwrap();
    assert!(line.contains("unknown option --cheese") && line.contains("usage: "), "{line}");
    let line = refused(Command::new(HTTP).args(["127.0.0.1:0", "more"])).unwrap();
    assert!(line.contains("unexpected argument more"), "{line}");
}

#[test]
fn an_unknown_driver_is_refused_in_one_line() {
    let line = refused(Command::new(HTTP).arg("127.0.0.1:0").env("MULTIKERNEL_DRIVER", "nonsense")).unwrap();
    assert!(line.contains("MULTIKERNEL_DRIVER") && line.contains("\"nonsense\""), "{line}");
    assert!(line.contains("auto, uring, epoll"), "the valid ones are listed: {line}");
}

/// Closes with a reset instead of an orderly end.
fn reset(stream: TcpStream) {
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
}

fn clients_that_reset_end_their_own_connections(driver: Driver) {
    let server = Server::start(driver);
    let bystanders = server.bystanders();
    let before = proc::descriptors(server.pid());
    for round in 0..100 {
        let mut stream = connect(server.addr).unwrap();
        match round % 5 {
            0 => {} // before the server can have accepted it, perhaps
            1 => stream.write_all(&REQUEST[..20]).unwrap(),
            2 => stream.write_all(&REQUEST.repeat(50)).unwrap(),
            3 => {
                stream.write_all(&REQUEST[..20]).unwrap();
                continue; // closed properly for once, but too early
            }
            _ => {
                // With the server's answers on the way, and more requests behind them.
                stream.write_all(&REQUEST.repeat(50)).unwrap();
                assert_ne!(stream.read(&mut [0; 64]).unwrap(), 0);
            }
        }
        reset(stream);
    }
    server.wait_for_descriptors("the server closes connections that were reset", before);
    bystanders.finish();
    server.stop();
}

fn a_client_that_has_sent_all_it_will_send_gets_its_answer(driver: Driver) {
    let server = Server::start(driver);
    let bystanders = server.bystanders();
    let before = proc::descriptors(server.pid());

    let mut at_once = connect(server.addr).unwrap();
    at_once.write_all(REQUEST).unwrap();
    at_once.shutdown(Shutdown::Write).unwrap();

    let mut in_parts = connect(server.addr).unwrap();
    let (start, end) = REQUEST.split_at(REQUEST.len() / 2);
    in_parts.write_all(start).unwrap();
    wait_until_read(&server, &in_parts);
    in_parts.write_all(end).unwrap();
    in_parts.shutdown(Shutdown::Write).unwrap();

    for stream in [at_once, in_parts] {
        let mut client = Client::on(stream);
        let (status, body) = client.answer().unwrap();
        assert_eq!(status, 200);
        assert!(body.starts_with("hello from core"), "{body}");
        client.wait_for_end().unwrap();
    }
    server.wait_for_descriptors("the server closes them as well", before);
    bystanders.finish();
    server.stop();
}

/// Waits until the server has read all that was sent on `stream`.
fn wait_until_read(server: &Server, stream: &TcpStream) {
    let client = stream.local_addr().unwrap();
    wait_for("the server reads", || (proc::unread(server.addr, client)? == 0).then_some(()));
}

fn garbage_ends_its_own_connection(driver: Driver) {
    let server = Server::start(driver);
    let bystanders = server.bystanders();
    let before = proc::descriptors(server.pid());
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    });
    let noise: Vec<u8> = noise.take(64 * 1024).collect();
    let garbage: [&[u8]; 7] = [
        &noise,
        &[0; 4096],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 the start of a TLS handshake\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ];
    for garbage in garbage {
        let mut stream = connect(server.addr).unwrap();
        // The server may close while this is being sent; it is what comes back that counts.
        let _ = stream.write_all(garbage);
        let answer = all_that_comes(&mut stream);
        let start = String::from_utf8_lossy(&answer[..answer.len().min(12)]);
        assert!(answer.is_empty() || start.starts_with("HTTP/1.1 4"), "{start:?} to {:?}", garbage.get(..40));
        bystanders.are_served();
    }
    server.wait_for_descriptors("the server has closed them", before);
    bystanders.finish();
    server.stop();
}

/// What the server sends until it closes or resets the connection.
fn all_that_comes(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => {
            panic!("the server does not close: {error}")
        }
        _ => answer,
    }
}

fn an_endless_head_is_cut_off(driver: Driver) {
    let server = Server::start(driver);
    let bystanders = server.bystanders();
    let before = (proc::descriptors(server.pid()), proc::resident(server.pid()));
    let mut stream = connect(server.addr).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nCookie: ").unwrap();
    let mut sent = 0;
    while sent < 100 * MIB && stream.write_all(&[b'x'; 4096]).is_ok() {
        sent += 4096;
    }
    assert!(sent < 100 * MIB, "the server takes a head of any length");
    drop(stream);
    server.wait_for_descriptors("the server has closed it", before.0);
    let grown = proc::resident(server.pid()).saturating_sub(before.1);
    assert!(grown < 8 * MIB, "{grown} bytes more than before");
    bystanders.finish();
    server.stop();
}

fn a_head_that_comes_byte_by_byte_is_answered_in_the_end(driver: Driver) {
    let server = Server::start(driver);
    let bystanders = server.bystanders();
    // Two for each core, so that no core is without one.
    let mut slow: Vec<Client> =
        (0..2 * server.cores).map(|_| Client::connect(server.addr).unwrap()).collect();
    for byte in REQUEST {
        for client in &mut slow {
            client.send(&[*byte]).unwrap();
        }
        bystanders.are_served();
    }
    for mut client in slow {
        assert_eq!(client.answer().unwrap().0, 200);
    }
    bystanders.finish();
    server.stop();
}

fn answers_that_nobody_reads_stop_the_requests(driver: Driver) {
    const TOTAL: usize = 100 * MIB;
    let server = Server::start(driver);
    let bystanders = server.bystanders();
    let before = (proc::descriptors(server.pid()), proc::resident(server.pid()));

    let mut flood = connect(server.addr).unwrap();
    flood.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let requests = REQUEST.repeat(64 * 1024 / REQUEST.len());
    // Where the last write stopped within `requests`: the server must see whole requests to go on answering.
    let (mut sent, mut most, mut at) = (0, 0, 0);
    let start = Instant::now();
    while sent < TOTAL {
        match flood.write(&requests[at..]) {
            Ok(count) => {
                sent += count;
                at = (at + count) % requests.len();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("after {sent} bytes: {error}"),
        }
        most = most.max(proc::resident(server.pid()));
        assert!(start.elapsed() < 3 * PATIENCE, "the client is still sending after {sent} bytes");
    }
    assert!(sent < TOTAL, "the server took {sent} bytes of requests though nobody reads the answers");
    bystanders.are_served();

    most = most.max(proc::resident(server.pid()));
    let grown = most.saturating_sub(before.1);
    println!("blocked after {sent} bytes; {grown} bytes more memory");
    assert!(grown < 8 * MIB, "{grown} bytes more than before, after {sent} bytes of requests");
    drop(flood);
    server.wait_for_descriptors("the server has closed it", before.0);
    bystanders.finish();
    server.stop();
}

/// Raises how many descriptors this process and its children may have; gives how many connections a test may open that
/// may have one part in `share` of them.
fn raise_descriptors(wanted: usize, share: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let enough = Some((2 * share * wanted) as u64);
    // `None` is no limit at all.
    let raised = match (enough, maximum) {
        (Some(enough), Some(maximum)) => Some(enough.min(maximum)),
        _ => enough,
    };
    if current.is_some_and(|current| raised.is_some_and(|raised| current < raised)) {
        setrlimit(Resource::Nofile, Rlimit { current: raised, maximum }).unwrap();
    }
    let granted = getrlimit(Resource::Nofile).current.map_or(wanted, |limit| limit as usize / share);
    if granted < wanted {
        // Not with `println`, which tests that pass keep to themselves.
        let text =
            format!("only {granted} connections instead of {wanted}: few descriptors are allowed here\n");
        std::io::stderr().write_all(text.as_bytes()).unwrap();
    }
    granted.min(wanted)
}

fn a_thousand_idle_connections_cost_little(driver: Driver) {
    // hyper allots two buffers of 8 KiB; their untouched pages take no memory, which leaves about 10 KiB of everything.
    // One more buffer would not fit in.
    const MOST_BYTES_EACH: usize = 14 * 1024;
    let count = raise_descriptors(1000, 4);
    let server = Server::start(driver);
    let bystanders = server.bystanders();
    let before = (proc::descriptors(server.pid()), proc::resident(server.pid()));
    let bytes_each = || proc::resident(server.pid()).saturating_sub(before.1) / count;

    let mut idle: Vec<Client> = (0..count).map(|_| Client::connect(server.addr).unwrap()).collect();
    server.wait_for_descriptors("the server accepts them all", before.0 + count);
    bystanders.are_served();
    let fresh = bytes_each();

    for client in &mut idle {
        client.ask().unwrap();
    }
    bystanders.are_served();
    let served = bytes_each();
    println!("{fresh} bytes for each of {count} connections that never asked, {served} after a request each");
    assert!(fresh < MOST_BYTES_EACH, "{fresh} bytes for each connection that never asked");
    assert!(served < MOST_BYTES_EACH, "{served} bytes for each connection that asked once");

    let start = Instant::now();
    drop(idle);
    server.wait_for_descriptors("the server closes them all", before.0);
    assert!(start.elapsed() < PATIENCE);
    bystanders.finish();
    server.stop();
}

fn ten_thousand_idle_connections_hold_no_buffer(driver: Driver) {
    // It is 500 to 650 in fact.
    const MOST_BYTES_EACH: usize = 2 * 1024;
    // One driver after the other, so that both find enough descriptors.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let count = raise_descriptors(10_000, 2);
    assert!(count >= 1000, "too few descriptors to show anything: allow this process 20,000");
    let start = Instant::now();
    let server = EchoServer::start(driver);
    let before = (proc::descriptors(server.pid()), proc::resident(server.pid()));

    // All at once, since on busy CPUs each answer waits for the server's turn.
    let exchange = |streams: &mut [TcpStream]| {
        let bytes = [b'x'; 2000];
        streams.iter_mut().for_each(|stream| stream.write_all(&bytes).unwrap());
        for stream in streams {
            let mut answer = [0; 2000];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer, bytes);
        }
    };
    let mut idle: Vec<TcpStream> = Vec::new();
    while idle.len() < count {
        // No more than may wait to be accepted.
        let first = idle.len();
        for number in first..count.min(first + 100) {
            let stream = connect(server.addr);
            idle.push(stream.unwrap_or_else(|error| panic!("connection {number} of {count}: {error}")));
        }
        exchange(&mut idle[first..]);
    }
    let each = proc::resident(server.pid()).saturating_sub(before.1) / count;
    println!("{each} bytes for each of {count} connections on {}, {:?}", server.driver, start.elapsed());
    assert!(each < MOST_BYTES_EACH, "{each} bytes for each connection");

    exchange(&mut idle[count / 2..count / 2 + 100]);
    drop(idle);
    wait_for("the server closes them all", || (proc::descriptors(server.pid()) == before.0).then_some(()));
}

fn without_descriptors_connections_wait_and_the_server_does_not_spin(driver: Driver) {
    let server = Server::start(driver);
    let bystanders = server.bystanders();
    let before = proc::descriptors(server.pid());
    let limit = server.limit_descriptors(32);

    // They connect: it is the system that keeps them until the server accepts.
    let mut flood: Vec<Client> = (0..200).map(|_| Client::connect(server.addr).unwrap()).collect();
    wait_for("the server runs out of descriptors", || {
        (proc::descriptors_below(server.pid(), limit) == limit).then_some(())
    });
    bystanders.are_served();
    bystanders.finish();

    // Nothing to do now but to try again from time to time.
    let (start, busy) = (Instant::now(), proc::cpu_time(server.pid()));
    std::thread::sleep(Duration::from_secs(1));
    let share = (proc::cpu_time(server.pid()) - busy).as_secs_f64() / start.elapsed().as_secs_f64();
    println!("{:.1} % of a CPU while out of descriptors", share * 100.0);
    // Trying at most every 10 ms takes well under 1 %. One that spins takes what the CPUs' other users leave it.
    assert!(share < 0.1, "{:.0} % of a CPU while out of descriptors", share * 100.0);

    // Those who leave make room: the last one's turn comes.
    let mut last = flood.pop().unwrap();
    drop(flood);
    last.ask().unwrap();
    drop(last);
    server.wait_for_descriptors("the server closes them all", before - 2 * server.cores);
    server.bystanders().finish();
    server.stop();
}

fn handlers_that_panic_end_their_own_connections(driver: Driver) {
    let server = PanickingServer::start(driver);
    let bystanders = Bystanders::of(server.addr, 2);
    // Enough for both cores, and for every kind on each.
    for round in 0..16 {
        let mut client = Client::connect(server.addr).unwrap();
        client.ask().unwrap();
        let path = ["/panic", "/panic-later"][round / 2 % 2];
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
        client.wait_for_end().unwrap();
        bystanders.are_served();
    }
    wait_for("each panic is reported to who joins its task", || (server.panics() == 16).then_some(()));
    bystanders.finish();
    server.stop();
}

fn stopping_finishes_what_is_under_way(driver: Driver) {
    let server = Server::start(driver);
    // One that never asked, one between two requests, and one in the middle of its first.
    let fresh = Client::connect(server.addr).unwrap();
    let mut kept = Client::connect(server.addr).unwrap();
    kept.ask().unwrap();
    let mut half = connect(server.addr).unwrap();
    let (start, end) = REQUEST.split_at(REQUEST.len() / 2);
    half.write_all(start).unwrap();
    wait_until_read(&server, &half);

    for expected in ["try: curl", "stopping: 3 connections"] {
        if expected.starts_with("stopping") {
            server.terminate();
        }
        let line = server.line();
        assert!(line.starts_with(expected), "{line}");
    }
    wait_for("the server stops accepting", || match TcpStream::connect_timeout(&server.addr, PATIENCE) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Some(()),
        _ => None,
    });
    fresh.wait_for_end().unwrap();
    kept.wait_for_end().unwrap();

    half.write_all(end).unwrap();
    let mut half = Client::on(half);
    let (status, body) = half.answer().unwrap();
    assert_eq!(status, 200);
    assert!(body.starts_with("hello from core"), "{body}");
    half.wait_for_end().unwrap();
    assert_eq!(server.wait(), (Some(0), vec![]));
}

/// On both drivers at once, since each takes ten seconds.
#[test]
fn stopping_does_not_wait_for_ever() {
    let servers = Driver::BOTH.map(|driver| {
        let server = Server::start(driver);
        let mut half = connect(server.addr).unwrap();
        half.write_all(&REQUEST[..20]).unwrap();
        wait_until_read(&server, &half);
        server.terminate();
        (server, half, Instant::now())
    });
    for (server, half, start) in servers {
        let (code, lines) = server.wait();
        assert_eq!(code, Some(0));
        let [_, stopping, giving_up] = &lines[..] else { panic!("{lines:?}") };
        assert!(stopping.starts_with("stopping: 1 connection"), "{stopping}");
        assert!(giving_up.starts_with("giving up on 1 connection"), "{giving_up}");
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(9_900) && waited < PATIENCE, "it left after {waited:?}");
        Client::on(half).wait_for_end().unwrap();
    }
}
