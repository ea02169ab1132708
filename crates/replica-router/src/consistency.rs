use std::time::Duration;

use purlin_core::{NodeId, Token, TokenSet};

/// How old an answer may be.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Consistency<'a> {
    /// Not at all: the primary answers.
    Primary,
    /// At least as new as every write, of this router's group, whose token the client carries. A set without
    /// a token of this group asks for nothing, as [`Eventual`](Consistency::Eventual) does; a group whose
    /// token did not fit into the set must be read with [`Primary`](Consistency::Primary).
    ReadYourWrites(&'a TokenSet),
    /// At least as new as one write.
    AtLeast(Token),
    /// It holds everything that was committed longer ago than this. Zero is the primary in all but name.
    BoundedStaleness(Duration),
    /// Any replica that is known to follow the present log, however far behind.
    Eventual,
}

/// A read to be routed: how old its answer may be, who may give it, and what to do when no replica can.
///
/// A [`Consistency`] by itself is such a read: one that nobody has been tried for yet, and that the primary
/// serves when no replica can.
///
/// ```
/// use std::time::Duration;
/// use purlin_replica_router::{Consistency, NodeId, Read};
///
/// let tried = [NodeId(2)];
/// let retry = Read::from(Consistency::BoundedStaleness(Duration::from_secs(1))).excluding(&tried).replicas_only();
/// # let _ = retry;
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a read does nothing until routed"]
pub struct Read<'a> {
    pub(crate) consistency: Consistency<'a>,
    pub(crate) tried: &'a [NodeId],
    pub(crate) may_use_primary: bool,
}

impl<'a> Read<'a> {
    /// The same read, not by these nodes: they have been tried without success.
    pub fn excluding(self, tried: &'a [NodeId]) -> Self {
        Read { tried, ..self }
    }

    /// The same read, by a replica or not at all: for load that would be worse for the primary than its
    /// failure is for the caller. A read that asks for the primary outright is not affected.
    pub fn replicas_only(self) -> Self {
        Read {
            may_use_primary: false,
            ..self
        }
    }
}

impl<'a> From<Consistency<'a>> for Read<'a> {
    fn from(consistency: Consistency<'a>) -> Self {
        Read {
            consistency,
            tried: &[],
            may_use_primary: true,
        }
    }
}
