//! Where another thread is: its stack, as it tells it itself from within a signal handler.
//!
//! One thread is asked at a time. [`WORD`] says whom, and who has the right to the buffer:
//!
//! ```text
//!          the asker                the thread that was asked,            the same
//!                                   if the word still names it
//!   IDLE ─────────────▶ its tid ──────────────────────────────▶ TELLING ──────────▶ TOLD ──▶ IDLE, by the asker
//!    ▲                     │ time is up
//!    └─────────────────────┘
//! ```
//!
//! So a handler that runs late writes nothing, unless its thread happens to be asked again, and then its answer is as good.
//! If a thread is stopped within `TELLING` for so long that the asker gives up, nobody is asked until it has told.
//!
//! The signal carries the address of the word, so that it is known from signals of others, which go on to whoever handled
//! them before. It is `SIGURG`, as the runtime of Go has found: no library uses it for itself, it is meant to come for no
//! reason, and its default action is nothing at all, so one that comes late, in a process that has replaced itself, harms
//! nobody. A real-time signal would end that process.
//!
//! The handler does nothing but walk the stack. It calls libgcc's `_Unwind_Backtrace`, as glibc's own `backtrace` does,
//! which is safe in a signal handler on these conditions:
//!
//! - It has been called before, so that its tables are there: [`prepare`] does.
//! - It finds the tables of each function through `_dl_find_object` (glibc 2.35), which takes no lock, and is async-signal-safe
//!   by its documentation. Before, it took a lock that the interrupted thread may be about to take. So where glibc has no such
//!   function (nor has musl), no thread is asked. Only code that has no file, made by a JIT that registers its tables with
//!   libgcc, is found under a lock still, by libgcc before 13.
//! - It reads the stack through tables that the compiler has made for each instruction, which is the default where Rust runs
//!   on Linux. Code without tables ends the walk. Frame pointers would be of no use: std is built without.
//! - It allocates nothing, and the alternate stack that std gives to each thread is large enough: the handler and the
//!   registers that the system saves take less than five kilobytes of eight, which a test holds.
//!
//! Copying the stack in the handler, and walking the copy elsewhere, would ask less of libgcc, and take a walker of our own
//! (or `framehop`), which has to know of all that is loaded.
//!
//! Addresses are given names by whoever prints them, never in the handler.

use std::ffi::{c_int, c_void};
use std::mem::zeroed;
use std::ptr::{from_ref, null_mut};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::{fmt, io, thread};

use multikernel_channels::sync::{AtomicI32, AtomicUsize, Ordering};

use crate::limits::{STACK_FRAMES, STACK_PATIENCE};
use crate::machine::thread_times::ThreadId;
use crate::time::Instant;

/// The stack of a thread at some moment, from the innermost function to the poll of its task.
/// [`Display`](fmt::Display) prints a line or more for each, beginning with a line break.
///
/// Functions are looked up when it is printed, which reads the program's debug information and takes a while. With the feature
/// `backtrace` (on by default) they have names, and lines if the program was built with such information. Without it, each
/// address is given as a place in its file, for `addr2line`.
///
/// # Examples
/// ```
/// use multikernel::runtime::{Builder, Stall};
///
/// let print = |stall: Stall| {
///     if let Some(stack) = &stall.stack {
///         eprintln!("{} is stuck:{stack}", stall.core);
///     }
/// };
/// Builder::new().cores(2).on_stall(print).run(|| async {})?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct Stack {
    /// The addresses to return to: one behind the call.
    frames: Arc<[usize]>,
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, address) in self.frames.iter().enumerate() {
            if names::is_poll(*address) {
                return write!(f, "\n      .. polled by its core");
            }
            write!(f, "\n{depth:>4}: ")?;
            names::write(f, *address)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stack({} frames)", self.frames.len())
    }
}

#[cfg(feature = "backtrace")]
mod names {
    use std::fmt;

    /// Whether this is where the runtime polls a task.
    pub(super) fn is_poll(address: usize) -> bool {
        let mut is_poll = false;
        backtrace::resolve(address as *mut _, |symbol| {
            let name = symbol.name().map(|name| name.to_string());
            is_poll |= name.is_some_and(|name| name.contains("multikernel::task::raw::"));
        });
        is_poll
    }

    pub(super) fn write(f: &mut fmt::Formatter<'_>, address: usize) -> fmt::Result {
        let (mut count, mut result) = (0, Ok(()));
        // One for each function that was inlined there, the innermost first.
        backtrace::resolve(address as *mut _, |symbol| {
            if result.is_ok() {
                result = write_one(f, symbol, count);
            }
            count += 1;
        });
        if count == 0 { write!(f, "{address:#x}") } else { result }
    }

    fn write_one(f: &mut fmt::Formatter<'_>, symbol: &backtrace::Symbol, number: usize) -> fmt::Result {
        f.write_str(if number == 0 { "" } else { "\n      " })?;
        match symbol.name() {
            Some(name) => write!(f, "{name:#}")?,
            None => f.write_str("?")?,
        }
        match (symbol.filename(), symbol.lineno()) {
            (Some(file), Some(line)) => write!(f, " at {}:{line}", file.display()),
            _ => Ok(()),
        }
    }

    /// Gives back the memory that names were looked up in.
    pub(super) fn forget() {
        backtrace::clear_symbol_cache();
    }
}

#[cfg(not(feature = "backtrace"))]
mod names {
    use std::ffi::CStr;
    use std::fmt;

    pub(super) fn is_poll(_: usize) -> bool {
        false // without names nobody knows
    }

    pub(super) fn write(f: &mut fmt::Formatter<'_>, address: usize) -> fmt::Result {
        // SAFETY: all zero is a value of this structure, which the call fills; the strings live while the file is loaded,
        // and code that is on a stack stays loaded while it is printed by who watches.
        let file = unsafe {
            let mut info: libc::Dl_info = std::mem::zeroed();
            let known = libc::dladdr(address as *const _, &mut info) != 0 && !info.dli_fname.is_null();
            known.then(|| (CStr::from_ptr(info.dli_fname).to_string_lossy(), info.dli_fbase as usize))
        };
        match file {
            Some((file, base)) => write!(f, "{file}+{:#x}", address - base - 1),
            None => write!(f, "{address:#x}"),
        }
    }

    pub(super) fn forget() {}
}

/// Gives back the memory that names were looked up in, if any were.
pub(super) fn forget_names() {
    names::forget();
}

const SIGNAL: c_int = libc::SIGURG;

const IDLE: i32 = 0;
const TELLING: i32 = -1;
const TOLD: i32 = -2;

/// Whom the signal is for, or how far it has come. See the top of this file.
static WORD: AtomicI32 = AtomicI32::new(IDLE);
/// Belongs to who has set the word to `TELLING`, then to who finds `TOLD`.
static FRAMES: [AtomicUsize; STACK_FRAMES] = [const { AtomicUsize::new(0) }; STACK_FRAMES];
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// The handler that was there before ours, and its flags.
static PREVIOUS: (AtomicUsize, AtomicI32) = (AtomicUsize::new(libc::SIG_DFL), AtomicI32::new(0));

/// Who asks; one at a time.
static ASKING: Mutex<()> = Mutex::new(());

/// The stack of `thread`, or why there is none.
///
/// # Safety
/// The thread is one of this process, and does not end meanwhile: another might get its number.
pub(super) unsafe fn of(thread: ThreadId) -> Result<Stack, String> {
    let _asking: MutexGuard<'_, ()> = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    prepare()?;
    // Acquire pairs with the Release of a handler that has told too late: the buffer is ours again.
    if WORD.load(Ordering::Acquire) == TELLING {
        return Err("a thread that was asked before has not told yet".into());
    }
    LENGTH.store(0, Ordering::Relaxed); // published with the word
    WORD.store(thread.tid, Ordering::Release); // pairs with the exchange in `tell`
    if let Err(error) = send(thread) {
        withdraw(thread);
        return Err(format!("the signal cannot be sent: {error}"));
    }
    let asked = Instant::system();
    // Acquire pairs with the Release in `tell`: the frames are there.
    while WORD.load(Ordering::Acquire) != TOLD {
        if asked.system_elapsed() > STACK_PATIENCE && withdraw(thread) {
            return Err("the thread does not answer a signal".into());
        }
        if asked.system_elapsed() > 2 * STACK_PATIENCE {
            return Err("the thread has not told in time".into());
        }
        thread::park_timeout(STACK_PATIENCE / 1000);
    }
    let length = LENGTH.load(Ordering::Relaxed); // ordered by the word, as are the frames
    let frames = FRAMES[..length].iter().map(|frame| frame.load(Ordering::Relaxed)).collect();
    WORD.store(IDLE, Ordering::Relaxed); // for this thread alone, or the next, by the lock
    Ok(Stack { frames })
}

/// The thread is asked no more. False if it is telling, or has told.
fn withdraw(thread: ThreadId) -> bool {
    // Relaxed: nothing was written that anybody reads.
    WORD.compare_exchange(thread.tid, IDLE, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Once for the process: sees whether a handler may walk the stack here, has libgcc make its tables, and installs the handler.
fn prepare() -> Result<(), &'static str> {
    static PREPARED: OnceLock<Result<(), &'static str>> = OnceLock::new();
    *PREPARED.get_or_init(|| {
        // SAFETY: the name ends with a zero byte.
        if unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_dl_find_object".as_ptr()) }.is_null() {
            return Err("this C library has no safe way of walking a stack in a signal handler");
        }
        // SAFETY: `pass` uses neither of its arguments.
        unsafe { _Unwind_Backtrace(pass, null_mut()) };
        install().map_err(|_| "the signal's handler cannot be installed")
    })
}

fn install() -> io::Result<()> {
    let ask = |new: *const libc::sigaction| {
        // SAFETY: all zero is a value of this structure, and the call writes there.
        let mut old: libc::sigaction = unsafe { zeroed() };
        // SAFETY: null, or an action as filled in below.
        match unsafe { libc::sigaction(SIGNAL, new, &mut old) } {
            0 => Ok(old),
            _ => Err(io::Error::last_os_error()),
        }
    };
    let remember = |old: libc::sigaction| {
        // Flags first: with those of another kind, the handler is not called. Read by the handler alone.
        PREVIOUS.1.store(old.sa_flags, Ordering::Relaxed);
        PREVIOUS.0.store(old.sa_sigaction, Ordering::Release); // pairs with the Acquire in `pass_on`
    };
    // Before ours is there, for a signal may come at once.
    remember(ask(std::ptr::null())?);
    // SAFETY: all zero is a value of this structure, with an empty mask.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = handle as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    remember(ask(&action)?);
    Ok(())
}

/// The part of `siginfo_t` that a queued signal carries.
#[repr(C)]
struct Queued {
    numbers: [c_int; 3],
    from: Sender,
}

#[repr(C)]
struct Sender {
    pid: libc::pid_t,
    uid: libc::uid_t,
    value: *mut c_void,
}

fn cookie() -> *mut c_void {
    from_ref(&WORD).cast_mut().cast()
}

fn send(thread: ThreadId) -> io::Result<()> {
    // SAFETY: all zero is a value of this structure. It is larger than `Queued`, which has its layout for this kind of
    // signal. The system reads it, and checks the rest.
    let sent = unsafe {
        let mut info: libc::siginfo_t = zeroed();
        let sender = Sender { pid: libc::getpid(), uid: libc::getuid(), value: cookie() };
        (&raw mut (*(&raw mut info).cast::<Queued>()).from).write(sender);
        (info.si_signo, info.si_code) = (SIGNAL, libc::SI_QUEUE);
        libc::syscall(libc::SYS_rt_tgsigqueueinfo, libc::getpid(), thread.tid, SIGNAL, &raw mut info)
    };
    if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Async-signal-safe, as is all that it calls: see the top of this file.
extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the system passes a valid `info` of the kind that its code says; errno is this thread's own.
    unsafe {
        let errno = *libc::__errno_location();
        if (*info).si_code == libc::SI_QUEUE && (*info).si_value().sival_ptr == cookie() {
            tell();
        } else {
            pass_on(signal, info, context);
        }
        *libc::__errno_location() = errno;
    }
}

/// On the thread that was asked.
fn tell() {
    // SAFETY: takes nothing, and cannot fail.
    let me = unsafe { libc::gettid() };
    // Acquire pairs with the store of who asks: the buffer is ours now. Relaxed: nobody asks, or not us.
    if WORD.compare_exchange(me, TELLING, Ordering::Acquire, Ordering::Relaxed).is_err() {
        return;
    }
    let mut is_past_handler = false;
    // SAFETY: `take` writes to the buffer, which is ours, and to its argument, which outlives the call.
    unsafe { _Unwind_Backtrace(take, (&raw mut is_past_handler).cast()) };
    WORD.store(TOLD, Ordering::Release); // pairs with the Acquire in `of`
}

/// # Safety
/// As for a signal handler: the system has passed these.
unsafe fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let handler = PREVIOUS.0.load(Ordering::Acquire); // pairs with `remember`
    let takes_info = PREVIOUS.1.load(Ordering::Relaxed) & libc::SA_SIGINFO != 0;
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        return; // the same for this signal
    }
    // SAFETY: what the system had as its handler, called as its flags say, and as it would have been called.
    unsafe {
        if takes_info {
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                std::mem::transmute(handler);
            handler(signal, info, context);
        } else {
            let handler: extern "C" fn(c_int) = std::mem::transmute(handler);
            handler(signal);
        }
    }
}

const GO_ON: c_int = 0; // _URC_NO_REASON
const ENOUGH: c_int = 5; // _URC_END_OF_STACK

type Walk = extern "C" fn(*mut c_void, *mut c_void) -> c_int;

// Of libgcc, which std brings.
unsafe extern "C" {
    fn _Unwind_Backtrace(each: Walk, argument: *mut c_void) -> c_int;
    fn _Unwind_GetIPInfo(context: *mut c_void, before: *mut c_int) -> usize;
}

extern "C" fn pass(_: *mut c_void, _: *mut c_void) -> c_int {
    GO_ON
}

/// Takes one frame.
extern "C" fn take(context: *mut c_void, is_past_handler: *mut c_void) -> c_int {
    let mut is_interrupted = 0;
    // SAFETY: the context is the walk's, the variable ours.
    let mut address = unsafe { _Unwind_GetIPInfo(context, &mut is_interrupted) };
    // SAFETY: `tell` passes its own variable, which nobody else uses.
    let is_past_handler = unsafe { &mut *is_past_handler.cast::<bool>() };
    let mut length = LENGTH.load(Ordering::Relaxed); // ours, since `tell`
    if is_interrupted != 0 {
        address += 1; // where it goes on, not where it returns to
        if !std::mem::replace(is_past_handler, true) {
            length = 0; // what came before is our handler
        }
    }
    let Some(frame) = FRAMES.get(length).filter(|_| address != 0) else { return ENOUGH };
    frame.store(address, Ordering::Relaxed); // published with the word
    LENGTH.store(length + 1, Ordering::Relaxed);
    GO_ON
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;

    use super::*;

    const PATTERN: u8 = 0xA5;

    /// Handles signals on this memory.
    fn handle_signals_on(stack: &mut [u8]) {
        let new = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: stack.len() };
        // SAFETY: the memory outlives the thread's use of it: its caller gives it back below.
        assert_eq!(unsafe { libc::sigaltstack(&new, null_mut()) }, 0);
    }

    fn handle_signals_as_before() {
        let off = libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        // SAFETY: no memory is passed.
        assert_eq!(unsafe { libc::sigaltstack(&off, null_mut()) }, 0);
    }

    #[test]
    fn the_handler_needs_less_stack_than_std_gives_to_handlers() {
        let (tell, told) = mpsc::channel();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let mut stack = vec![PATTERN; 64 * 1024];
                handle_signals_on(&mut stack);
                tell.send(ThreadId::current()).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
                handle_signals_as_before();
                stack.len() - stack.iter().take_while(|byte| **byte == PATTERN).count()
            });
            // SAFETY: it ends when it is told to, below.
            let stack = unsafe { of(told.recv().unwrap()) };
            stop.store(true, Ordering::Relaxed);
            let used = asked.join().unwrap();
            match stack {
                Ok(stack) => assert!(stack.frames.len() > 1 && used > 0, "{used}: {stack}"),
                Err(why) => return eprintln!("skipped: {why}"),
            }
            println!("{used} bytes");
            assert!(used < libc::SIGSTKSZ, "{used}");
        });
    }
}
