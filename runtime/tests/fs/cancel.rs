//! Every future of a file is dropped at the points where it waits, and the file works on.

use multikernel::fs::{self, AlignedBuf, File};

use crate::common::{at_every_wait, give_up_after, on_both, pattern, until_descriptors};

#[test]
fn operations_given_up_leave_the_file_as_it_was() {
    on_both(1, |folder| async move {
        let data = pattern(10_000);
        std::fs::write(folder.join("file"), &data)?;
        let options = File::options().read(true).write(true).clone();
        let file = options.open(folder.join("file")).await?;
        for waits in 0..4 {
            drop(give_up_after(waits, file.read_at(vec![0; 5000], 100)).await);
            drop(give_up_after(waits, file.read_exact_at(vec![0; 5000], 100)).await);
            drop(give_up_after(waits, file.read_at(AlignedBuf::registered(), 0)).await);
            drop(give_up_after(waits, file.read_vectored_at(vec![vec![0; 5000]; 2], 0)).await);
            // They write what is there: whether they do is not known.
            drop(give_up_after(waits, file.write_at(data[..5000].to_vec(), 0)).await);
            drop(give_up_after(waits, file.write_all_at(data[..5000].to_vec(), 0)).await);
            drop(give_up_after(waits, file.write_vectored_at(vec![data.clone()], 0)).await);
            drop(give_up_after(waits, file.set_len(10_000)).await);
            drop(give_up_after(waits, file.allocate(0, 100)).await);
            drop(give_up_after(waits, file.sync_all()).await);
            drop(give_up_after(waits, file.sync_data()).await);
            drop(give_up_after(waits, file.metadata()).await);
            drop(give_up_after(waits, file.try_clone()).await);
            let permissions = file.metadata().await?.permissions();
            drop(give_up_after(waits, file.set_permissions(permissions)).await);
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
        for waits in 0..4 {
            drop(give_up_after(waits, fs::read(path("file"))).await);
            drop(give_up_after(waits, fs::read_to_string(path("file"))).await);
            drop(give_up_after(waits, fs::write(path("other"), "text")).await);
            drop(give_up_after(waits, fs::copy(path("file"), path("copy"))).await);
            drop(give_up_after(waits, fs::metadata(path("file"))).await);
            drop(give_up_after(waits, fs::canonicalize(path("file"))).await);
            drop(give_up_after(waits, fs::create_dir(path(&format!("folder-{waits}")))).await);
            drop(give_up_after(waits, fs::create_dir_all(path("a/b/c"))).await);
            drop(give_up_after(waits, fs::symlink("file", path("link"))).await);
            drop(give_up_after(waits, fs::hard_link(path("file"), path("hard"))).await);
            drop(give_up_after(waits, fs::rename(path("hard"), path("harder"))).await);
            drop(give_up_after(waits, fs::remove_file(path("harder"))).await);
            drop(give_up_after(waits, fs::remove_dir_all(path("a"))).await);
            drop(give_up_after(waits, fs::read_dir(&folder)).await);
        }
        until_descriptors(&folder, 0).await;
        assert!(fs::read(path("file")).await? == pattern(100_000));
        Ok(())
    });
}
