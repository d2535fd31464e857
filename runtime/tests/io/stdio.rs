//! The standard streams, in processes of their own.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Output, Stdio};

use multikernel::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, stderr, stdin, stdout};
use multikernel::runtime::Builder;
use multikernel::task::yield_now;

use crate::common::{again, give_up_after, pattern, poll_once};

/// A child for each driver that runs `test`, which is one of the ignored tests here.
fn children(test: &str) -> impl Iterator<Item = Command> {
    let name = format!("stdio::{test}");
    ["uring", "epoll"].into_iter().map(move |driver| {
        let mut command = again(&name);
        command.env("MULTIKERNEL_DRIVER", driver);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    })
}

fn run(future: impl Future<Output = io::Result<()>> + 'static) {
    Builder::new_test().run(|| future).unwrap().unwrap();
}

fn assert_succeeds(child: Child) -> Output {
    let output = child.wait_with_output().unwrap();
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{told}");
    output
}

/// What the child wrote between two marks; the rest is the test harness's.
fn between_marks(output: &[u8]) -> &[u8] {
    let find = |mark: &[u8]| output.windows(mark.len()).position(|window| window == mark).expect("a mark");
    &output[find(b"<<<") + 3..find(b">>>")]
}

#[test]
fn lines_are_answered_while_the_input_stays_open() {
    for mut child in children("inner_lines") {
        let mut child = child.spawn().unwrap();
        let (mut ask, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut answers = io::BufReader::new(answers).lines();
        for round in 0..20 {
            writeln!(ask, "line {round}").unwrap();
            let expected = format!("echo line {round}");
            assert!(answers.any(|answer| answer.unwrap().ends_with(&expected)));
        }
        drop(ask);
        assert!(answers.any(|answer| answer.unwrap() == "20 lines, and the end twice"));
        answers.for_each(drop);
        assert_succeeds(child);
    }
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn inner_lines() {
    run(async {
        let mut lines = BufReader::new(stdin()).lines();
        let (mut out, mut count) = (stdout(), 0);
        while let Some(line) = lines.next_line().await? {
            out.write_all(format!("echo {line}\n").as_bytes()).await?;
            out.flush().await?;
            count += 1;
        }
        assert_eq!(stdin().read(&mut [0; 8]).await?, 0);
        out.write_all(format!("{count} lines, and the end twice\n").as_bytes()).await
    });
}

#[test]
fn reads_given_up_lose_nothing_even_with_their_handles() {
    for mut child in children("inner_given_up") {
        let mut child = child.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let sending = std::thread::spawn(move || {
            for piece in pattern(20_000).chunks(37) {
                input.write_all(piece).unwrap();
            }
        });
        let output = assert_succeeds(child);
        sending.join().unwrap();
        assert!(output.stdout.windows(13).any(|window| window == b"nothing lost\n"));
    }
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn inner_given_up() {
    run(async {
        let mut got = Vec::new();
        let mut given_up = 0;
        loop {
            let mut buf = [0; 50];
            let mut input = stdin();
            let mut reading = Box::pin(input.read(&mut buf));
            let mut count = None;
            for _ in 0..1 + got.len() % 3 {
                if let std::task::Poll::Ready(result) = poll_once(&mut reading.as_mut()).await {
                    count = Some(result?);
                    break;
                }
                yield_now().await;
            }
            drop(reading);
            match count {
                Some(0) => break,
                Some(count) => got.extend_from_slice(&buf[..count]),
                None => given_up += 1,
            }
        }
        assert!(got == pattern(20_000), "{} bytes", got.len());
        assert!(given_up > 0, "no read had to wait");
        stdout().write_all(b"nothing lost\n").await
    });
}

#[test]
fn what_was_taken_is_written_in_order_also_when_the_machine_ends() {
    for mut child in children("inner_unflushed") {
        let output = assert_succeeds(child.spawn().unwrap());
        let text = String::from_utf8(between_marks(&output.stdout).to_vec()).unwrap();
        let numbers: Vec<_> =
            text.split_whitespace().map(|number| number.parse::<usize>().unwrap()).collect();
        assert!(numbers == (0..100_000).collect::<Vec<_>>());
    }
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn inner_unflushed() {
    run(async {
        // Two handles, one order; and no flush at the end.
        let mut handles = [stdout(), stdout()];
        handles[0].write_all(b"<<<").await?;
        for number in 0..100_000 {
            handles[number % 2].write_all(format!("{number}\n").as_bytes()).await?;
        }
        stdout().write_all(b">>>").await
    });
}

#[test]
fn a_pool_that_is_taken_up_by_a_read_does_not_keep_output_from_being_written() {
    for mut child in children("inner_one_thread") {
        // Its standard input stays open, and the one thread of its pool in a read.
        let mut child = child.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = assert_succeeds(child);
        drop(input);
        assert_eq!(between_marks(&output.stdout), b"one two");
    }
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn inner_one_thread() {
    for part in [&b"<<<one "[..], b"two>>>"] {
        let write = async move {
            give_up_after(3, stdin().read(&mut [0; 1])).await;
            stdout().write_all(part).await
        };
        let mut builder = Builder::new_test();
        builder.max_blocking_threads(1);
        if part.starts_with(b"<") {
            builder.run(|| write).unwrap().unwrap();
        } else {
            let runtime = builder.cores(1).build().unwrap();
            runtime.block_on(write).unwrap();
            drop(runtime);
        }
    }
}

#[test]
fn a_full_pipe_holds_writers_up_and_one_that_does_not_block_loses_nothing() {
    for nonblocking in [false, true] {
        for mut child in children("inner_full_pipe") {
            let (mut reader, writer) = io::pipe().unwrap();
            if nonblocking {
                // SAFETY: takes no pointers.
                let set = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
                assert_eq!(set, 0);
            }
            let mut running = child.stdout(writer).spawn().unwrap();
            drop(child);
            let mut told = io::BufReader::new(running.stderr.take().unwrap());
            let mut line = String::new();
            told.read_line(&mut line).unwrap();
            assert_eq!(line, "full\n");
            let mut said = Vec::new();
            reader.read_to_end(&mut said).unwrap();
            let mut rest = String::new();
            told.read_to_string(&mut rest).unwrap();
            assert!(running.wait().unwrap().success(), "{rest}");
            assert!(between_marks(&said).iter().all(|byte| *byte == b'x'));
            let taken: usize = rest.trim().parse().unwrap();
            assert_eq!(between_marks(&said).len(), taken);
        }
    }
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn inner_full_pipe() {
    run(async {
        let mut out = stdout();
        out.write_all(b"<<<").await?;
        let mut taken = 0;
        let mut stuck = 0;
        // Until nothing has been taken for a while, as nobody reads.
        while stuck < 10_000 {
            let mut writing = Box::pin(out.write(&[b'x'; 1000]));
            match poll_once(&mut writing.as_mut()).await {
                std::task::Poll::Ready(count) => (taken, stuck) = (taken + count?, 0),
                std::task::Poll::Pending => stuck += 1,
            }
            drop(writing);
            yield_now().await;
        }
        assert!(!give_up_after(3, out.flush()).await);
        assert!(!give_up_after(3, out.shutdown()).await);
        let mut log = stderr();
        log.write_all(b"full\n").await?;
        log.flush().await?;
        out.flush().await?;
        log.write_all(format!("{taken}\n").as_bytes()).await?;
        out.write_all(b">>>").await
    });
}

#[test]
fn an_error_comes_from_the_next_call_once() {
    for mut child in children("inner_broken") {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        // Not the output, which the test harness needs.
        let running = child.stderr(writer).spawn().unwrap();
        let output = assert_succeeds(running);
        assert_eq!(between_marks(&output.stdout), b"broken once");
    }
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn inner_broken() {
    run(async {
        let (mut log, mut other) = (stderr(), stderr());
        assert_eq!(log.write(b"nobody reads this").await?, 17);
        assert_eq!(log.flush().await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        log.flush().await?;
        // Who wrote nothing lost nothing.
        other.flush().await?;
        assert_eq!(other.write(b"nor this").await?, 8);
        assert_eq!(other.flush().await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(log.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        stdout().write_all(b"<<<broken once>>>").await
    });
}
