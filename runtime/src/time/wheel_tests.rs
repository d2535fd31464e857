use std::collections::BTreeMap;

use proptest::prelude::*;

use super::wheel::{Key, Wheel};

const TICK: u64 = 1 << 18;

/// What the wheel must do, in the plainest form: entries by tick and age.
#[derive(Default)]
struct Model {
    now: u64,
    due: BTreeMap<(u64, usize), u64>,
}

impl Model {
    fn insert(&mut self, id: usize, deadline: u64) {
        self.due.insert((deadline.div_ceil(TICK).max(self.now / TICK), id), deadline);
    }

    fn remove(&mut self, id: usize) -> Option<u64> {
        let place = *self.due.keys().find(|(_, other)| *other == id)?;
        self.due.remove(&place)
    }

    fn advance(&mut self, now: u64) -> Vec<(u64, usize)> {
        self.now = self.now.max(now);
        let later = self.due.split_off(&(self.now / TICK + 1, 0));
        std::mem::replace(&mut self.due, later).into_keys().collect()
    }

    /// Whose deadline has come by `now`.
    fn advance_exactly(&mut self, now: u64) -> Vec<usize> {
        self.now = self.now.max(now);
        let due = self.due.extract_if(.., |_, deadline| *deadline <= self.now);
        due.map(|((_, id), _)| id).collect()
    }

    fn next_expiry(&self) -> Option<u64> {
        self.due.keys().next().map(|(tick, _)| tick.saturating_mul(TICK))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Cancel(prop::sample::Index),
    Reschedule(prop::sample::Index, u64),
    Advance(u64),
    AdvanceToNext,
    AdvanceExactly(u64),
    AdvanceToNextDeadline,
}

/// Spans of every order of magnitude, with many that meet the borders between ticks and levels.
fn span() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        1..4 * TICK,
        (0..64u32, any::<u64>()).prop_map(|(bits, low)| low >> bits),
        (0..46u32, -2..3i64).prop_map(|(bits, off)| (TICK << bits).wrapping_add_signed(off)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => span().prop_map(Step::Insert),
        2 => any::<prop::sample::Index>().prop_map(Step::Cancel),
        1 => (any::<prop::sample::Index>(), span()).prop_map(|(which, span)| Step::Reschedule(which, span)),
        3 => span().prop_map(|span| Step::Advance(span >> 8)),
        1 => span().prop_map(Step::Advance),
        3 => Just(Step::AdvanceToNext),
        2 => span().prop_map(|span| Step::AdvanceExactly(span >> 8)),
        3 => Just(Step::AdvanceToNextDeadline),
    ]
}

struct Pair {
    wheel: Wheel<usize>,
    model: Model,
    /// Every key ever issued, with the identity of its entry.
    keys: Vec<Key>,
    /// The deadline each entry has now.
    deadlines: Vec<u64>,
}

impl Pair {
    fn advance(&mut self, now: u64) {
        let mut fired = Vec::new();
        self.wheel.advance(now, |id| fired.push(id));
        let expected = self.model.advance(now);
        let tick_of = |id: usize| expected.iter().find(|(_, other)| *other == id).map(|(tick, _)| *tick);
        let ticks: Option<Vec<u64>> = fired.iter().map(|id| tick_of(*id)).collect();
        assert!(ticks.expect("nothing fires that is not due").is_sorted(), "in the order of ticks");
        for id in &fired {
            assert!(self.deadlines[*id] <= self.model.now, "never early");
        }
        fired.sort_unstable();
        let mut expected: Vec<usize> = expected.iter().map(|(_, id)| *id).collect();
        expected.sort_unstable();
        assert_eq!(fired, expected);
    }

    fn run(&mut self, step: Step) {
        let now = self.model.now;
        match step {
            Step::Insert(span) => {
                let deadline = now.saturating_add(span);
                let id = self.keys.len();
                self.keys.push(self.wheel.insert(deadline, id));
                self.deadlines.push(deadline);
                self.model.insert(id, deadline);
            }
            Step::Cancel(which) if !self.keys.is_empty() => {
                let id = which.index(self.keys.len());
                let expected = self.model.remove(id).map(|_| id);
                assert_eq!(self.wheel.cancel(self.keys[id]), expected);
            }
            Step::Reschedule(which, span) if !self.keys.is_empty() => {
                let id = which.index(self.keys.len());
                let deadline = now.saturating_add(span);
                let live = self.model.remove(id).is_some();
                assert_eq!(self.wheel.reschedule(self.keys[id], deadline), live);
                if live {
                    self.deadlines[id] = deadline;
                    self.model.insert(id, deadline);
                }
            }
            Step::Advance(span) => self.advance(now.saturating_add(span)),
            Step::AdvanceToNext => {
                if let Some(expiry) = self.wheel.next_expiry() {
                    self.advance(expiry);
                }
            }
            Step::AdvanceExactly(span) => self.advance_exactly(now.saturating_add(span)),
            Step::AdvanceToNextDeadline => {
                if let Some(deadline) = self.wheel.next_deadline() {
                    self.advance_exactly(deadline);
                }
            }
            Step::Cancel(_) | Step::Reschedule(..) => {}
        }
    }

    fn advance_exactly(&mut self, now: u64) {
        let mut fired = Vec::new();
        self.wheel.advance_exactly(now, |id| fired.push(id));
        let mut expected = self.model.advance_exactly(now);
        fired.sort_unstable();
        expected.sort_unstable();
        assert_eq!(fired, expected);
    }

    fn check(&self) {
        assert_eq!(self.wheel.len(), self.model.due.len());
        assert_eq!(self.wheel.next_deadline(), self.model.due.values().min().copied(), "always exact");
        let (got, expected) = (self.wheel.next_expiry(), self.model.next_expiry());
        if self.wheel.len() <= 16 {
            assert_eq!(got, expected, "exact while few entries can share a slot");
        } else {
            assert!(got.is_some() && got <= expected, "never too late");
        }
        for (id, key) in self.keys.iter().enumerate() {
            let live = self.model.due.keys().any(|(_, other)| *other == id);
            assert_eq!(self.wheel.get(*key), live.then_some(&id), "a key finds its own entry or none");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_model(steps in prop::collection::vec(step(), 1..120)) {
        let mut pair =
            Pair { wheel: Wheel::new(), model: Model::default(), keys: Vec::new(), deadlines: Vec::new() };
        for step in steps {
            pair.run(step);
            pair.check();
        }
        let live = pair.wheel.len();
        let mut left = 0;
        pair.wheel.clear(|_| left += 1);
        prop_assert_eq!(left, live);
        prop_assert_eq!((pair.wheel.len(), pair.wheel.next_expiry()), (0, None));
        prop_assert!(pair.keys.iter().all(|key| pair.wheel.get(*key).is_none()));
    }

    /// Many entries in one slot: `next_expiry` may stop short, but each stop files them closer, so it gets there.
    #[test]
    fn a_crowded_slot_is_reached_in_few_steps(spans in prop::collection::vec(0..TICK << 30, 17..60)) {
        let mut wheel = Wheel::new();
        let far = TICK << 40;
        let first = spans.iter().map(|span| (far + span).div_ceil(TICK) * TICK).min();
        spans.iter().for_each(|span| { wheel.insert(far + span, ()); });
        let mut fired = 0;
        let mut steps = 0;
        while fired == 0 {
            let expiry = wheel.next_expiry();
            prop_assert!(expiry <= first);
            wheel.advance(expiry.unwrap(), |()| fired += 1);
            steps += 1;
        }
        prop_assert_eq!(Some(wheel.now()), first);
        prop_assert!(steps <= 8, "{} steps", steps);
    }
}

#[test]
fn lateness_is_under_one_tick() {
    for deadline in [1, TICK - 1, TICK, TICK + 1, 63 * TICK + 5, 64 * TICK, 4_096 * TICK - 1, u64::MAX / 2] {
        let mut wheel = Wheel::new();
        wheel.insert(deadline, ());
        let expiry = wheel.next_expiry().unwrap();
        assert!((deadline..deadline + TICK).contains(&expiry), "{deadline} expires at {expiry}");
        wheel.advance(expiry - 1, |()| panic!("early"));
        let mut fired = 0;
        wheel.advance(expiry, |()| fired += 1);
        assert_eq!(fired, 1);
    }
}

#[test]
fn entries_of_a_tick_fire_as_they_were_filed() {
    let mut wheel = Wheel::new();
    for id in 0..5 {
        wheel.insert(1_000 * TICK - id, id);
    }
    let mut fired = Vec::new();
    wheel.advance(1_000 * TICK, |id| fired.push(id));
    assert_eq!(fired, [0, 1, 2, 3, 4]);
}

#[test]
fn an_overdue_entry_fires_though_time_stands_still() {
    let mut wheel = Wheel::new();
    wheel.advance(10 * TICK + 7, |()| panic!("empty"));
    wheel.insert(TICK, ());
    assert!(wheel.next_expiry().unwrap() <= wheel.now());
    let mut fired = 0;
    wheel.advance(0, |()| fired += 1);
    assert_eq!((fired, wheel.now()), (1, 10 * TICK + 7));
}

#[test]
fn the_end_of_time_neither_overflows_nor_comes() {
    let mut wheel = Wheel::new();
    let key = wheel.insert(u64::MAX, ());
    assert_eq!(wheel.next_expiry(), Some(u64::MAX));
    wheel.advance(u64::MAX, |()| panic!("its tick ends after the last nanosecond"));
    assert_eq!(wheel.cancel(key), Some(()));
}

#[test]
fn a_warm_wheel_does_not_allocate() {
    let mut wheel = Wheel::new();
    let mut time = 0;
    let mut round = || {
        let keys: Vec<Key> = (0..1_000).map(|n| wheel.insert(time + n * TICK, n)).collect();
        let full = wheel.capacity();
        keys.into_iter().step_by(2).for_each(|key| assert!(wheel.cancel(key).is_some()));
        time += 1_000 * TICK;
        wheel.advance(time, |_| {});
        assert_eq!(wheel.len(), 0);
        (full, wheel.capacity())
    };
    let warm = round();
    assert!(warm.0 == warm.1);
    assert!((0..100).all(|_| round() == warm));
}

#[test]
fn memory_comes_back_after_a_burst() {
    let mut wheel = Wheel::new();
    let burst: Vec<Key> = (0..100_000).map(|n| wheel.insert(u64::MAX / 2, n)).collect();
    // The last one stays for a while, and would hold the slab.
    let (last, rest) = burst.split_last().unwrap();
    rest.iter().for_each(|key| assert!(wheel.cancel(*key).is_some()));
    wheel.advance(TICK, |_| {});
    assert_eq!(wheel.get(*last), Some(&99_999));
    assert_eq!(wheel.cancel(*last), Some(99_999));
    for n in 0..300_000 {
        let key = wheel.insert(u64::MAX / 2, n);
        wheel.advance((n as u64 + 2) * TICK, |_| {});
        assert_eq!(wheel.cancel(key), Some(n));
    }
    assert!(wheel.capacity() <= 1_000, "{} places kept", wheel.capacity());
}

#[test]
fn a_slab_that_grows_and_shrinks_loses_nobody() {
    let mut wheel = Wheel::new();
    let mut random = 0x9E37_79B9_u64;
    let mut draw = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 16) as usize % bound
    };
    let mut live: Vec<(Key, usize)> = Vec::new();
    let (mut time, mut longest, mut shrunk) = (0, 0, 0);
    for step in 0..400_000 {
        // Tides of 100,000 steps.
        let grows = step / 50_000 % 2 == 0 && live.len() < 6_000;
        if live.is_empty() || draw(10) < if grows { 8 } else { 2 } {
            live.push((wheel.insert(u64::MAX / 2 + step as u64, step), step));
        } else {
            let (key, id) = live.swap_remove(draw(live.len()));
            assert_eq!(wheel.cancel(key), Some(id));
        }
        if step % 5 == 0 {
            let before = wheel.capacity();
            time += TICK;
            wheel.advance(time, |_| panic!("nothing is due"));
            shrunk += usize::from(wheel.capacity() < before);
        }
        longest = longest.max(wheel.capacity());
        assert_eq!(wheel.len(), live.len());
    }
    assert!(longest >= 6_000 && shrunk >= 3, "{longest} places, given back {shrunk} times");
    assert!(live.iter().all(|(key, id)| wheel.get(*key) == Some(id)));
    let mut fired = Vec::new();
    wheel.advance(u64::MAX - TICK, |id| fired.push(id));
    fired.sort_unstable();
    let mut expected: Vec<usize> = live.iter().map(|(_, id)| *id).collect();
    expected.sort_unstable();
    assert_eq!(fired, expected);
}
