//! How a program is to be started.

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};

use super::Child;
use crate::machine::pinning;

/// How a program is to be started: std's builder, whose children are waited for without blocking.
///
/// # Examples
///
/// ```
/// use multikernel::process::Command;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let status = Command::new("sh").arg("-c").arg("exit 7").status().await?;
/// assert_eq!(status.code(), Some(7));
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
pub struct Command {
    pub(super) std: std::process::Command,
    kill_on_drop: bool,
}

impl From<std::process::Command> for Command {
    fn from(std: std::process::Command) -> Command {
        Command { std, kill_on_drop: false }
    }
}

impl Command {
    /// A program to start, without arguments, with this process's environment, folder and standard streams. A name without a
    /// slash is looked for in `PATH`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut command = Command::new("true");
    /// assert!(command.status().await?.success());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn new<S: AsRef<OsStr>>(program: S) -> Command {
        std::process::Command::new(program).into()
    }

    /// std's builder in here, for what this one does not offer.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// let mut command = Command::new("echo");
    /// command.arg("hello");
    /// assert_eq!(command.as_std().get_args().count(), 1);
    /// ```
    pub fn as_std(&self) -> &std::process::Command {
        &self.std
    }

    /// As [`as_std`](Self::as_std), to change it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut command = Command::new("echo");
    /// command.as_std_mut().arg("hello");
    /// assert_eq!(command.output().await?.stdout, b"hello\n");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn as_std_mut(&mut self) -> &mut std::process::Command {
        &mut self.std
    }

    /// std's builder, as it was set up here.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// let mut command = Command::new("echo").into_std();
    /// assert_eq!(command.arg("hello").output()?.stdout, b"hello\n");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_std(self) -> std::process::Command {
        self.std
    }

    /// One more argument, as it is: no shell takes it apart.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let output = Command::new("echo").arg("$HOME *").output().await?;
    /// assert_eq!(output.stdout, b"$HOME *\n");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.std.arg(arg);
        self
    }

    /// More arguments, as [`arg`](Self::arg).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let output = Command::new("printf").args(["%s-%s", "a", "b"]).output().await?;
    /// assert_eq!(output.stdout, b"a-b");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn args<I, S>(&mut self, args: I) -> &mut Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.std.args(args);
        self
    }

    /// Sets a variable of the child's environment.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let output = Command::new("sh").args(["-c", "echo $COLOR"]).env("COLOR", "blue").output().await?;
    /// assert_eq!(output.stdout, b"blue\n");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn env<K, V>(&mut self, key: K, value: V) -> &mut Command
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.std.env(key, value);
        self
    }

    /// Sets several variables, as [`env`](Self::env).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let output = Command::new("sh").args(["-c", "echo $A$B"]).envs([("A", "1"), ("B", "2")]).output().await?;
    /// assert_eq!(output.stdout, b"12\n");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.std.envs(vars);
        self
    }

    /// Leaves a variable out of the child's environment.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let output = Command::new("sh").args(["-c", "echo $HOME"]).env_remove("HOME").output().await?;
    /// assert_eq!(output.stdout, b"\n");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Command {
        self.std.env_remove(key);
        self
    }

    /// Leaves all variables out, those set here before included.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let output = Command::new("/usr/bin/env").env_clear().env("ONLY", "1").output().await?;
    /// assert_eq!(output.stdout, b"ONLY=1\n");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn env_clear(&mut self) -> &mut Command {
        self.std.env_clear();
        self
    }

    /// The folder in which the child starts.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let output = Command::new("pwd").current_dir("/").output().await?;
    /// assert_eq!(output.stdout, b"/\n");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.std.current_dir(dir);
        self
    }

    /// The child's standard input: that of this process unless said otherwise. [`Stdio::piped`] makes a pipe, whose other end is in
    /// [`Child::stdin`].
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use multikernel::process::Command;
    /// use std::process::Stdio;
    ///
    /// let status = Command::new("cat").stdin(Stdio::null()).status().await?;
    /// assert!(status.success());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn stdin<T: Into<Stdio>>(&mut self, stdin: T) -> &mut Command {
        self.std.stdin(stdin);
        self
    }

    /// The child's standard output: that of this process unless said otherwise, a pipe for [`output`](Self::output).
    /// [`Stdio::piped`] makes a pipe, whose other end is in [`Child::stdout`].
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use multikernel::process::Command;
    /// use std::process::Stdio;
    ///
    /// let status = Command::new("echo").arg("not seen").stdout(Stdio::null()).status().await?;
    /// assert!(status.success());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn stdout<T: Into<Stdio>>(&mut self, stdout: T) -> &mut Command {
        self.std.stdout(stdout);
        self
    }

    /// The child's standard error, as [`stdout`](Self::stdout) for its output.
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use multikernel::process::Command;
    /// use std::process::Stdio;
    ///
    /// let child = Command::new("sh").args(["-c", "echo oh >&2"]).stderr(Stdio::piped()).spawn()?;
    /// assert_eq!(child.wait_with_output().await?.stderr, b"oh\n");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn stderr<T: Into<Stdio>>(&mut self, stderr: T) -> &mut Command {
        self.std.stderr(stderr);
        self
    }

    /// Whether a [`Child`] that is dropped before it was waited for is killed. It is not, unless this says so.
    ///
    /// That holds for the futures of [`status`](Self::status) and [`output`](Self::output) too. The child is reaped in any case.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let child = Command::new("sleep").arg("60").kill_on_drop(true).spawn()?;
    /// drop(child); // and with it the sleep
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn kill_on_drop(&mut self, kill_on_drop: bool) -> &mut Command {
        self.kill_on_drop = kill_on_drop;
        self
    }

    /// What [`kill_on_drop`](Self::kill_on_drop) was set to.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// let mut command = Command::new("true");
    /// assert!(!command.get_kill_on_drop());
    /// assert!(command.kill_on_drop(true).get_kill_on_drop());
    /// ```
    pub fn get_kill_on_drop(&self) -> bool {
        self.kill_on_drop
    }

    /// Starts the program.
    ///
    /// The core waits until the child has begun to run the program: only then is it known whether it can. That takes about
    /// as long as starting a few threads, however much memory this process uses. With [`pre_exec`](Self::pre_exec),
    /// [`uid`](Self::uid) or [`gid`](Self::gid) std has to fork, and copies the page tables: a process of hundreds of
    /// megabytes then stands still for tens of milliseconds. Where that is too long for what else the core does, call
    /// this inside [`spawn_blocking`](crate::task::spawn_blocking); the [`Child`] can be waited for on any core.
    ///
    /// # Errors
    ///
    /// std's: the program is not there or may not be run, an argument holds a zero, no more processes or descriptors are to
    /// be had. Nothing is left of the attempt.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let child = Command::new("true").spawn()?;
    /// assert!(child.wait_with_output().await?.status.success());
    ///
    /// let error = Command::new("/nowhere").spawn().unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn spawn(&mut self) -> io::Result<Child> {
        self.spawn_with(std::process::Command::spawn)
    }

    /// Starts the program by `with`, which gets std's builder, and must return a child of this process that nobody waits for.
    ///
    /// # Errors
    ///
    /// Those of `with`, and as [`spawn`](Self::spawn).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let child = Command::new("true").spawn_with(|command| command.arg("ignored").spawn())?;
    /// assert!(child.wait_with_output().await?.status.success());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn spawn_with(
        &mut self,
        with: impl FnOnce(&mut std::process::Command) -> io::Result<std::process::Child>,
    ) -> io::Result<Child> {
        let child = pinning::while_unpinned(|| with(&mut self.std))?;
        Child::new(child, self.kill_on_drop)
    }

    /// Starts the program, at once, and waits for its end. Our ends of pipes that were asked for are closed.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn), told by the future, and of [`Child::wait`].
    ///
    /// # Panics
    ///
    /// As [`Child::wait`].
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the child runs on, or is killed, by [`kill_on_drop`](Self::kill_on_drop).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let status = Command::new("ls").arg("/nowhere").stderr(std::process::Stdio::null()).status().await?;
    /// assert!(!status.success());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn status(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + use<> {
        let child = self.spawn();
        async {
            let mut child = child?;
            drop((child.stdin.take(), child.stdout.take(), child.stderr.take()));
            child.wait().await
        }
    }

    /// Starts the program, at once, waits for its end, and collects what it writes: its standard output and standard error
    /// become pipes, here and for later uses of this value.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn), told by the future, and of [`Child::wait_with_output`].
    ///
    /// # Panics
    ///
    /// As [`Child::wait_with_output`].
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the child runs on, or is killed, by [`kill_on_drop`](Self::kill_on_drop). What it has
    /// written is lost, and it may get `SIGPIPE`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let output = Command::new("uname").output().await?;
    /// assert_eq!(output.stdout, b"Linux\n");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn output(&mut self) -> impl Future<Output = io::Result<Output>> + use<> {
        let child = self.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        async { child?.wait_with_output().await }
    }
}
