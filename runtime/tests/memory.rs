//! What the ways between the cores of a large Machine take: the rings of the agreement, and the lanes of a channel to each core.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use multikernel_channels::hub::Hub;
use multikernel_channels::mesh::{End, Mesh, News};
use multikernel_channels::mpsc::{self, Receiver, Sender};
use multikernel_replicate::{Message, Replicas, Wire, limits};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: of the caller.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CORES: usize = 256;
const LIMIT: usize = 128 << 20;

fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

type Rings = Vec<End<Wire<Replicas>>>;
type Channels = Vec<(Sender<u64>, Receiver<u64>)>;

/// Each core says `each` things to each other one.
fn speak(rings: &mut Rings, each: usize) {
    for (from, end) in rings.iter_mut().enumerate() {
        for to in (0..CORES).filter(|to| *to != from) {
            (0..each).for_each(|_| end.push(to, Message::Knock));
        }
    }
}

/// All of that arrives.
fn hear(rings: &mut Rings, each: usize) {
    for end in rings {
        let mut heard = vec![0; CORES];
        while let Some((from, news)) = end.read() {
            assert!(matches!(news, News::Message(Message::Knock)));
            heard[from] += 1;
        }
        assert_eq!(heard.iter().sum::<usize>(), each * (CORES - 1));
        assert!(heard.iter().all(|count| [0, each].contains(count)), "{heard:?}");
    }
}

/// From within each of the cores that are left, all at once, a message to every channel.
fn send(channels: &Channels, left: usize) {
    if left > 0 {
        Hub::new().enter(|| {
            channels.iter().for_each(|(tx, _)| tx.try_send(left as u64).expect("there is room"));
            send(channels, left - 1);
        });
    }
}

fn receive(channels: &mut Channels) {
    for (_, rx) in channels {
        let mut from: Vec<_> = std::iter::from_fn(|| rx.try_recv().ok()).collect();
        from.sort_unstable();
        assert!(from.into_iter().eq(1..=CORES as u64), "each core's message, once");
    }
}

/// What the first ring between two cores takes.
fn first_ring() -> usize {
    let mesh = Mesh::new(2, 64);
    let mut ends = [End::new(&mesh, 0), End::new(&mesh, 1)];
    let before = live();
    ends[0].push(1, 0_u64);
    let bytes = live() - before;
    assert_eq!(ends[1].read(), Some((0, News::Message(0))));
    bytes
}

#[test]
fn all_to_all_of_256_cores_is_within_the_limit() {
    let before = live();
    let mut rings = {
        let mesh = Mesh::new(CORES, limits::RING);
        (0..CORES).map(|me| End::new(&mesh, me)).collect()
    };
    speak(&mut rings, 1);
    let of_rings = live() - before;
    let mut channels: Channels = (0..CORES).map(|_| mpsc::channel(1024)).collect();
    send(&channels, CORES);
    let all = live() - before;
    assert!(all < 100 << 20, "{all} bytes, of which rings {of_rings}");
    hear(&mut rings, 1);
    receive(&mut channels);

    // Rings that have to hold more grow, whatever is left. After that each channel gets one lane, in which all send.
    speak(&mut rings, 16);
    let mut more: Channels = (0..CORES).map(|_| mpsc::channel(1024)).collect();
    let grown = live();
    assert!(grown - before > LIMIT, "the limit is not reached: {} bytes", grown - before);
    send(&more, CORES);
    let shared = live() - grown;
    assert!(shared < CORES * 8192, "lanes are made beyond the limit: {shared} bytes");
    hear(&mut rings, 16);
    receive(&mut more);

    let smallest = first_ring();
    drop((rings, channels, more));
    assert!(smallest < first_ring(), "beyond the limit first rings are the smallest");
    assert!(live() - before < 1 << 20, "all is given back");
}
