//! Linux gives a process no more threads. Alone in its process, whose memory it limits.

use std::io;
use std::time::Duration;

use futures::future::join_all;
use multikernel::runtime::Builder;
use multikernel::task::{spawn_blocking, yield_now};

fn address_space(bytes: Option<u64>) -> io::Result<()> {
    // SAFETY: both calls use a struct that lives across them.
    unsafe {
        let mut limit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_AS, &mut limit) != 0 {
            return Err(io::Error::last_os_error());
        }
        limit.rlim_cur = bytes.unwrap_or(limit.rlim_max);
        match libc::setrlimit(libc::RLIMIT_AS, &limit) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// What the process has mapped now.
fn mapped() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').next().unwrap().parse().unwrap();
    // SAFETY: takes and returns plain numbers.
    pages * u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap()
}

/// Leaves no room for the stack of another thread, and some for everything else.
fn no_more_threads() {
    address_space(Some(mapped() + (1 << 20))).unwrap();
    let refused = std::thread::Builder::new().spawn(|| ());
    assert!(refused.is_err(), "the limit does not do what this test is about");
}

/// Makes calls while there can be no further thread, and then, if nobody has made them, while there can be.
fn make_calls(max_threads: usize, one_is_there: bool) {
    let mut builder = Builder::new_test();
    builder.max_blocking_threads(max_threads).thread_keep_alive(Duration::from_secs(600));
    let sum = builder.run(move || async move {
        if one_is_there {
            spawn_blocking(|| ()).await.unwrap();
        }
        no_more_threads();
        let calls: Vec<_> = (0..20).map(|n| spawn_blocking(move || n)).collect();
        if !one_is_there {
            for _ in 0..1000 {
                yield_now().await;
            }
            assert!(calls.iter().all(|call| !call.is_finished()), "there is nobody to make them");
            // One that is taken back does not wait.
            let taken_back = spawn_blocking(|| ());
            taken_back.abort();
            assert!(taken_back.await.unwrap_err().is_cancelled());
            address_space(None).unwrap();
        }
        join_all(calls).await.into_iter().map(Result::unwrap).sum::<u32>()
    });
    assert_eq!(sum.unwrap(), 190);
}

fn end_meanwhile() {
    let calls = Builder::new_test().run(|| async {
        no_more_threads();
        (0..20).map(|n| spawn_blocking(move || n)).collect::<Vec<_>>()
    });
    for call in calls.unwrap() {
        assert!(futures::executor::block_on(call).unwrap_err().is_cancelled());
    }
}

/// Each in a process of its own, in which no thread has ended: another would get its stack.
#[test]
fn calls_wait_for_a_thread_and_none_fails() {
    const SCENARIO: &str = "MULTIKERNEL_NO_THREADS";
    let scenarios: [(&str, fn()); 4] = [
        ("the one thread that is there does for all", || make_calls(4, true)),
        ("they wait until there can be threads", || make_calls(4, false)),
        ("they wait until there can be the one thread", || make_calls(1, false)),
        ("a Machine that ends meanwhile is not held up", end_meanwhile),
    ];
    if let Ok(name) = std::env::var(SCENARIO) {
        let (_, scenario) = scenarios.iter().find(|(scenario, _)| *scenario == name).unwrap();
        return scenario();
    }
    for (scenario, _) in scenarios {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["calls_wait_for_a_thread_and_none_fails", "--exact", "--nocapture"])
            .env(SCENARIO, scenario)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{scenario}:\n{}", String::from_utf8_lossy(&text));
    }
}
