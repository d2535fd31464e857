//! A timer starts once, on each core if it is for each; each tick of one that repeats starts once; none that is cancelled does.

use std::collections::BTreeMap;

use multikernel_replicate::{Change, CoreId, CoreSet, Seq};

use super::log::Log;
use crate::journal::{Repeat, Told, What};
use crate::objects::Id;

struct Timer {
    repeat: Repeat,
    due: u64,
    /// Where it has started.
    started: CoreSet,
    /// When it started last, and for which tick.
    last: Option<(u64, u64)>,
    /// Where it has to start, if it is for each core.
    owed: CoreSet,
}

struct Cancel {
    timer: Id,
    /// It can fail only because the timer has started.
    is_plain: bool,
}

#[derive(Default)]
pub(crate) struct Timers {
    timers: BTreeMap<Id, Timer>,
    cancels: BTreeMap<Id, Cancel>,
    asked: BTreeMap<(CoreId, Seq), Id>,
    /// Cancelled, wherever that is known by now.
    cancelled: BTreeMap<Id, Id>,
    /// Who is there, by the end of the log.
    view: CoreSet,
}

impl Timers {
    pub(crate) fn see(&mut self, now: u64, core: CoreId, what: &What, log: &Log) -> Result<(), String> {
        match what {
            What::Founded(founders) => self.view = *founders,
            What::Arms { timer, repeat, due } => {
                let (started, owed) = (CoreSet::EMPTY, CoreSet::EMPTY);
                self.timers.insert(*timer, Timer { repeat: *repeat, due: *due, started, last: None, owed });
            }
            What::Cancels { by, timer, is_plain } => {
                let is_plain = *is_plain && log.place(*timer).is_some();
                self.cancels.insert(*by, Cancel { timer: *timer, is_plain });
            }
            What::Proposed(seq, id) if self.cancels.contains_key(id) => {
                self.asked.insert((core, *seq), *id);
            }
            What::Answered(seq, told) => {
                if let Some(cancel) = self.asked.remove(&(core, *seq)) {
                    return self.answer(now, cancel, *told);
                }
            }
            What::Died | What::Ended => self.asked.retain(|(origin, _), _| *origin != core),
            What::Committed(id) => return self.commit(*id),
            What::ViewCommitted(change) if log.at(core) == log.len() => self.change_view(change),
            What::Fires { timer, tick } => return self.fire(now, core, *timer, *tick, log),
            _ => {}
        }
        Ok(())
    }

    fn commit(&mut self, id: Id) -> Result<(), String> {
        if let Some(timer) = self.timers.get_mut(&id).filter(|timer| timer.owed.is_empty()) {
            timer.owed = self.view;
        }
        let Some(cancel) = self.cancels.get(&id) else { return Ok(()) };
        let has_started = match self.timers.get(&cancel.timer) {
            Some(timer) => timer.last.is_some() && !matches!(timer.repeat, Repeat::Every { .. }),
            None => false,
        };
        if has_started && !self.cancelled.contains_key(&cancel.timer) {
            return Err(format!("TIMER: timer {} has started and is cancelled", cancel.timer));
        }
        self.cancelled.insert(cancel.timer, id);
        Ok(())
    }

    /// Who joins while some core still owes the start of a timer owes it too, and who is gone owes nothing.
    fn change_view(&mut self, change: &Change) {
        match *change {
            Change::Join(core) if self.view.insert(core) => {
                let owes = |timer: &&mut Timer| !timer.owed.minus(timer.started).is_empty();
                self.timers.values_mut().filter(owes).for_each(|timer| _ = timer.owed.insert(core));
            }
            Change::Join(_) => {}
            Change::Leave { core, .. } | Change::Dead(core) => {
                self.view.remove(core);
                self.timers.values_mut().for_each(|timer| {
                    timer.owed.remove(core);
                });
            }
        }
    }

    fn answer(&self, now: u64, cancel: Id, told: Told) -> Result<(), String> {
        let Cancel { timer, is_plain } = self.cancels[&cancel];
        let has_ended = |timer: &Timer| match timer.repeat {
            Repeat::Once | Repeat::Each => timer.last.is_some(),
            Repeat::Every { period, until } => timer.last.is_some_and(|(at, _)| at + period > until.min(now)),
        };
        match told {
            Told::Refused(..) if is_plain && !self.cancelled.contains_key(&timer) => {
                match self.timers.get(&timer).is_none_or(has_ended) {
                    true => Ok(()),
                    false => Err(format!("TIMER: timer {timer} has not started")),
                }
            }
            _ => Ok(()),
        }
    }

    fn fire(&mut self, now: u64, core: CoreId, id: Id, tick: u64, log: &Log) -> Result<(), String> {
        let timer = self.timers.get_mut(&id).ok_or("TIMER: nobody has armed it")?;
        if log.place(id).is_none_or(|(line, _)| line >= log.at(core)) {
            return Err("TIMER: it is not agreed that there is such a timer".to_owned());
        }
        if let Some(cancel) = self.cancelled.get(&id) {
            return Err(format!("TIMER: it was cancelled by {cancel}"));
        }
        if now < timer.due {
            return Err(format!("TIMER: it is due at {}", timer.due));
        }
        let is_again = match timer.repeat {
            Repeat::Once => timer.last.is_some(),
            Repeat::Each => timer.started.contains(core),
            Repeat::Every { .. } => timer.last.is_some_and(|(_, before)| before >= tick),
        };
        if is_again {
            return Err(format!("TIMER: it has started before, on {:?}", timer.started));
        }
        timer.started.insert(core);
        timer.last = Some((now, tick));
        Ok(())
    }

    pub(crate) fn end(&self, log: &Log) -> Result<(), String> {
        let agreed = |(id, _): &(&Id, &Timer)| log.place(**id).is_some() && !self.cancelled.contains_key(id);
        for (id, timer) in self.timers.iter().filter(agreed) {
            match timer.repeat {
                Repeat::Once if timer.last.is_none() => return Err(format!("TIMER: timer {id} is lost")),
                Repeat::Every { period, until } => {
                    let next = timer.last.map_or(timer.due, |(at, _)| at + period);
                    if next <= until {
                        return Err(format!("TIMER: timer {id} has stopped, the next was due by {next}"));
                    }
                }
                Repeat::Each => {
                    let missing = timer.owed.intersection(log.live).minus(timer.started);
                    if let Some(core) = missing.first() {
                        return Err(format!("TIMER: timer {id} has not started on {core}"));
                    }
                }
                Repeat::Once => {}
            }
        }
        Ok(())
    }
}
