//! Cores that leave the Machine by plan and come back.
//!
//! A core that retires gets no new tasks, and hands those over that may go; when its last has ended it leaves the agreement, and its thread sleeps until it is
//! revived. Its inbox stays open, for wakers of its former tasks may be anywhere, and its driver serves guests.
//!
//! ```text
//!             retire                 its last task ends, all agree
//!   Member ───────────▶ Leaving ─────────────────────────────────────▶ Retired
//!     ▲  ◀─────────────────┘  refused, or nobody waits any more           │ revive
//!     │                                                                   ▼
//!     └──────────────────────────────────────────────────────────────── Joining
//!                                   all agree
//! ```

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use multikernel_channels::oneshot;
use multikernel_replicate::CoreId;
use multikernel_replicate::host::Host;

use crate::executor::{self, Core};
use crate::machine::mailbox::{Mailbox, Standing};
use crate::machine::runtime::Handle;
use crate::machine::{Machine, call, placement};
use crate::time::timeout;
use multikernel_channels::sync::Arc;

/// What becomes of a core that is to leave: how many tasks it had to abort.
type Outcome = Result<usize, RetireError>;

/// Who waits for a core to leave.
pub(crate) struct Retiring {
    /// Another one each time, so that a deadline ends nothing but its own.
    id: u64,
    reply: oneshot::Sender<Outcome>,
}

/// Why a core does not retire.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new().cores(1).run(|| async {
/// use multikernel::runtime::{Handle, RetireError};
///
/// // The Machine has one core.
/// assert_eq!(Handle::current().retire(multikernel::CoreId::new(1)).await, Err(RetireError::NotThere));
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetireError {
    /// There is no such core, it is retired or about to be, or the Machine ends.
    NotThere,
    /// It is the last core, or a replicated object refuses. At a deadline also: no other core stays, or it runs the main task.
    Refused,
}

impl fmt::Display for RetireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotThere => "there is no such core that could retire",
            Self::Refused => "the core may not leave",
        })
    }
}

impl std::error::Error for RetireError {}

/// Why a core is not revived.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new().cores(2).run(|| async {
/// use multikernel::runtime::{Handle, ReviveError};
///
/// let live = multikernel::CoreId::new(1);
/// assert_eq!(Handle::current().revive(live).await, Err(ReviveError::NotRetired));
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReviveError {
    /// There is no such core, it is not retired, or the Machine ends.
    NotRetired,
    /// A replicated object cannot be restored there, or refuses.
    Refused,
}

impl fmt::Display for ReviveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotRetired => "there is no such core that has retired",
            Self::Refused => "the core may not join",
        })
    }
}

impl std::error::Error for ReviveError {}

impl From<RetireError> for io::Error {
    fn from(error: RetireError) -> Self {
        Self::other(error)
    }
}

impl From<ReviveError> for io::Error {
    fn from(error: ReviveError) -> Self {
        Self::other(error)
    }
}

impl Handle {
    /// Takes a core out of the Machine. It gets no new tasks from now on; when its last task has gone it leaves the agreement
    /// (another core becomes home of what it was home of), and its thread sleeps. [`revive`](Self::revive) brings it back.
    ///
    /// Tasks that may run anywhere (by [`spawn`](crate::spawn) and the like) are handed over to other cores, with all that
    /// they wait for. This waits for the others to end; if the core was [pinned](crate::runtime::Pinning), they run on the CPUs
    /// of the cores that serve. What is sent there by [`spawn_on`](crate::spawn_on) after it has left is
    /// cancelled.
    ///
    /// # Errors
    ///
    /// [`RetireError`]. The core then goes on as before.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while tasks are left, the core goes on as before. If it is leaving already, it leaves.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new().cores(2).run(|| async {
    /// use multikernel::{CoreId, runtime::Handle};
    ///
    /// let (machine, core) = (Handle::current(), CoreId::new(1));
    /// machine.retire(core).await?;
    /// assert!(multikernel::spawn_on(core, || async {}).await.unwrap_err().is_cancelled());
    /// machine.revive(core).await?;
    /// assert!(multikernel::spawn_on(core, || async {}).await.is_ok());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn retire(&self, core: CoreId) -> Result<(), RetireError> {
        let target = self.begin_leave(core)?;
        // Before the answer, so that it is dropped after it.
        let _has_it_look = Look(target);
        let (_, answer) = ask_to_leave(target);
        answer.await.unwrap_or(Err(RetireError::NotThere)).map(drop)
    }

    /// As [`retire`](Self::retire), but waits no longer than `within` for tasks that have to stay: then it aborts those that are
    /// left. Says how many that were.
    ///
    /// Each is aborted as by [`JoinHandle::abort`](crate::task::JoinHandle::abort): its future is dropped on its core, after the
    /// poll that is under way, and its handle says that it was cancelled. What such tasks hold goes with them: connections that
    /// they serve are closed. A listener of [`bind_each_core`](crate::net::TcpListener::bind_each_core) is not; other cores
    /// accept from it. One that the program made itself is, also if others listen on its address (`SO_REUSEPORT`): the system resets
    /// the connections that wait in its queue. Tasks that may run anywhere are handed over, also after the deadline.
    ///
    /// # Errors
    ///
    /// As `retire`. No task is aborted if it is clear at the deadline that the core may not leave: no other core stays, or it is the
    /// one whose thread called [`Builder::run`](crate::runtime::Builder::run), where the main task is. If a replicated object
    /// refuses after that, the core goes on without the tasks that were aborted.
    ///
    /// # Panics
    ///
    /// On a thread that is neither a core nor a guest of a runtime.
    ///
    /// # Cancel safety
    ///
    /// As `retire`, until the deadline. From then on the core leaves.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new().cores(2).run(|| async {
    /// use std::time::Duration;
    /// use multikernel::{CoreId, runtime::Handle};
    ///
    /// let (machine, core) = (Handle::current(), CoreId::new(1));
    /// let stays = multikernel::spawn_on(core, || std::future::pending::<()>());
    /// assert_eq!(machine.retire_within(core, Duration::from_millis(10)).await?, 1);
    /// assert!(stays.await.unwrap_err().is_cancelled());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn retire_within(&self, core: CoreId, within: Duration) -> Result<usize, RetireError> {
        let target = self.begin_leave(core)?;
        let _has_it_look = Look(target); // as above
        let (id, mut answer) = ask_to_leave(target);
        let answer = match timeout(within, &mut answer).await {
            Ok(answer) => answer,
            Err(_elapsed) => {
                // Refused: the core has ended.
                let _ =
                    call::post(target, move |_| executor::with(|core| core.expect("on a core").evict(id)));
                answer.await
            }
        };
        answer.unwrap_or(Err(RetireError::NotThere))
    }

    /// A member gets no new tasks from now on.
    fn begin_leave(&self, core: CoreId) -> Result<&Mailbox, RetireError> {
        let target = self.machine.cores.get(core.index()).ok_or(RetireError::NotThere)?;
        let was_member = target.load.change_standing(Standing::Member, Standing::Leaving);
        if !was_member {
            return Err(RetireError::NotThere);
        }
        self.machine.tie_cores();
        Ok(target)
    }

    /// Brings a core back that has retired: it gets all replicated objects, and tasks again.
    ///
    /// # Errors
    ///
    /// [`ReviveError`]. The core then stays retired.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the core stays retired or joins.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new().cores(2).run(|| async {
    /// use multikernel::{CoreId, runtime::Handle};
    ///
    /// let machine = Handle::current();
    /// machine.retire(CoreId::new(1)).await?; // a CPU is needed elsewhere
    /// machine.revive(CoreId::new(1)).await?; // and not any more
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn revive(&self, core: CoreId) -> Result<(), ReviveError> {
        let Some(target) = self.machine.cores.get(core.index()) else { return Err(ReviveError::NotRetired) };
        if !target.load.change_standing(Standing::Retired, Standing::Joining) {
            return Err(ReviveError::NotRetired);
        }
        let asked = Asked(target);
        while self.machine.is_known(core).await {}
        let (reply, answer) = oneshot::channel();
        let posted = call::post(target, |_| executor::with(|core| core.expect("on a core").rejoin(reply)));
        if posted.is_ok() {
            std::mem::forget(asked);
        }
        answer.await.unwrap_or(Err(ReviveError::NotRetired))
    }
}

/// Has a core leave when its last task has gone. Gives the number of this request, and what will come of it.
fn ask_to_leave(target: &Mailbox) -> (u64, oneshot::Receiver<Outcome>) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = NEXT.fetch_add(1, Ordering::Relaxed); // only uniqueness matters
    let (reply, answer) = oneshot::channel();
    let retiring = Retiring { id, reply };
    // Refused: the core has ended.
    let _ = call::post(target, |_| executor::with(|core| core.expect("on a core").retire(retiring)));
    (id, answer)
}

/// Has a core that may be asleep look whether anybody still waits for it to leave.
struct Look<'a>(&'a Mailbox);

impl Drop for Look<'_> {
    fn drop(&mut self) {
        if self.0.load.standing() == Standing::Leaving {
            let _ = call::post(self.0, |_| {}); // refused: it has ended
        }
    }
}

/// A core is to join, and has not been told yet.
struct Asked<'a>(&'a Mailbox);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.load.set_standing(Standing::Retired);
    }
}

impl Handle {
    /// Has a core's loop fail, for tests of what then happens.
    #[doc(hidden)]
    pub fn kill(&self, core: CoreId) {
        let target = &self.machine.cores[core.index()];
        // Refused: it has ended.
        let _ = call::post(target, |_| executor::with(|core| core.expect("on a core").doomed.set(true)));
    }
}

impl Machine {
    /// Whether some core has to do with an earlier life of that one: it may not come again yet.
    async fn is_known(self: &Arc<Self>, core: CoreId) -> bool {
        let others = self.cores.iter().filter(|other| other.index as usize != core.index());
        let mut answers = Vec::new();
        for other in others.filter(|other| other.load.standing().is_there()) {
            let (reply, answer) = oneshot::channel();
            let ask = move |host: &Host| host.ask(|part| part.knows(core));
            let posted = call::post(other, move |_| {
                executor::with(|here| _ = reply.send(ask(&here.expect("on a core").seat.host)));
            });
            if posted.is_ok() {
                answers.push(answer);
            }
        }
        let mut is_known = false;
        for answer in answers {
            is_known |= answer.await.unwrap_or(false);
        }
        is_known
    }
}

impl Core {
    /// From now on this core waits for its last task to end, and then leaves.
    fn retire(&self, retiring: Retiring) {
        self.retiring.replace(Some(retiring));
    }

    /// The deadline of that request has passed: from now on what has to stay is aborted.
    fn evict(&self, id: u64) {
        if self.retiring.borrow().as_ref().is_none_or(|retiring| retiring.id != id) {
            return; // it leaves already
        }
        let others = self.machine.cores.iter().filter(|core| core.index != self.home.mailbox().index);
        let another_stays = others.map(|core| core.load.standing()).any(|other| other == Standing::Member);
        if another_stays && !self.keeps_main.get() {
            self.evicted.set(Some(0));
        } else if let Some(retiring) = self.retiring.take() {
            self.serve_again();
            let _ = retiring.reply.send(Err(RetireError::Refused));
        }
    }

    /// Leaves, if somebody waits for that and no task is left.
    #[inline]
    pub(crate) fn tend_membership(&self) {
        if self.retiring.borrow().is_some() || self.doomed.get() {
            self.retire_if_idle();
        }
    }

    #[cold]
    fn retire_if_idle(&self) {
        assert!(!self.doomed.get(), "the loop fails, as it was told to");
        let gave_up = |retiring: &Retiring| retiring.reply.is_closed() && self.evicted.get().is_none();
        if self.retiring.borrow().as_ref().is_some_and(gave_up) {
            self.retiring.take();
            return self.serve_again();
        }
        if self.home.pending() > 0 {
            self.move_out();
        }
        if let Some(evicted) = self.evicted.get() {
            self.evicted.set(Some(evicted + self.home.abort_what_stays()));
        }
        // Again, for nothing else need ever wake this core.
        if self.home.pending() > 0 {
            return;
        }
        let Some(Retiring { reply, .. }) = self.retiring.take() else { return };
        let evicted = self.evicted.take().unwrap_or(0);
        self.home.shut(true);
        let asked = self.seat.host.leave(move |has_left| {
            let outcome = if has_left { Ok(evicted) } else { Err(RetireError::Refused) };
            executor::with(|core| core.expect("a host is entered on a core").end_leave(has_left));
            let _ = reply.send(outcome); // nobody may wait
        });
        debug_assert!(asked, "a core that leaves is a member");
    }

    /// Hands over what may go. The rest ends here, in its own time.
    fn move_out(&self) {
        self.home.hand_all_over(|key| {
            let Some(key) = key else {
                let target = placement::balanced(&self.machine, self.random());
                return target.load.would_take_tasks().then_some(target);
            };
            placement::of_key(&self.machine, key)
        });
    }

    fn end_leave(&self, has_left: bool) {
        if has_left {
            // Before the ends are closed: see `Load::standing`.
            self.home.mailbox().load.set_standing(Standing::Retired);
            self.seat.vacate();
        } else {
            self.home.shut(false);
            self.serve_again();
        }
    }

    /// It gets tasks again, and runs on its own CPU.
    fn serve_again(&self) {
        self.home.mailbox().load.set_standing(Standing::Member);
        self.machine.tie_cores();
    }

    fn rejoin(&self, reply: oneshot::Sender<Result<(), ReviveError>>) {
        self.seat.join(move |has_joined| {
            executor::with(|core| core.expect("a host is entered on a core").end_join(has_joined, reply));
        });
    }

    fn end_join(&self, has_joined: bool, reply: oneshot::Sender<Result<(), ReviveError>>) {
        if has_joined {
            self.home.shut(false);
            self.serve_again();
        } else {
            self.home.mailbox().load.set_standing(Standing::Retired);
            self.seat.vacate();
        }
        let _ = reply.send(if has_joined { Ok(()) } else { Err(ReviveError::Refused) });
    }
}
