//! What a program can be started with on Unix alone.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;

use super::Command;

impl Command {
    /// The user the child runs as. Starting it fails where this process may not do that.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # // SAFETY: it only says who we are.
    /// # let me = unsafe { libc::getuid() };
    /// assert!(Command::new("true").uid(me).status().await?.success());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn uid(&mut self, id: u32) -> &mut Command {
        self.std.uid(id);
        self
    }

    /// The group the child runs as, as [`uid`](Self::uid).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # // SAFETY: it only says who we are.
    /// # let mine = unsafe { libc::getgid() };
    /// assert!(Command::new("true").gid(mine).status().await?.success());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn gid(&mut self, id: u32) -> &mut Command {
        self.std.gid(id);
        self
    }

    /// The name by which the program is called, its argument 0, when it is not the one it is found by.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let output = Command::new("sh").arg0("shell").args(["-c", "echo $0"]).output().await?;
    /// assert_eq!(output.stdout, b"shell\n");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn arg0<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.std.arg0(arg);
        self
    }

    /// The process group the child joins; 0 is a new one of its own, which signals from the terminal do not reach.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let child = Command::new("sleep").arg("60").process_group(0).kill_on_drop(true).spawn()?;
    /// let group = child.id().unwrap(); // to be killed with all its children
    /// # assert!(group > 0);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn process_group(&mut self, pgroup: i32) -> &mut Command {
        self.std.process_group(pgroup);
        self
    }

    /// Has the child call `f` between fork and exec. An error of `f` becomes that of [`spawn`](Self::spawn).
    ///
    /// The child is then made by `fork`, which takes long in a process that uses much memory: see [`spawn`](Self::spawn).
    ///
    /// # Safety
    ///
    /// The child has one thread, and a copy of the memory in whatever state the other threads had it in. So `f` may not
    /// allocate, lock or panic, and may do only what is async-signal-safe.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut command = Command::new("sh");
    /// let private = || {
    ///     // SAFETY: the call takes a number and cannot fail.
    ///     unsafe { libc::umask(0o077) };
    ///     Ok(())
    /// };
    /// // SAFETY: it makes one system call and nothing else.
    /// unsafe { command.pre_exec(private) };
    /// command.args(["-c", "umask"]);
    /// assert_eq!(command.output().await?.stdout, b"0077\n");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub unsafe fn pre_exec<F>(&mut self, f: F) -> &mut Command
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        // SAFETY: the caller's promise.
        unsafe { self.std.pre_exec(f) };
        self
    }
}
