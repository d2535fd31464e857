//! Paths and folders.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;

use futures::TryStreamExt;
use multikernel::fs;

use crate::common::{descriptors, give_up_after, on_both, pattern, until_descriptors};

#[test]
fn every_function_does_what_std_does() {
    on_both(1, |folder| async move {
        let path = |name: &str| folder.join(name);
        fs::write(path("one"), "hello").await?;
        assert_eq!(fs::read(path("one")).await?, b"hello");
        assert_eq!(fs::read_to_string(path("one")).await?, "hello");
        assert_eq!(fs::copy(path("one"), path("two")).await?, 5);
        fs::hard_link(path("two"), path("three")).await?;
        fs::rename(path("three"), path("four")).await?;
        assert!(!fs::try_exists(path("three")).await? && fs::try_exists(path("four")).await?);
        fs::symlink("four", path("link")).await?;
        assert_eq!(fs::read_link(path("link")).await?.to_str(), Some("four"));
        assert_eq!(fs::canonicalize(path("link")).await?, std::fs::canonicalize(path("four"))?);
        assert!(fs::symlink_metadata(path("link")).await?.is_symlink());
        assert_eq!(fs::metadata(path("link")).await?.len(), 5);
        fs::set_permissions(path("one"), PermissionsExt::from_mode(0o640)).await?;
        assert_eq!(std::fs::metadata(path("one"))?.permissions().mode() & 0o777, 0o640);
        fs::create_dir(path("folder")).await?;
        assert_eq!(fs::create_dir(path("folder")).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        fs::create_dir_all(path("folder/a/b")).await?;
        let full = fs::remove_dir(path("folder")).await.unwrap_err();
        assert_eq!(full.kind(), ErrorKind::DirectoryNotEmpty);
        fs::remove_dir_all(path("folder")).await?;
        fs::create_dir(path("folder")).await?;
        fs::remove_dir(path("folder")).await?;
        fs::remove_file(path("one")).await?;
        let gone = fs::read(path("one")).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
        fs::write(path("one"), [0xff, 0xfe]).await?;
        assert_eq!(fs::read_to_string(path("one")).await.unwrap_err().kind(), ErrorKind::InvalidData);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path("deep/er")).await?;
        assert_eq!(std::fs::metadata(path("deep/er"))?.permissions().mode() & 0o777, 0o700);
        Ok(())
    });
}

#[test]
fn a_folder_of_a_thousand_is_read_whole_by_both_ways() {
    on_both(1, |folder| async move {
        let names: BTreeSet<_> = (0..1000).map(|number| format!("file-{number}")).collect();
        for name in &names {
            std::fs::write(folder.join(name), name)?;
        }
        let mut entries = fs::read_dir(&folder).await?;
        let mut seen = BTreeSet::new();
        while let Some(entry) = entries.next_entry().await? {
            assert!(seen.insert(entry.file_name().into_string().unwrap()), "twice");
        }
        assert_eq!(seen, names);
        assert!(entries.next_entry().await?.is_none());
        let entries: Vec<_> = fs::read_dir(&folder).await?.try_collect().await?;
        assert_eq!(entries.len(), 1000);
        for entry in entries.iter().step_by(100) {
            assert!(entry.file_type().await?.is_file());
            assert_eq!(entry.metadata().await?.len(), entry.file_name().len() as u64);
            assert_eq!(entry.path(), folder.join(entry.file_name()));
        }
        Ok(())
    });
}

#[test]
fn entries_that_are_given_up_are_not_lost() {
    on_both(1, |folder| async move {
        for number in 0..100 {
            std::fs::write(folder.join(number.to_string()), pattern(number))?;
        }
        let mut entries = fs::read_dir(&folder).await?;
        let mut seen = 0;
        for waits in (0..3).cycle() {
            match give_up_after(waits, entries.next_entry()).await {
                Some(entry) if entry.as_ref().is_ok_and(Option::is_none) => break,
                Some(entry) => seen += usize::from(entry?.is_some()),
                None => {}
            }
        }
        assert_eq!(seen, 100);
        drop(fs::read_dir(&folder).await?);
        until_descriptors(&folder, 0).await;
        assert_eq!(descriptors(&folder), 0);
        let none = fs::read_dir(folder.join("0")).await.unwrap_err();
        assert_eq!(none.kind(), ErrorKind::NotADirectory);
        Ok(())
    });
}
