//! Linux bounds the memory that a user's rings and their buffers may lock. Alone in its process, which the bound is for.

#![cfg(feature = "tokio")]

use std::io::ErrorKind;

use futures::channel::oneshot;
use io_uring::IoUring;
use multikernel::io::{AsyncReadExt, AsyncWriteExt};
use multikernel::net::{TcpListener, TcpStream};
use multikernel::runtime::{Builder, DriverKind, Handle};
use multikernel::{CoreId, spawn_on};

mod support;

/// Leaves this thread without the right to lock memory beyond the limit, if it has it.
fn give_up_locking() {
    const VERSION: u32 = 0x2008_0522; // of the system call: two words for each set of capabilities
    const LOCK_MEMORY: u32 = 14;
    let header = [VERSION, 0];
    let mut sets = [[0u32; 3]; 2]; // effective, permitted and inheritable, the lower half first
    // SAFETY: header and sets are as long as this version has them, and live across the calls.
    unsafe {
        assert_eq!(libc::syscall(libc::SYS_capget, &raw const header, &raw mut sets), 0);
        sets[0][0] &= !(1 << LOCK_MEMORY);
        assert_eq!(libc::syscall(libc::SYS_capset, &raw const header, &raw const sets), 0);
    }
}

/// Lets this process and those of the same user lock `bytes` of memory in all.
fn limit_locking(bytes: u64) {
    // SAFETY: both calls use a struct that lives across them.
    unsafe {
        let mut limit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit), 0);
        limit.rlim_cur = bytes.min(limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit), 0);
    }
}

/// Answers one client on core `server`, which is on core `client`, in whole buffers and in pieces.
async fn converse(server: usize, client: usize) {
    let (send, addr) = oneshot::channel();
    let serving = spawn_on(CoreId::new(server), move || async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        send.send(listener.local_addr().unwrap()).unwrap();
        let mut stream = listener.accept().await.unwrap().0;
        for _ in 0..20 {
            let request = stream.recv().await.unwrap();
            stream.send_all(request).await.result.unwrap();
        }
        for _ in 0..20 {
            let mut request = [0];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(&request).await.unwrap();
        }
    });
    let addr = addr.await.unwrap();
    let asking = spawn_on(CoreId::new(client), move || async move {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        for byte in 0..40 {
            stream.write_all(&[byte]).await.unwrap();
            let mut answer = [0];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, [byte]);
        }
    });
    serving.await.unwrap();
    asking.await.unwrap();
}

/// Sends from this core what would be locked meanwhile.
async fn send_without_a_copy() {
    const LENGTH: usize = 1 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut far = listener.accept().await.unwrap().0;
    let reading = spawn_on(CoreId::new(1), move || async move {
        let mut received = vec![0; LENGTH];
        far.read_exact(&mut received).await.unwrap();
        received
    });
    let sent = near.send_zero_copy(vec![7; LENGTH]).await;
    sent.result.unwrap();
    assert!(sent.buffer.unwrap() == reading.await.unwrap());
}

/// How many descriptors of rings this process has.
fn rings() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let files = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    files.filter(|file| file.to_string_lossy().contains("[io_uring]")).count()
}

#[test]
fn cores_that_get_no_ring_or_no_buffers_work_with_those_that_do() {
    const CORES: usize = 16;
    give_up_locking();
    // Enough to find io_uring usable and for the first cores, not for all.
    limit_locking(300 << 10);
    let main = || async {
        if Handle::current().driver().kind != DriverKind::Uring {
            // Who has asked for another driver knows.
            if std::env::var_os("MULTIKERNEL_DRIVER").is_none() {
                support::skip(&Handle::current().driver().why);
            }
            return;
        }
        match IoUring::new(8) {
            Err(error) if error.kind() == ErrorKind::OutOfMemory => {
                assert!((1..2 * CORES).contains(&rings()), "{} rings", rings());
            }
            other => println!("this Linux does not count the memory of rings: {:?}", other.map(drop)),
        }
        limit_locking(0);
        for core in 0..CORES {
            converse(core, (core + 1) % CORES).await;
        }
        converse(0, 0).await;
        send_without_a_copy().await;
    };
    Builder::new().cores(CORES).run(main).unwrap();
}
