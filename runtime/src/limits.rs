//! Every bound of the runtime, in one place.

use std::time::Duration;

/// Polls in one turn of a core's loop before it looks at timers and waits for I/O again.
pub(crate) const POLLS_PER_TURN: u32 = 128;

/// A core looks at its inbox and at its driver's completion flag every so many polls.
pub(crate) const POLLS_PER_LOOK: u32 = 16;

/// A turn that has run for this long ends, whatever is left of its polls.
pub(crate) const TURN_TIME: Duration = Duration::from_micros(500);

/// A poll that has taken this long ends with its next operation if others wait for it, where polls are long on average.
pub(crate) const POLL_TIME: Duration = Duration::from_micros(100);

/// Successful operations on sockets, timers and join handles within one poll of one task.
pub(crate) const BUDGET_PER_POLL: u8 = 128;

/// Tasks up to this size are recycled.
pub(crate) const RECYCLED_TASK_BYTES: usize = 2048;

/// Kept memory of ended tasks, for each of the size classes of a core.
pub(crate) const RECYCLED_BYTES_PER_CLASS: usize = 512 * 1024;

/// Messages of the agreement that a core reads before it goes on with its turn.
pub(crate) const AGREEMENT_READS: usize = 256;

/// What waking a parked core costs, about: a spawn leaves a core only when it gains more than this.
pub(crate) const REMOTE_WAKE: Duration = Duration::from_micros(20);

/// What it is taken to cost a task to be past the last cache of those that it talks to, each time that it is polled. Not measured:
/// a few cache lines from another package.
pub(crate) const FAR_TALK: Duration = Duration::from_micros(1);

/// Of two cores with as much room, one in the same cache is so many times as likely to be handed a task. Chosen, not measured.
pub(crate) const NEAR_TIMES: f64 = 4.0;

/// A task that computes goes to a CPU that has nothing to do if that is faster by so much.
pub(crate) const FASTER: f64 = 1.2;

/// How often a core looks whether it should hand tasks over.
pub(crate) const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// For how long a core that has handed tasks over, or got some, waits for the figures to show it.
pub(crate) const GIVE_PAUSE: Duration = Duration::from_millis(20);

/// In windows of this length a core counts how often it polls each task. Two of them tell how much work a task is.
pub(crate) const SHARE_WINDOW: Duration = Duration::from_millis(50);

/// So many polls for each task that was polled lately tell what the tasks' parts are.
pub(crate) const KNOWN_POLLS: u32 = 8;

/// Time constant of what a core makes of published figures.
pub(crate) const LOAD_SMOOTHING: Duration = Duration::from_millis(25);

/// But over so many polls at least, where polls are long.
pub(crate) const SMOOTHED_POLLS: u32 = 128;

/// How much demand is taken to vary by chance, in percent of what it would if tasks were woken at random and the length of
/// their polls distributed exponentially.
pub(crate) const CHANCE_PERCENT: u32 = 50;

/// Time constant of how much single looks differ from that.
pub(crate) const NOISE_SMOOTHING: Duration = Duration::from_millis(50);

/// A core that has so much more to do than the mean, in percent of its time, hands tasks over; if that is more than so many
/// standard errors of the figures.
pub(crate) const GAP_PERCENT: u32 = 10;

/// See [`GAP_PERCENT`].
pub(crate) const GAP_SIGMAS: u32 = 3;

/// What moving a task costs, about, on both cores, with the caches that are cold then.
pub(crate) const MOVE_COST: Duration = Duration::from_micros(50);

/// In so much time a move must earn what it costs.
pub(crate) const GAP_LASTS: Duration = Duration::from_millis(200);

/// For so long a core hands nothing back to the core that it got tasks from, and twice as long each time that more come
/// before that is forgotten.
pub(crate) const NO_WAY_BACK: Duration = Duration::from_millis(125);

/// But no longer than that.
pub(crate) const LONGEST_NO_WAY_BACK: Duration = Duration::from_secs(1);

/// A core that loses more than so much of its time to other processes hands all its tasks over, as far as there is room.
pub(crate) const LOST_PERCENT: u32 = 15;

/// Time constant with which it is forgotten that a core has lost time, while it has nothing to do.
pub(crate) const LOST_FADES: Duration = Duration::from_millis(500);

/// For so long nothing goes to a core that was drained because it lost time. Twice that if it loses time again then, and so on.
pub(crate) const AVOIDED: Duration = Duration::from_millis(500);

/// See [`AVOIDED`].
pub(crate) const LONGEST_AVOIDED: Duration = Duration::from_secs(16);

/// If tasks wait for longer than this on a core that is busy all the time, part of a CPU that others use is better than nothing.
pub(crate) const LATE: Duration = Duration::from_millis(1);

/// Among cores that are busy all the time, waits are made alike if they are longer than this.
pub(crate) const UNEVEN_WAIT: Duration = Duration::from_micros(100);

/// How often that is done, and over how long waits are averaged for it.
pub(crate) const EVEN_PAUSE: Duration = Duration::from_millis(200);

/// A core that runs and has published nothing for so long is stuck in a poll, or has no CPU.
pub(crate) const STUCK: Duration = Duration::from_millis(20);

/// How often a core asks another for tasks.
pub(crate) const ASK_PAUSE: Duration = Duration::from_millis(50);

/// A poll that takes so long is long. Before one that is known to be, the other tasks leave.
pub(crate) const LONG_POLL: Duration = Duration::from_millis(5);

/// Of a task whose polls are timed, so many of the last are remembered.
pub(crate) const REMEMBERED_POLLS: u32 = 7;

/// If so many of them were long, the next one is known to be.
pub(crate) const KNOWN_LONG_POLLS: u32 = 3;

/// After a long poll that was not, each poll of the core is timed for so long.
pub(crate) const LONG_POLL_SEARCH: Duration = Duration::from_secs(1);

/// For so long after a poll that was known to be long, a core that has sent the other tasks away takes none.
pub(crate) const RESERVED: Duration = Duration::from_secs(1);

/// Tasks that wait for something and leave before one long poll.
pub(crate) const WAITING_SENT: u32 = 4096;

/// Cores that one look compares with. On larger Machines the next look takes the next ones.
pub(crate) const CORES_PER_LOOK: usize = 16;

/// Cores to which one look hands tasks over.
pub(crate) const GIVES_PER_LOOK: u32 = 8;

/// How often whoever places tasks reads what all cores publish, for each of them: each costs a cache miss. In between it
/// counts what it has sent.
pub(crate) const PLACEMENT_PAUSE: Duration = Duration::from_micros(10);

const _: () = assert!(LOOK_PAUSE.as_nanos() <= GIVE_PAUSE.as_nanos());
const _: () = assert!(STUCK.as_nanos() > TURN_TIME.as_nanos() && LONG_POLL.as_nanos() > TURN_TIME.as_nanos());

/// How often a Machine looks which CPUs its process may use.
pub(crate) const FOLLOW_PAUSE: Duration = Duration::from_secs(1);

/// Threads for blocking calls, unless the builder says otherwise.
pub(crate) const BLOCKING_THREADS: usize = 64;

/// A blocking thread that has had no work for this long ends, unless the builder says otherwise.
pub(crate) const BLOCKING_IDLE: Duration = Duration::from_secs(10);

/// How long blocking calls wait before a thread for them is tried again, when the system has given none.
pub(crate) const BLOCKING_RETRY: Duration = Duration::from_millis(50);

/// From so many bytes on a zero-copy send is one. Below, pinning the pages and the second completion cost about as much as a whole
/// plain send does, so it would not pay even if nothing were copied.
pub(crate) const ZERO_COPY_FROM: usize = 64 * 1024;

/// How long a core waits for the system to give back what its driver has in flight.
pub(crate) const DRIVER_PATIENCE: Duration = Duration::from_secs(1);

/// How long a core polls for messages before it parks, where polling pays: about what a park and a wake cost.
pub(crate) const POLLING: Duration = Duration::from_micros(10);

/// A core that polls for less than this does so only between polls of tasks, since an end of a channel that lingers may take as
/// long.
pub(crate) const POLLING_TO_LINGER: Duration = Duration::from_micros(4);

/// While it polls for messages, a core looks at the clock every so many looks.
pub(crate) const LOOKS_PER_CLOCK: u32 = 8;

/// A core that is in one poll for longer is stuck, unless the builder says otherwise.
pub(crate) const STALL_THRESHOLD: Duration = Duration::from_millis(100);

/// A shorter threshold would have the cores looked at for nothing.
pub(crate) const SHORTEST_STALL: Duration = Duration::from_millis(1);

/// The cores are looked at so many times within the time after which one is stuck.
pub(crate) const LOOKS_PER_STALL: u32 = 4;

/// Frames of the stack of a stuck thread, from the innermost on.
pub(crate) const STACK_FRAMES: usize = 128;

/// How long a stuck thread has for telling its stack.
pub(crate) const STACK_PATIENCE: Duration = Duration::from_millis(500);

/// Submission queue entries of a core's io_uring.
pub(crate) const RING_ENTRIES: u32 = 1024;

/// The same in tests, where many runtimes come and go.
pub(crate) const TEST_RING_ENTRIES: u32 = 64;

/// Cores of one Machine.
pub(crate) const CORES: usize = multikernel_replicate::limits::MAX_CORES;

/// Connections that wait for a listener to accept them. The system may hold fewer (`net.core.somaxconn`).
pub(crate) const BACKLOG: i32 = 4096;

/// How long a listener waits when the process or the system is out of descriptors or memory; doubled up to the longest.
pub(crate) const SHORTEST_ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// See [`SHORTEST_ACCEPT_PAUSE`].
pub(crate) const LONGEST_ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Buffers in one vectored call; the system refuses more (`UIO_MAXIOV`).
pub(crate) const BUFFERS_PER_CALL: usize = 1024;

/// Over so much time a core that is kept from running looks whether its CPU was idle: a few ticks of the system's statistics.
pub(crate) const IDLE_WINDOW: Duration = Duration::from_millis(40);

/// How often a busy core asks the system for how long it was kept from running. That costs about two microseconds.
pub(crate) const RUN_DELAY_PAUSE: Duration = Duration::from_millis(10);

/// Datagrams that one call sends or receives: what a core does in one go.
pub(crate) const DATAGRAMS_PER_CALL: usize = 64;

/// Datagrams in one call for which a task pays one unit of its budget more.
pub(crate) const DATAGRAMS_PER_UNIT: usize = 8;

/// Segments that the system is asked to cut one datagram into; older systems refuse more (`UDP_MAX_SEGMENTS`).
pub(crate) const SEGMENTS_PER_DATAGRAM: usize = 64;

const _: () = assert!(DATAGRAMS_PER_CALL <= BUFFERS_PER_CALL);
const _: () = assert!(DATAGRAMS_PER_CALL / DATAGRAMS_PER_UNIT < BUDGET_PER_POLL as usize);
const _: () = assert!(SHORTEST_ACCEPT_PAUSE.as_nanos() <= LONGEST_ACCEPT_PAUSE.as_nanos());
/// Bytes of one receive buffer.
pub(crate) const RECEIVE_BUFFER_BYTES: usize = 4096;

/// Receive buffers of one core that its sockets share: few enough to stay in a cache. A power of two.
pub(crate) const RECEIVE_BUFFERS: u16 = 128;

/// Sockets start to receive into shared buffers only while this many are free; else into buffers of their own.
pub(crate) const RECEIVE_BUFFERS_LOW: u16 = 32;

/// Shared buffers that one socket may fill before anybody reads them; then it stops receiving.
pub(crate) const UNREAD_BUFFERS: usize = 16;

/// Reads in a row that had to wait after which a socket streams, where it is read through `poll_read`. `None`: never.
pub(crate) const STREAM_AFTER_WAITS: Option<u8> = Some(4);

/// Receive buffers from the heap that a core keeps for later.
pub(crate) const SPARE_BUFFERS: usize = 128;

/// Bytes that wait to be written to a standard stream, and that one read of the standard input takes at most.
pub(crate) const STDIO_BYTES: usize = 64 * 1024;

/// Bytes that a copy between two streams reads at once, as in tokio, unless its caller says otherwise.
pub(crate) const COPY_BYTES: usize = 8192;

/// Bytes that a copy from a file reads at once.
pub(crate) const COPY_FILE_BYTES: usize = 64 * 1024;

/// Bytes that one direction of a copy may have in its pipe. What Linux gives a pipe to begin with, so that a pipe costs
/// one system call; one user's pipes of that size may be 1,024 until Linux makes them smaller.
pub(crate) const PIPE_BYTES: usize = 64 * 1024;

/// Pipes, and buffers of [`COPY_BYTES`], that a core keeps for the next copy. Copies hold one only while bytes are in it.
pub(crate) const SPARE_PIPES: usize = 16;

/// A direction of a copy that has moved so much in one poll lets others have their turn.
pub(crate) const COPY_BYTES_PER_POLL: usize = 1024 * 1024;

/// After so many pieces in a row that a buffer would have held, a copy goes back from its pipe to the buffer.
pub(crate) const SMALL_PIECES: u8 = 4;

/// Full buffers after which a copy that could not have a pipe asks for one again.
pub(crate) const PIPE_PATIENCE: u16 = 256;

/// Files that are open at once in a Machine's file table, those included that are closed and still have operations in
/// flight. As many places each core's io_uring has for them.
pub(crate) const FILES: usize = 1024;

/// What a file that is read and written as a stream moves at once, unless it is told otherwise; so much memory it keeps.
pub(crate) const FILE_BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// What a file that is read whole is asked for first. Each further read asks for as much as there is already.
pub(crate) const READ_WHOLE_BYTES: usize = 64 * 1024;

/// Entries of a directory that are read at once.
pub(crate) const ENTRIES_PER_CALL: usize = 32;

/// A file is sent in pieces of this size; before each, a core looks whether it is in memory.
pub(crate) const SEND_PIECE_BYTES: u64 = 128 * 1024;

/// What is brought into memory at once, on a thread for calls that block, when it is not there.
pub(crate) const SEND_WARM_BYTES: u64 = 1024 * 1024;

/// Direct I/O wants addresses, offsets and lengths that are multiples of the disk's block; this is one for all of them.
pub(crate) const DIRECT_ALIGNMENT: usize = 4096;

/// Buffers that each core registers with its ring, when it is first asked for one.
pub(crate) const DIRECT_BUFFERS: u16 = 64;

/// Bytes of one of them.
pub(crate) const DIRECT_BUFFER_BYTES: usize = 64 * 1024;

const _: () =
    assert!(DIRECT_ALIGNMENT.is_power_of_two() && DIRECT_BUFFER_BYTES.is_multiple_of(DIRECT_ALIGNMENT));
const _: () =
    assert!(SEND_PIECE_BYTES <= SEND_WARM_BYTES && SEND_WARM_BYTES.is_multiple_of(SEND_PIECE_BYTES));

/// One read or write moves at most this much, as read(2) does.
pub(crate) const LONGEST_TRANSFER: usize = 0x7fff_f000;

// What Linux takes as the size of a registered table.
const _: () = assert!(FILES >= 1 && FILES <= 1 << 15);
const _: () = assert!(LONGEST_TRANSFER <= i32::MAX as usize);
const _: () = assert!(COPY_BYTES < PIPE_BYTES && PIPE_BYTES < COPY_BYTES_PER_POLL);
const _: () = assert!(COPY_BYTES < COPY_FILE_BYTES && COPY_FILE_BYTES <= FILE_BUFFER_BYTES);
const _: () = assert!(POLLS_PER_TURN.is_multiple_of(POLLS_PER_LOOK));
const _: () =
    assert!(RECYCLED_TASK_BYTES.is_multiple_of(64) && RECYCLED_TASK_BYTES < RECYCLED_BYTES_PER_CLASS);
const _: () = assert!(TEST_RING_ENTRIES <= RING_ENTRIES);
const _: () = assert!(matches!(STREAM_AFTER_WAITS, None | Some(1..=64)));
const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two() && RECEIVE_BUFFERS_LOW < RECEIVE_BUFFERS);
const _: () = assert!(UNREAD_BUFFERS < RECEIVE_BUFFERS as usize);

/// How long a timer of the Machine waits that may not start now: something is undecided, or its core has too much to announce.
pub(crate) const TIMER_PAUSE: Duration = Duration::from_millis(1);

/// Of a file that describes the computer, no more is read.
pub(crate) const SYSFS_FILE_BYTES: u64 = 1 << 20;

/// Series of round trips between two CPUs, of which the quickest counts.
pub(crate) const ROUND_TRIP_BATCHES: u32 = 32;

/// Round trips of one series: enough for the clock, and few enough to lie between two interrupts.
pub(crate) const ROUND_TRIPS_PER_BATCH: u32 = 128;

/// While it waits for another CPU's answer, a thread looks at the clock every so many looks.
pub(crate) const SPINS_PER_CLOCK: u32 = 1024;
