//! Holds the rules of ARCHITECTURE.md that show in how programs behave.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use multikernel::runtime::{Builder, Pinning};
use multikernel::signal::unix::{SignalKind, signal};
use multikernel::task::{spawn_blocking, yield_now};
use multikernel::time::sleep;
use multikernel::{CoreId, core_local, on_each_core, spawn_local, spawn_on};

/// Hands its waker out at each poll, and checks that its thread stays the same until it is dropped.
struct Settled {
    polls: usize,
    home: Option<CoreId>,
    wakers: mpsc::Sender<Waker>,
}

impl Future for Settled {
    type Output = usize;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        let here = CoreId::current();
        assert_eq!(*self.home.get_or_insert(here), here);
        self.polls += 1;
        if self.polls == 100 {
            return Poll::Ready(here.index());
        }
        self.wakers.send(cx.waker().clone()).expect("the other thread wakes until nobody sends");
        Poll::Pending
    }
}

impl Drop for Settled {
    fn drop(&mut self) {
        assert_eq!(self.home, CoreId::try_current());
    }
}

#[test]
fn a_task_stays_on_its_core_whoever_wakes_it() {
    let (wakers, woken) = mpsc::channel::<Waker>();
    let waking = thread::spawn(move || woken.iter().for_each(Waker::wake));
    let homes = Builder::new().cores(4).run(move || async move {
        let settle = move || Settled { polls: 0, home: None, wakers };
        let mut homes = Vec::new();
        for task in on_each_core(settle) {
            homes.push(task.await.expect("no assertion fails"));
        }
        homes
    });
    assert_eq!(homes.unwrap(), [0, 1, 2, 3]);
    waking.join().unwrap();
}

#[test]
fn the_calling_thread_is_core_0_and_its_body_need_not_be_send() {
    let caller = thread::current().id();
    let not_send = Rc::new(Cell::new(0));
    let inside = not_send.clone();
    let output = Builder::new().cores(2).run(move || async move {
        assert_eq!(thread::current().id(), caller);
        assert_eq!(CoreId::current().index(), 0);
        inside.set(1);
        yield_now().await;
        inside
    });
    assert!(Rc::ptr_eq(&output.unwrap(), &not_send));
    assert_eq!(not_send.get(), 1);
}

#[test]
fn a_core_that_never_runs_out_of_work_still_gets_mail_and_fires_timers() {
    let run = || async {
        let busy = CoreId::new(1);
        let greedy = spawn_on(busy, || async {
            loop {
                yield_now().await;
            }
        });
        let timer = spawn_on(busy, || sleep(Duration::from_millis(1)));
        timer.await.expect("it ends though the core is busy");
        greedy.abort();
        assert!(greedy.await.unwrap_err().is_cancelled());
    };
    Builder::new().cores(2).run(run).unwrap();
}

core_local! {
    static AT_END: RefCell<Option<Farewell>> = RefCell::new(None);
}

/// Spawns a task when it is dropped, as a pool that closes its connections might.
struct Farewell(mpsc::Sender<usize>);

impl Drop for Farewell {
    fn drop(&mut self) {
        let here = CoreId::current();
        drop(spawn_local(async {}));
        self.0.send(here.index()).expect("the test listens");
    }
}

#[test]
fn state_of_a_core_is_dropped_on_that_core() {
    let (send, receive) = mpsc::channel();
    let run = move || async move {
        let keep = move || async move { AT_END.with(|slot| *slot.borrow_mut() = Some(Farewell(send))) };
        for task in on_each_core(keep) {
            task.await.unwrap();
        }
    };
    Builder::new().cores(3).run(run).unwrap();
    let mut cores: Vec<_> = receive.iter().collect();
    cores.sort_unstable();
    assert_eq!(cores, [0, 1, 2]);
}

/// The CPUs that this thread may use.
fn allowed() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    status.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap().to_owned()
}

fn on_one_pinned_core<F: Future + 'static>(main: impl FnOnce() -> F) -> F::Output {
    Builder::new().cores(1).pinning(Pinning::Always).run(main).unwrap()
}

#[test]
fn blocking_calls_are_not_tied_to_the_cpu_of_a_pinned_core() {
    let before = allowed();
    let there = on_one_pinned_core(|| async { spawn_blocking(allowed).await.unwrap() });
    assert_eq!(there, before);
    assert_eq!(allowed(), before);
}

/// Tells which CPUs the thread that wakes it may use.
struct Telltale(mpsc::Sender<String>);

impl Wake for Telltale {
    fn wake(self: Arc<Self>) {
        self.0.send(allowed()).expect("the test listens");
    }
}

#[test]
fn waiting_for_signals_is_not_tied_to_the_cpu_of_a_pinned_core() {
    let before = allowed();
    let there = on_one_pinned_core(|| async {
        let (send, receive) = mpsc::channel();
        let waker = Waker::from(Arc::new(Telltale(send)));
        // The first use in this process starts the thread that will wake.
        let mut signal = signal(SignalKind::user_defined1()).unwrap();
        assert!(signal.poll_recv(&mut Context::from_waker(&waker)).is_pending());
        // SAFETY: the signal is handled by now.
        assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
        receive.recv_timeout(Duration::from_secs(10)).unwrap()
    });
    assert_eq!(there, before);
}
