//! A group of a primary and two replicas under a clock that is turned by hand.
#![allow(dead_code, reason = "each test file uses its part")]

use std::time::Duration;

use purlin_core::{Clock, ManualClock};
use purlin_replica_router::{
    Builder, Consistency, GroupId, Node, NodeId, Observation, Read, ReadError, Reason, Router,
    Shortfall, Standing, Token,
};

pub(crate) const GROUP: GroupId = GroupId(5);
pub(crate) const PRIMARY: NodeId = NodeId(1);
pub(crate) const NEAR: NodeId = NodeId(2);
pub(crate) const FAR: NodeId = NodeId(3);
pub(crate) const MS: Duration = Duration::from_millis(1);

pub(crate) struct Group {
    pub(crate) clock: ManualClock,
    pub(crate) router: Router<ManualClock>,
}

pub(crate) fn node(id: NodeId) -> Node {
    Node::new(id, format!("db-{}", id.0))
}

impl Group {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(choose: impl FnOnce(Builder<ManualClock>) -> Builder<ManualClock>) -> Self {
        let clock = ManualClock::new();
        clock.advance(Duration::from_secs(1_000));
        let builder = Router::builder(GROUP).seed(1).clock(clock.clone());
        let router = choose(builder)
            .build(node(PRIMARY), [node(NEAR), node(FAR)])
            .unwrap();
        Group { clock, router }
    }

    pub(crate) fn observe(&self, node: NodeId, position: u64) -> Standing {
        let at = self.clock.now();
        self.router
            .observe(
                node,
                Observation::Position {
                    epoch: 1,
                    position,
                    at,
                },
            )
            .unwrap()
    }

    pub(crate) fn read(&self, consistency: Consistency<'_>) -> Result<(NodeId, Reason), ReadError> {
        self.router
            .route_read(consistency)
            .map(|route| (route.id(), route.reason()))
    }

    /// The replicas that serve such reads.
    pub(crate) fn readers(&self, consistency: Consistency<'_>) -> Vec<NodeId> {
        let mut readers: Vec<NodeId> = (0..50)
            .filter_map(|_| {
                self.router
                    .route_read(Read::from(consistency).replicas_only())
                    .ok()
            })
            .map(|route| route.id())
            .collect();
        readers.sort_unstable();
        readers.dedup();
        readers
    }
}

pub(crate) fn token(position: u64) -> Token {
    Token::new(GROUP, 1, position)
}

pub(crate) fn fallback(shortfall: impl FnOnce(&mut Shortfall)) -> Reason {
    let mut counts = Shortfall::default();
    shortfall(&mut counts);
    Reason::PrimaryFallback(counts)
}
