//! The table of the porting chapter as a whole: what servers written for tokio name is here under the same name. What is not
//! here is what the chapter says is missing. For `io`, see `io/names.rs`.

#![expect(unused_imports, reason = "that they are found is the test")]

use std::time::SystemTime;

use multikernel::fs::{
    DirBuilder, DirEntry, File, FileTimes, OpenOptions, ReadDir, canonicalize, copy, create_dir,
    create_dir_all, hard_link, metadata, read, read_dir, read_link, read_to_string, remove_dir,
    remove_dir_all, remove_file, rename, set_permissions, symlink, symlink_metadata, try_exists, write,
};
use multikernel::net::{
    TcpListener, TcpSocket, TcpStream, ToSocketAddrs, UdpSocket, UnixDatagram, UnixListener, UnixStream,
    lookup_host, tcp, unix,
};
use multikernel::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use multikernel::runtime::{
    Builder, EnterGuard, Handle, Runtime, RuntimeFlavor, RuntimeMetrics, TryCurrentError,
};
use multikernel::signal::ctrl_c;
use multikernel::signal::unix::{Signal, SignalKind, signal};
use multikernel::task::coop::{
    Coop, RestoreOnPending, cooperative, has_budget_remaining, poll_proceed, unconstrained,
};
use multikernel::task::{
    AbortHandle, Id, JoinError, JoinHandle, JoinSet, LocalEnterGuard, LocalKey, LocalSet, Unconstrained,
    block_in_place, consume_budget, futures as task_futures, id, join_set, spawn, spawn_blocking,
    spawn_local, try_id, unconstrained as unconstrained_task, yield_now,
};
use multikernel::time::{
    Duration, Instant, Interval, MissedTickBehavior, Sleep, Timeout, advance, error, interval, interval_at,
    pause, resume, sleep, sleep_until, timeout, timeout_at,
};
use multikernel::{main as on_cores, task_local, test as on_a_core};

use multikernel::net::tcp::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
use multikernel::net::unix::{
    OwnedReadHalf as UnixOwnedReadHalf, OwnedWriteHalf as UnixOwnedWriteHalf, ReadHalf as UnixReadHalf,
    ReuniteError as UnixReuniteError, SocketAddr as UnixSocketAddr, UCred, WriteHalf as UnixWriteHalf, gid_t,
    pid_t, uid_t,
};
use multikernel::task::futures::TaskLocalFuture;
use multikernel::task::join_set::JoinSet as SameJoinSet;
use multikernel::time::error::{Elapsed, Error as TimeError};

/// They come with the traits.
#[cfg(feature = "tokio")]
mod with_tokio {
    use multikernel::sync::futures::{Notified, OwnedNotified};
    use multikernel::sync::{
        AcquireError, Barrier, BarrierWaitResult, MappedMutexGuard, Mutex, MutexGuard, Notify, OnceCell,
        OwnedMappedMutexGuard, OwnedMutexGuard, OwnedRwLockMappedWriteGuard, OwnedRwLockReadGuard,
        OwnedRwLockWriteGuard, OwnedSemaphorePermit, RwLock, RwLockMappedWriteGuard, RwLockReadGuard,
        RwLockWriteGuard, Semaphore, SemaphorePermit, SetError, SetOnce, SetOnceError, TryAcquireError,
        TryLockError, broadcast, mpsc, oneshot, watch,
    };
    use multikernel::{join, pin, select, try_join};
}

/// Each setting of the builder, as a statement.
fn told_everything(builder: &mut Builder) -> std::io::Result<Runtime> {
    builder.enable_all().enable_io().enable_time();
    builder.worker_threads(1).max_blocking_threads(2);
    builder.name("runtime").thread_name("thread").thread_name_fn(|| "thread".to_owned());
    builder.thread_stack_size(1 << 20).thread_keep_alive(Duration::from_secs(1));
    builder.on_thread_start(|| ()).on_thread_stop(|| ()).on_thread_park(|| ()).on_thread_unpark(|| ());
    builder.event_interval(61).global_queue_interval(31);
    builder.max_io_events_per_tick(1024).max_io_events_per_busy_tick(8);
    builder.start_paused(true);
    builder.build()
}

fn measured(metrics: &RuntimeMetrics) -> [u64; 3] {
    let busy = metrics.worker_total_busy_duration(0).as_nanos() as u64;
    let sizes = [metrics.num_workers(), metrics.num_alive_tasks(), metrics.global_queue_depth()];
    let counts = [metrics.worker_park_count(0), metrics.worker_park_unpark_count(0)];
    [busy, sizes.iter().sum::<usize>() as u64, counts.iter().sum()]
}

#[test]
fn the_runtime_is_built_and_asked_by_tokios_names() {
    for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        let runtime = told_everything(&mut builder).unwrap();
        assert_eq!(runtime.handle().name(), Some("runtime"));
        let metrics: RuntimeMetrics = runtime.metrics();
        assert_eq!(measured(&metrics)[1], 1, "a core, and nothing else");
        let flavor: RuntimeFlavor = runtime.handle().runtime_flavor();
        assert!(matches!(flavor, RuntimeFlavor::CurrentThread | RuntimeFlavor::MultiThread));
        let _guard: EnterGuard<'_> = runtime.enter();
        runtime.shutdown_timeout(Duration::from_secs(60));
    }
}

#[test]
fn types_that_are_one_have_one_name() {
    fn same<T>(_: fn(T) -> T, _: fn(T) -> T) {}
    same::<JoinSet<u8>>(|set| set, |set: SameJoinSet<u8>| set);
    let credentials: fn(&UCred) -> (uid_t, gid_t, Option<pid_t>) =
        |peer| (peer.uid(), peer.gid(), peer.pid());
    let _ = credentials;
}
