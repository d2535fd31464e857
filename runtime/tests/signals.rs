//! Signals on both drivers and on several cores. A process of its own: its tests send it signals.
#![cfg(not(loom))]

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::StreamExt;
use futures::channel::oneshot;
use futures::future::{join, join_all};
use multikernel::process::Command;
use multikernel::runtime::{Builder, DriverChoice};
use multikernel::signal::unix::{Signal, SignalKind, signal};
use multikernel::signal::{self};
use multikernel::time::timeout;
use multikernel::{CoreId, spawn_on};

/// A test that is not done by then hangs.
const PATIENCE: Duration = Duration::from_secs(60);

const DRIVERS: [DriverChoice; 2] = [DriverChoice::Uring, DriverChoice::Epoll];

/// One test at a time: a signal is for the whole process.
fn in_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn on_both<F, Fut>(cores: usize, test: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = io::Result<()>> + 'static,
{
    let _turn = in_turn();
    for driver in DRIVERS {
        let test = &test;
        let run = Builder::new_test().cores(cores).driver(driver).run(|| {
            let test = test();
            async { timeout(PATIENCE, test).await }
        });
        run.unwrap().unwrap_or_else(|_| panic!("it hangs on {driver:?}")).unwrap();
    }
}

/// Sends a signal, whose handler must be installed, to this thread: the handler has run when this returns.
fn send(signal: i32) {
    // SAFETY: the call takes a number.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

/// Sends a signal, whose handler must be installed, to this process: any thread may get it, some time later.
fn send_to_process(signal: i32) {
    // SAFETY: the call takes numbers.
    assert_eq!(unsafe { libc::kill(libc::getpid(), signal) }, 0);
}

fn poll_once(signal: &mut Signal) -> Poll<Option<()>> {
    signal.poll_recv(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn each_listener_on_each_core_is_told_of_each_signal() {
    on_both(2, || async {
        const LISTENERS: usize = 6;
        const ROUNDS: usize = 20;
        let heard = Arc::new(AtomicUsize::new(0));
        let mut listening = Vec::new();
        let mut ready = Vec::new();
        for n in 0..LISTENERS {
            let (heard, (is_ready, when_ready)) = (heard.clone(), oneshot::channel());
            ready.push(when_ready);
            listening.push(spawn_on(CoreId::new(n % 2), move || async move {
                let mut signal = signal(SignalKind::user_defined1()).unwrap();
                is_ready.send(()).unwrap();
                for _ in 0..ROUNDS {
                    signal.recv().await.unwrap();
                    heard.fetch_add(1, Ordering::SeqCst);
                }
            }));
        }
        join_all(ready).await.into_iter().for_each(|ready| ready.unwrap());
        for round in 1..=ROUNDS {
            send_to_process(libc::SIGUSR1);
            while heard.load(Ordering::SeqCst) < round * LISTENERS {
                multikernel::task::yield_now().await;
            }
        }
        join_all(listening).await.into_iter().for_each(|joined| joined.unwrap());
        assert_eq!(heard.load(Ordering::SeqCst), ROUNDS * LISTENERS, "and never twice");
        Ok(())
    });
}

#[test]
fn signals_that_come_before_a_poll_are_told_once_and_those_before_the_listener_never() {
    on_both(1, || async {
        let mut early = signal(SignalKind::user_defined1())?;
        for _ in 0..3 {
            send(libc::SIGUSR1);
        }
        let mut late = signal(SignalKind::user_defined1())?;
        assert_eq!(poll_once(&mut early), Poll::Ready(Some(())));
        assert_eq!(poll_once(&mut early), Poll::Pending);
        assert_eq!(poll_once(&mut late), Poll::Pending);
        send(libc::SIGUSR1);
        early.recv().await.unwrap();
        late.recv().await.unwrap();
        Ok(())
    });
}

#[test]
fn another_signal_is_not_told() {
    on_both(1, || async {
        let mut first = signal(SignalKind::user_defined1())?;
        let mut second = signal(SignalKind::user_defined2())?;
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        assert!(first.poll_recv(&mut Context::from_waker(&waker)).is_pending());
        for _ in 0..20 {
            send(libc::SIGUSR2);
            second.recv().await.unwrap();
        }
        // Whoever is woken for the second has been woken after the first would have been.
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0, "nor is the listener woken in vain");
        assert!(poll_once(&mut first).is_pending());
        Ok(())
    });
}

fn now<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl std::task::Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn ctrl_c_and_streams() {
    on_both(2, || async {
        let mut interrupts = signal(SignalKind::interrupt())?;
        let elsewhere = spawn_on(CoreId::new(1), || async {
            let waiting = signal::ctrl_c();
            send(libc::SIGINT);
            // The listener begins at the first poll, which was not yet: this is the one that counts.
            let mut waiting = pin!(waiting);
            assert!(now(waiting.as_mut()).is_pending());
            send(libc::SIGINT);
            waiting.await
        });
        elsewhere.await.unwrap()?;
        assert_eq!(interrupts.next().await, Some(()));
        Ok(())
    });
}

#[test]
fn a_wait_given_up_loses_no_signal() {
    on_both(1, || async {
        let mut signal = signal(SignalKind::hangup())?;
        for _ in 0..50 {
            multikernel::task::yield_now().await; // a turn that lasts too long, because there is no CPU, would end in the middle
            assert!(now(pin!(signal.recv())).is_pending());
            send(libc::SIGHUP);
            assert!(now(pin!(signal.recv())).is_ready(), "counted by the handler itself");
            assert!(now(pin!(signal.recv())).is_pending());
        }
        Ok(())
    });
}

#[test]
fn what_cannot_be_listened_to_is_an_error() {
    let _turn = in_turn();
    for forbidden in [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGILL, libc::SIGFPE] {
        let error = signal(SignalKind::from_raw(forbidden)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("cannot be listened to"));
    }
    for nonsense in [0, -1, 32, 1000, i32::MAX, i32::MIN] {
        for _ in 0..2 {
            assert!(signal(SignalKind::from_raw(nonsense)).is_err(), "{nonsense}");
        }
    }
}

/// What this process has in memory, in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn of_a_hundred_thousand_signals_the_last_is_told_and_nothing_grows() {
    on_both(2, || async {
        const EACH: usize = 25_000;
        let is_over = Arc::new(AtomicBool::new(false));
        let listen = |n: usize| {
            let is_over = is_over.clone();
            spawn_on(CoreId::new(n % 2), move || async move {
                let mut signal = signal(SignalKind::user_defined2()).unwrap();
                // In what comes after the last signal, `is_over` is set; if that is lost, this hangs.
                while !is_over.load(Ordering::SeqCst) {
                    signal.recv().await.unwrap();
                }
            })
        };
        let listening: Vec<_> = (0..4).map(listen).collect();
        let mut own = signal(SignalKind::user_defined2())?;
        own.next_of(libc::SIGUSR2).await;
        let before = resident();
        let threads: Vec<_> = (0..2)
            .map(|_| std::thread::spawn(|| (0..EACH).for_each(|_| send_to_process(libc::SIGUSR2))))
            .collect();
        let script = format!("i=0; while [ $i -lt {EACH} ]; do kill -USR2 $0; i=$((i + 1)); done");
        let others = || {
            let (script, me) = (script.clone(), std::process::id().to_string());
            async move { Command::new("sh").args(["-c", &script, &me]).status().await }
        };
        let (one, two) = join(others(), others()).await;
        assert!(one?.success() && two?.success());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        is_over.store(true, Ordering::SeqCst);
        send(libc::SIGUSR2);
        join_all(listening).await.into_iter().for_each(|joined| joined.unwrap());
        own.recv().await.unwrap();
        let grown = resident().saturating_sub(before);
        assert!(grown < 8 << 20, "{grown} bytes more than before");
        Ok(())
    });
}

trait NextOf {
    /// Sends a signal and waits for it.
    fn next_of(&mut self, signal: i32) -> impl Future<Output = ()>;
}

impl NextOf for Signal {
    async fn next_of(&mut self, signal: i32) {
        send(signal);
        self.recv().await.unwrap();
    }
}

#[test]
fn machines_come_and_go_while_signals_come() {
    let _turn = in_turn();
    let is_over = Arc::new(AtomicBool::new(false));
    let mut outlives = signal(SignalKind::user_defined1()).unwrap();
    let storm = std::thread::spawn({
        let is_over = is_over.clone();
        move || {
            while !is_over.load(Ordering::Relaxed) {
                send_to_process(libc::SIGUSR1);
                std::thread::yield_now();
            }
        }
    });
    for round in 0..20 {
        for driver in DRIVERS {
            let run = Builder::new_test().cores(2).driver(driver).run(|| async move {
                let waiting = spawn_on(CoreId::new(1), || async {
                    let mut signal = signal(SignalKind::user_defined1()).unwrap();
                    signal.recv().await.unwrap();
                });
                for core in 0..2 {
                    // Never told, told at the end, or told while the Machine ends.
                    drop(spawn_on(CoreId::new(core), || async {
                        let mut signal = signal(SignalKind::user_defined1()).unwrap();
                        while signal.recv().await.is_some() {}
                    }));
                }
                if round % 2 == 0 {
                    timeout(PATIENCE, waiting).await.expect("a signal comes").unwrap();
                }
            });
            run.unwrap();
        }
    }
    is_over.store(true, Ordering::Relaxed);
    storm.join().unwrap();
    // A listener of no Machine, in one after the other.
    for driver in DRIVERS {
        let told = Builder::new_test().driver(driver).run(move || async move {
            while poll_once(&mut outlives).is_ready() {}
            timeout(PATIENCE, outlives.next_of(libc::SIGUSR1)).await.expect("it is told in this Machine too");
            outlives
        });
        outlives = told.unwrap();
    }
}

/// The thread of this process that wakes those who wait for signals. It gives itself its name, some time after its start.
async fn waking_thread() -> libc::pid_t {
    let is_it = |path: &std::path::Path| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with("multikernel-sig"))
    };
    loop {
        let mut tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path());
        if let Some(thread) = tasks.find(|path| is_it(path)) {
            return thread.file_name().unwrap().to_str().unwrap().parse().unwrap();
        }
        multikernel::task::yield_now().await;
    }
}

#[test]
fn a_handler_of_somebody_else_that_interrupts_calls_stops_nothing() {
    extern "C" fn nothing(_: libc::c_int) {}
    on_both(1, || async {
        let mut alarms = signal(SignalKind::alarm())?;
        alarms.next_of(libc::SIGALRM).await;
        let thread = waking_thread().await;
        // SAFETY: zeroes are a valid action, without flags and so without SA_RESTART; the handler does nothing, and the
        // action lives across the call.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as *const () as usize;
            assert_eq!(libc::sigaction(libc::SIGPROF, &action, std::ptr::null_mut()), 0);
        }
        for _ in 0..3 {
            // SAFETY: the call takes numbers.
            let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGPROF) };
            assert_eq!(sent, 0);
            assert!(poll_once(&mut alarms).is_pending());
            let told = alarms.recv();
            let (told, ()) = join(told, async { send(libc::SIGALRM) }).await; // waits before it is sent
            told.unwrap();
        }
        Ok(())
    });
}

#[test]
fn a_thread_that_is_no_core_listens_too() {
    let _turn = in_turn();
    let mut listener = signal(SignalKind::window_change()).unwrap();
    futures::executor::block_on(listener.next_of(libc::SIGWINCH));
    for driver in DRIVERS {
        let runtime = Builder::new_test().driver(driver).build().unwrap();
        runtime
            .block_on(async { timeout(PATIENCE, listener.next_of(libc::SIGWINCH)).await })
            .expect("it is told");
    }
}
