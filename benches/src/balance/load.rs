//! What the simulated servers have to do: connections, when requests arrive on them, and what each costs.

/// Numbers that look random, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Begins with `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// From 0 to 1, never 0.
    pub fn share(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// Exponentially distributed, with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -self.share().ln()
    }
}

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// All connections alike: what there is to gain is little, and needless moves show.
    Even,
    /// One connection in eight has nine tenths of the work. Which, no placement can know.
    Skew,
    /// Connections are silent nine tenths of the time.
    Bursts,
    /// One request in 200 takes 100 times as long as the rest.
    Tail,
    /// One connection in 64 has nothing but requests that take 20 ms each, five times a second. The others are alike.
    Known,
    /// Another process takes half of core 0's CPU from the first second to the second.
    Taken,
    /// All connections are accepted by core 0, as by a server that has one core do that, and stay where they are begun.
    Heap,
}

impl Load {
    /// Each of them.
    pub const ALL: [Self; 7] =
        [Self::Even, Self::Skew, Self::Bursts, Self::Tail, Self::Known, Self::Taken, Self::Heap];

    /// By which it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Even => "even",
            Self::Skew => "skew",
            Self::Bursts => "bursts",
            Self::Tail => "tail",
            Self::Known => "known",
            Self::Taken => "taken",
            Self::Heap => "heap",
        }
    }

    /// The share of all cores' time that requests need.
    fn utilisation(self) -> f64 {
        match self {
            Self::Even | Self::Skew => 0.7,
            Self::Bursts | Self::Tail | Self::Known | Self::Taken | Self::Heap => 0.5,
        }
    }
}

/// Connections for each core.
pub const CONNECTIONS: usize = 32;

/// The mean cost of a request, in nanoseconds.
pub const SERVICE: f64 = 50_000.0;

/// How long a burst lasts, on average, in nanoseconds; the silence after it is nine times as long.
const BURST: f64 = 50_000_000.0;

const LONG: (f64, f64) = (0.005, 100.0);

/// Of the connections whose requests are all long: one in how many, the cost of a request, and the mean time between two.
const KNOWN: (usize, f64, f64) = (64, 20_000_000.0, 200_000_000.0);

/// When requests arrive on one connection. It has random numbers of its own, so the load is the same whoever serves it.
#[derive(Clone, Debug)]
pub struct Arrivals {
    load: Load,
    rng: Rng,
    /// Nanoseconds between requests, on average, while they arrive.
    pause: f64,
    /// Bursts: when this one ends.
    burst_ends: f64,
    /// Known: this is one of the long ones.
    is_long: bool,
}

impl Arrivals {
    /// Of a connection with a number, one of those of `cores` cores.
    pub fn new(load: Load, cores: usize, number: usize, mut rng: Rng) -> Self {
        let all = (cores * CONNECTIONS) as f64;
        let each = load.utilisation() * cores as f64 / all;
        let weight = match load {
            Load::Skew if number.is_multiple_of(8) => 0.9 * 8.0,
            Load::Skew => 0.1 * 8.0 / 7.0,
            Load::Bursts => 10.0,
            _ => 1.0,
        };
        // Some are in a burst at the start, so that the load is the same from there on.
        let in_burst = rng.below(10) == 0;
        let burst_ends = if in_burst { rng.exponential() * BURST } else { 0.0 };
        let (every, cost, pause) = KNOWN;
        let is_long = load == Load::Known && number.is_multiple_of(every);
        let pause = match load {
            Load::Known if is_long => pause,
            // What is left to the others.
            Load::Known => SERVICE * (1.0 - 1.0 / every as f64) / (each - cost / pause / every as f64),
            _ => SERVICE / (each * weight),
        };
        Self { load, rng, pause, burst_ends, is_long }
    }

    /// When the next arrives after `now`.
    pub fn next(&mut self, now: u64) -> u64 {
        let rng = &mut self.rng;
        let mut at = now as f64 + rng.exponential() * self.pause;
        while self.load == Load::Bursts && at > self.burst_ends {
            let begins = self.burst_ends.max(now as f64) + rng.exponential() * BURST * 9.0;
            self.burst_ends = begins + rng.exponential() * BURST;
            at = begins + rng.exponential() * self.pause;
        }
        at as u64 + 1
    }

    /// What the request costs, in nanoseconds.
    pub fn cost(&mut self) -> u64 {
        let rng = &mut self.rng;
        // Half of it is the same for all: no request is so small that any wait is a hundred times as long.
        let usual = 0.5 + 0.5 * rng.exponential();
        let cost = match self.load {
            Load::Tail => {
                let (share, times) = LONG;
                let scale = 1.0 / (1.0 - share + share * times);
                usual * scale * if rng.share() < share { times } else { 1.0 }
            }
            Load::Known if self.is_long => usual * KNOWN.1 / SERVICE,
            _ => usual,
        };
        (cost * SERVICE) as u64 + 1
    }
}

/// When a core has its CPU.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    taken: bool,
}

/// While the CPU of core 0 is shared, it is away half of the time, for so long at once.
const SLICE: u64 = 4_000_000;
const TAKEN: std::ops::Range<u64> = 1_000_000_000..2_000_000_000;

impl Cpu {
    /// Of the core with that number.
    pub fn new(load: Load, core: usize) -> Self {
        Self { taken: load == Load::Taken && core == 0 }
    }

    /// When work of so many nanoseconds ends that is begun at `start`.
    pub fn ends(self, start: u64, work: u64) -> u64 {
        if !self.taken {
            return start + work;
        }
        let (mut at, mut left) = (start, work);
        loop {
            // The next moment at which anything changes.
            let change = if at < TAKEN.start { TAKEN.start } else { (at / SLICE + 1) * SLICE };
            let away = TAKEN.contains(&at) && (at / SLICE) % 2 == 1;
            if at >= TAKEN.end || (!away && at + left <= change) {
                return at + left;
            }
            if !away {
                left -= change - at;
            }
            at = change;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_load_needs_as_much_time_as_it_says() {
        for load in Load::ALL {
            let (cores, long) = (4, 20_000_000_000_u64);
            let mut work = 0;
            for number in 0..cores * CONNECTIONS {
                let mut arrivals = Arrivals::new(load, cores, number, Rng::new(number as u64));
                let mut at = 0;
                while at < long {
                    at = arrivals.next(at);
                    work += arrivals.cost();
                }
            }
            let share = work as f64 / (cores as u64 * long) as f64;
            assert!((share / load.utilisation() - 1.0).abs() < 0.1, "{load:?}: {share}");
        }
    }

    #[test]
    fn half_of_a_cpu_takes_twice_as_long() {
        let cpu = Cpu::new(Load::Taken, 0);
        assert_eq!(cpu.ends(5, 10), 15);
        assert_eq!(cpu.ends(1_200_000_000, 100_000_000), 1_396_000_000);
        assert_eq!(cpu.ends(2_000_000_001, 10), 2_000_000_011);
        assert_eq!(Cpu::new(Load::Taken, 1).ends(1_200_000_000, 100_000_000), 1_300_000_000);
    }
}
