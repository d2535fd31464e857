//! Which driver a runtime gets: asked for, refused by the system, or misspelt.

use std::io;
use std::thread;

use multikernel::runtime::{Builder, DriverChoice, DriverKind};

/// Forbids `io_uring_setup` to the calling thread and to the threads it starts, as containers do.
fn forbid_io_uring() {
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        step(LOAD_NUMBER, 0, 0, 0), // the system call's number is the first field of seccomp_data
        step(JUMP_IF_EQUAL, 0, 1, libc::SYS_io_uring_setup as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: plain integer arguments, and a program that lives across the calls.
    let results = unsafe {
        [
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program),
        ]
    };
    assert_eq!(results, [0, 0], "{}", io::Error::last_os_error());
}

fn overridden() -> bool {
    std::env::var_os("MULTIKERNEL_DRIVER").is_some()
}

#[test]
fn a_refused_io_uring_falls_back_to_epoll_and_says_why() {
    if overridden() {
        return;
    }
    for choice in [DriverChoice::Auto, DriverChoice::Uring] {
        let check = move || {
            forbid_io_uring();
            let runtime = Builder::new().cores(2).driver(choice).build().unwrap();
            assert_eq!(runtime.driver().kind, DriverKind::Epoll);
            assert!(runtime.driver().why.contains("EPERM"), "{}", runtime.driver().why);
            let answer = runtime.block_on(async { multikernel::spawn(async { 42 }).await.unwrap() });
            assert_eq!(answer, 42);
        };
        thread::spawn(check).join().unwrap();
    }
}

#[test]
fn epoll_is_had_for_the_asking() {
    if overridden() {
        return;
    }
    let runtime = Builder::new_test().driver(DriverChoice::Epoll).build().unwrap();
    assert_eq!(runtime.driver().kind, DriverKind::Epoll);
}

#[test]
fn a_misspelt_choice_lists_the_valid_ones() {
    let error = "iouring".parse::<DriverChoice>().unwrap_err().to_string();
    for valid in ["auto", "uring", "epoll", "iouring"] {
        assert!(error.contains(valid), "{error}");
    }
}
