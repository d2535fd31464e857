//! Cores that retire while clients come, and with a deadline.
#![cfg(not(loom))]

mod support;

use std::cell::Cell;
use std::future::ready;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use multikernel::channels::oneshot;
use multikernel::net::{TcpListener, TcpStream};
use multikernel::runtime::{Builder, Handle, RetireError};
use multikernel::task::{spawn_blocking, yield_now};
use multikernel::time::timeout;
use multikernel::{CoreId, spawn, spawn_local, spawn_on};

use crate::support::{PATIENCE, on_both, poll_once, read_exact, write_all};

const CORES: usize = 3;
const NEVER: Duration = Duration::from_secs(3600);

/// What has happened on each core.
type Counts = Arc<[AtomicU64; CORES]>;

/// Clients that know nothing of the Machine: each connects, asks, is answered, sees the end, and begins anew.
struct Clients {
    stop: Arc<AtomicBool>,
    /// By core, the answers.
    answers: Counts,
    threads: Vec<thread::JoinHandle<io::Result<()>>>,
}

impl Clients {
    fn come(to: SocketAddr) -> Clients {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Counts::default());
        let client = |_| {
            let (stop, answers) = (stop.clone(), answers.clone());
            thread::spawn(move || {
                for number in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let core = ask(std::net::TcpStream::connect_timeout(&to, PATIENCE)?, number)?;
                    answers[core].fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        };
        Clients { threads: (0..4).map(client).collect(), stop, answers }
    }

    fn answered(&self) -> u64 {
        self.answers.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    async fn until_more(&self, more: u64) {
        let before = self.answered();
        while self.answered() < before + more && !self.one_has_failed() {
            yield_now().await;
        }
    }

    async fn until_answered_by(&self, core: CoreId) {
        let count = &self.answers[core.index()];
        let before = count.load(Ordering::Relaxed);
        while count.load(Ordering::Relaxed) == before && !self.one_has_failed() {
            yield_now().await;
        }
    }

    fn one_has_failed(&self) -> bool {
        self.threads.iter().any(|thread| thread.is_finished())
    }

    /// None was refused, reset, or left without an answer.
    async fn go(self) -> io::Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let answers = self.answers;
        for thread in self.threads {
            spawn_blocking(|| thread.join().unwrap()).await.unwrap()?;
        }
        Ok(answers.iter().map(|count| count.load(Ordering::Relaxed)).sum())
    }
}

/// Asks, and says which core has answered.
fn ask(mut stream: std::net::TcpStream, number: u64) -> io::Result<usize> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&number.to_le_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    assert_eq!(answer[..8], number.to_le_bytes());
    assert_eq!(answer.len(), 9);
    Ok(answer[8].into())
}

async fn answer(stream: TcpStream) -> io::Result<()> {
    let mut question = [0; 8];
    read_exact(&stream, &mut question).await?;
    yield_now().await;
    write_all(&stream, &question).await?;
    write_all(&stream, &[CoreId::current().index() as u8]).await
}

/// Accepts for good. Its connections may be served anywhere.
async fn serve(listener: TcpListener, accepted: Counts) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        accepted[CoreId::current().index()].fetch_add(1, Ordering::Relaxed);
        drop(spawn(answer(stream)));
    }
}

async fn until_accepted_by(core: CoreId, accepted: &Counts, clients: &Clients) {
    let before = accepted[core.index()].load(Ordering::Relaxed);
    while accepted[core.index()].load(Ordering::Relaxed) == before && !clients.one_has_failed() {
        yield_now().await;
    }
}

async fn bind() -> io::Result<(Vec<TcpListener>, SocketAddr)> {
    let listeners = TcpListener::bind_each_core("127.0.0.1:0").await?;
    let address = listeners[0].local_addr()?;
    Ok((listeners, address))
}

#[test]
fn clients_notice_nothing_when_tasks_that_accept_are_handed_over() {
    on_both(CORES, || async {
        let (listeners, address) = bind().await?;
        let accepted = Counts::default();
        for (core, listener) in multikernel::cores().zip(listeners) {
            let accepted = accepted.clone();
            spawn_on(core, move || async move { drop(spawn(serve(listener, accepted))) }).await.unwrap();
        }
        let (machine, clients) = (Handle::current(), Clients::come(address));
        for turn in 0..6 {
            let core = CoreId::new(1 + turn % 2);
            clients.until_more(50).await;
            machine.retire(core).await?;
            clients.until_more(50).await;
            machine.revive(core).await?;
            clients.until_answered_by(core).await;
        }
        assert!(clients.go().await? >= 600);
        Ok(())
    });
}

#[test]
fn clients_notice_nothing_when_tasks_that_accept_are_aborted() {
    on_both(CORES, || async {
        let (mut listeners, address) = bind().await?;
        let accepted = Counts::default();
        let ours = Rc::new(listeners.remove(0));
        let here = ours.clone();
        let count = accepted.clone();
        spawn_local(async move {
            while let Ok((stream, _)) = here.accept().await {
                count[0].fetch_add(1, Ordering::Relaxed);
                drop(spawn(answer(stream)));
            }
        });
        for (core, listener) in (1..).map(CoreId::new).zip(listeners) {
            let accepted = accepted.clone();
            drop(spawn_on(core, move || serve(listener, accepted)));
        }
        let (machine, clients) = (Handle::current(), Clients::come(address));
        for turn in 0..6 {
            let core = CoreId::new(1 + turn % 2);
            let in_use = ours.for_core(core).unwrap_err();
            assert_eq!(in_use.kind(), io::ErrorKind::AddrInUse);
            until_accepted_by(core, &accepted, &clients).await;
            assert_eq!(machine.retire_within(core, Duration::ZERO).await, Ok(1));
            // A third of them come to the socket that has no handle.
            clients.until_more(60).await;
            machine.revive(core).await?;
            let (its, count) = (ours.for_core(core)?, accepted.clone());
            drop(spawn_on(core, move || serve(its, count)));
            until_accepted_by(core, &accepted, &clients).await;
        }
        assert!(clients.go().await? >= 360);
        Ok(())
    });
}

#[test]
fn a_task_that_stays_accepts_while_its_core_retires() {
    on_both(CORES, || async {
        let (listeners, address) = bind().await?;
        let accepted = Counts::default();
        for (core, listener) in multikernel::cores().zip(listeners) {
            let accepted = accepted.clone();
            drop(spawn_on(core, move || serve(listener, accepted)));
        }
        let (clients, core) = (Clients::come(address), CoreId::new(1));
        let retiring = spawn(async move { Handle::current().retire(core).await });
        for _ in 0..3 {
            until_accepted_by(core, &accepted, &clients).await;
        }
        assert!(!retiring.is_finished());
        retiring.abort();
        clients.until_answered_by(core).await;
        clients.go().await.map(drop)
    });
}

/// Connections that wait in the queues of all cores: the system spreads them by a hash.
fn wait_in_line(address: SocketAddr) -> io::Result<Vec<std::net::TcpStream>> {
    (0..60).map(|_| std::net::TcpStream::connect_timeout(&address, PATIENCE)).collect()
}

/// All of them are answered.
async fn all_are_served(line: Vec<std::net::TcpStream>) -> io::Result<()> {
    let asked =
        spawn_blocking(|| (0..).zip(line).try_for_each(|(number, stream)| ask(stream, number).map(drop)));
    asked.await.unwrap()
}

#[test]
fn who_waits_in_the_queue_of_a_core_that_leaves_is_served_by_another() {
    for dies in [false, true] {
        on_both(CORES, move || async move {
            let (mut listeners, address) = bind().await?;
            let ours = listeners.remove(0);
            for (core, listener) in (1..).map(CoreId::new).zip(listeners) {
                drop(spawn_on(core, || async move {
                    let _held = listener;
                    std::future::pending::<()>().await;
                }));
            }
            let line = wait_in_line(address)?;
            let machine = Handle::current();
            for core in [1, 2].map(CoreId::new) {
                if dies {
                    let held = spawn_on(core, std::future::pending::<()>);
                    machine.kill(core);
                    assert!(held.await.unwrap_err().is_cancelled());
                } else {
                    assert_eq!(machine.retire_within(core, Duration::ZERO).await, Ok(1));
                }
            }
            drop(spawn_local(serve(ours, Counts::default())));
            all_are_served(line).await
        });
    }
}

#[test]
fn who_waits_for_an_accept_hears_of_a_socket_that_has_lost_its_handle() {
    // Where the handles are dropped: beside who waits, and where they have never been used.
    for core in [0, 1].map(CoreId::new) {
        on_both(CORES, move || async move {
            let (mut listeners, address) = bind().await?;
            let ours = listeners.remove(0);
            let line = wait_in_line(address)?;
            // When its own queue is empty, nothing but the others can wake it.
            while let Poll::Ready(accepted) = poll_once(&mut pin!(ours.accept())).await {
                drop(spawn(answer(accepted?.0)));
            }
            drop(spawn_local(serve(ours, Counts::default())));
            yield_now().await; // it waits
            spawn_on(core, || async move { drop(listeners) }).await.unwrap();
            all_are_served(line).await
        });
    }
}

#[test]
fn a_core_gets_its_listener_back_with_its_queue() {
    on_both(CORES, || async {
        let (mut listeners, address) = bind().await?;
        let line = wait_in_line(address)?;
        let (ours, second) = (listeners.remove(0), listeners.remove(0));
        drop(listeners); // the third
        let third = ours.for_core(CoreId::new(2))?;
        for (core, listener) in multikernel::cores().zip([ours, second, third]) {
            drop(spawn_on(core, move || serve(listener, Counts::default())));
        }
        all_are_served(line).await
    });
}

#[test]
fn a_core_that_was_not_there_gets_a_listener_later() {
    on_both(CORES, || async {
        let (machine, core) = (Handle::current(), CoreId::new(1));
        machine.retire(core).await?;
        let (listeners, address) = bind().await?;
        assert_eq!(listeners.len(), 2);
        machine.revive(core).await?;
        let later = listeners[0].for_core(core)?;
        assert_eq!(later.local_addr()?, address);
        let accepted = Counts::default();
        let cores = multikernel::cores().filter(|other| *other != core);
        for (core, listener) in cores.zip(listeners).chain([(core, later)]) {
            let accepted = accepted.clone();
            drop(spawn_on(core, move || serve(listener, accepted)));
        }
        let clients = Clients::come(address);
        for core in multikernel::cores() {
            until_accepted_by(core, &accepted, &clients).await;
        }
        clients.go().await?;
        let alone = TcpListener::bind("127.0.0.1:0").await?;
        assert_eq!(alone.for_core(core).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        Ok(())
    });
}

#[test]
fn a_listener_that_leaves_its_group_takes_its_queue_along() {
    on_both(CORES, || async {
        let (mut listeners, address) = bind().await?;
        let line = wait_in_line(address)?;
        let out = TcpListener::from_std(listeners.pop().unwrap().into_std()?)?;
        assert_eq!(out.local_addr()?, address);
        for listener in listeners.into_iter().chain([out]) {
            drop(spawn_local(serve(listener, Counts::default())));
        }
        all_are_served(line).await
    });
}

/// Counts where it was dropped.
struct DropsAt(Counts);

impl Drop for DropsAt {
    fn drop(&mut self) {
        self.0[CoreId::current().index()].fetch_add(1, Ordering::Relaxed);
    }
}

fn as_numbers(counts: &Counts) -> [u64; CORES] {
    [0, 1, 2].map(|core| counts[core].load(Ordering::Relaxed))
}

#[test]
fn at_the_deadline_what_has_to_stay_is_aborted_on_its_core_and_nothing_else() {
    on_both(CORES, || async {
        let (machine, core) = (Handle::current(), CoreId::new(1));
        for _ in 0..3 {
            let drops = Counts::default();
            let mut stay = Vec::new();
            for _ in 0..10 {
                let drops = drops.clone();
                stay.push(spawn_on(core, || async move {
                    let not_send = Rc::new(Cell::new(DropsAt(drops)));
                    std::future::pending::<()>().await;
                    drop(not_send);
                }));
            }
            let other_core = spawn_on(CoreId::new(2), || async { std::future::pending::<()>().await });
            let (tell, told) = oneshot::channel();
            let goes = spawn_on(core, || ready(spawn(async { told.await.unwrap() }))).await.unwrap();
            let (release, released) = std::sync::mpsc::channel::<()>();
            let (begin, begun) = oneshot::channel();
            let call = move || {
                begin.send(()).unwrap();
                released.recv().is_ok()
            };
            let blocking = spawn_on(core, || ready(spawn_blocking(call))).await.unwrap();
            begun.await.unwrap();

            assert_eq!(machine.retire_within(core, Duration::from_millis(1)).await, Ok(10));
            assert_eq!(as_numbers(&drops), [0, 10, 0]);
            for task in stay {
                assert!(task.await.unwrap_err().is_cancelled());
            }
            // What was handed over, what is called elsewhere and what is on other cores goes on.
            tell.send(7).unwrap();
            assert_eq!(goes.await.unwrap(), 7);
            release.send(()).unwrap();
            assert!(blocking.await.unwrap());
            assert!(!other_core.is_finished());
            other_core.abort();
            assert_eq!(machine.retire_within(core, NEVER).await, Err(RetireError::NotThere));
            machine.revive(core).await?;
            assert_eq!(spawn_on(core, || async { CoreId::current() }).await.unwrap(), core);
        }
        Ok(())
    });
}

#[test]
fn before_the_deadline_nothing_is_aborted() {
    on_both(CORES, || async {
        let (machine, core) = (Handle::current(), CoreId::new(1));
        assert_eq!(machine.retire_within(core, NEVER).await, Ok(0));
        machine.revive(core).await?;

        let (end, ended) = oneshot::channel::<()>();
        let task = spawn_on(core, || async move { ended.await.is_ok() });
        let mut retiring = pin!(machine.retire_within(core, NEVER));
        assert!(poll_once(&mut retiring).await.is_pending());
        end.send(()).unwrap();
        assert!(task.await.unwrap());
        assert_eq!(retiring.await, Ok(0));
        machine.revive(core).await?;

        // Who gives up leaves the core as it was.
        let (end, ended) = oneshot::channel::<()>();
        let task = spawn_on(core, || async move { ended.await.is_ok() });
        assert!(timeout(Duration::from_millis(1), machine.retire_within(core, NEVER)).await.is_err());
        end.send(()).unwrap();
        assert!(task.await.unwrap());
        while spawn_on(core, || async {}).await.is_err() {}
        Ok(())
    });
}

#[test]
fn what_is_spawned_by_a_drop_at_the_deadline_ends_too() {
    struct Heirs(u32, Counts);
    impl Drop for Heirs {
        fn drop(&mut self) {
            self.1[CoreId::current().index()].fetch_add(1, Ordering::Relaxed);
            if let Some(left) = self.0.checked_sub(1) {
                let heirs = Heirs(left, self.1.clone());
                drop(spawn_local(async move {
                    let _held = heirs;
                    std::future::pending::<()>().await;
                }));
            }
        }
    }
    on_both(CORES, || async {
        let (machine, core, drops) = (Handle::current(), CoreId::new(1), Counts::default());
        let heirs = Heirs(20, drops.clone());
        drop(spawn_on(core, || async move {
            let _held = heirs;
            std::future::pending::<()>().await;
        }));
        assert_eq!(machine.retire_within(core, Duration::ZERO).await, Ok(21));
        assert_eq!(as_numbers(&drops), [0, 21, 0]);
        machine.revive(core).await?;
        Ok(())
    });
}

#[test]
fn no_task_is_aborted_on_a_core_that_may_not_leave() {
    // The main task is there.
    on_both(2, || async {
        let (end, ended) = oneshot::channel::<()>();
        let task = spawn_local(async move { ended.await.is_ok() });
        let refused = Handle::current().retire_within(CoreId::new(0), Duration::ZERO).await;
        assert_eq!(refused, Err(RetireError::Refused));
        end.send(()).unwrap();
        assert!(task.await.unwrap());
        assert_eq!(spawn_on(CoreId::new(0), || async { 5 }).await.unwrap(), 5);
        Ok(())
    });
    // It is the last.
    let runtime = Builder::new_test().cores(2).build().unwrap();
    let machine = runtime.handle().clone();
    runtime.block_on(async {
        machine.retire(CoreId::new(0)).await.unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let task = spawn_on(CoreId::new(1), || async move { ended.await.is_ok() });
        let refused = machine.retire_within(CoreId::new(1), Duration::ZERO).await;
        assert_eq!(refused, Err(RetireError::Refused));
        end.send(()).unwrap();
        assert!(task.await.unwrap());
        // Of two that are to go at a time, one stays at least.
        for _ in 0..20 {
            while machine.revive(CoreId::new(0)).await.is_err()
                && machine.revive(CoreId::new(1)).await.is_err()
            {}
            let tasks = [0, 1].map(|core| spawn_on(CoreId::new(core), std::future::pending::<()>));
            let ask = |core| {
                let machine = machine.clone();
                spawn(async move { machine.retire_within(CoreId::new(core), Duration::ZERO).await })
            };
            let answers = [ask(0), ask(1)];
            let mut gone = 0;
            for answer in answers {
                gone += usize::from(answer.await.unwrap().is_ok());
            }
            assert!(gone < 2);
            assert_eq!(multikernel::on_each_core(|| async {}).len(), 2 - gone);
            for task in tasks {
                task.abort();
            }
            if gone == 0 {
                machine.retire(CoreId::new(0)).await.unwrap();
            }
        }
    });
}
