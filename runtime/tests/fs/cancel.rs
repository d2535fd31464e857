//! Every future of a file is dropped at the points where it waits, and the file works on.

use multikernel::fs::{self, AlignedBuf, File};

use crate::common::{at_every_wait, give_up_after, on_both, pattern, until_descriptors};
use crate::support::woken_within;

/// Drops a future after a few polls, with its operation queued, under way or done; and at each of its waits, until it is done
/// without having been dropped.
macro_rules! at_every_point {
    ($future:expr) => {
        for polls in 0..4 {
            drop(give_up_after(polls, $future).await);
        }
        for waits in 1.. {
            if woken_within(waits, $future).await.is_some() {
                break;
            }
        }
    };
}

#[test]
fn operations_given_up_leave_the_file_as_it_was() {
    on_both(1, |folder| async move {
        let data = pattern(10_000);
        std::fs::write(folder.join("file"), &data)?;
        let options = File::options().read(true).write(true).clone();
        let file = options.open(folder.join("file")).await?;
        for _ in 0..2 {
            at_every_point!(file.read_at(vec![0; 5000], 100));
            at_every_point!(file.read_exact_at(vec![0; 5000], 100));
            at_every_point!(file.read_at(AlignedBuf::registered(), 0));
            at_every_point!(file.read_vectored_at(vec![vec![0; 5000]; 2], 0));
            // They write what is there: whether they do is not known.
            at_every_point!(file.write_at(data[..5000].to_vec(), 0));
            at_every_point!(file.write_all_at(data[..5000].to_vec(), 0));
            at_every_point!(file.write_vectored_at(vec![data.clone()], 0));
            at_every_point!(file.set_len(10_000));
            at_every_point!(file.allocate(0, 100));
            at_every_point!(file.sync_all());
            at_every_point!(file.sync_data());
            at_every_point!(file.metadata());
            at_every_point!(file.try_clone());
            let permissions = file.metadata().await?.permissions();
            at_every_point!(file.set_permissions(permissions.clone()));
            let read = file.read_exact_at(vec![0; 10_000], 0).await;
            assert_eq!(read.result?, 10_000);
            assert!(read.buffer.unwrap() == data);
        }
        drop(file);
        until_descriptors(&folder, 0).await;
        Ok(())
    });
}

#[test]
fn a_file_given_to_std_is_not_lost_in_between() {
    on_both(1, |folder| async move {
        std::fs::write(folder.join("file"), "content")?;
        at_every_wait(async |_| File::open(folder.join("file")).await.unwrap().into_std()).await;
        until_descriptors(&folder, 0).await;
        Ok(())
    });
}

#[test]
fn functions_given_up_leave_nothing_open() {
    on_both(1, |folder| async move {
        std::fs::write(folder.join("file"), pattern(100_000))?;
        let path = |name: &str| folder.join(name);
        for _ in 0..2 {
            at_every_point!(fs::read(path("file")));
            at_every_point!(fs::read_to_string(path("file")));
            at_every_point!(fs::write(path("other"), "text"));
            at_every_point!(fs::copy(path("file"), path("copy")));
            at_every_point!(fs::metadata(path("file")));
            at_every_point!(fs::canonicalize(path("file")));
            at_every_point!(fs::create_dir(path("made")));
            at_every_point!(fs::create_dir_all(path("a/b/c")));
            at_every_point!(fs::symlink("file", path("link")));
            at_every_point!(fs::hard_link(path("file"), path("hard")));
            at_every_point!(fs::rename(path("hard"), path("harder")));
            at_every_point!(fs::remove_file(path("harder")));
            at_every_point!(fs::remove_dir_all(path("a")));
            at_every_point!(fs::read_dir(&folder));
        }
        until_descriptors(&folder, 0).await;
        assert!(fs::read(path("file")).await? == pattern(100_000));
        Ok(())
    });
}
