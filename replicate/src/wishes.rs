//! What one may ask of an agreement.

use crate::agreement::{Agreement, Standing};
use crate::effects::Effects;
use crate::message::{Deed, Message, Seq, Time};
use crate::objects::Objects;
use crate::policy::Policy;
use crate::{Change, CoreSet};

impl<O: Objects, P: Policy> Agreement<O, P> {
    /// Asks to join. `all` are the cores that are there, also those that join or leave at this time. A core that is dead
    /// already has to be reported by [`gone`](Self::gone) here too.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// let mut joiner = Agreement::<Replicas, Sound>::joiner(b, Replicas::default());
    /// joiner.knock(CoreSet::below(2), &mut world);
    /// assert!(matches!(world.posted[..], [(to, Message::Knock)] if to == a));
    /// ```
    pub fn knock(&mut self, all: CoreSet, fx: &mut impl Effects<O>) {
        for core in all.without(self.me).iter() {
            fx.send(core, Message::Knock);
        }
    }

    /// Proposes a command. The answer comes through [`Effects::answer`], with the number that this returns.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// let create = Command::create(ObjectId(7), Counter::new);
    /// let seq = part.propose(create, None, &mut world).unwrap();
    /// assert!(matches!(world.answers[..], [(answered, Outcome::Committed(_))] if answered == seq));
    /// ```
    ///
    /// # Errors
    ///
    /// The command, if this core is not a member.
    pub fn propose(
        &mut self,
        command: O::Command,
        deadline: Option<Time>,
        fx: &mut impl Effects<O>,
    ) -> Result<Seq, O::Command> {
        if self.standing != Standing::Member {
            return Err(command);
        }
        Ok(self.propose_deed(Deed::Command(command), deadline, fx))
    }

    /// Proposes commands one after the other. Their numbers are those from the next on.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// let wishes = vec![
    ///     Command::create(ObjectId(7), Counter::new),
    ///     Command::change::<Counter>(ObjectId(7), Counter::add(a, 3)),
    /// ];
    /// part.propose_all(wishes, &mut world).unwrap();
    /// assert_eq!(part.objects().read(ObjectId(7), Counter::value), Some(3));
    /// ```
    ///
    /// # Errors
    ///
    /// The commands, if this core is not a member.
    pub fn propose_all(
        &mut self,
        commands: Vec<O::Command>,
        fx: &mut impl Effects<O>,
    ) -> Result<(), Vec<O::Command>> {
        if self.standing != Standing::Member {
            return Err(commands);
        }
        for command in commands {
            self.origin.add(self.me, Deed::Command(command), None);
        }
        self.send_proposals(fx);
        self.rest(fx);
        Ok(())
    }

    /// Proposes a command that members do not vote on. It takes its place in the order, nobody waits for it, and there is no
    /// answer.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// let create = Command::create(ObjectId(7), Counter::new);
    /// part.announce(create, &mut world).unwrap();
    /// assert!(world.answers.is_empty() && part.version() > Version::START);
    /// ```
    ///
    /// # Errors
    ///
    /// The command, if this core is not a member.
    pub fn announce(&mut self, command: O::Command, fx: &mut impl Effects<O>) -> Result<(), O::Command> {
        if self.standing != Standing::Member {
            return Err(command);
        }
        self.propose_deed(Deed::Announcement(command), None, fx);
        Ok(())
    }

    /// Proposes that this core leaves. It must run nothing any more that proposes. When everyone knows that it has left,
    /// [`Effects::left`] is called; until then it goes on reading its rings.
    ///
    /// Returns nothing if this core is not a member.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// let [_, mut member] = pair();
    /// member.leave(&mut world);
    /// assert!(matches!(world.posted[0], (to, Message::Propose { .. }) if to == a));
    /// ```
    pub fn leave(&mut self, fx: &mut impl Effects<O>) -> Option<Seq> {
        let leave = Change::Leave { core: self.me, next: None };
        (self.standing == Standing::Member).then(|| self.propose_deed(Deed::View(leave), None, fx))
    }

    fn propose_deed(
        &mut self,
        deed: Deed<O::Command>,
        deadline: Option<Time>,
        fx: &mut impl Effects<O>,
    ) -> Seq {
        self.may_expire |= deadline.is_some();
        let seq = self.origin.add(self.me, deed, deadline);
        self.send_proposals(fx);
        self.rest(fx);
        seq
    }
}
