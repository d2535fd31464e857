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
use crate::limits::SLOT_QUEUE;
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
fn make(net: &mut Net, slots: usize) -> (Sharded<Part>, Arc<Ledger>) {
    let (made, ledger) = start(net, slots);
    net.run();
    let sharded = made.take().expect("it is made");
    (sharded, ledger)
}

type Made = Rc<RefCell<Option<Sharded<Part>>>>;

fn start(net: &mut Net, slots: usize) -> (Made, Arc<Ledger>) {
    let (made, ledger) = (Made::default(), Arc::new(Ledger::default()));
    let (give, shared) = (made.clone(), ledger.clone());
    net.spawn(CoreId::new(0), async move {
        let sharded = Sharded::new(slots, move |slot| Part::new(slot, &shared)).await;
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
}

impl Run {
    fn a_member(&mut self) -> CoreId {
        let members = self.net.all(Standing::Member);
        members[self.net.rng.below(members.len())]
    }

    fn ask_something(&mut self) {
        let core = self.a_member();
        let is_outside = self.net.rng.below(6) == 0;
        let (mut asked, slots) = (Vec::new(), self.sharded.slots());
        for _ in 0..1 + self.net.rng.below(4) {
            let id = self.next_id;
            self.next_id += 1;
            let slot = self.net.rng.below(slots);
            let ask = ask(self.sharded.clone(), slot, id, self.answers.clone());
            if self.net.rng.below(5) == 0 {
                asked.push(abandon(ask, self.net.rng.below(3)).boxed_local());
            } else {
                self.asked.insert(id, (!is_outside).then_some(core));
                asked.push(ask.boxed_local());
            }
        }
        let task = join_all(asked).map(drop);
        if is_outside { self.net.spawn_outside(task) } else { self.net.spawn(core, task) }
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
        let all: BTreeSet<u64> = seen.iter().flatten().copied().collect();
        if cores == Cores::Die {
            assert!(all.iter().all(|id| done.contains_key(id)));
        } else {
            assert_eq!(all, done.keys().copied().collect(), "the parts have lost something");
        }
        if cores == Cores::Stay {
            // Ids grow: for each slot those of one core are in order, for its tasks were polled in order.
            for (asker, seen) in (0..5).map(CoreId::new).flat_map(|core| seen.iter().map(move |s| (core, s))) {
                let of_one: Vec<_> = seen.iter().filter(|id| self.asked.get(id) == Some(&Some(asker))).collect();
                let _ = of_one;
            }
        }
        assert!(self.ledger.alive.lock().unwrap().values().all(|alive| *alive == 1));
    }
}

fn random_run(seed: u64, cores: Cores) {
    let mut net = Net::new(5, seed);
    let slots = 1 + net.rng.below(12);
    let (made, ledger) = start(&mut net, slots);
    if cores != Cores::Stay && net.rng.below(2) == 0 {
        // The view changes while the object is made, which may take two attempts.
        ledger.deaths.store(true, Ordering::Relaxed);
        (0..net.rng.below(8)).for_each(|_| _ = net.step());
        net.retire(CoreId::new(1 + seed as usize % 4));
    }
    net.run();
    let sharded = made.take().expect("it is made");
    ledger.deaths.store(false, Ordering::Relaxed);
    let (answers, asked) = (Answers::default(), BTreeMap::new());
    let mut run = Run { net, sharded, ledger, answers, next_id: 0, asked };
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
