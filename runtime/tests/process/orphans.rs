//! Children that are dropped before they end.

use multikernel::runtime::{Builder, Handle};
use multikernel::{CoreId, spawn_on};

use crate::common::{
    DRIVERS, alone, among_others, children, descriptors, endless, give_up_after, is_there, on_both, until,
    until_async, until_told,
};

#[test]
fn a_dropped_child_runs_on_and_is_reaped_when_it_ends() {
    let _others = among_others();
    on_both(2, || async {
        for watched in [false, true] {
            for core in 0..2 {
                let there = spawn_on(CoreId::new(core), move || async move {
                    let (mut child, tell) = until_told(0);
                    if watched {
                        assert!(give_up_after(1, child.wait()).await.is_none());
                    }
                    (child.id().unwrap(), tell)
                });
                let (pid, tell) = there.await.unwrap();
                assert!(is_there(pid));
                drop(tell);
                until_async("it is reaped", || !is_there(pid)).await;
            }
        }
        Ok(())
    });
}

#[test]
fn a_child_that_has_ended_is_reaped_by_its_drop() {
    let _others = among_others();
    on_both(1, || async {
        let (child, tell) = until_told(0);
        let pid = child.id().unwrap();
        drop(tell);
        let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        until_async("it ends", || state().contains(") Z ")).await;
        drop(child);
        assert!(!is_there(pid));
        Ok(())
    });
}

#[test]
fn a_child_dropped_by_a_guest_or_by_a_thread_of_no_machine_is_reaped() {
    let _others = among_others();
    for (choice, _) in DRIVERS {
        let runtime = Builder::new_test().driver(choice).build().unwrap();
        let (child, tell) = until_told(0);
        let pid = child.id().unwrap();
        runtime.block_on(async { drop(child) });
        drop(tell);
        until("it is reaped for the guest", || !is_there(pid));

        let (child, tell) = until_told(0);
        let pid = child.id().unwrap();
        drop(child);
        drop(tell);
        until("it is reaped for nobody", || !is_there(pid));
    }
}

#[test]
fn a_child_outlives_the_machine_and_is_reaped_still() {
    let _others = among_others();
    for (choice, _) in DRIVERS {
        let mut orphans = Vec::new();
        for core in 0..2 {
            let machine = Builder::new_test().cores(2).driver(choice).run(|| async move {
                let leave = || async {
                    let (mut child, tell) = until_told(0);
                    assert!(give_up_after(1, child.wait()).await.is_none());
                    (child.id().unwrap(), tell)
                };
                let dropped = spawn_on(CoreId::new(core), leave).await.unwrap();
                let (child, tell) = until_told(0);
                let pid = child.id().unwrap();
                multikernel::spawn(async move {
                    std::future::pending::<()>().await;
                    drop(child); // with the Machine
                });
                [dropped, (pid, tell)]
            });
            orphans.extend(machine.unwrap());
        }
        for (pid, tell) in orphans {
            assert!(is_there(pid));
            drop(tell);
            until("it is reaped", || !is_there(pid));
        }
    }
}

#[test]
fn a_guest_whose_machine_has_ended_leaves_a_child() {
    let _others = among_others();
    for (choice, _) in DRIVERS {
        let runtime = Builder::new_test().driver(choice).build().unwrap();
        let handle = runtime.handle().clone();
        let guard = handle.enter();
        let (child, tell) = until_told(0);
        let pid = child.id().unwrap();
        drop(runtime);
        drop(child);
        drop(guard);
        assert!(is_there(pid));
        drop(tell);
        until("it is reaped", || !is_there(pid));
    }
}

#[test]
fn a_core_retires_while_it_watches_an_orphan() {
    let _others = among_others();
    on_both(2, || async {
        let there = spawn_on(CoreId::new(1), || async {
            let (child, tell) = until_told(0);
            (child.id().unwrap(), tell)
        });
        let (pid, tell) = there.await.unwrap();
        Handle::current().retire(CoreId::new(1)).await?;
        drop(tell);
        until_async("it is reaped", || !is_there(pid)).await;
        Ok(())
    });
}

#[test]
fn a_core_that_dies_leaves_its_orphans_to_others() {
    let _others = among_others();
    on_both(2, || async {
        let there = spawn_on(CoreId::new(1), || async {
            let (child, tell) = until_told(0);
            (child.id().unwrap(), tell)
        });
        let (pid, tell) = there.await.unwrap();
        Handle::current().kill(CoreId::new(1));
        while spawn_on(CoreId::new(1), || async {}).await.is_ok() {}
        drop(tell);
        until_async("it is reaped", || !is_there(pid)).await;
        Ok(())
    });
}

#[test]
fn hundreds_of_orphans_end_at_once_and_leave_nothing() {
    let _alone = alone();
    for (choice, _) in DRIVERS {
        let before = descriptors("self").len();
        let tellers = Builder::new_test().cores(2).driver(choice).run(|| async {
            let mut all = Vec::new();
            for n in 0..100 {
                let there = spawn_on(CoreId::new(n % 2), || async { until_told(0).1 });
                all.push(there.await.unwrap());
            }
            // A half ends while the Machine runs, a half after it.
            drop(all.split_off(50));
            until_async("a half is reaped", || children().len() == 50).await;
            all
        });
        assert_eq!(children().len(), 50);
        drop(tellers.unwrap());
        until("all are reaped", || children().is_empty());
        until("all is closed", || descriptors("self").len() <= before + 2); // the two of the hub for signals
    }
}

#[test]
fn kill_on_drop_kills_wherever_it_is_dropped() {
    let _others = among_others();
    on_both(2, || async {
        let child = endless().kill_on_drop(true).spawn()?;
        let pid = child.id().unwrap();
        drop(child);
        until_async("dropped here", || !is_there(pid)).await;

        let child = endless().kill_on_drop(true).spawn()?;
        let pid = child.id().unwrap();
        spawn_on(CoreId::new(1), || async { drop(child) }).await.unwrap();
        until_async("dropped there", || !is_there(pid)).await;

        let child = endless().kill_on_drop(true).spawn()?;
        let pid = child.id().unwrap();
        std::thread::spawn(|| drop(child)).join().unwrap();
        until_async("dropped outside", || !is_there(pid)).await;

        let child = endless().kill_on_drop(true).spawn()?;
        let pid = child.id().unwrap();
        let waiting = multikernel::spawn(child.wait_with_output());
        multikernel::task::yield_now().await;
        waiting.abort();
        assert!(waiting.await.is_err_and(|error| error.is_cancelled()));
        until_async("its task is aborted", || !is_there(pid)).await;
        Ok(())
    });
}
