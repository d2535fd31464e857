//! Names that cannot be looked up: the error says which name and what the system's resolver said, nothing but a thread of the
//! pool waits for an answer, and nothing is remembered.
//!
//! Whatever a silent nameserver must not hold up is seen to be done before the resolver has given up. A computer that stands
//! still for so long shows nothing: then it is tried again.

use std::ffi::CStr;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use multikernel::net::{TcpListener, TcpStream, UdpSocket, lookup_host};
use multikernel::runtime::{Builder, Handle};
use multikernel::task::{spawn, spawn_blocking};
use multikernel::time::{Duration, Instant, interval, sleep, timeout};
use multikernel::{CoreId, spawn_on};

use crate::common::{Alive, DRIVERS, PATIENCE, assert_driver, census, poll_once, until_as_before};
use crate::nameserver::{Answer, Server, WAITS, with_resolver};

const PORT: u16 = 80;

async fn look_up(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok(lookup_host((name, PORT)).await?.map(|address| address.ip()).collect())
}

/// It says which name is meant, and what the resolver said, by its number.
fn assert_says<T: std::fmt::Debug>(result: io::Result<T>, name: &str, code: i32) {
    let error = result.expect_err(name).to_string();
    assert!(error.contains(name) && says(&error, code), "{name}, {code}: {error}");
}

fn says(error: &str, code: i32) -> bool {
    // SAFETY: for each number it is a string that is never changed.
    let text = unsafe { CStr::from_ptr(libc::gai_strerror(code)) };
    error.contains(text.to_str().unwrap())
}

/// What the server says. The resolver may have given up before it had the answer: then it is asked again, which it was before.
async fn heard<T>(server: &Server, name: &str, ask: impl AsyncFn(&str) -> io::Result<T>) -> io::Result<T> {
    loop {
        let before = server.asked(name);
        match ask(name).await {
            Err(error) if says(&error.to_string(), libc::EAI_AGAIN) => {
                until(|| server.asked(name) > before).await
            }
            result => return result,
        }
    }
}

fn addresses(address: Ipv4Addr) -> [IpAddr; 2] {
    [address.into(), Ipv6Addr::LOCALHOST.into()]
}

fn assert_found(mut found: Vec<IpAddr>, address: Ipv4Addr) {
    found.sort();
    assert_eq!(found, addresses(address));
}

/// It fails, and not for want of an answer.
async fn fails_soon(name: &str) {
    loop {
        let started = Instant::now();
        assert_says(look_up(name).await, name, libc::EAI_AGAIN);
        if started.elapsed() < WAITS {
            return;
        }
    }
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Holds a day on each driver, with so many threads for the pool, and sees what it leaves.
fn on_both<Fut>(name: &str, threads: usize, day: fn(Arc<Server>) -> Fut)
where
    Fut: Future<Output = io::Result<()>> + 'static,
{
    with_resolver(name, || {
        let server = Server::open();
        let before = census();
        for (driver, kind) in DRIVERS {
            let server = server.clone();
            let mut builder = Builder::new_test();
            builder.cores(2).driver(driver).max_blocking_threads(threads);
            let run = builder.run(|| async move {
                assert_driver(&Handle::current(), kind);
                timeout(PATIENCE, day(server)).await
            });
            run.unwrap().unwrap_or_else(|_| panic!("it hangs on {kind}")).unwrap();
            until_as_before(&before, &kind.to_string());
        }
    });
}

async fn a_day_of_answers(server: Arc<Server>) -> io::Result<()> {
    let name = server.name(Answer::NoName);
    assert_says(heard(&server, &name, look_up).await, &name, libc::EAI_NONAME);
    server.answer(&name, Answer::NoAddress);
    assert_says(heard(&server, &name, look_up).await, &name, libc::EAI_NODATA);
    server.answer(&name, Answer::Failure);
    fails_soon(&name).await;
    assert_says(TcpStream::connect((name.as_str(), PORT)).await, &name, libc::EAI_AGAIN);
    assert_says(TcpListener::bind(format!("{name}:0")).await, &name, libc::EAI_AGAIN);
    assert_says(UdpSocket::bind(format!("{name}:0")).await, &name, libc::EAI_AGAIN);

    let address = Ipv4Addr::new(127, 0, 0, 7);
    server.answer(&name, Answer::Address(address));
    assert_found(heard(&server, &name, look_up).await?, address);
    let listener = TcpListener::bind((address, 0)).await?;
    let there = listener.local_addr()?;
    let stream = heard(&server, &name, async |name| TcpStream::connect((name, there.port())).await).await?;
    assert_eq!(stream.peer_addr()?, there);

    // What was found is asked for again.
    server.answer(&name, Answer::Failure);
    assert_says(TcpStream::connect((name.as_str(), PORT)).await, &name, libc::EAI_AGAIN);
    Ok(())
}

#[test]
fn an_error_says_what_the_resolver_said_and_is_not_remembered() {
    on_both("names::an_error_says_what_the_resolver_said_and_is_not_remembered", 2, a_day_of_answers);
}

async fn a_day_without_a_server(server: Arc<Server>) -> io::Result<()> {
    let address = Ipv4Addr::new(127, 0, 0, 8);
    let name = server.name(Answer::Address(address));
    for n in 0..3 {
        server.close();
        let asked = server.asked(&name);
        fails_soon(&name).await;
        assert_says(TcpStream::connect(format!("{name}:{PORT}")).await, &name, libc::EAI_AGAIN);
        assert_eq!(server.asked(&name), asked, "round {n}");
        server.reopen();
        assert_found(heard(&server, &name, look_up).await?, address);
    }
    Ok(())
}

#[test]
fn without_a_nameserver_there_is_an_error_at_once() {
    on_both("names::without_a_nameserver_there_is_an_error_at_once", 2, a_day_without_a_server);
}

/// Whether all of this was done while the look-up was under way.
async fn goes_on_beside_a_silent_server(server: &Server, ticks: usize) -> io::Result<bool> {
    let silent = server.name(Answer::Silence);
    let mut looking = pin!(look_up(&silent));
    assert!(poll_once(&mut looking).await.is_pending());
    until(|| server.asked(&silent) > 0).await;
    let tick = move || async move {
        let mut interval = interval(Duration::from_millis(1));
        for _ in 0..ticks {
            interval.tick().await;
        }
    };
    let there = spawn_on(CoreId::new(1), tick);
    spawn(tick()).await?;
    there.await?;
    // The pool has one more thread.
    assert_eq!(spawn_blocking(|| 7).await?, 7);
    let address = Ipv4Addr::new(127, 0, 0, 9);
    let found = heard(server, &server.name(Answer::Address(address)), look_up).await?;
    assert_found(found, address);
    let (is_shown, result) = match poll_once(&mut looking).await {
        Poll::Ready(result) => (false, result),
        Poll::Pending => (true, looking.await),
    };
    assert_says(result, &silent, libc::EAI_AGAIN);
    Ok(is_shown)
}

async fn a_day_of_silence(server: Arc<Server>) -> io::Result<()> {
    while !goes_on_beside_a_silent_server(&server, 20).await? {}
    Ok(())
}

#[test]
fn a_silent_nameserver_holds_up_one_thread_of_the_pool() {
    on_both("names::a_silent_nameserver_holds_up_one_thread_of_the_pool", 2, a_day_of_silence);
}

/// Threads of the pool, where many are needed.
const THREADS: usize = 3;

fn silent_names(server: &Server, count: usize) -> Vec<String> {
    (0..count).map(|_| server.name(Answer::Silence)).collect()
}

fn asked(server: &Server, names: &[String]) -> usize {
    names.iter().map(|name| server.asked(name)).sum()
}

/// Whether all look-ups were given up before the resolver had.
async fn gives_up(server: &Server) -> io::Result<bool> {
    let silent = silent_names(server, THREADS);
    let [one, two, three] = [0, 1, 2].map(|n| {
        let name = silent[n].clone();
        Box::pin(async move { look_up(&name).await })
    });
    let (mut one, mut two, three) = (one, two, spawn(three));
    assert!(
        poll_once(&mut one.as_mut()).await.is_pending() && poll_once(&mut two.as_mut()).await.is_pending()
    );
    until(|| silent.iter().all(|name| server.asked(name) > 0)).await;
    let mut is_shown = timeout(Duration::from_millis(1), one).await.is_err();
    drop(two);
    three.abort();
    is_shown &= three.await.is_err_and(|error| error.is_cancelled());
    // It waits for a thread, and is taken back.
    let late = server.name(Answer::Silence);
    assert!(poll_once(&mut pin!(look_up(&late))).await.is_pending());
    let metrics = Handle::current().metrics();
    is_shown &= metrics.blocking_queue_depth() == 1;

    let address = Ipv4Addr::new(127, 0, 0, 10);
    let found = heard(server, &server.name(Answer::Address(address)), look_up).await?;
    assert_found(found, address);
    until(|| metrics.num_idle_blocking_threads() == THREADS).await;
    assert_eq!(metrics.num_blocking_threads(), THREADS);
    assert_eq!(asked(server, &silent), THREADS);
    assert!(!is_shown || server.asked(&late) == 0, "nobody waits for it");
    Ok(is_shown)
}

async fn a_day_of_giving_up(server: Arc<Server>) -> io::Result<()> {
    while !gives_up(&server).await? {}
    Ok(())
}

#[test]
fn who_gives_a_lookup_up_does_not_wait_and_its_thread_comes_back() {
    on_both(
        "names::who_gives_a_lookup_up_does_not_wait_and_its_thread_comes_back",
        THREADS,
        a_day_of_giving_up,
    );
}

/// Whether all others were seen to wait while the pool was full.
async fn waits_for_its_turn(server: &Arc<Server>) -> io::Result<bool> {
    const OTHERS: u8 = 8;
    let silent = silent_names(server, THREADS);
    let looking: Vec<_> =
        silent.iter().cloned().map(|name| spawn(async move { look_up(&name).await })).collect();
    until(|| silent.iter().all(|name| server.asked(name) > 0)).await;
    let good = |n| (Ipv4Addr::new(127, 0, 1, n), server.name(Answer::Address(Ipv4Addr::new(127, 0, 1, n))));
    let good: Vec<_> = (0..OTHERS).map(good).collect();
    let waiting: Vec<_> = (good.iter().cloned())
        .map(|(address, name)| {
            let server = server.clone();
            spawn_on(CoreId::new(usize::from(address.octets()[3] % 2)), move || async move {
                heard(&server, &name, look_up).await
            })
        })
        .collect();
    let metrics = Handle::current().metrics();
    let started = Instant::now();
    let all_wait = || metrics.blocking_queue_depth() == usize::from(OTHERS);
    until(|| all_wait() || started.elapsed() > WAITS).await;
    let is_shown = all_wait() && good.iter().all(|(_, name)| server.asked(name) == 0);
    for (looking, name) in looking.into_iter().zip(&silent) {
        assert_says(looking.await?, name, libc::EAI_AGAIN);
    }
    for (waiting, (address, _)) in waiting.into_iter().zip(good) {
        assert_found(waiting.await??, address);
    }
    Ok(is_shown)
}

async fn a_day_with_a_full_pool(server: Arc<Server>) -> io::Result<()> {
    while !waits_for_its_turn(&server).await? {}
    Ok(())
}

#[test]
fn lookups_wait_while_silence_takes_all_threads_and_are_served_then() {
    on_both(
        "names::lookups_wait_while_silence_takes_all_threads_and_are_served_then",
        THREADS,
        a_day_with_a_full_pool,
    );
}

/// Starts twice as many look-ups as there are threads, and returns when each of these has one.
async fn take_off(server: Arc<Server>, names: Vec<String>, alive: Alive) {
    for (n, name) in names.iter().cloned().enumerate() {
        let one = alive.one();
        let looking = spawn_on(CoreId::new(n % 2), move || async move {
            let _one = one;
            look_up(&name).await
        });
        drop(looking);
    }
    timeout(PATIENCE, until(|| asked(&server, &names) >= THREADS)).await.expect("they are under way");
}

#[test]
fn a_runtime_ends_with_lookups_in_flight_and_leaves_nothing() {
    with_resolver("names::a_runtime_ends_with_lookups_in_flight_and_leaves_nothing", || {
        let server = Server::open();
        let before = census();
        for (driver, kind) in DRIVERS {
            let started = Instant::now();
            let mut builder = Builder::new_test();
            builder.cores(2).driver(driver).max_blocking_threads(THREADS);
            let mut end = |way: usize| {
                let (alive, names) = (Alive::default(), silent_names(&server, 2 * THREADS));
                let flying = take_off(server.clone(), names.clone(), alive.clone());
                if way == 0 {
                    builder.run(|| flying).unwrap();
                } else {
                    let runtime = builder.build().unwrap();
                    assert_driver(runtime.handle(), kind);
                    runtime.block_on(flying);
                    if way == 1 { drop(runtime) } else { runtime.shutdown_timeout(PATIENCE) }
                }
                assert_eq!(alive.count(), 0, "on {kind}");
                names
            };
            // What had not begun never does.
            loop {
                let names = [0, 1, 2].map(&mut end);
                until_as_before(&before, &kind.to_string());
                if names.iter().all(|names| asked(&server, names) == THREADS) {
                    break;
                }
                assert!(started.elapsed() < PATIENCE, "look-ups begin after the end, on {kind}");
            }
        }
    });
}
