//! Pipes through the traits of `futures`.

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::process::Stdio;

use futures::io::{AsyncRead, AsyncWrite};
use multikernel::process::Command;

use crate::common::{among_others, on_both};

#[test]
fn bytes_go_through_a_child() {
    let _others = among_others();
    on_both(1, || async {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        assert_eq!(poll_fn(|cx| Pin::new(&mut input).poll_write(cx, b"one ")).await?, 4);
        let parts = [IoSlice::new(b"t"), IoSlice::new(b"wo")];
        assert_eq!(poll_fn(|cx| Pin::new(&mut input).poll_write_vectored(cx, &parts)).await?, 3);
        poll_fn(|cx| Pin::new(&mut input).poll_flush(cx)).await?;
        poll_fn(|cx| Pin::new(&mut input).poll_close(cx)).await?;
        drop(input);
        let (mut all, mut room) = (Vec::new(), [0; 3]);
        loop {
            match poll_fn(|cx| Pin::new(&mut output).poll_read(cx, &mut room)).await? {
                0 => break,
                got => all.extend_from_slice(&room[..got]),
            }
        }
        assert_eq!(all, b"one two");
        assert!(child.wait().await?.success());
        Ok(())
    });
}
