//! One round of the protocol as it ships, with as many cores as it takes.

use multikernel_replicate::{
    Agreement, Asker, Change, CoreId, Digests, Effects, Objects, Outcome, Seq, Sound, Version, Wire,
};

use super::wires::Wires;
use super::{Machine, Took};

/// Replicas of nothing, which may all refuse, so that every vote counts.
struct Nothing;

impl Objects for Nothing {
    type Command = ();
    type Refusal = ();
    type Snapshot = ();

    fn may_veto(&self, (): &()) -> bool {
        true
    }
    fn prepare(&mut self, (): &(), _: Asker) -> Result<(), ()> {
        Ok(())
    }
    fn commit(&mut self, (): &()) {}
    fn abort(&mut self, (): &()) {}
    fn prepare_view(&mut self, _: &Change) -> Result<(), ()> {
        Ok(())
    }
    fn commit_view(&mut self, _: &Change) {}
    fn abort_view(&mut self, _: &Change) {}
    fn snapshot(&self) {}
    fn restore(&mut self, (): &()) -> Result<(), ()> {
        Ok(())
    }
    fn clear(&mut self) {}
    fn poisoned(&self) -> Option<()> {
        None
    }
    fn digests(&self) -> Option<Digests> {
        None
    }
}

/// What one core does in one step.
struct Step<'a, 'm> {
    me: CoreId,
    wires: &'a mut Wires<'m, Wire<Nothing>>,
    took: &'a mut Took,
}

impl Effects<Nothing> for Step<'_, '_> {
    fn post(&mut self, to: CoreId, message: Wire<Nothing>) {
        self.wires.send(self.me, to, message);
    }
    fn ring(&mut self, _: CoreId) {}
    fn is_asleep(&mut self, _: CoreId) -> bool {
        false
    }
    fn deciding(&mut self, _: Version) {}
    fn advanced(&mut self, _: Version) {
        self.took.committed = self.took.committed.max(self.wires.now(self.me));
    }
    fn answer(&mut self, _: Seq, outcome: Outcome<()>) {
        assert_eq!(outcome, Outcome::Committed(Version::START.next()), "nobody refuses");
        self.took.answered = self.wires.now(self.me);
    }
    fn left(&mut self) {}
}

pub(crate) fn run(machine: &Machine, origin: CoreId) -> Took {
    let cores = machine.topology().cores();
    let found = |core| Agreement::<_, Sound>::founder(core, cores, Nothing);
    let mut parts: Vec<_> = cores.iter().map(found).collect();
    let mut wires = Wires::new(machine);
    let mut took = Took::default();
    let mut first = Step { me: origin, wires: &mut wires, took: &mut took };
    parts[origin.index()].propose((), None, &mut first).expect("it is a member");
    while let Some((from, me, message)) = wires.read() {
        parts[me.index()].receive(from, message, &mut Step { me, wires: &mut wires, took: &mut took });
    }
    assert!(parts.iter().all(|part| part.version() == Version::START.next()), "everyone has the round");
    took
}
