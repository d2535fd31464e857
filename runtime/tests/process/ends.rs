//! How children end, and what their parent learns of it.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use futures::future::join_all;
use multikernel::process::Command;
use multikernel::runtime::{Builder, Handle};
use multikernel::{CoreId, spawn_on};

use crate::common::{
    DRIVERS, alone, among_others, children, descriptors, endless, give_up_after, is_there, on_both, sh,
    until_async, until_told,
};

#[test]
fn the_exit_status_is_the_one_that_std_reports() {
    let _others = among_others();
    on_both(1, || async {
        for end in
            ["exit 0", "exit 1", "exit 77", "exit 255", "kill -TERM $$", "kill -KILL $$", "kill -ABRT $$"]
        {
            let std = std::process::Command::new("sh").args(["-c", end]).status()?;
            assert_eq!(sh(end).status().await?, std, "{end}");
            let mut child = sh(end).spawn()?;
            assert_eq!(child.wait().await?, std, "{end}");
            assert_eq!(child.wait().await?, std, "the second time");
            assert_eq!(child.try_wait()?, Some(std));
            let child = sh(end).spawn()?;
            assert_eq!(child.wait_with_output().await?.status, std);
        }
        Ok(())
    });
}

#[test]
fn a_child_that_never_ends_can_be_killed() {
    let _others = among_others();
    on_both(1, || async {
        let mut child = endless().spawn()?;
        let pid = child.id().unwrap();
        assert!(give_up_after(1, child.wait()).await.is_none());
        assert_eq!(child.try_wait()?, None);
        child.kill().await?;
        assert!(!is_there(pid));
        assert_eq!(child.id(), None);
        assert_eq!(child.wait().await?.signal(), Some(libc::SIGKILL));
        for error in [child.start_kill(), child.kill().await] {
            assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        Ok(())
    });
}

#[test]
fn killing_a_zombie_is_no_error() {
    let _others = among_others();
    on_both(1, || async {
        let mut child = sh("exit 5").spawn()?;
        let pid = child.id().unwrap();
        let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        until_async("it ends", || state().contains(") Z ")).await;
        child.start_kill()?;
        child.start_kill()?;
        assert_eq!(child.wait().await?.code(), Some(5), "it ended by itself");
        Ok(())
    });
}

#[test]
fn waiting_closes_the_input_and_a_look_does_not() {
    let _others = among_others();
    on_both(1, || async {
        let mut child = sh("read x; exit 3").stdin(Stdio::piped()).spawn()?;
        assert_eq!(child.try_wait()?, None);
        assert!(child.stdin.is_some());
        assert_eq!(child.wait().await?.code(), Some(3));
        assert!(child.stdin.is_none());
        Ok(())
    });
}

#[test]
fn two_hundred_children_at_once() {
    let _others = among_others();
    on_both(2, || async {
        let mut waiting = Vec::new();
        let mut tellers = Vec::new();
        for code in 0..200 {
            let (mut child, tell) = until_told(code);
            tellers.push(tell);
            let pid = child.id().unwrap();
            let wait = move || async move { (child.wait().await.map(|status| status.code()), pid) };
            waiting.push(spawn_on(CoreId::new(code as usize % 2), wait));
        }
        drop(tellers); // all end about now
        for (code, (found, pid)) in
            join_all(waiting).await.into_iter().map(|joined| joined.unwrap()).enumerate()
        {
            assert_eq!(found?, Some(code as i32));
            assert!(!is_there(pid));
        }
        Ok(())
    });
}

#[test]
fn a_child_is_waited_for_on_whichever_core_and_by_the_last_who_asks() {
    let _others = among_others();
    on_both(2, || async {
        for _ in 0..20 {
            let (mut child, tell) = until_told(9);
            assert!(give_up_after(1, child.wait()).await.is_none(), "this core watches it now");
            let there = spawn_on(CoreId::new(1), move || async move {
                assert!(give_up_after(1, child.wait()).await.is_none(), "and so does that one");
                child
            });
            let mut child = there.await.unwrap();
            drop(tell);
            assert_eq!(child.wait().await?.code(), Some(9));
        }
        Ok(())
    });
}

#[test]
fn a_thread_that_is_no_core_waits_too() {
    let _others = among_others();
    for (choice, _) in DRIVERS {
        let runtime = Builder::new_test().driver(choice).build().unwrap();
        let handle = runtime.handle().clone();
        let guest = std::thread::spawn(move || {
            handle.block_on(async {
                let (mut child, tell) = until_told(4);
                assert!(give_up_after(1, child.wait()).await.is_none());
                drop(tell);
                assert_eq!(child.wait().await?.code(), Some(4));
                let output = sh("echo out; echo err >&2; exit 2").output().await?;
                assert_eq!(
                    (output.status.code(), &output.stdout[..], &output.stderr[..]),
                    (Some(2), &b"out\n"[..], &b"err\n"[..])
                );
                std::io::Result::Ok(())
            })
        });
        guest.join().unwrap().unwrap();
    }
}

#[test]
fn a_child_outlives_the_machine_that_waited_for_it_and_is_waited_for_in_the_next() {
    let _others = among_others();
    for (choice, _) in DRIVERS {
        let mut machine = Builder::new_test();
        let first = machine.driver(choice).run(|| async {
            let (mut child, tell) = until_told(6);
            assert!(give_up_after(1, child.wait()).await.is_none());
            (child, tell)
        });
        let (mut child, tell) = first.unwrap();
        let second = machine.run(|| async move {
            assert!(give_up_after(1, child.wait()).await.is_none());
            drop(tell);
            child.wait().await
        });
        assert_eq!(second.unwrap().unwrap().code(), Some(6));
    }
}

/// Commands that std cannot start either.
fn hopeless() -> [std::process::Command; 4] {
    let nowhere = std::process::Command::new("/nowhere/at/all");
    let no_program = std::process::Command::new("/etc/passwd");
    let mut no_folder = std::process::Command::new("true");
    no_folder.current_dir("/nowhere/at/all");
    let mut zero = std::process::Command::new("true");
    zero.arg("a\0b");
    [nowhere, no_program, no_folder, zero]
}

#[test]
fn what_cannot_be_started_fails_as_with_std_and_leaves_nothing() {
    let _alone = alone();
    on_both(1, || async {
        // The first use of anything may open something for good.
        assert!(Command::new("/nowhere").output().await.is_err());
        let before = (descriptors("self"), children());
        for (mut std, ours) in hopeless().into_iter().zip(hopeless()) {
            let expected = std.spawn().unwrap_err();
            let mut ours = Command::from(ours);
            ours.stdin(Stdio::piped());
            for error in [
                ours.spawn().map(drop).unwrap_err(),
                ours.status().await.map(drop).unwrap_err(),
                ours.output().await.map(drop).unwrap_err(),
            ] {
                assert_eq!(error.kind(), expected.kind());
                assert_eq!(error.raw_os_error(), expected.raw_os_error());
            }
        }
        let mut refuses = Command::new("true");
        // SAFETY: it makes a number, and does not allocate.
        unsafe { refuses.pre_exec(|| Err(std::io::Error::from_raw_os_error(libc::EDOM))) };
        assert_eq!(refuses.spawn().unwrap_err().raw_os_error(), Some(libc::EDOM));
        assert_eq!((descriptors("self"), children()), before);
        Ok(())
    });
}

#[test]
fn many_children_leave_nothing_behind() {
    let _alone = alone();
    on_both(2, || async {
        sh("exit 0").output().await?;
        let before = descriptors("self").len();
        for round in 0..10 {
            let one = |n: usize| {
                spawn_on(CoreId::new(n % 2), move || async move {
                    match n % 4 {
                        0 => assert!(sh("exit 0").status().await.unwrap().success()),
                        1 => assert_eq!(sh("echo x").output().await.unwrap().stdout, b"x\n"),
                        2 => drop(endless().kill_on_drop(true).spawn().unwrap()),
                        _ => endless().spawn().unwrap().kill().await.unwrap(),
                    }
                })
            };
            join_all((round..round + 8).map(one)).await.into_iter().for_each(|joined| joined.unwrap());
        }
        until_async("all are reaped", || children().is_empty()).await;
        until_async("all is closed", || descriptors("self").len() <= before).await;
        Ok(())
    });
}

#[test]
fn a_machine_ends_with_a_wait_under_way() {
    let _others = among_others();
    for (choice, _) in DRIVERS {
        let runtime = Builder::new_test().cores(2).driver(choice).build().unwrap();
        let (started, has_started) = futures::channel::oneshot::channel();
        runtime.spawn(async move {
            let mut child = endless().kill_on_drop(true).spawn().unwrap();
            started.send(child.id().unwrap()).unwrap();
            child.wait().await.unwrap();
            unreachable!("it never ends");
        });
        let pid = runtime.block_on(has_started).unwrap();
        assert!(is_there(pid));
        drop(runtime);
        crate::common::until("the child is gone", || !is_there(pid));
    }
}

#[test]
fn a_blocked_core_is_not_needed_to_drop_a_child() {
    let _others = among_others();
    // Neither a core nor a guest.
    let runtime = Builder::new_test().build().unwrap();
    let child = runtime.block_on(async { endless().kill_on_drop(true).spawn() }).unwrap();
    let pid = child.id().unwrap();
    assert!(Handle::try_current().is_err());
    drop(child);
    crate::common::until("the child is gone", || !is_there(pid));
}
