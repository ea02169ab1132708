use std::time::Duration;

use purlin_core::{GroupId, NodeId, Retry, Tick, Token};

use crate::route::Shortfall;

/// Why a read has no route. Nothing was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The token is of another group.
    #[error("a token of {} cannot route a read of {group}", token.group)]
    WrongGroup {
        /// The token.
        token: Token,
        /// This router's group.
        group: GroupId,
    },
    /// The write that the token proves was lost: it was acknowledged in an epoch that ended, and the promoted
    /// replica had not come that far. No replica and no waiting will bring it back, and an answer without it
    /// would be wrong in silence. Tell the client, then record
    /// [`Router::epoch_start`](crate::Router::epoch_start) over its token.
    #[error("the write at {} of epoch {} was lost: epoch {epoch} kept {kept}", token.position, token.epoch)]
    WriteLost {
        /// The token.
        token: Token,
        /// How far the token's epoch was kept.
        kept: u64,
        /// The present epoch.
        epoch: u64,
    },
    /// The token is of an epoch this router knows nothing about, so it cannot tell whether the write was kept:
    /// too long ago, or before this router was made. See [`Builder::history`](crate::Builder::history).
    #[error("epoch {} is not one of those that epoch {epoch} is known to follow", token.epoch)]
    EpochUnknown {
        /// The token.
        token: Token,
        /// The present epoch.
        epoch: u64,
    },
    /// The token is of a later epoch than this router has been told of: another instance has heard of a
    /// promotion first.
    #[error("the token is of epoch {}, and this router is still in epoch {epoch}", token.epoch)]
    EpochAhead {
        /// The token.
        token: Token,
        /// The epoch this router is in.
        epoch: u64,
    },
    /// The read needs the primary's word, and a node has been seen in a later epoch: whoever was the primary
    /// is not any more.
    #[error("epoch {epoch} has ended: a node is in epoch {seen}")]
    Fenced {
        /// The epoch this router is in.
        epoch: u64,
        /// The latest epoch seen.
        seen: u64,
    },
    /// No replica can serve the read, and the primary was not to.
    #[error("no replica is fresh enough ({0})")]
    NoneFresh(Shortfall),
    /// No replica can serve the read, or the primary was asked for; and the primary is down or ruled out.
    #[error("the primary, {node}, is down or excluded, and no replica serves ({replicas})")]
    NoPrimary {
        /// The primary.
        node: NodeId,
        /// What kept the replicas from it. All zero where the primary was asked for.
        replicas: Shortfall,
    },
}

impl ReadError {
    /// When to ask again: soon where replicas catch up, later where a failover has to be noticed, never where
    /// the answer stays the same.
    pub const fn retry(&self) -> Retry {
        match self {
            ReadError::WrongGroup { .. }
            | ReadError::WriteLost { .. }
            | ReadError::EpochUnknown { .. } => Retry::NEVER,
            ReadError::NoneFresh(_) => Retry::safe_after(CATCH_UP),
            ReadError::EpochAhead { .. }
            | ReadError::Fenced { .. }
            | ReadError::NoPrimary { .. } => Retry::safe_after(FAILOVER),
        }
    }
}

/// Why a write has no route. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A node has been seen in a later epoch: whoever was the primary is not any more, and a write to it
    /// would be lost.
    #[error("epoch {epoch} has ended: a node is in epoch {seen}")]
    Fenced {
        /// The epoch this router is in.
        epoch: u64,
        /// The latest epoch seen.
        seen: u64,
    },
    /// The primary is down.
    #[error("the primary, {node}, is down")]
    PrimaryDown {
        /// The primary.
        node: NodeId,
    },
}

impl WriteError {
    /// Safe, after about the time a failover takes to be noticed.
    pub const fn retry(&self) -> Retry {
        Retry::safe_after(FAILOVER)
    }
}

/// Why an observation was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObserveError {
    /// The node is not of this group.
    #[error("{0} is not a member of the group")]
    UnknownNode(NodeId),
    /// The observation's tick is still to come, so it is not of this router's clock.
    #[error("the observation is from {at}, and it is {now}")]
    FromTheFuture {
        /// The observation's tick.
        at: Tick,
        /// The clock's.
        now: Tick,
    },
}

impl ObserveError {
    /// Never: the same observation gets the same answer.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}

/// Why a promotion was not believed. The router is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PromoteError {
    /// The node is not of this group.
    #[error("{0} is not a member of the group")]
    UnknownNode(NodeId),
    /// The claimed epoch is not later than the present one: an old primary, a claim told twice, or two that
    /// claim one epoch, of which the first to be told stays.
    #[error("epoch {claimed} is not later than epoch {epoch}, in which {primary} is the primary")]
    NotLater {
        /// The claimed epoch.
        claimed: u64,
        /// The present epoch.
        epoch: u64,
        /// The present primary.
        primary: NodeId,
    },
}

impl PromoteError {
    /// Never: the same claim gets the same answer.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}

/// Why a list of nodes cannot be a group. The router, if there was one, is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MembersError {
    /// Two nodes had one identity.
    #[error("{0} is listed twice")]
    DuplicateNode(NodeId),
    /// More nodes than [`Router::MAX_MEMBERS`](crate::Router::MAX_MEMBERS).
    #[error("{0} nodes are more than a group holds")]
    TooMany(usize),
    /// The primary was not among them. Promote another node first.
    #[error("the primary, {0}, is not among the nodes")]
    PrimaryMissing(NodeId),
    /// The promotions given as history did not have ascending epochs.
    #[error("epoch {0} follows an epoch that is not earlier")]
    HistoryOutOfOrder(u64),
}

impl MembersError {
    /// Never: the list must change first.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}

/// A replica on the same network is usually behind by less than this.
const CATCH_UP: Duration = Duration::from_millis(5);

/// A promotion takes some hundred milliseconds at least; asking much sooner asks the same question again.
const FAILOVER: Duration = Duration::from_millis(100);
