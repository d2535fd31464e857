//! The expansions compile and run, against a stand-in for the runtime that records what it was asked for.

use std::error::Error;
use std::process::{ExitCode, Termination};
use std::rc::Rc;

/// Has the shape of the crate `multikernel`, as far as the attributes use it.
mod stand_in {
    pub mod runtime {
        use std::cell::RefCell;
        use std::future::Future;
        use std::io;
        use std::pin::pin;
        use std::task::{Context, Poll, Waker};
        use std::time::Duration;

        thread_local!(pub static ASKED: RefCell<String> = const { RefCell::new(String::new()) });

        #[derive(Debug)]
        pub enum DriverChoice {
            Epoll,
        }
        #[derive(Debug)]
        pub enum Pinning {
            Never,
        }
        #[derive(Debug)]
        pub enum RuntimeFlavor {
            CurrentThread,
            MultiThread,
        }
        pub enum Polling {
            Off,
            For(Duration),
        }

        pub struct Builder {
            asked: String,
            refuse: bool,
        }

        impl Builder {
            pub fn new() -> Builder {
                Builder { asked: "new".to_owned(), refuse: false }
            }
            pub fn new_test() -> Builder {
                Builder { asked: "new_test".to_owned(), refuse: false }
            }
            pub fn cores(&mut self, cores: usize) -> &mut Builder {
                self.asked += &format!(" {cores} cores");
                self
            }
            pub fn worker_threads(&mut self, threads: usize) -> &mut Builder {
                self.asked += &format!(" {threads} threads");
                self
            }
            pub fn flavor(&mut self, flavor: RuntimeFlavor) -> &mut Builder {
                self.asked += &format!(" {flavor:?}");
                self
            }
            pub fn driver(&mut self, driver: DriverChoice) -> &mut Builder {
                self.asked += &format!(" {driver:?}");
                self
            }
            pub fn pinning(&mut self, pinning: Pinning) -> &mut Builder {
                self.asked += &format!(" {pinning:?}");
                self
            }
            pub fn polling(&mut self, polling: Polling) -> &mut Builder {
                self.asked += &match polling {
                    Polling::Off => " off".to_owned(),
                    Polling::For(time) => format!(" {time:?}"),
                };
                self
            }
            pub fn thread_name(&mut self, name: &str) -> &mut Builder {
                self.refuse = name == "refuse";
                self
            }
            pub fn max_blocking_threads(&mut self, threads: usize) -> &mut Builder {
                self.asked += &format!(" {threads} blocking");
                self
            }
            pub fn run<F, Fut>(&mut self, body: F) -> io::Result<Fut::Output>
            where
                F: FnOnce() -> Fut,
                Fut: Future,
            {
                if self.refuse {
                    return Err(io::Error::other("no driver"));
                }
                ASKED.set(std::mem::take(&mut self.asked));
                match pin!(body()).poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(output) => Ok(output),
                    Poll::Pending => Err(io::Error::other("these bodies never wait")),
                }
            }
        }
    }
}

use stand_in::runtime::ASKED;

#[multikernel_macros::main(
    crate = crate::stand_in, cores = 2, driver = "epoll", pinning = "never", polling = "50us",
    max_blocking_threads = 64
)]
async fn every_option() -> String {
    ASKED.with_borrow(String::clone)
}

#[test]
fn options_reach_the_builder() {
    assert_eq!(every_option(), "new 2 cores Epoll Never 50µs 64 blocking");
}

#[multikernel_macros::main(crate = stand_in, worker_threads = 4, flavor = "multi_thread")]
async fn as_in_tokio() -> String {
    ASKED.with_borrow(String::clone)
}

#[multikernel_macros::main(crate = stand_in, flavor = "current_thread")]
async fn one_thread() -> String {
    ASKED.with_borrow(String::clone)
}

#[test]
fn tokios_options_reach_the_builder() {
    assert_eq!(as_in_tokio(), "new MultiThread 4 threads");
    assert_eq!(one_thread(), "new CurrentThread");
}

/// What `?`, `return`, a type that only the signature names, and a value that is not `Send` need from inference.
#[multikernel_macros::main(crate = stand_in, polling = "off")]
async fn boxed_error() -> Result<Rc<u32>, Box<dyn Error>> {
    let number = Rc::new("17".parse()?);
    std::future::ready(()).await;
    if *number == 17 {
        return Ok(number);
    }
    Err("not the number".into())
}

#[test]
fn errors_convert_and_outputs_need_not_be_send() {
    assert_eq!(boxed_error().ok().as_deref(), Some(&17));
}

#[multikernel_macros::main(crate = stand_in)]
async fn exit_code() -> ExitCode {
    ExitCode::from(3)
}

#[multikernel_macros::main(crate = stand_in)]
async fn opaque() -> impl Termination {
    Err::<(), _>("ended")
}

#[test]
fn any_termination_is_returned() {
    assert_eq!(exit_code(), ExitCode::from(3));
    assert_eq!(opaque().report(), ExitCode::FAILURE);
}

#[multikernel_macros::main(crate = stand_in)]
async fn never() -> ! {
    let mut turns = 0;
    loop {
        turns += 1;
        assert!(turns < 3, "the third turn");
    }
}

#[test]
#[should_panic(expected = "the third turn")]
fn a_loop_without_end_is_a_body() {
    never();
}

#[multikernel_macros::test(crate = stand_in)]
async fn a_test_asks_for_the_builder_of_tests() {
    assert_eq!(ASKED.with_borrow(String::clone), "new_test");
}

#[multikernel_macros::test(crate = stand_in, cores = 3)]
async fn a_test_may_return_a_result() -> Result<(), std::num::ParseIntError> {
    assert_eq!(ASKED.with_borrow(String::clone), "new_test 3 cores");
    let _: u8 = "1".parse()?;
    Ok(())
}

#[multikernel_macros::test(crate = stand_in)]
#[should_panic(expected = "as it should")]
async fn a_test_may_panic() {
    panic!("as it should");
}

#[multikernel_macros::test(crate = stand_in)]
#[ignore = "shows that the attribute is kept: it would fail"]
async fn a_test_may_be_ignored() {
    panic!("never run");
}

#[multikernel_macros::test(crate = stand_in, thread_name = "refuse")]
#[should_panic(expected = "the runtime of this test did not start: no driver")]
async fn a_test_whose_runtime_does_not_start_fails() {}

/// With `MULTIKERNEL_MACROS_CHILD` set: the program whose runtime does not start.
#[multikernel_macros::main(crate = stand_in, thread_name = "refuse")]
async fn refused() {}

#[test]
fn a_program_whose_runtime_does_not_start_says_so_and_exits_with_1() {
    const CHILD: &str = "MULTIKERNEL_MACROS_CHILD";
    if std::env::var_os(CHILD).is_some() {
        refused();
    }
    let name = "a_program_whose_runtime_does_not_start_says_so_and_exits_with_1";
    let output = std::process::Command::new(std::env::current_exe().expect("this test's program"))
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "error: no driver\n");
}
