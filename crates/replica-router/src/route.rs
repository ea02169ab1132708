use purlin_balancer::Pick;
use purlin_core::{GroupId, Node, NodeId, Token};

/// Where a write goes. Keep it until the answer has come: it counts the write as in flight.
///
/// Hand [`epoch`](WriteRoute::epoch) to the store as a fencing number where it can check one. The route is
/// right when given; a promotion may overtake it on its way.
#[derive(Debug)]
#[must_use = "dropped at once, the write does not count as in flight while it runs"]
pub struct WriteRoute {
    pub(crate) pick: Pick,
    pub(crate) group: GroupId,
    pub(crate) epoch: u64,
}

impl WriteRoute {
    /// The primary's identity.
    pub fn id(&self) -> NodeId {
        self.pick.id()
    }

    /// The primary.
    pub fn node(&self) -> &Node {
        self.pick.node()
    }

    /// The primary's term.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The proof of a write that was acknowledged at this position of the primary's log: what the client
    /// carries to its later reads, on whatever instance.
    pub fn token(&self, position: u64) -> Token {
        Token::new(self.group, self.epoch, position)
    }
}

/// Where a read goes. Keep it until the answer has come: it counts the read as in flight.
#[derive(Debug)]
#[must_use = "dropped at once, the read does not count as in flight while it runs"]
pub struct ReadRoute {
    pub(crate) pick: Pick,
    pub(crate) group: GroupId,
    pub(crate) epoch: u64,
    pub(crate) reason: Reason,
}

impl ReadRoute {
    /// The chosen node's identity.
    pub fn id(&self) -> NodeId {
        self.pick.id()
    }

    /// The chosen node.
    pub fn node(&self) -> &Node {
        self.pick.node()
    }

    /// Why this node.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The epoch the route was worked out in. A node that is in a later one already should refuse the read,
    /// where it can tell: the promise was made about the log as it was before the fork.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The token of a position that came with the answer. A client that records it never reads anything older
    /// from now on (monotonic reads).
    pub fn token(&self, position: u64) -> Token {
        Token::new(self.group, self.epoch, position)
    }
}

/// Why a read went where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: a replica, or the primary wanted or not"
)]
pub enum Reason {
    /// A replica is fresh enough.
    Replica,
    /// The primary, which was asked for.
    PrimaryAsked,
    /// The primary, because no replica could serve the read.
    PrimaryFallback(Shortfall),
}

/// What kept each replica from serving a read. Every replica is counted once, under the first that applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shortfall {
    /// Ruled out by the caller.
    pub excluded: usize,
    /// Not up, or of weight 0.
    pub down: usize,
    /// In another epoch's log: behind a fork, or ahead of this router.
    pub diverged: usize,
    /// Never observed, observed without an answer, or too long ago.
    pub unknown: usize,
    /// Back, but not for long enough.
    pub recovering: usize,
    /// Not fresh enough.
    pub behind: usize,
}

impl std::fmt::Display for Shortfall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Shortfall {
            excluded,
            down,
            diverged,
            unknown,
            recovering,
            behind,
        } = self;
        write!(
            f,
            "{behind} behind, {recovering} recovering, {unknown} unknown, {diverged} diverged, {down} down, \
             {excluded} excluded"
        )
    }
}
