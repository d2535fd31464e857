//! Every future is dropped at every point where it waits, and nothing is lost or left.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use futures::future::{Either, select};
use multikernel::process::Command;

use crate::common::{
    alone, among_others, children, descriptors, endless, give_up_after, on_both, sh, until_async, until_told,
};

#[test]
fn a_wait_given_up_finds_the_end_the_next_time() {
    let _others = among_others();
    on_both(1, || async {
        for waits in 1..4 {
            let (mut child, tell) = until_told(8);
            for _ in 0..waits {
                assert!(give_up_after(1, child.wait()).await.is_none());
            }
            drop(tell);
            assert_eq!(child.wait().await?.code(), Some(8));

            let (mut child, tell) = until_told(8);
            assert!(give_up_after(1, child.wait()).await.is_none());
            drop(tell);
            // Woken and not polled again: the end was seen, and is not lost.
            let pid = child.id().unwrap();
            let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            until_async("it ends", || state().contains(") Z ")).await;
            assert_eq!(child.wait().await?.code(), Some(8));

            let mut child = endless().spawn()?;
            let killed = give_up_after(1, child.kill()).await;
            assert!(killed.is_none_or(|killed| killed.is_ok()), "killed in any case");
            assert_eq!(child.wait().await?.signal(), Some(libc::SIGKILL));
        }
        Ok(())
    });
}

/// A child that has an event for each of its parent's waits.
fn eventful() -> Command {
    sh("echo a; echo b >&2; echo c; exec >&-; echo d >&2; exec 2>&-; exit 5")
}

#[test]
fn whole_runs_given_up_at_any_point_leave_neither_child_nor_descriptor() {
    let _alone = alone();
    on_both(1, || async {
        assert_eq!(eventful().output().await?.status.code(), Some(5));
        assert!(sh("exit 0").status().await?.success());
        let before = descriptors("self").len();
        for kill in [false, true] {
            let mut ends = 0;
            for waits in 1..1000 {
                let output = give_up_after(waits, eventful().kill_on_drop(kill).output()).await;
                let status =
                    give_up_after(waits, eventful().stdout(Stdio::null()).stderr(Stdio::null()).status());
                let status = status.await;
                if let Some(output) = output {
                    let output = output?;
                    let all = (output.status.code(), &output.stdout[..], &output.stderr[..]);
                    assert_eq!(all, (Some(5), &b"a\nc\n"[..], &b"b\nd\n"[..]));
                    ends += usize::from(status.is_some_and(|status| status.unwrap().code() == Some(5)));
                }
                until_async("all are reaped", || children().is_empty()).await;
                until_async("all is closed", || descriptors("self").len() <= before).await;
                if ends == 3 {
                    break;
                }
            }
            assert_eq!(ends, 3, "it is done after a few waits");
        }
        Ok(())
    });
}

#[test]
fn reads_given_up_take_no_bytes() {
    let _others = among_others();
    on_both(1, || async {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        for round in 0..50_u8 {
            assert!(give_up_after(1, output.recv()).await.is_none());
            assert!(give_up_after(1, output.readable()).await.is_none());
            assert_eq!(input.try_write(&[round; 10])?, 10);
            // Given up when the bytes may be there or not.
            let early = match select(Box::pin(output.recv()), Box::pin(multikernel::task::yield_now())).await
            {
                Either::Left((bytes, _)) => bytes?.to_vec(),
                Either::Right(_) => Vec::new(),
            };
            let mut got = early;
            while got.len() < 10 {
                got.extend_from_slice(&output.recv().await?);
            }
            assert_eq!(got, [round; 10]);
        }
        drop(input);
        assert!(output.recv().await?.is_empty());
        assert!(child.wait().await?.success());
        Ok(())
    });
}

#[test]
fn writes_given_up_write_nothing_later() {
    let _others = among_others();
    on_both(1, || async {
        for waits in 1..4 {
            let script = "read x; exec cat";
            let mut child = sh(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            let input = child.stdin.take().unwrap();
            let mut full = 0;
            while let Ok(put) = input.try_write(&[b'x'; 4096]) {
                full += put;
            }
            for _ in 0..waits {
                assert!(give_up_after(1, input.send_all(&b"never"[..])).await.is_none());
                assert!(give_up_after(1, input.writable()).await.is_none());
            }
            child.start_kill()?;
            child.wait().await?;
            assert!(full >= 4096);
        }
        // A child that takes its time: what a dropped write had not written, nobody writes.
        let mut child = sh("sleep 0.05; exec cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().unwrap();
        let mut full = 0;
        while let Ok(put) = input.try_write(&[b'x'; 4096]) {
            full += put;
        }
        assert!(give_up_after(1, input.send_all(&b"never"[..])).await.is_none());
        drop(input);
        let output = child.wait_with_output().await?.stdout;
        assert_eq!(output.len(), full);
        assert!(output.iter().all(|byte| *byte == b'x'));
        Ok(())
    });
}
