//! One core's replica by itself, as the agreement drives it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Poll;

use multikernel_replicate::StateMachine;

use super::drain::Drain;
use super::table::{Command, FileTable, Refusal};
use super::tests_support::{TempFile, driver, on_both, poll_once};
use super::work::Read;
use crate::driver::{At, FileId, FileOp, Outcome};
use crate::task::yield_now;

fn open(generation: u64, temp: &TempFile) -> Command {
    let file = Arc::new(OwnedFd::from(std::fs::File::open(temp.path()).unwrap()));
    Command::Open { generation, file }
}

fn close(generation: u64, only_if_idle: bool) -> Command {
    Command::Close { generation, drain: Arc::new(Drain::default()), only_if_idle }
}

fn apply(table: &mut FileTable, command: &Command) {
    table.prepare(command).unwrap();
    table.commit(command);
}

fn read(id: FileId) -> FileOp<Read<Vec<u8>>> {
    FileOp::new(id, Read::new(vec![0; 8], At::Offset(0)))
}

fn kept() -> usize {
    driver(|driver| driver.files_kept().0)
}

#[test]
fn a_vote_that_is_undone_leaves_no_trace() {
    on_both(1, || async {
        let temp = TempFile::new(b"content");
        let mut table = FileTable::default();
        for generation in 1..=3 {
            apply(&mut table, &open(generation, &temp));
        }
        apply(&mut table, &close(2, false));
        let (before, kept_before) = (table.digest(), kept());
        let round = [open(4, &temp), close(1, true), open(5, &temp), close(3, false), open(6, &temp)];
        for cut in 0..=round.len() {
            round[..cut].iter().for_each(|command| table.prepare(command).unwrap());
            // What is prepared is not there yet.
            assert_eq!(
                [1, 3, 4, 5].map(|generation| table.find(generation).is_some()),
                [true, true, false, false]
            );
            round[..cut].iter().rev().for_each(|command| table.abort(command));
            assert_eq!((table.digest(), kept()), (before, kept_before), "after {cut}");
        }
        // And then the same round is committed, up to a cut.
        round.iter().for_each(|command| table.prepare(command).unwrap());
        round[4..].iter().rev().for_each(|command| table.abort(command));
        round[..4].iter().for_each(|command| table.commit(command));
        let open: Vec<_> = (1..=6).filter(|generation| table.find(*generation).is_some()).collect();
        assert_eq!((open, kept()), (vec![4, 5], 2));
        drop(table);
        assert_eq!(kept(), 0);
        drop(round);
        assert_eq!(temp.descriptors(), 0);
    });
}

#[test]
fn what_is_closed_or_about_to_be_is_not_closed_again() {
    on_both(1, || async {
        let temp = TempFile::new(b"content");
        let mut table = FileTable::default();
        apply(&mut table, &open(1, &temp));
        assert_eq!(table.prepare(&close(2, false)), Err(Refusal::Closed));
        let first = close(1, false);
        table.prepare(&first).unwrap();
        assert_eq!(table.prepare(&close(1, false)), Err(Refusal::Closed));
        assert_eq!(table.prepare(&close(1, true)), Err(Refusal::Closed));
        table.abort(&first);
        apply(&mut table, &close(1, true));
        assert_eq!(table.prepare(&close(1, true)), Err(Refusal::Closed));
    });
}

#[test]
fn what_starts_during_a_vote_waits_for_the_outcome() {
    on_both(1, || async {
        let temp = TempFile::new(b"content");
        let mut table = FileTable::default();
        apply(&mut table, &open(1, &temp));
        let id = table.find(1).unwrap();
        for commits in [false, true] {
            let vote = close(1, true);
            table.prepare(&vote).unwrap();
            let mut starting = Box::pin(read(id));
            assert!(poll_once(starting.as_mut()).await.is_pending());
            yield_now().await;
            assert!(poll_once(starting.as_mut()).await.is_pending());
            assert_eq!(driver(|driver| driver.file_ops(id)), Some(0), "it has not started");
            if commits {
                table.commit(&vote);
                assert!(matches!(starting.await, Outcome::Closed(_)));
            } else {
                table.abort(&vote);
                match starting.await {
                    Outcome::Done(result, _) => assert_eq!(result.unwrap(), 7),
                    Outcome::Blocking(lease, mut work) => assert_eq!(lease.carry_out(&mut work).unwrap(), 7),
                    _ => panic!("it is open"),
                }
                while driver(|driver| driver.file_ops(id)) != Some(0) {
                    yield_now().await;
                }
            }
        }
    });
}

#[test]
fn what_has_started_before_a_vote_to_close_goes_on() {
    on_both(1, || async {
        let temp = TempFile::new(b"content");
        let mut table = FileTable::default();
        apply(&mut table, &open(1, &temp));
        let id = table.find(1).unwrap();
        let mut running = Box::pin(FileOp::blocking(id, Read::new(vec![0; 8], At::Offset(0))));
        let Poll::Ready(Outcome::Blocking(lease, mut work)) = poll_once(running.as_mut()).await else {
            panic!("it is open")
        };
        assert_eq!(table.prepare(&close(1, true)), Err(Refusal::Busy { in_flight: 1 }));
        let drain = Arc::new(Drain::default());
        let vote = Command::Close { generation: 1, drain: drain.clone(), only_if_idle: false };
        apply(&mut table, &vote);
        assert!(matches!(read(id).await, Outcome::Closed(_)));
        let mut over = Box::pin(drain.over());
        assert!(poll_once(over.as_mut()).await.is_pending());
        assert_eq!(lease.carry_out(&mut work).unwrap(), 7);
        drop(lease);
        over.await;
        assert_eq!((kept(), temp.descriptors()), (0, 0));
    });
}

#[test]
fn a_core_that_joins_gets_the_table_or_nothing() {
    on_both(1, || async {
        let temp = TempFile::new(b"content");
        let mut table = FileTable::default();
        for generation in 1..=4 {
            apply(&mut table, &open(generation, &temp));
        }
        apply(&mut table, &close(2, false));
        apply(&mut table, &close(4, false));
        let saved = table.snapshot();
        driver(|driver| driver.limit_files(3));
        // Stands in for a core that has room for one file: this one has the other table's two.
        assert_eq!(FileTable::restore(&saved).err(), Some(Refusal::Full { limit: 3 }));
        assert_eq!(kept(), 2, "of those it could take it has kept none");
        driver(|driver| driver.limit_files(100));
        let (digest, names) = (table.digest(), [1, 3].map(|generation| table.find(generation)));
        drop(table);
        let mut joined = FileTable::restore(&saved).unwrap();
        assert_eq!((joined.digest(), [1, 3].map(|generation| joined.find(generation))), (digest, names));
        assert_eq!(kept(), 2);
        // It goes on as the others do.
        apply(&mut joined, &open(5, &temp));
        assert_eq!(joined.find(5).unwrap().slot, 3);
        for id in [1, 3, 5].map(|generation| joined.find(generation).unwrap()) {
            match read(id).await {
                Outcome::Done(result, _) => assert_eq!(result.unwrap(), 7),
                Outcome::Blocking(lease, mut work) => assert_eq!(lease.carry_out(&mut work).unwrap(), 7),
                _ => panic!("it is open"),
            }
        }
    });
}
