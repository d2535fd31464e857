//! The pipes to a child's standard streams.

use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use futures::future::join;
use multikernel::process::{ChildStdout, Command};
use multikernel::{CoreId, spawn_on};

use crate::common::{among_others, endless, on_both, pattern, sh};

async fn read_all(output: &ChildStdout) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let bytes = output.recv().await?;
        if bytes.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(&bytes);
    }
}

#[test]
fn much_output_through_both_pipes_at_once_is_all_there() {
    let _others = among_others();
    on_both(1, || async {
        let script =
            "head -c 3000001 /dev/zero | tr '\\0' e >&2 & head -c 3000000 /dev/zero | tr '\\0' o; wait";
        let output = sh(script).output().await?;
        assert!(output.status.success());
        assert_eq!((output.stdout.len(), output.stderr.len()), (3_000_000, 3_000_001));
        assert!(output.stdout.iter().all(|byte| *byte == b'o'));
        assert!(output.stderr.iter().all(|byte| *byte == b'e'));
        // One after the other: whoever reads only one of the two pipes is stuck.
        let script = "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2";
        let output = sh(script).output().await?;
        assert_eq!((output.stdout.len(), output.stderr.len()), (300_000, 600_000));
        Ok(())
    });
}

#[test]
fn what_is_written_comes_back_unchanged() {
    let _others = among_others();
    on_both(1, || async {
        let data = pattern(5_000_000);
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let writing = async {
            let sent = input.send_all(data.clone()).await;
            drop(input);
            sent.result.map(|()| sent.buffer.unwrap())
        };
        let (sent, got) = join(writing, read_all(&output)).await;
        assert!(sent? == data && got? == data);
        assert!(child.wait().await?.success());
        Ok(())
    });
}

#[test]
fn the_ends_of_pipes_go_to_other_cores() {
    let _others = among_others();
    on_both(2, || async {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let writing = spawn_on(CoreId::new(1), move || async move {
            input.send_all(pattern(1_000_000)).await.result // and drops the input there
        });
        assert!(read_all(&output).await? == pattern(1_000_000));
        writing.await.unwrap()?;
        assert!(child.wait().await?.success());
        Ok(())
    });
}

#[test]
fn attempts_never_wait_and_miss_nothing() {
    let _others = among_others();
    on_both(1, || async {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let data = pattern(300_000);
        assert_eq!(output.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let writing = async {
            let mut rest = &data[..];
            while !rest.is_empty() {
                input.writable().await?;
                match input.try_write(&rest[..rest.len().min(7000)]) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    put => rest = &rest[put?..],
                }
            }
            drop(input);
            std::io::Result::Ok(())
        };
        let reading = async {
            let (mut all, mut room) = (Vec::new(), [0; 5000]);
            loop {
                output.readable().await?;
                match output.try_read(&mut room) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Ok(0) => return Ok(all),
                    got => all.extend_from_slice(&room[..got?]),
                }
            }
        };
        let (written, read) = join(writing, reading).await;
        written?;
        let read: std::io::Result<Vec<u8>> = read;
        assert!(read? == data);
        assert!(child.wait().await?.success());
        Ok(())
    });
}

#[test]
fn writing_to_a_child_that_does_not_read_any_more_is_an_error_and_no_signal() {
    let _others = among_others();
    on_both(1, || async {
        let script = "exec <&-; echo closed; exec cat /dev/zero >/dev/null";
        let mut command = sh(script);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let input = child.stdin.take().unwrap();
        assert_eq!(&child.stdout.as_ref().unwrap().recv().await?[..], b"closed\n");
        let sent = input.send_all(vec![0; 100_000]).await;
        assert_eq!(sent.result.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(sent.buffer.unwrap().len(), 100_000);
        input.writable().await?;
        assert_eq!(input.try_write(b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
        child.kill().await?;

        // While the writer waits for room.
        let mut child = endless().stdin(Stdio::piped()).spawn()?;
        let input = child.stdin.take().unwrap();
        let pid = child.id().unwrap().cast_signed();
        // SAFETY: the child has not been waited for, so the number is its own.
        unsafe { libc::kill(pid, libc::SIGSTOP) };
        let (sent, killed) = join(input.send_all(vec![0; 1_000_000]), async {
            multikernel::task::yield_now().await;
            child.kill().await
        })
        .await;
        killed?;
        assert_eq!(sent.result.unwrap_err().kind(), ErrorKind::BrokenPipe);
        Ok(())
    });
}

#[test]
fn a_child_dies_of_writing_when_nobody_reads() {
    let _others = among_others();
    on_both(1, || async {
        let mut child = Command::new("yes").stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().unwrap();
        assert!(!output.recv().await?.is_empty());
        drop(output); // watched by this core, and still closed at once
        assert_eq!(child.wait().await?.signal(), Some(libc::SIGPIPE), "it was given back to the child");
        Ok(())
    });
}

#[test]
fn children_are_joined_by_pipes() {
    let _others = among_others();
    on_both(1, || async {
        let mut first =
            sh("echo one; read x; echo two").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = first.stdout.take().unwrap();
        // Read first, so that the driver watches it.
        output.readable().await?;
        let mut command = Command::new("cat");
        command.stdin(Stdio::try_from(output)?).stdout(Stdio::piped());
        let second = command.spawn()?;
        drop(command); // it holds the pipe too
        assert!(first.wait().await?.success());
        assert_eq!(second.wait_with_output().await?.stdout, b"one\ntwo\n");
        Ok(())
    });
}

#[test]
fn the_descriptors_that_come_back_block() {
    let _others = among_others();
    on_both(1, || async {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        input.writable().await?;
        assert_eq!(input.try_write(b"hello")?, 5);
        output.readable().await?;
        for fd in [input.as_raw_fd(), output.as_raw_fd()] {
            // SAFETY: the call takes numbers.
            assert_ne!(unsafe { libc::fcntl(fd, libc::F_GETFL) } & libc::O_NONBLOCK, 0);
        }
        let (input, output) = (OwnedFd::try_from(input)?, output.into_owned_fd()?);
        for fd in [&input, &output] {
            // SAFETY: the call takes numbers.
            let (flags, own) = unsafe {
                (libc::fcntl(fd.as_raw_fd(), libc::F_GETFL), libc::fcntl(fd.as_raw_fd(), libc::F_GETFD))
            };
            assert_eq!(flags & libc::O_NONBLOCK, 0);
            assert_ne!(own & libc::FD_CLOEXEC, 0);
        }
        // They block the thread that uses them, which a core must not be.
        let (done, is_done) = futures::channel::oneshot::channel();
        std::thread::spawn(move || {
            let (mut input, mut output) = (PipeWriter::from(input), PipeReader::from(output));
            input.write_all(b" all").unwrap();
            drop(input);
            let mut text = String::new();
            output.read_to_string(&mut text).unwrap();
            done.send(text).unwrap();
        });
        let text = is_done.await.unwrap();
        assert_eq!(text, "hello all");
        child.wait().await?;
        Ok(())
    });
}
