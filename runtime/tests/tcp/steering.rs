//! Which core a connection comes to, over loopback: there the CPU of the client receives its packets too.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use multikernel::net::TcpListener;
use multikernel::net::tcp::Steering;
use multikernel::runtime::{Builder, Handle, Pinning};
use multikernel::time::timeout;
use multikernel::{CoreId, on_each_core, spawn_on};

use super::common::{DRIVERS, PATIENCE, write_all};
use crate::support::skip;

fn cpus_of_this_thread() -> Vec<usize> {
    // SAFETY: a set of bits is valid as zeroes, and is written within its size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        assert_eq!(libc::sched_getaffinity(0, size_of_val(&set), &mut set), 0);
        (0..1024).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect()
    }
}

fn tie_this_thread_to(cpu: usize) {
    // SAFETY: a set of bits is valid as zeroes, and is read within its size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&set), &set), 0);
    }
}

/// Connects so many times from that CPU, and says which cores have accepted.
async fn accepted_by(to: SocketAddr, cpu: usize, times: usize) -> io::Result<Vec<usize>> {
    let client = move || {
        tie_this_thread_to(cpu);
        (0..times)
            .map(|_| {
                let mut core = [0];
                std::net::TcpStream::connect_timeout(&to, PATIENCE)?.read_exact(&mut core)?;
                Ok(core[0].into())
            })
            .collect()
    };
    // Not a thread of the pool, which others use later.
    let client = thread::spawn(client);
    multikernel::task::spawn_blocking(|| client.join().unwrap()).await.unwrap()
}

/// Each connection gets the number of the core that has accepted it.
async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = write_all(&stream, &[CoreId::current().index() as u8]).await;
    }
}

/// By core, the CPU that it is tied to.
async fn ties() -> Vec<usize> {
    let mut ties = Vec::new();
    for cpus in on_each_core(|| async { cpus_of_this_thread() }) {
        let cpus = cpus.await.unwrap();
        assert_eq!(cpus.len(), 1, "the core is tied");
        ties.push(cpus[0]);
    }
    ties
}

fn with_tied_cores<F, Fut>(test: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = io::Result<()>> + 'static,
{
    let cpus = cpus_of_this_thread().len();
    if cpus < 2 {
        return skip("one CPU: nothing can be told apart");
    }
    for (driver, kind) in DRIVERS {
        let mut runtime = Builder::new();
        runtime.cores(cpus.min(4)).pinning(Pinning::Always).driver(driver);
        let test = &test;
        let ended = runtime.run(|| {
            let test = test();
            async { timeout(PATIENCE, test).await }
        });
        ended.unwrap().unwrap_or_else(|_| panic!("the test hangs on {kind}")).unwrap();
    }
}

#[test]
fn with_steering_a_client_is_accepted_where_its_packets_come() {
    with_tied_cores(|| async {
        let listeners = TcpListener::bind_each_core_with("127.0.0.1:0", Steering::IncomingCpu).await?;
        if listeners[0].steering() == Steering::Hash {
            skip("this system does not steer by CPU");
            return Ok(());
        }
        let (address, ties) = (listeners[0].local_addr()?, ties().await);
        for (core, listener) in multikernel::cores().zip(listeners) {
            drop(spawn_on(core, move || serve(listener)));
        }
        for _ in 0..3 {
            for (core, cpu) in ties.iter().enumerate() {
                assert_eq!(accepted_by(address, *cpu, 40).await?, vec![core; 40]);
            }
        }
        Ok(())
    });
}

#[test]
fn without_steering_all_cores_accept_from_one_cpu() {
    with_tied_cores(|| async {
        let listeners = TcpListener::bind_each_core_with("127.0.0.1:0", Steering::Hash).await?;
        assert_eq!(listeners[0].steering(), Steering::Hash);
        let (address, ties) = (listeners[0].local_addr()?, ties().await);
        for (core, listener) in multikernel::cores().zip(listeners) {
            drop(spawn_on(core, move || serve(listener)));
        }
        // By a hash of 100 different ports.
        let seen = accepted_by(address, ties[0], 100).await?;
        assert!((0..ties.len()).all(|core| seen.contains(&core)), "{seen:?}");
        Ok(())
    });
}

#[test]
fn steering_goes_on_while_a_core_is_away_and_when_it_is_back() {
    with_tied_cores(|| async {
        let listeners = TcpListener::bind_each_core_with("127.0.0.1:0", Steering::IncomingCpu).await?;
        let (address, ties) = (listeners[0].local_addr()?, ties().await);
        let steers = listeners[0].steering() == Steering::IncomingCpu;
        let mut listeners = listeners.into_iter();
        let ours = std::rc::Rc::new(listeners.next().unwrap());
        let here = ours.clone();
        drop(multikernel::spawn_local(async move {
            while let Ok((stream, _)) = here.accept().await {
                let _ = write_all(&stream, &[0]).await;
            }
        }));
        for (core, listener) in multikernel::cores().skip(1).zip(listeners) {
            drop(spawn_on(core, move || serve(listener)));
        }
        let (machine, core) = (Handle::current(), CoreId::new(1));
        for _ in 0..3 {
            machine.retire_within(core, Duration::ZERO).await?;
            let seen = accepted_by(address, ties[1], 40).await?;
            assert!(!seen.contains(&1), "{seen:?}");
            machine.revive(core).await?;
            let its = ours.for_core(core)?;
            drop(spawn_on(core, move || serve(its)));
            let seen = accepted_by(address, ties[1], 40).await?;
            assert!(!steers || seen == [1; 40], "{seen:?}");
        }
        Ok(())
    });
}

#[test]
fn cores_that_are_tied_to_no_cpu_leave_it_to_the_hash() {
    let steering = Builder::new_test().cores(2).pinning(Pinning::Never).run(|| async {
        TcpListener::bind_each_core_with("127.0.0.1:0", Steering::IncomingCpu)
            .await
            .map(|all| all[0].steering())
    });
    if cpus_of_this_thread().len() > 1 {
        assert_eq!(steering.unwrap().unwrap(), Steering::Hash);
    }
}
