//! What one may ask an agreement.

use crate::agreement::{Agreement, Standing};
use crate::objects::Objects;
use crate::policy::Policy;
use crate::{CoreId, CoreSet, Lead, Version};

impl<O: Objects, P: Policy> Agreement<O, P> {
    /// This core.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// assert_eq!(part.core(), a);
    /// ```
    #[must_use]
    pub fn core(&self) -> CoreId {
        self.me
    }

    /// The replicas of this core.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// assert_eq!(part.objects().read(ObjectId(7), Counter::value), None); // there is no such object
    /// ```
    #[must_use]
    pub fn objects(&self) -> &O {
        &self.objects
    }

    /// The last round that is decided here.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// let create = Command::create(ObjectId(7), Counter::new);
    /// part.propose(create, None, &mut world).unwrap();
    /// assert_eq!(part.version(), Version(1));
    /// ```
    #[must_use]
    pub fn version(&self) -> Version {
        self.decided.round
    }

    /// The version after which a read here sees all that any core had read before this call.
    ///
    /// Whatever is committed anywhere has been prepared here, for its round had all votes; so it is either decided here or the one round
    /// that is not.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// let [mut home, _] = pair();
    /// home.propose(Command::create(ObjectId(7), Counter::new), None, &mut world).unwrap();
    /// assert_eq!((home.version(), home.settled_at()), (Version(0), Version(1)));
    /// ```
    #[must_use]
    pub fn settled_at(&self) -> Version {
        if self.prepared.is_some() { self.version().next() } else { self.version() }
    }

    /// Whether a task here may handle a message that has been acquired (the epoch rule). `deciding` is the highest version given to
    /// [`Effects::deciding`](crate::Effects::deciding) anywhere, read after the message. If not: once this core's version has reached that.
    ///
    /// A core that has prepared nothing need not read it.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// let [mut home, _] = pair();
    /// assert!(home.admits(Version(1)), "it has voted on nothing");
    /// home.propose(Command::create(ObjectId(7), Counter::new), None, &mut world).unwrap();
    /// assert!(home.admits(Version(0)) && !home.admits(Version(1)));
    /// ```
    #[must_use]
    pub fn admits(&self, deciding: Version) -> bool {
        P::HANDLE_BLINDLY || self.prepared.is_none() || deciding <= self.version()
    }

    /// The live cores, as far as this core knows.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// assert_eq!(part.members(), CoreSet::only(a));
    /// ```
    #[must_use]
    pub fn members(&self) -> CoreSet {
        self.members
    }

    /// Who is home, as far as this core knows.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// assert_eq!(part.lead().home, a);
    /// ```
    #[must_use]
    pub fn lead(&self) -> Lead {
        self.lead
    }

    /// Whether this core votes and may propose.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// assert!(part.is_member());
    /// ```
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.standing == Standing::Member
    }

    /// How many proposals of this core are not answered.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// let [mut home, _] = pair();
    /// home.propose(Command::create(ObjectId(7), Counter::new), None, &mut world).unwrap();
    /// assert_eq!(home.unanswered(), 1);
    /// ```
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.origin.open()
    }

    /// The cores that keep this home from going on: they have not voted, or not applied the last round.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// let [mut home, _] = pair();
    /// home.propose(Command::create(ObjectId(7), Counter::new), None, &mut world).unwrap();
    /// assert_eq!(home.waiting_for(), CoreSet::only(b));
    /// ```
    #[must_use]
    pub fn waiting_for(&self) -> CoreSet {
        self.home.as_ref().map_or(CoreSet::EMPTY, |home| home.missing.union(home.undone))
    }

    /// Whether this is the home and [`waiting_for`](Self::waiting_for) somebody.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// assert!(!part.is_waiting());
    /// ```
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.home.as_ref().is_some_and(|home| !home.missing.is_empty() || !home.undone.is_empty())
    }

    /// Whether this core knows of that one: as a member, or as one that joins or leaves. A core may come again under its old
    /// name only when nobody does.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// assert!(part.knows(a) && !part.knows(b));
    /// ```
    #[must_use]
    pub fn knows(&self, core: CoreId) -> bool {
        let in_round =
            self.prepared.as_ref().and_then(|round| round.change()).is_some_and(|c| c.core() == core);
        in_round || self.members.union(self.joiners).union(self.leaving).contains(core)
    }

    /// Whether a round is prepared here whose end is not known.
    ///
    /// ```
    #[doc = include_str!("../doc/alone.md")]
    /// let [mut home, _] = pair();
    /// home.propose(Command::create(ObjectId(7), Counter::new), None, &mut world).unwrap();
    /// assert!(home.is_prepared());
    /// ```
    #[must_use]
    pub fn is_prepared(&self) -> bool {
        self.prepared.is_some()
    }

    /// The number that the next proposal of this core gets.
    pub(crate) fn next_seq(&self) -> crate::Seq {
        self.origin.next_seq()
    }

    pub(crate) fn objects_mut(&mut self) -> &mut O {
        &mut self.objects
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Command, Decision, Denial, Effects, Entry, Message, ObjectId, Outcome, Replicas, Seq, Sound, Wire,
    };

    /// Takes what a core says, and does nothing with it.
    struct Nowhere;

    impl Effects<Replicas> for Nowhere {
        fn post(&mut self, _: CoreId, _: Wire<Replicas>) {}
        fn ring(&mut self, _: CoreId) {}
        fn is_asleep(&mut self, _: CoreId) -> bool {
            false
        }
        fn deciding(&mut self, _: Version) {}
        fn advanced(&mut self, _: Version) {}
        fn answer(&mut self, _: Seq, _: Outcome<Denial>) {}
        fn left(&mut self) {}
    }

    #[test]
    fn only_what_may_be_newer_than_a_prepared_core_waits() {
        let [home, me] = [0, 1].map(CoreId::new);
        let mut part = Agreement::<_, Sound>::founder(me, CoreSet::below(2), Replicas::default());
        let first = Version(1);
        assert!(part.admits(first), "nothing is prepared here, so nobody has committed it");
        let deed = crate::Deed::Command(Command::destroy(ObjectId(7)));
        let batch = [Entry { origin: home, seq: Seq(1), deed, deadline: None }].into();
        part.receive(home, Message::Prepare { round: first, batch, welcome: None }, &mut Nowhere);
        assert!(part.admits(Version::START), "nobody has begun to decide");
        assert!(!part.admits(first), "somebody may have committed it");
        let decision = Decision { round: first, cut: 0, refused: false };
        part.receive(home, Message::Decide { decision, stable: Version::START }, &mut Nowhere);
        assert!(part.admits(first) && part.version() == first);
    }
}
