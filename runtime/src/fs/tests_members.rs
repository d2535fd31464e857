//! Cores that leave, come back and die while files are open.

use super::tests_support::{
    TempFile, at, driver, hold_at, kept, nothing_is_kept, on_both, read_write, reads_on_every_core,
};
use super::{OpenError, SharedFile};
use crate::CoreId;
use crate::machine::call;
use crate::machine::runtime::Handle;
use crate::runtime::ReviveError;
use crate::task::yield_now;
use multikernel_channels::oneshot;

/// What a core keeps that runs no tasks.
async fn kept_at_retired(core: usize) -> usize {
    let (reply, answer) = oneshot::channel();
    let mailbox = &Handle::current().machine.cores[core];
    let asked = call::post(mailbox, move |core| {
        let _ = reply.send(core.reactor.borrow().files_kept().0);
    });
    assert!(asked.is_ok());
    answer.await.unwrap()
}

#[test]
fn a_core_that_comes_back_has_what_was_opened_meanwhile() {
    on_both(4, || async {
        let machine = Handle::current();
        let temps = [b"0".as_slice(), b"01", b"012"].map(TempFile::new);
        let [first, second] = [temps[0].open().await, temps[1].open().await];
        for core in [2, 1, 3].map(CoreId::new) {
            machine.retire(core).await.unwrap();
            assert_eq!(kept_at_retired(core.index()).await, 0);
            let third = temps[2].open().await;
            assert_eq!(reads_on_every_core(third).await, [Some(3); 3]);
            machine.revive(core).await.unwrap();
            for (file, length) in [(first, 1), (second, 2), (third, 3)] {
                assert_eq!(reads_on_every_core(file).await, [Some(length); 4]);
            }
            third.close().await.unwrap();
        }
        first.close().await.unwrap();
        second.close().await.unwrap();
        nothing_is_kept().await;
        assert_eq!(temps.each_ref().map(TempFile::descriptors), [0; 3]);
    });
}

#[test]
fn a_core_without_room_for_all_files_does_not_come_back() {
    on_both(3, || async {
        let machine = Handle::current();
        let temps = [TempFile::new(b"1"), TempFile::new(b"12")];
        let [first, second] = [temps[0].open().await, temps[1].open().await];
        at(2, || driver(|driver| driver.limit_files(1))).await;
        machine.retire(CoreId::new(2)).await.unwrap();
        assert_eq!(machine.revive(CoreId::new(2)).await, Err(ReviveError::Refused));
        assert_eq!(kept_at_retired(2).await, 0);
        assert_eq!(reads_on_every_core(first).await, [Some(1); 2]);
        second.close().await.unwrap();
        machine.revive(CoreId::new(2)).await.unwrap();
        assert_eq!(reads_on_every_core(first).await, [Some(1); 3]);
        match SharedFile::open(temps[1].path(), &read_write()).await {
            Err(OpenError::Full { by, limit: 1 }) => assert_eq!(by.index(), 2),
            other => panic!("{other:?}"),
        }
        first.close().await.unwrap();
    });
}

#[test]
fn a_core_that_dies_has_nothing_in_flight() {
    on_both(4, || async {
        let machine = Handle::current();
        let temp = TempFile::new(b"content");
        let file = temp.open().await;
        let lease = hold_at(2, file).await;
        let closing = crate::spawn_local(file.close());
        while reads_on_every_core(file).await.iter().any(Option::is_some) {
            yield_now().await;
        }
        machine.kill(CoreId::new(2));
        closing.await.unwrap().unwrap();
        // The one that the lease holds; what comes after it finds no core.
        assert_eq!(temp.descriptors(), 1);
        drop(lease);
        assert_eq!(temp.descriptors(), 0);
        // The others go on.
        let file = temp.open().await;
        assert_eq!(reads_on_every_core(file).await.into_iter().flatten().collect::<Vec<_>>(), [7; 3]);
        machine.kill(CoreId::new(3));
        file.close().await.unwrap();
        while kept().await.len() > 2 {
            yield_now().await;
        }
        let file = temp.open().await;
        assert_eq!(reads_on_every_core(file).await, [Some(7); 2]);
        file.close().await.unwrap();
    });
}
