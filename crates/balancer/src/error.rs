use std::time::Duration;

use purlin_core::{NodeId, Retry};

/// Why there was nobody to send a request to. No pick had any effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickError {
    /// The balancer has no endpoints at all.
    #[error("the balancer has no endpoints")]
    NoEndpoints,
    /// There are endpoints, and none of them takes new requests.
    #[error("no endpoint is up ({draining} draining, {down} down, {weightless} without weight)")]
    NoneUp {
        /// How many are draining and have weight.
        draining: usize,
        /// How many are down and have weight.
        down: usize,
        /// How many have weight 0, whatever their health.
        weightless: usize,
    },
    /// Endpoints do take new requests, and the caller ruled out every one of them.
    #[error("all {candidates} endpoints that take requests were ruled out by the caller")]
    AllExcluded {
        /// How many there were.
        candidates: usize,
    },
    /// The one node that was asked for is not among the endpoints.
    #[error("{node} is not an endpoint")]
    UnknownNode {
        /// The node that was asked for.
        node: NodeId,
    },
    /// The one node that was asked for is down.
    #[error("{node} is down")]
    NodeDown {
        /// The node that was asked for.
        node: NodeId,
    },
}

impl PickError {
    /// Whether asking again may help: later, where health or membership may change by itself; never, where
    /// the same question has the same answer.
    pub const fn retry(&self) -> Retry {
        match self {
            PickError::NoEndpoints | PickError::NoneUp { .. } | PickError::NodeDown { .. } => {
                Retry::safe_after(RECHECK)
            }
            PickError::AllExcluded { .. } | PickError::UnknownNode { .. } => Retry::NEVER,
        }
    }
}

/// About how long health checks take to notice anything; asking much sooner asks the same question again.
const RECHECK: Duration = Duration::from_millis(100);

/// Why a list of nodes cannot be a balancer's endpoints. The balancer, if there was one, is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointsError {
    /// Two nodes had one identity, so counters and sticky clients could not tell them apart.
    #[error("{0} is listed twice")]
    DuplicateNode(NodeId),
    /// More nodes than [`Endpoints::MAX`](crate::Endpoints::MAX).
    #[error("{0} endpoints are more than a balancer holds ({max})", max = crate::Endpoints::MAX)]
    TooMany(usize),
}

impl EndpointsError {
    /// Never: the list must change first.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}
