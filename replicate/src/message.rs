//! What the cores say to each other.

use std::sync::Arc;

use crate::objects::{Digests, Objects};
use crate::{CoreId, CoreSet, Lead, Reign, Term, Version};

/// The number of a proposal at the core that made it. [`Seq::NONE`] is of what the protocol proposes itself.
///
/// ```
#[doc = include_str!("../doc/alone.md")]
/// let create = Command::create(ObjectId(7), Counter::new);
/// let seq: Seq = part.propose(create, None, &mut world).unwrap();
/// assert_eq!(world.answers[0].0, seq);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// Nobody waits for the answer, or a core that wants to join does.
    pub const NONE: Self = Self(0);
}

/// A point in time, in nanoseconds of whatever clock the caller of [`Agreement::tick`](crate::Agreement::tick) uses.
///
/// ```
/// use multikernel_replicate::Time;
///
/// assert!(Time(1) < Time(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

/// A change of the view.
///
/// ```
#[doc = include_str!("../doc/alone.md")]
/// assert!(part.leave(&mut world).is_some());
/// assert!(part.is_member(), "the last core cannot leave: its {:?} was refused", Change::Leave { core: a, next: None });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// A core becomes a member.
    Join(CoreId),
    /// A core leaves by plan.
    Leave {
        /// The core that leaves.
        core: CoreId,
        /// The next home, if that core is the home when the round begins.
        next: Option<CoreId>,
    },
    /// A core has died.
    Dead(CoreId),
}

impl Change {
    /// The core that it is about.
    ///
    /// ```
    /// use multikernel_replicate::{Change, CoreId};
    ///
    /// assert_eq!(Change::Dead(CoreId::new(3)).core(), CoreId::new(3));
    /// ```
    #[must_use]
    pub const fn core(self) -> CoreId {
        match self {
            Self::Join(core) | Self::Leave { core, .. } | Self::Dead(core) => core,
        }
    }
}

/// What is proposed.
///
/// ```
/// use multikernel_replicate::{Change, CoreId, Deed};
///
/// let (asked, told) = (Deed::Command("more"), Deed::Announcement("more"));
/// assert_ne!(asked, told);
/// let coming = Deed::<&str>::View(Change::Join(CoreId::new(1)));
/// # let _ = coming;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Deed<C> {
    /// A command to an object.
    Command(C),
    /// A command that members do not vote on and nobody waits for.
    Announcement(C),
    /// A change of the view. It has a round of its own.
    View(Change),
}

/// One proposal on its way through the order.
///
/// ```
#[doc = include_str!("../doc/alone.md")]
/// let [_, mut member] = pair();
/// let _ = member.propose(Command::create(ObjectId(7), Counter::new), None, &mut world);
/// let (home, Message::Propose { entry, .. }) = world.posted.remove(0) else { panic!() };
/// let entry: Entry<Command> = entry;
/// assert_eq!((home, entry.origin, entry.deadline), (a, b, None));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry<C> {
    /// Who proposes.
    pub origin: CoreId,
    /// Its number there.
    pub seq: Seq,
    /// What is proposed.
    pub deed: Deed<C>,
    /// After that time it is not to be committed, unless its round is decided already.
    pub deadline: Option<Time>,
}

impl<C> Entry<C> {
    /// The change of the view that it is.
    pub(crate) fn change(&self) -> Option<Change> {
        match self.deed {
            Deed::View(change) => Some(change),
            Deed::Command(_) | Deed::Announcement(_) => None,
        }
    }

    /// What the protocol itself proposes.
    pub(crate) const fn of_the_protocol(origin: CoreId, deed: Deed<C>) -> Self {
        Self { origin, seq: Seq::NONE, deed, deadline: None }
    }
}

/// Why a proposal came to nothing.
///
/// ```
#[doc = include_str!("../doc/alone.md")]
/// part.leave(&mut world);
/// let [(_, Outcome::Refused { refusal, .. })] = &world.answers[..] else { panic!() };
/// assert!(matches!(refusal, Refusal::LastCore));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Refusal<R> {
    /// An object says no.
    Object(R),
    /// The last core cannot leave.
    LastCore,
}

/// What became of a proposal. Each gets exactly one.
///
/// ```
#[doc = include_str!("../doc/alone.md")]
/// let create = Command::create(ObjectId(7), Counter::new);
/// part.propose_all(vec![create.clone(), create], &mut world).unwrap();
/// let [(_, Outcome::Committed(_)), (_, Outcome::Refused { by, .. })] = &world.answers[..] else { panic!() };
/// assert_eq!(*by, a); // there is such an object already
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome<R> {
    /// Committed with that round: every live core has it, or is asleep and has it before it runs anything.
    Committed(Version),
    /// Committed nowhere.
    Refused {
        /// The core that refused.
        by: CoreId,
        /// Its reason.
        refusal: Refusal<R>,
    },
    /// Committed nowhere, because the deadline passed while this core was waited for.
    Stalled(CoreId),
}

/// How a round ended.
///
/// ```
/// use multikernel_replicate::{Decision, Version};
///
/// // Of three entries the first two commit, and the third is refused.
/// let decision = Decision { round: Version(4), cut: 2, refused: true };
/// # let _ = decision;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// Which round.
    pub round: Version,
    /// Entries before this one commit.
    pub cut: u32,
    /// Whether the entry at `cut` is refused. If not it is undecided, as all later ones are.
    pub refused: bool,
}

/// What a core tells the one that takes over.
///
/// ```
/// use multikernel_replicate::{Decision, Report, Version};
///
/// let decided = Decision { round: Version(4), cut: 1, refused: false };
/// // It has voted on round 5, and has prepared both of its entries.
/// let report = Report { is_member: true, decided, prepared: Some(2) };
/// # let _ = report;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// Whether it votes; a core that has left, or has not joined, does not.
    pub is_member: bool,
    /// The last decided round here.
    pub decided: Decision,
    /// How many entries of the next round it has prepared, if it has that round.
    pub prepared: Option<u32>,
}

/// What a core that joins needs to know.
///
/// ```
#[doc = include_str!("../doc/alone.md")]
/// let welcome = Welcome { snapshot: part.objects().snapshot(), members: part.members(), lead: part.lead() };
/// let mut joined = Replicas::default();
/// assert!(joined.restore(&welcome.snapshot).is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Welcome<S> {
    /// All objects before this round.
    pub snapshot: S,
    /// The members before this round.
    pub members: CoreSet,
    /// Who is home.
    pub lead: Lead,
}

/// What one core says to another. Each line says who speaks: o origin, h home, m member, c the core that takes over, j a core
/// that joins, x one that leaves.
///
/// ```
#[doc = include_str!("../doc/alone.md")]
/// let [mut home, mut member] = pair();
/// let _ = home.propose(Command::create(ObjectId(7), Counter::new), None, &mut world);
/// let (to, prepare) = world.posted.remove(0);
/// assert!(to == b && matches!(prepare, Message::Prepare { .. }));
/// member.receive(a, prepare, &mut world);
/// assert!(matches!(world.posted[0], (_, Message::Vote { prepared: 1, refusal: None, .. })));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message<C, R, S> {
    /// j to all: I want to join. To another j: so do I.
    Knock,
    /// o to h: please agree on this.
    Propose {
        /// Whom o takes for the home; h may not know yet, or no longer be it.
        reign: Reign,
        /// The proposal.
        entry: Entry<C>,
    },
    /// h to m: vote on this.
    Prepare {
        /// The round, the one after the last decided.
        round: Version,
        /// Its entries.
        batch: Arc<[Entry<C>]>,
        /// For j, once all others have voted.
        welcome: Option<Arc<Welcome<S>>>,
    },
    /// m to h: my vote.
    Vote {
        /// The round.
        round: Version,
        /// Entries prepared before the first own refusal.
        prepared: u32,
        /// That refusal.
        refusal: Option<Refusal<R>>,
    },
    /// h to o: why the Decide behind this refuses your proposal.
    Reason {
        /// The proposal.
        seq: Seq,
        /// The core that refused.
        by: CoreId,
        /// Its reason.
        refusal: Refusal<R>,
    },
    /// h to o: the home refused, before any round. This is final.
    Refused {
        /// The proposal.
        seq: Seq,
        /// Its reason.
        refusal: Refusal<R>,
    },
    /// h to m: how the round ended.
    Decide {
        /// That.
        decision: Decision,
        /// Every live core has all rounds up to this.
        stable: Version,
    },
    /// m to h: the round is applied here.
    Done {
        /// Whom m takes for the home.
        reign: Reign,
        /// The round.
        version: Version,
        /// Closes an object whose replica is poisoned at m.
        close: Option<C>,
        /// What m's replicas add up to, where the policy compares it.
        digests: Option<Digests>,
    },
    /// h to o: every live core has all rounds up to this.
    Stable(Version),
    /// h to o: the deadline of your proposal has passed, and it is not committed.
    Expired {
        /// The proposal.
        seq: Seq,
        /// The core that was waited for.
        stalled: CoreId,
    },
    /// m to c: nobody leads, you are the lowest core that I know, and this is the latest takeover that I have heard of.
    Alarm(Term),
    /// c to all: I take over.
    Flush {
        /// The takeover.
        term: Term,
        /// The dead whose rings must be read to the end first. Apart, so that messages stay small.
        dead: Box<CoreSet>,
    },
    /// m to c: how far I am.
    State {
        /// The takeover.
        term: Term,
        /// That.
        report: Report,
    },
    /// c to all: how the rounds in doubt ended, and who is home.
    Install {
        /// The takeover.
        term: Term,
        /// The last round that some core had decided.
        settled: Decision,
        /// The cut of the round after it, if some core had prepared that.
        doubt: Option<u32>,
        /// The home.
        home: CoreId,
    },
    /// m to x: I have committed that you leave.
    Fence,
}

impl<C, R, S> Message<C, R, S> {
    /// Whether this says nothing more to a home that has got `next` right behind it. A Vote is done with when its round is applied; an
    /// earlier Done, when a later round is, or is voted on.
    pub(crate) fn is_told_by(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::Vote { round, .. }, Self::Done { version, .. }) => round <= version,
            (Self::Done { version, close: None, .. }, Self::Done { version: later, .. }) => version < later,
            (Self::Done { version, close: None, .. }, Self::Vote { round, .. }) => version < round,
            _ => false,
        }
    }
}

/// The messages about these objects.
pub type Wire<O> = Message<<O as Objects>::Command, <O as Objects>::Refusal, <O as Objects>::Snapshot>;
