//! How long a cache line takes from one CPU to another and back.

use std::fmt;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use multikernel_channels::sync::{AtomicBool, AtomicU32, Ordering, spin_loop};

use super::{cpus, pinning};
use crate::limits::{ROUND_TRIP_BATCHES, ROUND_TRIPS_PER_BATCH, SPINS_PER_CLOCK};

/// Measures the round trip between each two CPUs that this process may use: affinity, cpusets and what our own cores
/// were pinned to are taken into account as when a Machine starts.
///
/// See [`measure_round_trips_among`], which it calls.
///
/// # Errors
///
/// When the system gives no threads.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let trips = multikernel::machine::measure_round_trips(Duration::from_millis(50))?;
/// for from in &trips.cpus {
///     for to in &trips.cpus {
///         println!("{from} to {to} and back: {:?} ns", trips.between(*from, *to));
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn measure_round_trips(limit: Duration) -> io::Result<RoundTrips> {
    measure_round_trips_among(&pinning::available().cpus, limit)
}

/// Measures the round trip between each two of `cpus`: two threads, one on each CPU, take turns in writing to one cache
/// line. Of many series the quickest counts, so what disturbs some of them does not show.
///
/// It **blocks** for as long as it takes, a millisecond or so for each pair that nothing disturbs, and not much longer than
/// `limit`: the time that is left is dealt evenly to the pairs that are left. Pairs for which it did not suffice are not
/// measured, nor are CPUs on which our threads may not run. On a core of a Machine, call it through
/// [`spawn_blocking`](crate::task::spawn_blocking). The CPUs of the pair are busy meanwhile, so measure before there is
/// work, not beside it.
///
/// # Errors
///
/// When the system gives no threads.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let trips = multikernel::machine::measure_round_trips_among(&[0], Duration::from_secs(1))?;
/// assert_eq!(trips.between(0, 0), None, "one CPU has nobody to talk to");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn measure_round_trips_among(cpus: &[usize], limit: Duration) -> io::Result<RoundTrips> {
    let end = Instant::now().checked_add(limit);
    let mut cpus = cpus.to_vec();
    cpus.sort_unstable();
    cpus.dedup();
    let mut nanoseconds = vec![vec![None; cpus.len()]; cpus.len()];
    let pairs = (0..cpus.len()).flat_map(|from| (from + 1..cpus.len()).map(move |to| (from, to)));
    let count = cpus.len() * cpus.len().saturating_sub(1) / 2;
    for (done, (from, to)) in pairs.enumerate() {
        let now = Instant::now();
        // A limit beyond what the clock can tell is none; a pair ends after its series anyway, unless one CPU is stuck.
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(now));
        if left.is_zero() {
            break;
        }
        let share = left / u32::try_from(count - done).unwrap_or(u32::MAX);
        let trip = measure(cpus[from], cpus[to], now.checked_add(share))?;
        nanoseconds[from][to] = trip;
        nanoseconds[to][from] = trip;
    }
    Ok(RoundTrips { cpus, nanoseconds })
}

/// How long a message takes between CPUs and back; what [`measure_round_trips`] returns.
///
/// ```
/// use std::time::Duration;
///
/// let trips = multikernel::machine::measure_round_trips(Duration::from_millis(50))?;
/// assert_eq!(trips.nanoseconds.len(), trips.cpus.len());
/// print!("{trips}");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoundTrips {
    /// The CPUs that were looked at, ascending.
    pub cpus: Vec<usize>,
    /// In the order of `cpus`, a row for each with a column for each. `None` where nothing was measured, which includes
    /// each CPU with itself.
    pub nanoseconds: Vec<Vec<Option<u64>>>,
}

impl RoundTrips {
    /// The round trip between two CPUs in nanoseconds. `None` if it was not measured.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let trips = multikernel::machine::measure_round_trips(Duration::from_millis(50))?;
    /// assert_eq!(trips.between(0, 1), trips.between(1, 0));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn between(&self, a: usize, b: usize) -> Option<u64> {
        let place = |number| self.cpus.iter().position(|cpu| *cpu == number);
        self.nanoseconds.get(place(a)?)?.get(place(b)?).copied().flatten()
    }
}

/// A table.
impl fmt::Display for RoundTrips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5}", "ns")?;
        for cpu in &self.cpus {
            write!(f, " {cpu:>5}")?;
        }
        writeln!(f)?;
        for (cpu, row) in self.cpus.iter().zip(&self.nanoseconds) {
            write!(f, "{cpu:>5}")?;
            for trip in row {
                match trip {
                    Some(trip) => write!(f, " {trip:>5}")?,
                    None => write!(f, " {:>5}", "-")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// What the two threads pass to and fro: even values are the first one's turn, odd ones the second's.
struct Court {
    turn: CachePadded<AtomicU32>,
    /// One side has left. Apart from `turn`, which the other side may be about to write.
    over: CachePadded<AtomicBool>,
    end: Option<Instant>,
}

/// An odd value that no turn reaches: the second side has not come yet.
const NOBODY: u32 = u32::MAX;

impl Court {
    fn new(end: Option<Instant>) -> Court {
        let turn = CachePadded::new(AtomicU32::new(NOBODY));
        Court { turn, over: CachePadded::new(AtomicBool::new(false)), end }
    }

    fn play(&self, value: u32) {
        self.turn.store(value, Ordering::Release); // pairs with `await_turn`
    }

    /// Whether it became `value`; false if the time or the game is over.
    fn await_turn(&self, value: u32) -> bool {
        let mut spins = 0_u32;
        // Acquire pairs with `play`: the time is that of a message that is read, not of a lone flag.
        while self.turn.load(Ordering::Acquire) != value {
            spins += 1;
            if spins.is_multiple_of(SPINS_PER_CLOCK) {
                spins = 0;
                // Relaxed: there is nothing to read behind it.
                if self.over.load(Ordering::Relaxed) || self.end.is_some_and(|end| Instant::now() >= end) {
                    return false;
                }
            }
            spin_loop();
        }
        true
    }

    /// Nanoseconds for a round trip in the quickest series.
    fn serve(&self) -> Option<u64> {
        let mut best = None;
        let mut value = 0;
        if !self.await_turn(0) {
            return None;
        }
        for _ in 0..ROUND_TRIP_BATCHES {
            let begin = Instant::now();
            for _ in 0..ROUND_TRIPS_PER_BATCH {
                self.play(value + 1);
                value += 2;
                if !self.await_turn(value) {
                    return best;
                }
            }
            let trip = begin.elapsed().as_nanos() / u128::from(ROUND_TRIPS_PER_BATCH);
            let trip = u64::try_from(trip).unwrap_or(u64::MAX);
            best = Some(best.map_or(trip, |best: u64| best.min(trip)));
        }
        best
    }

    fn answer(&self) {
        let mut value = 0;
        // The first word says that this side is in place.
        self.play(value);
        while self.await_turn(value + 1) {
            value += 2;
            self.play(value);
        }
    }
}

/// Ends the game for the other side, however this one ends.
struct GivesUp<'a>(&'a Court);

impl Drop for GivesUp<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed); // read in `await_turn`, alone
    }
}

/// The quickest round trip until `end`.
///
/// # Errors
///
/// When the system gives no threads.
fn measure(first: usize, second: usize, end: Option<Instant>) -> io::Result<Option<u64>> {
    let court = &Court::new(end);
    thread::scope(|scope| {
        let answering = thread::Builder::new().spawn_scoped(scope, move || {
            let _over = GivesUp(court);
            // Elsewhere than on its CPU it would measure something else.
            if cpus::set_affinity(&[second]).is_ok() {
                court.answer();
            }
        })?;
        let serving = thread::Builder::new().spawn_scoped(scope, move || {
            let _over = GivesUp(court);
            cpus::set_affinity(&[first]).ok().and_then(|()| court.serve())
        });
        if serving.is_err() {
            drop(GivesUp(court));
        }
        let trip = serving.map(|serving| serving.join().unwrap_or(None));
        let _ = answering.join();
        trip
    })
}

#[cfg(test)]
#[path = "round_trips_tests.rs"]
mod tests;
