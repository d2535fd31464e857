//! Opening files, and what becomes of them.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

use multikernel::fs::{File, OpenOptions};
use multikernel::spawn;

use crate::common::{at_every_wait, descriptors, on_both, pattern, until_descriptors};

/// What std does with the same switches.
fn std_options(bits: u32) -> std::fs::OpenOptions {
    let on = |bit: u32| bits >> bit & 1 == 1;
    let mut options = std::fs::OpenOptions::new();
    options.read(on(0)).write(on(1)).append(on(2)).truncate(on(3)).create(on(4)).create_new(on(5));
    options
}

fn options(bits: u32) -> OpenOptions {
    let on = |bit: u32| bits >> bit & 1 == 1;
    let mut options = OpenOptions::new();
    options.read(on(0)).write(on(1)).append(on(2)).truncate(on(3)).create(on(4)).create_new(on(5));
    options
}

#[test]
fn every_combination_of_options_does_what_std_does() {
    on_both(1, |folder| async move {
        for bits in 0..64 {
            for there in [true, false] {
                let mut outcomes = Vec::new();
                for how in ["ours", "std", "from std"] {
                    let path = folder.join("file");
                    let _ = std::fs::remove_file(&path);
                    if there {
                        std::fs::write(&path, "content")?;
                    }
                    let opened = match how {
                        "ours" => options(bits).open(&path).await,
                        "std" => std_options(bits).open(&path).map(File::from_std),
                        _ => OpenOptions::from(std_options(bits)).open(&path).await,
                    };
                    let opened = match opened {
                        Ok(file) => {
                            // SAFETY: take no pointers.
                            let (flags, on_exec) = unsafe {
                                let fd = file.as_raw_fd();
                                (libc::fcntl(fd, libc::F_GETFL), libc::fcntl(fd, libc::F_GETFD))
                            };
                            assert_eq!(on_exec, libc::FD_CLOEXEC);
                            Ok((
                                flags,
                                file.metadata().await?.len(),
                                file.metadata().await?.permissions().mode(),
                            ))
                        }
                        Err(error) => Err(error.kind()),
                    };
                    outcomes.push((opened, path.exists()));
                }
                assert_eq!(outcomes[0], outcomes[1], "{bits:06b}, {there}");
                assert_eq!(outcomes[2], outcomes[1], "{bits:06b}, {there}");
            }
        }
        Ok(())
    });
}

#[test]
fn a_new_file_has_the_mode_that_was_asked_for() {
    on_both(1, |folder| async move {
        let file = OpenOptions::new().write(true).create(true).mode(0o600).open(folder.join("file")).await?;
        assert_eq!(file.metadata().await?.permissions().mode() & 0o777, 0o600);
        Ok(())
    });
}

#[test]
fn what_cannot_be_opened_says_why() {
    on_both(1, |folder| async move {
        let kind = async |path: &str| File::open(folder.join(path)).await.unwrap_err().kind();
        assert_eq!(kind("nothing").await, ErrorKind::NotFound);
        std::fs::write(folder.join("file"), "")?;
        assert_eq!(kind("file/below").await, ErrorKind::NotADirectory);
        assert_eq!(kind("a\0b").await, ErrorKind::InvalidInput);
        assert_eq!(kind(&"x".repeat(300)).await, ErrorKind::InvalidFilename);
        let created = File::create_new(folder.join("file")).await.unwrap_err();
        assert_eq!(created.kind(), ErrorKind::AlreadyExists);
        Ok(())
    });
}

#[test]
fn a_folder_is_opened_and_neither_read_nor_written() {
    on_both(1, |folder| async move {
        let file = File::open(&folder).await?;
        assert!(file.metadata().await?.is_dir());
        let read = file.read_at(vec![7; 16], 0).await;
        assert_eq!(read.result.unwrap_err().kind(), ErrorKind::IsADirectory);
        assert_eq!(read.buffer.unwrap(), [7; 16]);
        assert_eq!(File::create(&folder).await.unwrap_err().kind(), ErrorKind::IsADirectory);
        Ok(())
    });
}

#[test]
fn a_pipe_is_opened_when_somebody_opens_the_other_end() {
    on_both(1, |folder| async move {
        let path = folder.join("pipe");
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the name lives across the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let (there, name) = (path.clone(), path.clone());
        let reader = spawn(async move { File::open(there).await });
        for _ in 0..50 {
            multikernel::task::yield_now().await;
        }
        assert!(!reader.is_finished(), "nobody writes to it yet");
        let writer = OpenOptions::new().write(true).open(name).await?;
        let reader = reader.await??;
        let (mut writer, mut reader) = (writer.into_std().await, reader.into_std().await);
        writer.write_all(b"hello")?;
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
        assert_eq!(text, "hello");
        Ok(())
    });
}

#[test]
fn an_open_that_is_given_up_at_any_point_leaves_nothing_open() {
    on_both(1, |folder| async move {
        std::fs::write(folder.join("file"), "content")?;
        let path = folder.join("file");
        let file = at_every_wait(async |_| File::open(path.clone())).await?;
        until_descriptors(&folder, 1).await;
        drop(file);
        for round in 0..100 {
            let name = folder.join(format!("new-{}", round % 7));
            drop(crate::common::give_up_after(round % 4, File::create(name)).await);
        }
        until_descriptors(&folder, 0).await;
        Ok(())
    });
}

#[test]
fn a_file_goes_to_std_and_back() {
    on_both(1, |folder| async move {
        std::fs::write(folder.join("file"), pattern(100))?;
        let file = File::open(folder.join("file")).await?;
        let copy = file.try_clone().await?;
        assert_eq!(descriptors(&folder), 2);
        let mut std = file.try_into_std().expect("nothing is under way");
        let mut some = [0; 10];
        std.read_exact(&mut some)?;
        // One position for both.
        let mut copy = copy.into_std().await;
        copy.read_exact(&mut some)?;
        assert_eq!(some, pattern(100)[10..20]);
        drop((std, copy));
        assert_eq!(descriptors(&folder), 0);
        Ok(())
    });
}

#[test]
fn the_length_and_the_permissions_change() {
    on_both(1, |folder| async move {
        let file = File::create_new(folder.join("file")).await?;
        file.set_len(1 << 40).await?;
        assert_eq!(file.metadata().await?.len(), 1 << 40);
        file.set_len(3).await?;
        file.allocate(0, 8192).await?;
        assert_eq!(file.metadata().await?.len(), 8192);
        let mut permissions = file.metadata().await?.permissions();
        permissions.set_mode(0o640);
        file.set_permissions(permissions).await?;
        assert_eq!(std::fs::metadata(folder.join("file"))?.permissions().mode() & 0o777, 0o640);
        file.sync_all().await?;
        file.sync_data().await?;
        let reader = File::open(folder.join("file")).await?;
        assert_eq!(reader.set_len(1).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        io::Result::Ok(())
    });
}
