use std::fmt;
use std::sync::Arc;

use purlin_core::{Health, Node, NodeId};

use crate::endpoint::Endpoint;

/// One request on its way to one endpoint: keep it until the answer has come.
///
/// Alive, it counts as in flight. It stops counting when dropped, whichever way that comes about: at the end
/// of the scope, in a panic, or with the future that held it. It stays valid when its endpoint leaves the
/// balancer. A pick that is leaked (`std::mem::forget`) counts for as long as the endpoint is a member.
#[must_use = "dropped at once, the request does not count as in flight while it runs"]
pub struct Pick {
    endpoint: Arc<Endpoint>,
}

impl Pick {
    pub(crate) fn start(endpoint: Arc<Endpoint>) -> Self {
        endpoint.start();
        Pick { endpoint }
    }

    /// The chosen node's identity.
    pub fn id(&self) -> NodeId {
        self.endpoint.id()
    }

    /// The chosen node, with the name it had at the time of the pick.
    pub fn node(&self) -> &Node {
        self.endpoint.node()
    }

    /// The node's health at the time of the pick. Anything but `Up` is a bound request on a draining node, or
    /// [`NoneUp::Spread`](crate::NoneUp::Spread) at work.
    pub fn health(&self) -> Health {
        self.endpoint.health()
    }

    /// The endpoint, for its counters.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.endpoint.finish();
    }
}

impl fmt::Debug for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pick").field(&self.endpoint).finish()
    }
}

/// The pick of a request that would rather go to one node in particular.
#[derive(Debug)]
#[must_use = "dropped at once, the request does not count as in flight while it runs"]
pub struct StickyPick {
    /// The request on its way.
    pub pick: Pick,
    /// Whether it went where it wanted to.
    pub outcome: Stickiness,
}

impl StickyPick {
    /// Whether the client was bound to a node and was sent to another one: what the old node held for it
    /// alone is not there.
    pub fn moved(&self) -> bool {
        matches!(self.outcome, Stickiness::Moved { .. })
    }

    /// Whether the client is to be given a new binding, to [`Pick::id`] of this pick.
    pub fn is_new_binding(&self) -> bool {
        self.outcome != Stickiness::Kept
    }
}

/// What became of a request's wish for one node in particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: it had no wish, it came true, or it did not"
)]
pub enum Stickiness {
    /// It was bound to nothing, and is to be bound to the node picked.
    New,
    /// It stayed.
    Kept,
    /// It could not stay, and is to be bound to the node picked.
    Moved {
        /// Where it was bound to. That node may be down, without weight, ruled out by the caller, or unknown.
        from: NodeId,
    },
}
