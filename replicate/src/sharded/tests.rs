//! Parts and what is asked of them while cores come, go and die: several hosts on one thread, in any order of events.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use futures::FutureExt;
use futures::future::join_all;
use proptest::prelude::*;

use super::{ShardError, Sharded, local};
use crate::tests_net::{Net, Standing};
use crate::{CoreId, CoreSet};

/// What happens to parts.
#[derive(Default)]
struct Ledger {
    /// Live parts of each slot.
    alive: Mutex<BTreeMap<usize, usize>>,
    made: AtomicUsize,
    /// How often each request was done.
    done: Mutex<BTreeMap<u64, u32>>,
    /// Some core has died, so that a part may be made anew while the old one is not dropped yet.
    deaths: AtomicBool,
    factory_panics: AtomicBool,
}

struct Part {
    slot: usize,
    seen: Vec<u64>,
    ledger: Arc<Ledger>,
}

impl Part {
    fn new(slot: usize, ledger: &Arc<Ledger>) -> Self {
        if ledger.factory_panics.load(Ordering::Relaxed) {
            resume_unwind(Box::new("as told"));
        }
        let mut alive = ledger.alive.lock().unwrap();
        let alive = alive.entry(slot).or_default();
        *alive += 1;
        assert!(*alive == 1 || ledger.deaths.load(Ordering::Relaxed), "two parts of slot {slot}");
        ledger.made.fetch_add(1, Ordering::Relaxed);
        Self { slot, seen: Vec::new(), ledger: ledger.clone() }
    }

    fn visit(&mut self, id: u64) {
        self.seen.push(id);
        *self.ledger.done.lock().unwrap().entry(id).or_default() += 1;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        *self.ledger.alive.lock().unwrap().get_mut(&self.slot).unwrap() -= 1;
    }
}

/// Makes an object on core 0, with everything delivered.
fn make(net: &mut Net, slots: usize, queue: usize) -> (Sharded<Part>, Arc<Ledger>) {
    let (made, ledger) = start(net, slots, queue);
    net.run();
    let sharded = made.take().expect("it is made");
    (sharded, ledger)
}

type Made = Rc<RefCell<Option<Sharded<Part>>>>;

fn start(net: &mut Net, slots: usize, queue: usize) -> (Made, Arc<Ledger>) {
    let (made, ledger) = (Made::default(), Arc::new(Ledger::default()));
    let (give, shared) = (made.clone(), ledger.clone());
    net.spawn(CoreId::new(0), async move {
        let factory = Arc::new(move |slot| Part::new(slot, &shared));
        let sharded = Sharded::bounded(slots, queue, factory).await;
        *give.borrow_mut() = Some(sharded.unwrap());
    });
    (made, ledger)
}

type Answers = Rc<RefCell<BTreeMap<u64, Result<CoreId, ShardError>>>>;

/// Asks for a visit; the answer says on which core it was.
async fn ask(sharded: Sharded<Part>, slot: usize, id: u64, answers: Answers) {
    let object = sharded.common.object;
    let visited = sharded.with_slot(slot, move |part| {
        part.visit(id);
        let here = CoreId::current();
        let owner = local::find::<Part>(object).expect("parts are where their object is").owner(slot);
        assert_eq!(owner, here, "a part is used by its owner only");
        here
    });
    let visited = visited.await;
    answers.borrow_mut().insert(id, visited);
}

/// Polls a future so often, then drops it.
async fn abandon(future: impl Future<Output = ()>, polls: usize) {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        future.as_mut().poll(cx).map(drop)
    })
    .await;
}

fn visited(net: &mut Net, sharded: &Sharded<Part>, core: CoreId) -> Vec<Vec<u64>> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (give, sharded) = (seen.clone(), sharded.clone());
    net.spawn(core, async move {
        let join = |mut all: Vec<_>, mut more: Vec<_>| {
            all.append(&mut more);
            all
        };
        *give.borrow_mut() = sharded.map_reduce(|part| vec![part.seen.clone()], join).await.unwrap();
    });
    net.run();
    seen.take()
}

/// What a random run may do to the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cores {
    Stay,
    Move,
    Die,
}

struct Run {
    net: Net,
    sharded: Sharded<Part>,
    ledger: Arc<Ledger>,
    answers: Answers,
    next_id: u64,
    /// Requests whose tasks do not die and want to know.
    asked: BTreeMap<u64, Option<CoreId>>,
    /// The first id of the task that has asked for each.
    asked_by: BTreeMap<u64, u64>,
}

impl Run {
    fn a_member(&mut self) -> CoreId {
        let members = self.net.all(Standing::Member);
        members[self.net.rng.below(members.len())]
    }

    fn ask_something(&mut self) {
        let core = self.a_member();
        let is_outside = self.net.rng.below(6) == 0;
        let (mut asked, slots, task) = (Vec::new(), self.sharded.slots(), self.next_id);
        for _ in 0..1 + self.net.rng.below(4) {
            let id = self.next_id;
            self.next_id += 1;
            self.asked_by.insert(id, task);
            let slot = self.net.rng.below(slots);
            let ask = ask(self.sharded.clone(), slot, id, self.answers.clone());
            if self.net.rng.below(5) == 0 {
                asked.push(abandon(ask, self.net.rng.below(3)).boxed_local());
            } else {
                self.asked.insert(id, (!is_outside).then_some(core));
                asked.push(ask.boxed_local());
            }
        }
        let asking = join_all(asked).map(drop);
        if is_outside { self.net.spawn_outside(asking) } else { self.net.spawn(core, asking) }
    }

    fn change_cores(&mut self, may_die: bool) {
        let members = self.net.all(Standing::Member);
        let core = CoreId::new(self.net.rng.below(5));
        match self.net.standing(core) {
            Standing::Member if members.len() > 1 && may_die && self.net.rng.below(2) == 0 => {
                self.ledger.deaths.store(true, Ordering::Relaxed);
                self.asked.retain(|_, asker| *asker != Some(core));
                self.net.kill(core);
            }
            Standing::Member if members.len() > 1 && !self.net.is_busy(core) => self.net.retire(core),
            Standing::Retired => _ = self.net.revive(core),
            _ => {}
        }
    }

    fn go(&mut self, cores: Cores) {
        for _ in 0..60 {
            match self.net.rng.below(4) {
                0 if cores != Cores::Stay => self.change_cores(cores == Cores::Die),
                1 => {
                    for _ in 0..self.net.rng.below(100) {
                        self.net.step();
                    }
                }
                _ => self.ask_something(),
            }
        }
        self.net.run();
    }

    /// Whether what tasks of one core have asked of one part came in the order in which they asked. Each asks several things at
    /// once, in the order of their ids.
    fn is_in_order(&self, seen: &[u64]) -> bool {
        let mut last = BTreeMap::new();
        seen.iter().filter_map(|id| Some((*id, self.asked_by.get(id)?))).all(|(id, task)| {
            let before = last.insert(task, id);
            before.is_none_or(|before| before < id)
        })
    }

    fn check(&mut self, cores: Cores) {
        assert_eq!(self.net.pending(), 0, "somebody waits for ever");
        let answers = self.answers.borrow().clone();
        let done = self.ledger.done.lock().unwrap().clone();
        for id in self.asked.keys() {
            assert!(answers.get(id).is_some_and(Result::is_ok), "{id}: {:?}", answers.get(id));
            assert!(done.contains_key(id), "{id} was answered and not done");
        }
        assert!(done.values().all(|times| *times == 1), "done twice: {done:?}");
        let core = self.a_member();
        let seen = visited(&mut self.net, &self.sharded, core);
        assert_eq!(seen.len(), self.sharded.slots());
        if cores == Cores::Stay {
            assert!(seen.iter().all(|seen| self.is_in_order(seen)), "{seen:?}");
        }
        let all: BTreeSet<u64> = seen.iter().flatten().copied().collect();
        if cores == Cores::Die {
            assert!(all.iter().all(|id| done.contains_key(id)));
        } else {
            assert_eq!(all, done.keys().copied().collect(), "the parts have lost something");
        }
        assert!(self.ledger.alive.lock().unwrap().values().all(|alive| *alive == 1));
    }
}

fn random_run(seed: u64, cores: Cores) {
    let mut net = Net::new(5, seed);
    let (slots, queue) = (1 + net.rng.below(12), 1 + net.rng.below(4));
    let (made, ledger) = start(&mut net, slots, queue);
    if cores != Cores::Stay && net.rng.below(2) == 0 {
        // The view changes while the object is made.
        (0..net.rng.below(8)).for_each(|_| _ = net.step());
        net.retire(CoreId::new(1 + seed as usize % 4));
    }
    net.run();
    let sharded = made.take().expect("it is made");
    let (answers, asked, asked_by) = (Answers::default(), BTreeMap::new(), BTreeMap::new());
    let mut run = Run { net, sharded, ledger, answers, next_id: 0, asked, asked_by };
    run.go(cores);
    run.check(cores);
    let Run { mut net, sharded, ledger, .. } = run;
    drop(sharded);
    net.run();
    assert!(ledger.alive.lock().unwrap().values().all(|alive| *alive == 0), "parts outlive their object");
}

proptest! {
    #[test]
    fn nothing_is_lost_or_done_twice_while_cores_stay(seed in any::<u64>()) {
        random_run(seed, Cores::Stay);
    }

    #[test]
    fn nothing_is_lost_or_done_twice_while_cores_come_and_go(seed in any::<u64>()) {
        random_run(seed, Cores::Move);
    }

    #[test]
    fn nothing_is_done_twice_and_only_parts_are_lost_while_cores_die(seed in any::<u64>()) {
        random_run(seed, Cores::Die);
    }
}

/// The first seed of a hundred for which this is so.
fn some_seed(f: impl FnMut(u64) -> bool) {
    assert!((0..100).any(f), "it never comes to that");
}

/// What a core has of one slot: whether the part is there, and how many closures wait for it, here or for room elsewhere.
fn look(net: &Net, sharded: &Sharded<Part>, core: CoreId, slot: usize) -> (bool, usize, usize) {
    net.on(core, || local::find::<Part>(sharded.common.object).expect("it is open").look(slot))
}

fn owner(net: &Net, sharded: &Sharded<Part>, core: CoreId, slot: usize) -> CoreId {
    net.on(core, || local::find::<Part>(sharded.common.object).expect("it is open").owner(slot))
}

const MANY: u64 = 20;
const QUEUE: usize = 5;

/// Slot 0 is on core 1 and about to move to core 2, which joins; core 3 keeps the vote from ending. Core 0 has sent many
/// closures.
fn frozen(seed: u64) -> (Net, Sharded<Part>, Answers) {
    let [zero, one, two, three] = [0, 1, 2, 3].map(CoreId::new);
    let mut net = Net::new(4, seed);
    net.retire(two);
    net.run();
    let (sharded, _) = make(&mut net, 8, QUEUE);
    net.deaf = CoreSet::only(three);
    assert!(net.revive(two));
    net.run();
    let moves = |slot: &usize| {
        let planned = net.on(one, || local::find::<Part>(sharded.common.object).unwrap().planned(*slot));
        owner(&net, &sharded, one, *slot) == one && planned == Some(two)
    };
    let slot = (0..8).find(moves).expect("one of core 1's slots moves");
    let answers = Answers::default();
    for id in 0..MANY {
        net.spawn(zero, ask(sharded.clone(), slot, id, answers.clone()));
    }
    net.run();
    let waiting = look(&net, &sharded, one, slot).1;
    assert_eq!((waiting, answers.borrow().len()), (QUEUE, 0), "they wait, within the bound");
    assert_eq!(
        look(&net, &sharded, zero, slot).2,
        MANY as usize - QUEUE,
        "the rest waits where it comes from"
    );
    (net, sharded, answers)
}

#[test]
fn what_waits_for_a_vote_is_done_by_the_new_owner() {
    for seed in 0..50 {
        let (mut net, _sharded, answers) = frozen(seed);
        net.deaf = CoreSet::EMPTY;
        net.run();
        let answers = answers.borrow();
        assert_eq!(answers.len(), MANY as usize);
        assert!(answers.values().all(|answer| *answer == Ok(CoreId::new(2))), "{answers:?}");
    }
}

#[test]
fn what_waits_for_a_vote_is_done_by_the_owner_if_nothing_comes_of_it() {
    for seed in 0..50 {
        let (mut net, _sharded, answers) = frozen(seed);
        net.kill(CoreId::new(2));
        net.deaf = CoreSet::EMPTY;
        net.run();
        let answers = answers.borrow();
        assert_eq!(answers.len(), MANY as usize);
        assert!(answers.values().all(|answer| *answer == Ok(CoreId::new(1))), "{answers:?}");
    }
}

#[test]
fn a_new_owner_holds_a_bounded_number_until_the_part_is_there() {
    let [zero, one] = [0, 1].map(CoreId::new);
    some_seed(|seed| {
        let mut net = Net::new(3, seed);
        let (sharded, _) = make(&mut net, 3, QUEUE);
        let slot = (0..3).find(|slot| owner(&net, &sharded, one, *slot) == one).unwrap();
        net.retire(one);
        while owner(&net, &sharded, zero, slot) == one && net.step() {}
        let new = owner(&net, &sharded, zero, slot);
        let answers = Answers::default();
        for id in 0..MANY {
            net.spawn(zero, ask(sharded.clone(), slot, id, answers.clone()));
        }
        let mut most = 0;
        while net.step() {
            let (is_here, waiting, _) = look(&net, &sharded, new, slot);
            most = most.max(if is_here { 0 } else { waiting });
        }
        assert!(most <= QUEUE && answers.borrow().values().all(|answer| *answer == Ok(new)));
        assert_eq!(answers.borrow().len(), MANY as usize);
        most == QUEUE
    });
}

#[test]
fn what_has_arrived_is_not_lost_with_the_core_it_came_from() {
    let [zero, one, two] = [0, 1, 2].map(CoreId::new);
    let mut net = Net::new(3, 7);
    net.retire(two);
    net.run();
    let (sharded, ledger) = make(&mut net, 6, QUEUE);
    for slot in 0..6 {
        net.spawn(zero, ask(sharded.clone(), slot, slot as u64, Answers::default()));
    }
    net.run();
    assert!(net.revive(two));
    net.run();
    let owners: Vec<_> = (0..6).map(|slot| owner(&net, &sharded, zero, slot)).collect();
    assert_eq!(owners.iter().filter(|owner| **owner == two).count(), 2);
    ledger.deaths.store(true, Ordering::Relaxed);
    net.kill(one);
    net.run();
    let seen = visited(&mut net, &sharded, zero);
    for (slot, seen) in seen.iter().enumerate() {
        let expected: &[u64] = if owners[slot] == one { &[] } else { &[slot as u64] };
        assert_eq!(seen, expected, "slot {slot} of {}", owners[slot]);
    }
    assert_eq!(ledger.made.load(Ordering::Relaxed), 8, "the two that were lost");
}

#[test]
fn what_comes_back_to_a_later_life_of_its_sender_is_sent_again() {
    let [zero, one, two] = [0, 1, 2].map(CoreId::new);
    for seed in 0..50 {
        let mut net = Net::new(4, seed);
        let (sharded, _) = make(&mut net, 4, QUEUE);
        // Core 0 has seen one change of the view when it sends, as it will have in its next life.
        net.retire(CoreId::new(3));
        net.run();
        let slot = (0..4).find(|slot| owner(&net, &sharded, zero, *slot) == one).unwrap();
        net.idle = CoreSet::only(one);
        let answers = Answers::default();
        net.spawn_outside(ask(sharded.clone(), slot, 0, answers.clone()));
        net.run();
        for core in [one, zero] {
            net.retire(core);
            net.run();
        }
        assert!(net.revive(zero));
        net.run();
        assert_eq!(net.all(Standing::Member), [zero, two]);
        // Only now core 1, which has left, finds what core 0 has sent.
        net.idle = CoreSet::EMPTY;
        net.run();
        assert!(answers.borrow()[&0].is_ok(), "{answers:?}");
    }
}

#[test]
fn a_part_that_is_taken_for_lost_is_not_taken_for_another() {
    let [zero, one] = [0, 1].map(CoreId::new);
    some_seed(|seed| {
        let mut net = Net::new(3, seed);
        let (sharded, ledger) = make(&mut net, 1, QUEUE);
        ledger.deaths.store(true, Ordering::Relaxed);
        net.kill(zero);
        net.run();
        // It is to be made on core 1, and moves to core 2.
        net.spawn(CoreId::new(2), ask(sharded.clone(), 0, 1, Answers::default()));
        net.run();
        let (from, to) = (owner(&net, &sharded, one, 0), CoreId::new(2));
        assert_eq!(from, one);
        net.retire(one);
        while owner(&net, &sharded, to, 0) == one && net.step() {}
        let is_waiting = !look(&net, &sharded, to, 0).0;
        let late = local::late(0, 0, Part::new(0, &ledger));
        net.on(to, || local::find::<Part>(sharded.common.object).unwrap().receive(late));
        net.run();
        assert_eq!(visited(&mut net, &sharded, to), [[1]]);
        is_waiting
    });
}

#[test]
fn a_factory_that_panics_is_tried_again() {
    let [zero, one] = [0, 1].map(CoreId::new);
    let mut net = Net::new(2, 3);
    let (sharded, ledger) = make(&mut net, 2, QUEUE);
    let slot = (0..2).find(|slot| owner(&net, &sharded, one, *slot) == one).unwrap();
    ledger.deaths.store(true, Ordering::Relaxed);
    ledger.factory_panics.store(true, Ordering::Relaxed);
    net.kill(one);
    net.run();
    let answers = Answers::default();
    for id in 0..2 {
        net.spawn(zero, ask(sharded.clone(), slot, id, answers.clone()));
        net.run();
        ledger.factory_panics.store(false, Ordering::Relaxed);
    }
    assert_eq!(answers.take().into_values().collect::<Vec<_>>(), [Err(ShardError::Panicked), Ok(zero)]);
}

#[test]
fn a_core_that_comes_again_while_an_object_is_made_owns_no_slot_without_a_part() {
    let [zero, one, two] = [0, 1, 2].map(CoreId::new);
    let mut net = Net::new(3, 5);
    let ledger = Arc::new(Ledger::default());
    let shared = ledger.clone();
    let mut making = pin!(Sharded::bounded(6, QUEUE, Arc::new(move |slot| Part::new(slot, &shared))));
    net.deaf = CoreSet::only(two);
    net.retire(one);
    net.run();
    // Core 1 is a member as it is asked for, not as the object is made, and again as that is heard of.
    assert!(net.on(zero, || making.as_mut().now_or_never()).is_none());
    net.deaf = CoreSet::EMPTY;
    net.run();
    assert!(net.revive(one));
    net.run();
    let sharded = net.on(zero, || making.now_or_never()).expect("it is made").unwrap();
    assert_eq!(visited(&mut net, &sharded, zero), vec![vec![]; 6]);
}
