//! Which driver a runtime gets, and why.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::str::FromStr;

use super::uring::{self, Refusal};

/// The variable that overrides what the program asks for.
const VARIABLE: &str = "MULTIKERNEL_DRIVER";

/// How a runtime learns that I/O can go on.
///
/// ```
/// use multikernel::runtime::{Builder, DriverChoice, DriverKind};
///
/// let runtime = Builder::new().cores(1).driver(DriverChoice::Epoll).build()?;
/// # if std::env::var_os("MULTIKERNEL_DRIVER").is_none() {
/// assert_eq!(runtime.driver().kind, DriverKind::Epoll);
/// # }
/// assert_eq!(DriverKind::Uring.to_string(), "io_uring");
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DriverKind {
    /// Linux's io_uring.
    Uring,
    /// Linux's epoll.
    Epoll,
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DriverKind::Uring => "io_uring",
            DriverKind::Epoll => "epoll",
        })
    }
}

/// The driver a program asks for.
///
/// ```
/// use multikernel::runtime::DriverChoice;
///
/// assert_eq!("epoll".parse::<DriverChoice>().unwrap(), DriverChoice::Epoll);
/// let error = "kqueue".parse::<DriverChoice>().unwrap_err();
/// assert!(error.to_string().contains("auto, uring, epoll"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DriverChoice {
    /// io_uring where it works, else epoll.
    #[default]
    Auto,
    /// io_uring. Where it is refused the program runs on epoll all the same.
    Uring,
    /// epoll.
    Epoll,
}

impl FromStr for DriverChoice {
    type Err = UnknownDriver;

    fn from_str(text: &str) -> Result<DriverChoice, UnknownDriver> {
        match text {
            "auto" => Ok(DriverChoice::Auto),
            "uring" => Ok(DriverChoice::Uring),
            "epoll" => Ok(DriverChoice::Epoll),
            _ => Err(UnknownDriver { text: text.to_owned() }),
        }
    }
}

/// The error of [`DriverChoice::from_str`]: no driver has that name.
///
/// ```
/// use multikernel::runtime::DriverChoice;
///
/// let error = "kqueue".parse::<DriverChoice>().unwrap_err();
/// assert_eq!(error.to_string(), "unknown driver \"kqueue\"; valid ones are: auto, uring, epoll");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownDriver {
    text: String,
}

impl fmt::Display for UnknownDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown driver {:?}; valid ones are: auto, uring, epoll", self.text)
    }
}

impl std::error::Error for UnknownDriver {}

/// The driver a runtime has, and why it has that one. From [`Runtime::driver`](crate::runtime::Runtime::driver).
///
/// ```
/// use multikernel::runtime::{Builder, DriverInfo};
///
/// let runtime = Builder::new().cores(1).build()?;
/// let DriverInfo { kind, why, .. } = runtime.driver();
/// println!("using {kind}: {why}");
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriverInfo {
    /// The driver.
    pub kind: DriverKind,
    /// Why, in one plain sentence.
    pub why: String,
}

/// The driver, and whether it is second best because io_uring was refused.
pub(super) fn choose(choice: DriverChoice) -> io::Result<(DriverInfo, bool)> {
    decide(std::env::var_os(VARIABLE), choice, uring::probe)
}

fn decide(
    variable: Option<OsString>,
    choice: DriverChoice,
    probe: impl FnOnce() -> Result<(), Refusal>,
) -> io::Result<(DriverInfo, bool)> {
    let (choice, asked_by) = match variable.as_deref().map(OsStr::to_string_lossy) {
        Some(text) if !text.is_empty() => match text.parse() {
            Ok(choice) => (choice, format!("{VARIABLE}={text}")),
            Err(error) => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{VARIABLE}: {error}")));
            }
        },
        _ => (choice, "the program".to_owned()),
    };
    let chosen = |kind, why| (DriverInfo { kind, why }, false);
    if choice == DriverChoice::Epoll {
        return Ok(chosen(DriverKind::Epoll, format!("{asked_by} asked for it")));
    }
    Ok(match probe() {
        Ok(()) if choice == DriverChoice::Uring => {
            chosen(DriverKind::Uring, format!("{asked_by} asked for it and it is available"))
        }
        Ok(()) => chosen(DriverKind::Uring, "io_uring is available".to_owned()),
        Err(refusal) => (DriverInfo { kind: DriverKind::Epoll, why: explain(&refusal) }, true),
    })
}

fn explain(refusal: &Refusal) -> String {
    let Refusal { what, error } = refusal;
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let (name, hint) = match error.raw_os_error() {
        Some(libc::EPERM) if is_switched_off() => {
            ("EPERM", "; the sysctl kernel.io_uring_disabled forbids it")
        }
        Some(libc::EPERM) => ("EPERM", "; a container's seccomp profile often does this"),
        Some(libc::EACCES) => ("EACCES", "; a security module or seccomp profile often does this"),
        Some(libc::ENOSYS) => ("ENOSYS", "; this Linux is too old for it or built without it"),
        Some(libc::EINVAL) => ("EINVAL", "; this Linux is too old for it"),
        Some(libc::ENOMEM) => ("ENOMEM", "; the limit on locked memory may be too low"),
        Some(libc::EMFILE) => ("EMFILE", ""),
        Some(libc::ENFILE) => ("ENFILE", ""),
        _ => ("no further name", ""),
    };
    format!("{what} was refused: {text} ({name}){hint}")
}

fn is_switched_off() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").is_ok_and(|value| value.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(errno: i32) -> Result<(), Refusal> {
        Err(Refusal { what: "io_uring_setup", error: io::Error::from_raw_os_error(errno) })
    }

    #[test]
    fn the_variable_overrides_the_program() {
        let (info, refused) =
            decide(Some("epoll".into()), DriverChoice::Uring, || panic!("not asked")).unwrap();
        assert_eq!((info.kind, refused), (DriverKind::Epoll, false));
        assert_eq!(info.why, "MULTIKERNEL_DRIVER=epoll asked for it");
        let (info, _) = decide(Some("uring".into()), DriverChoice::Epoll, || Ok(())).unwrap();
        assert_eq!(info.kind, DriverKind::Uring);
        let (info, _) = decide(Some("".into()), DriverChoice::Epoll, || panic!("not asked")).unwrap();
        assert_eq!(info.why, "the program asked for it");
    }

    #[test]
    fn an_unknown_driver_is_told_the_valid_ones() {
        let error = decide(Some("kqueue".into()), DriverChoice::Auto, || Ok(())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(
            error.to_string(),
            "MULTIKERNEL_DRIVER: unknown driver \"kqueue\"; valid ones are: auto, uring, epoll"
        );
    }

    #[test]
    fn a_refusal_falls_back_and_says_why() {
        for errno in [libc::EPERM, libc::ENOSYS, libc::EACCES, libc::EINVAL, libc::ENOMEM, libc::EMFILE] {
            for choice in [DriverChoice::Auto, DriverChoice::Uring] {
                let (info, refused) = decide(None, choice, || refusal(errno)).unwrap();
                assert_eq!((info.kind, refused), (DriverKind::Epoll, true));
                assert!(info.why.starts_with("io_uring_setup was refused: "), "{}", info.why);
            }
        }
        let (info, _) = decide(None, DriverChoice::Auto, || refusal(libc::EPERM)).unwrap();
        assert!(info.why.contains("Operation not permitted (EPERM); "), "{}", info.why);
    }

    #[test]
    fn an_available_ring_is_taken() {
        let (info, _) = decide(None, DriverChoice::Auto, || Ok(())).unwrap();
        assert_eq!(info, DriverInfo { kind: DriverKind::Uring, why: "io_uring is available".to_owned() });
    }
}
