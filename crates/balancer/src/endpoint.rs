use std::fmt;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use purlin_core::sync::atomic::{AtomicU64, Ordering};
use purlin_core::{Health, Node, NodeId, Weight};

/// One node as a balancer knows it: what was said about it, and what is on its way to it.
///
/// An endpoint's description never changes; a change of weight or health makes another endpoint that shares
/// the counters. Counters belong to the membership: a node that is removed and added again starts at zero.
pub struct Endpoint {
    node: Node,
    health: Health,
    load: Arc<CachePadded<Load>>,
}

impl Endpoint {
    pub(crate) fn new(node: Node) -> Self {
        Endpoint {
            node,
            health: Health::Up,
            load: Arc::default(),
        }
    }

    /// The node under another description, with the same counters and health.
    pub(crate) fn described_as(&self, node: Node) -> Self {
        Endpoint {
            node,
            health: self.health,
            load: Arc::clone(&self.load),
        }
    }

    pub(crate) fn with_health(&self, health: Health) -> Self {
        Endpoint {
            node: self.node.clone(),
            health,
            load: Arc::clone(&self.load),
        }
    }

    /// The node's identity.
    pub fn id(&self) -> NodeId {
        self.node.id
    }

    /// The node, with the name it had when this snapshot was made.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The node's share.
    pub fn weight(&self) -> Weight {
        self.node.weight
    }

    /// The node's health when this snapshot was made.
    pub fn health(&self) -> Health {
        self.health
    }

    /// How many picks of this node are alive now. Exact once nobody picks or drops at the same time, and at
    /// no time more than the picks that were ever alive together or fewer than zero.
    pub fn in_flight(&self) -> u64 {
        self.load.in_flight()
    }

    /// How often this node was picked since it joined.
    pub fn picks(&self) -> u64 {
        self.load.started.load(Ordering::Relaxed)
    }

    /// How many sticky clients were answered by this node because they were bound to it.
    pub fn kept(&self) -> u64 {
        self.load.kept.load(Ordering::Relaxed)
    }

    /// How many sticky clients were bound to this node and had to be sent to another.
    pub fn left(&self) -> u64 {
        self.load.left.load(Ordering::Relaxed)
    }

    /// Whether requests bound to this very node may be sent to it.
    pub(crate) fn takes_bound(&self) -> bool {
        self.health.takes_bound() && !self.node.weight.is_zero()
    }

    /// Whether requests bound to nothing may be sent to it.
    pub(crate) fn takes_new(&self) -> bool {
        self.health.takes_new() && !self.node.weight.is_zero()
    }

    pub(crate) fn start(&self) {
        self.load.started.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn finish(&self) {
        // Release: pairs with the Acquire load in `in_flight`, which then sees the start of every pick
        // whose end it counts.
        self.load.finished.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn count_kept(&self) {
        self.load.kept.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_left(&self) {
        self.load.left.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether one more request would weigh less on this endpoint than on the other, each against its
    /// weight. Both weights are positive.
    #[inline]
    pub(crate) fn is_lighter_than(&self, other: &Endpoint) -> bool {
        let ours = u128::from(self.in_flight()) + 1;
        let theirs = u128::from(other.in_flight()) + 1;
        ours * u128::from(other.node.weight.0) < theirs * u128::from(self.node.weight.0)
    }
}

/// Counts of one node, shared by every snapshot it is in and every pick of it.
///
/// Starts and ends are counted apart, rather than one number up and down: both only grow, so the picks that
/// statistics want cost nothing extra, and a count can never wrap below zero.
#[derive(Default)]
struct Load {
    started: AtomicU64,
    finished: AtomicU64,
    kept: AtomicU64,
    left: AtomicU64,
}

impl Load {
    #[inline]
    fn in_flight(&self) -> u64 {
        // Acquire: pairs with the Release add in `finish`. The ends are read first, so the starts read
        // after them include all of theirs and the difference never wraps.
        let finished = self.finished.load(Ordering::Acquire);
        self.started.load(Ordering::Relaxed).wrapping_sub(finished)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("node", &self.node)
            .field("health", &self.health)
            .field("in_flight", &self.in_flight())
            .field("picks", &self.picks())
            .finish_non_exhaustive()
    }
}
