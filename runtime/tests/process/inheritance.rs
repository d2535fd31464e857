//! What a child gets from this process, and what not.

use std::fs::{self, File};
use std::process::Stdio;

use multikernel::fs::SharedFile;
use multikernel::net::{TcpListener, TcpStream};
use multikernel::process::{Child, Command};
use multikernel::runtime::{Builder, Pinning};
use multikernel::signal::unix::{SignalKind, signal};
use multikernel::{CoreId, spawn_on};

use crate::common::{DRIVERS, alone, among_others, descriptors, endless, on_both, until_async};

/// A line of `/proc/../status`.
fn status(process: &str, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).expect("Linux tells that");
    line.split_once(':').unwrap().1.trim().to_owned()
}

fn mask(process: &str, field: &str) -> u64 {
    u64::from_str_radix(&status(process, field), 16).unwrap()
}

const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// The descriptors without the three standard streams.
fn others(process: &str) -> Vec<(i32, String)> {
    descriptors(process).into_iter().filter(|(number, _)| *number > 2).collect()
}

/// Those of our descriptors that children get.
fn not_closed_on_exec() -> Vec<(i32, String)> {
    let is_given = |number: &i32| {
        // SAFETY: the call takes numbers.
        unsafe { libc::fcntl(*number, libc::F_GETFD) & libc::FD_CLOEXEC == 0 }
    };
    others("self").into_iter().filter(|(number, _)| is_given(number)).collect()
}

async fn start_both_ways() -> std::io::Result<[Child; 2]> {
    let spawned = endless().kill_on_drop(true).spawn()?;
    let mut command = endless();
    // SAFETY: it does nothing. With it, std forks.
    unsafe { command.pre_exec(|| Ok(())) };
    Ok([spawned, command.kill_on_drop(true).spawn()?])
}

#[test]
fn no_descriptor_of_ours() {
    let _alone = alone();
    // Whoever started the tests may have left descriptors open on purpose.
    let given = not_closed_on_exec();
    on_both(2, || {
        let given = given.clone();
        async move {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let each = TcpListener::bind_each_core("127.0.0.1:0").await?;
            let near = TcpStream::connect(listener.local_addr()?).await?;
            let (far, _) = listener.accept().await?;
            near.send_all(&b"hello"[..]).await.result?;
            assert_eq!(&far.recv().await?[..], b"hello");
            let file = SharedFile::open("/proc/self/exe", File::options().read(true)).await.unwrap();
            let hangup = signal(SignalKind::hangup())?;
            multikernel::time::sleep(std::time::Duration::from_millis(1)).await;
            spawn_on(CoreId::new(1), || async {}).await.unwrap();
            assert_eq!(not_closed_on_exec(), given);
            let mut sibling = Command::new("cat");
            sibling.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut sibling = sibling.spawn()?;
            sibling.stdout.as_ref().unwrap().try_read(&mut [0; 1]).unwrap_err();
            for child in start_both_ways().await? {
                // A program that begins opens and closes files of its own.
                let process = child.id().unwrap().to_string();
                until_async("only what was given is open", || others(&process) == given).await;
            }
            drop((each, file, hangup));
            assert!(sibling.wait().await?.success());
            Ok(())
        }
    });
}

#[test]
fn no_blocked_and_no_ignored_signal_of_ours() {
    let _others = among_others();
    let blocked = mask("thread-self", "SigBlk");
    on_both(2, || async move {
        let _handled = signal(SignalKind::user_defined1())?;
        assert_ne!(mask("self", "SigIgn") & bit(libc::SIGPIPE), 0, "as in any Rust program");
        for core in 0..2 {
            let started = spawn_on(CoreId::new(core), start_both_ways).await.unwrap()?;
            for child in started {
                let process = child.id().unwrap().to_string();
                assert_eq!(mask(&process, "SigBlk"), blocked, "no thread of ours blocks more");
                assert_eq!(mask(&process, "SigIgn") & bit(libc::SIGPIPE), 0);
                assert_eq!(mask(&process, "SigCgt"), 0, "a handler is not there any more");
            }
        }
        Ok(())
    });
}

#[test]
fn not_the_cpu_of_a_pinned_core() {
    let _others = among_others();
    let before = status("thread-self", "Cpus_allowed_list");
    for (choice, _) in DRIVERS {
        let run = Builder::new_test().cores(1).pinning(Pinning::Always).driver(choice).run(|| async {
            let pinned = status("thread-self", "Cpus_allowed_list");
            assert!(pinned.parse::<usize>().is_ok(), "one CPU");
            let [spawned, forked] = start_both_ways().await?;
            let there = [spawned, forked].map(|child| {
                status(&child.id().unwrap().to_string(), "Cpus_allowed_list") // while it runs
            });
            assert_eq!(status("thread-self", "Cpus_allowed_list"), pinned, "the core is where it was");
            std::io::Result::Ok(there)
        });
        assert_eq!(run.unwrap().unwrap(), [before.clone(), before.clone()]);
    }
}
