//! What tasks do on a core, and what befalls it, line by line of the plan.

use multikernel_replicate::{Agreement, Command, CoreId, CoreSet, ObjectId, Policy, Seq, Time};

use crate::journal::What;
use crate::net::Event;
use crate::objects::{Count, Id, LEDGER, Ledger, TALLY, Tagged, Tally, Witness};
use crate::plan::Act;
use crate::world::World;

impl<P: Policy> World<P> {
    /// A core leaves when its tasks have ended: when nothing that they proposed is open.
    pub(crate) fn try_leave(&mut self, core: CoreId) {
        let state = &mut self.cores[core.index()];
        let is_idle = state.part.as_ref().is_some_and(|part| part.unanswered() == 0 && part.is_member());
        if state.wants_to_leave && is_idle {
            state.wants_to_leave = false;
            let seq = self.next_seq(core);
            self.cores[core.index()].leaves = Some(seq);
            self.note(core, What::Leaves(seq));
            self.with(core, |part, fx| part.leave(fx));
        }
    }

    fn note(&self, core: CoreId, what: What) {
        self.journal.borrow_mut().note(core, what);
    }

    /// The number that the next proposal of this core gets.
    fn next_seq(&mut self, core: CoreId) -> Seq {
        let state = &mut self.cores[core.index()];
        state.last_seq += 1;
        Seq(state.last_seq)
    }

    pub(crate) fn propose(
        &mut self,
        core: CoreId,
        veto: CoreSet,
        deadline: Option<u64>,
        make: impl FnOnce(Id) -> Command,
    ) {
        if !self.runs_tasks(core) {
            return;
        }
        self.last_id += 1;
        let id = self.last_id;
        let seq = self.next_seq(core);
        self.note(core, What::Proposed(seq, id));
        let tagged = Tagged { id, veto, command: make(id) };
        let deadline = deadline.map(|after| Time(self.net.now + after));
        self.with(core, |part, fx| part.propose(tagged, deadline, fx).is_ok());
    }

    /// Whether tasks run on that core, and will.
    fn runs_tasks(&self, core: CoreId) -> bool {
        let state = &self.cores[core.index()];
        let is_going = state.wants_to_leave || state.leaves.is_some();
        !is_going && state.part.as_ref().is_some_and(Agreement::is_member)
    }

    pub(crate) fn act(&mut self, core: CoreId, act: Act) {
        if let Act::Join { stubborn } = act {
            return self.join(core, stubborn);
        }
        self.wake(core);
        if !self.runs_tasks(core) {
            return;
        }
        match act {
            Act::Propose { burst, deadline, veto } => self.propose_puts(core, burst, deadline, veto),
            Act::Count { burst, deadline } => {
                for _ in 0..burst {
                    let more = 1 + self.net.rng.below(8);
                    let add = |_| Command::change::<Tally>(TALLY, Count::Add(more));
                    self.propose(core, CoreSet::EMPTY, deadline, add);
                }
            }
            Act::Announce => {
                self.announce(core, Command::change::<Tally>(TALLY, Count::Add(1)));
            }
            Act::Object => self.use_object(core, None),
            Act::Boom(at) => self.use_object(core, Some(at)),
            Act::Send(to) => self.send(core, to),
            Act::Foreign(to) => {
                self.last_letter += 1;
                self.note(core, What::SeenBy(self.last_letter));
                self.post_letter(self.net.cores, to);
            }
            Act::Arm { .. } | Act::Cancel { .. } => self.act_on_timers(core, act),
            Act::Read => self.begin_read(core),
            Act::Sleep(time) => self.sleep(core, time),
            Act::Stall(time) => {
                let until = self.net.now + time;
                self.net.busy_until[core.index()] = until;
                self.journal.borrow().trace(core, || format!("is in a poll until {until}"));
            }
            Act::Leave => {
                if self.is_expendable(core) {
                    self.cores[core.index()].wants_to_leave = true;
                    self.try_leave(core);
                }
            }
            Act::Doom { pushes, within } => {
                if self.is_expendable(core) {
                    self.cores[core.index()].pushes_left = Some(pushes);
                    let life = self.cores[core.index()].life;
                    self.net.at(self.net.now + within, Event::Die(core, life));
                }
            }
            Act::Join { .. } => unreachable!("handled above"),
        }
    }

    /// Whether it was taken, if the core is there.
    pub(crate) fn announce(&mut self, core: CoreId, command: Command) -> Option<bool> {
        self.last_id += 1;
        self.next_seq(core);
        self.note(core, What::Announced(self.last_id));
        let tagged = Tagged { id: self.last_id, veto: CoreSet::EMPTY, command };
        self.with(core, |part, fx| part.announce(tagged, fx).is_ok())
    }

    fn propose_puts(&mut self, core: CoreId, burst: u32, deadline: Option<u64>, veto: CoreSet) {
        for _ in 0..burst {
            let key = u8::try_from(self.net.rng.below(40)).expect("small");
            self.propose(core, veto, deadline, |id| Command::change::<Ledger>(LEDGER, (key, id)));
        }
    }

    /// Creates an object, or does something with one of those made before.
    fn use_object(&mut self, core: CoreId, boom: Option<CoreSet>) {
        let Some(object) =
            self.objects.last().copied().filter(|_| boom.is_some() || self.net.rng.percent(60))
        else {
            let object = ObjectId(self.last_id + 100);
            self.objects.push(object);
            return self.propose(core, CoreSet::EMPTY, None, |_| Command::create(object, Tally::default));
        };
        let command = match boom {
            Some(at) => Command::change::<Tally>(object, Count::Boom(at)),
            None if self.net.rng.percent(20) => Command::destroy(object),
            None => Command::change::<Tally>(object, Count::Add(1)),
        };
        self.propose(core, CoreSet::EMPTY, None, |_| command);
    }

    fn send(&mut self, core: CoreId, to: CoreId) {
        if to != core {
            self.last_letter += 1;
            self.note(core, What::Sent(self.last_letter));
            self.post_letter(core.index(), to);
        }
    }

    fn post_letter(&mut self, from: usize, to: CoreId) {
        if self.net.running.contains(to) {
            self.net.post_letter(from, to, self.last_letter);
        }
    }

    fn begin_read(&mut self, core: CoreId) {
        self.last_letter += 1;
        let number = self.last_letter;
        let state = &mut self.cores[core.index()];
        if let Some(part) = &state.part {
            state.reads.push((part.settled_at(), number));
            self.note(core, What::ReadBegun(number));
            self.read_settled(core);
        }
    }

    fn sleep(&mut self, core: CoreId, time: u64) {
        if self.net.has_mail(core) {
            return;
        }
        self.net.asleep.insert(core);
        self.net.sleeps[core.index()] += 1;
        self.note(core, What::Slept);
        self.net.at(self.net.now + time, Event::Wake(core, self.net.sleeps[core.index()]));
    }

    /// Starts a core that is not there, if nobody remembers one of that name.
    fn join(&mut self, core: CoreId, is_stubborn: bool) {
        let all = self.net.running;
        let knows = |other: CoreId| {
            let part = self.cores[other.index()].part.as_ref();
            part.is_some_and(|part| part.knows(core)) || !self.net.ring(core, other).is_empty()
        };
        if all.contains(core) || all.iter().any(knows) {
            return;
        }
        self.known.insert(core);
        self.net.running.insert(core);
        let witness = Witness::new(core, self.journal.clone(), is_stubborn);
        self.cores[core.index()].part = Some(Agreement::joiner(core, witness));
        self.note(core, What::Started);
        for dead in self.known.minus(self.net.running).iter() {
            self.net.push(dead, core, None);
        }
        self.with(core, |part, fx| part.knock(all, fx));
    }
}
