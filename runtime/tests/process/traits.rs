//! Pipes through tokio's traits.

use std::process::Stdio;

use multikernel::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use multikernel::process::Command;

use crate::common::{among_others, give_up_after, on_both, pattern, sh};

#[test]
fn lines_of_a_child_are_read_as_they_come() {
    let _others = among_others();
    on_both(1, || async {
        let mut command = sh("while read x; do echo \"<$x>\"; done");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for n in 0..20 {
            input.write_all(format!("{n}\n").as_bytes()).await?;
            assert_eq!(lines.next_line().await?, Some(format!("<{n}>")));
        }
        input.shutdown().await?;
        drop(input);
        assert_eq!(lines.next_line().await?, None);
        assert!(child.wait().await?.success());
        Ok(())
    });
}

#[test]
fn bytes_go_round_while_reads_and_writes_are_given_up() {
    let _others = among_others();
    on_both(1, || async {
        let data = pattern(400_000);
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let writing = async {
            let mut rest = &data[..];
            while !rest.is_empty() {
                // A write that is dropped has written nothing; one that is done says how much.
                if let Some(put) = give_up_after(2, input.write(rest)).await {
                    rest = &rest[put?..];
                }
            }
            drop(input);
            std::io::Result::Ok(())
        };
        let reading = async {
            let (mut all, mut room) = (Vec::new(), [0; 3000]);
            loop {
                match give_up_after(2, output.read(&mut room)).await {
                    None => {}
                    Some(Ok(0)) => return Ok(all),
                    Some(got) => all.extend_from_slice(&room[..got?]),
                }
            }
        };
        let (written, read) = futures::future::join(writing, reading).await;
        written?;
        let read: std::io::Result<Vec<u8>> = read;
        assert!(read? == data);
        assert!(child.wait().await?.success());
        Ok(())
    });
}

#[test]
fn vectored_writes_arrive_in_order() {
    let _others = among_others();
    on_both(1, || async {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().unwrap();
        assert!(input.is_write_vectored());
        let parts =
            [std::io::IoSlice::new(b"one "), std::io::IoSlice::new(b""), std::io::IoSlice::new(b"two")];
        assert_eq!(input.write_vectored(&parts).await?, 7);
        drop(input);
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).await?;
        assert_eq!(text, "one two");
        assert!(child.wait().await?.success());
        Ok(())
    });
}
