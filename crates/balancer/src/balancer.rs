use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use purlin_core::sync::Mutex;
use purlin_core::sync::atomic::{AtomicU64, Ordering};
use purlin_core::{Health, Node, NodeId, Placement, Rng};

use crate::chance::Turns;
use crate::endpoint::Endpoint;
use crate::endpoints::Endpoints;
use crate::error::{EndpointsError, PickError};
use crate::pick::{Pick, Stickiness, StickyPick};
use crate::policy::{NoneUp, Policy};
use crate::stats::Stats;

/// Chooses an endpoint for each request.
///
/// Shared by reference: every method takes `&self`. Picks take no lock and never wait, not even while the
/// endpoints are being changed. Predicates given to a pick run without any lock held and may call the
/// balancer; if one panics, nothing was counted.
///
/// ```
/// use purlin_balancer::{Balancer, Policy};
/// use purlin_core::{Health, Node, NodeId, Weight};
///
/// let balancer = Balancer::new(Policy::RoundRobin, [
///     Node::new(NodeId(1), "10.0.0.1:80").with_weight(Weight(2)),
///     Node::new(NodeId(2), "10.0.0.2:80"),
/// ])?;
/// let pick = balancer.pick()?;
/// assert_eq!(pick.endpoint().in_flight(), 1);
/// drop(pick); // The answer has come.
///
/// balancer.set_health(NodeId(1), Health::Down);
/// assert_eq!(balancer.pick()?.id(), NodeId(2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Balancer {
    policy: Policy,
    none_up: NoneUp,
    endpoints: ArcSwap<Endpoints>,
    turns: Turns,
    tallies: Tallies,
    /// Held by whoever makes the next snapshot from the present one, so that no change is lost. Readers do
    /// not know it. It guards the picks of endpoints that have left, which the total must not forget.
    departed_picks: Mutex<u64>,
}

#[derive(Default)]
struct Tallies {
    kept: AtomicU64,
    moved: AtomicU64,
    refused: AtomicU64,
}

impl Balancer {
    /// A balancer over these nodes, all up, that refuses when none is and takes its chance from the process's
    /// random state. [`builder`](Balancer::builder) has the other choices.
    ///
    /// # Errors
    ///
    /// [`EndpointsError`] for a node listed twice or too many of them.
    pub fn new(
        policy: Policy,
        nodes: impl IntoIterator<Item = Node>,
    ) -> Result<Self, EndpointsError> {
        Self::builder().policy(policy).build(nodes)
    }

    /// A balancer with other choices than the defaults.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// An endpoint for a request that can go to any. Cost: one atomic add for the turn, two counters' reads
    /// under [`Policy::PowerOfTwoChoices`], two atomic adds for the pick, two more when it is dropped; the
    /// same for three endpoints and for ten thousand.
    ///
    /// # Errors
    ///
    /// [`PickError::NoEndpoints`] or [`PickError::NoneUp`].
    pub fn pick(&self) -> Result<Pick, PickError> {
        self.pick_where(|_| true)
    }

    /// An endpoint for a request that has been tried elsewhere without success: any but those.
    ///
    /// # Errors
    ///
    /// As [`pick`](Balancer::pick), and [`PickError::AllExcluded`] when there is nobody left to try.
    pub fn pick_excluding(&self, tried: &[NodeId]) -> Result<Pick, PickError> {
        self.pick_where(|endpoint| !tried.contains(&endpoint.id()))
    }

    /// An endpoint for a request that not every endpoint can serve. The policy chooses among those for which
    /// `allowed` says yes; it is not asked about endpoints that take nothing.
    ///
    /// Cost: as [`pick`](Balancer::pick) when most are allowed, at worst two calls of `allowed` an endpoint.
    ///
    /// # Errors
    ///
    /// As [`pick`](Balancer::pick), and [`PickError::AllExcluded`] when `allowed` says no to everyone.
    pub fn pick_where(&self, allowed: impl FnMut(&Endpoint) -> bool) -> Result<Pick, PickError> {
        self.pick_from(&self.endpoints.load(), allowed)
            .inspect_err(|_| self.count_refused())
    }

    /// This very node, because the caller has its own reason for it. Weight does not matter, since there is
    /// nothing to share out; a draining node is allowed.
    ///
    /// # Errors
    ///
    /// [`PickError::UnknownNode`] and [`PickError::NodeDown`].
    pub fn pick_node(&self, node: NodeId) -> Result<Pick, PickError> {
        let endpoints = self.endpoints.load();
        let found = match endpoints.find(node) {
            Some(endpoint) if endpoint.health().takes_bound() => {
                Ok(Pick::start(Arc::clone(endpoint)))
            }
            Some(_) => Err(PickError::NodeDown { node }),
            None => Err(PickError::UnknownNode { node }),
        };
        found.inspect_err(|_| self.count_refused())
    }

    /// An endpoint for a client that is bound to a node, or is to be bound to one: its own node while that
    /// may take bound requests (up or draining, and of positive weight), otherwise another, which becomes its
    /// new one. A node this balancer does not know is no error: the client moves.
    ///
    /// Stickiness is a convenience, never a promise. What must survive a move belongs in a shared store.
    ///
    /// # Errors
    ///
    /// As [`pick`](Balancer::pick), if the client cannot stay.
    pub fn pick_sticky(&self, bound: Option<NodeId>) -> Result<StickyPick, PickError> {
        self.pick_sticky_excluding(bound, &[])
    }

    /// [`pick_sticky`](Balancer::pick_sticky) for a request that has been tried on some nodes already,
    /// perhaps on the one it is bound to.
    ///
    /// # Errors
    ///
    /// As [`pick_excluding`](Balancer::pick_excluding), if the client cannot stay.
    pub fn pick_sticky_excluding(
        &self,
        bound: Option<NodeId>,
        tried: &[NodeId],
    ) -> Result<StickyPick, PickError> {
        let untried = |endpoint: &Endpoint| !tried.contains(&endpoint.id());
        self.pick_preferring(bound.as_slice(), Endpoint::takes_bound, untried)
    }

    /// An endpoint for a request about a key: the node that owns the key by `placement`, so that each node
    /// sees the same keys again; the next owners, in the placement's order, where one does not take new
    /// requests; and anybody at all where none of the first [`KEY_OWNERS`](Balancer::KEY_OWNERS) does.
    /// [`StickyPick::moved`] says that it is not the first owner.
    ///
    /// # Errors
    ///
    /// As [`pick`](Balancer::pick).
    pub fn pick_for_key<P: Placement + ?Sized>(
        &self,
        placement: &P,
        key: &[u8],
    ) -> Result<StickyPick, PickError> {
        let mut owners = [NodeId::default(); Self::KEY_OWNERS];
        let n_owners = placement.replicas(key, &mut owners).min(Self::KEY_OWNERS);
        self.pick_preferring(&owners[..n_owners], Endpoint::takes_new, |_| true)
    }

    /// How many owners of a key [`pick_for_key`](Balancer::pick_for_key) tries before it takes anybody.
    pub const KEY_OWNERS: usize = 4;

    /// Changes the endpoints to these nodes, which may be described differently than before.
    ///
    /// A node that stays keeps its counters and its health, so picks that are alive go on counting. A node
    /// that is new is up. A node that goes gets no further picks from calls that start after this one
    /// returns; picks of it that are alive stay valid. Cost: `O(n log n)`, and under unequal weights a
    /// round's schedule; changes wait for each other, picks do not.
    ///
    /// # Errors
    ///
    /// [`EndpointsError`] for a node listed twice or too many of them; nothing has changed then.
    pub fn set_endpoints(
        &self,
        nodes: impl IntoIterator<Item = Node>,
    ) -> Result<(), EndpointsError> {
        // The iterator is the caller's code, so it runs to its end before the lock is taken.
        let nodes: Vec<Node> = nodes.into_iter().collect();
        let mut departed_picks = self.departed_picks.lock();
        let present = self.endpoints.load();
        let next = present.changed_to(nodes, self.none_up)?;
        let gone = present
            .iter()
            .filter(|endpoint| next.get(endpoint.id()).is_none());
        *departed_picks += gone.map(Endpoint::picks).sum::<u64>();
        self.endpoints.store(Arc::new(next));
        Ok(())
    }

    /// Says what a node may be given from now on. Returns what it was before, or `None`, and does nothing,
    /// for a node that is not an endpoint. Cost: a new snapshot if the health is another than before, nothing
    /// if it is the same.
    pub fn set_health(&self, node: NodeId, health: Health) -> Option<Health> {
        let _only_writer = self.departed_picks.lock();
        let present = self.endpoints.load();
        let before = present.get(node)?.health();
        if before != health {
            self.endpoints
                .store(Arc::new(present.with_health(node, health, self.none_up)));
        }
        Some(before)
    }

    /// The endpoints as they are now. The snapshot stays as it is while the balancer moves on.
    pub fn endpoints(&self) -> Arc<Endpoints> {
        self.endpoints.load_full()
    }

    /// How this balancer chooses.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// The counters as they stand. Cost: `O(n)`.
    pub fn stats(&self) -> Stats {
        // Under the writers' lock, so that an endpoint is counted as present or as departed, not as both.
        let departed_picks = self.departed_picks.lock();
        let endpoints = self.endpoints.load();
        Stats {
            picks: *departed_picks + endpoints.iter().map(Endpoint::picks).sum::<u64>(),
            kept: self.tallies.kept.load(Ordering::Relaxed),
            moved: self.tallies.moved.load(Ordering::Relaxed),
            refused: self.tallies.refused.load(Ordering::Relaxed),
            in_flight: endpoints.iter().map(Endpoint::in_flight).sum(),
            endpoints: endpoints.len(),
            candidates: endpoints.candidates(),
        }
    }

    /// The first of the preferred nodes that `takes` the request and is allowed, or what the policy says.
    fn pick_preferring(
        &self,
        preferred: &[NodeId],
        takes: impl Fn(&Endpoint) -> bool,
        allowed: impl Fn(&Endpoint) -> bool,
    ) -> Result<StickyPick, PickError> {
        let endpoints = self.endpoints.load();
        let first_fit = preferred
            .iter()
            .filter_map(|&node| endpoints.find(node))
            .find(|endpoint| takes(endpoint) && allowed(endpoint));
        let picked = match first_fit {
            Some(endpoint) => Ok(Pick::start(Arc::clone(endpoint))),
            None => self.pick_from(&endpoints, allowed),
        };
        let pick = picked.inspect_err(|_| self.count_refused())?;
        let outcome = match preferred.first() {
            None => Stickiness::New,
            Some(&first) if first == pick.id() => Stickiness::Kept,
            Some(&first) => Stickiness::Moved { from: first },
        };
        self.count_outcome(&endpoints, &pick, outcome);
        Ok(StickyPick { pick, outcome })
    }

    fn pick_from(
        &self,
        endpoints: &Endpoints,
        mut allowed: impl FnMut(&Endpoint) -> bool,
    ) -> Result<Pick, PickError> {
        let chosen = match self.policy {
            Policy::RoundRobin => endpoints.of_turn(&self.turns, &mut allowed),
            Policy::PowerOfTwoChoices => {
                endpoints.of_two_choices(self.turns.random(), &mut allowed)
            }
        };
        chosen.map(|endpoint| Pick::start(Arc::clone(endpoint)))
    }

    fn count_outcome(&self, endpoints: &Endpoints, pick: &Pick, outcome: Stickiness) {
        match outcome {
            Stickiness::New => {}
            Stickiness::Kept => {
                pick.endpoint().count_kept();
                self.tallies.kept.fetch_add(1, Ordering::Relaxed);
            }
            Stickiness::Moved { from } => {
                if let Some(left) = endpoints.get(from) {
                    left.count_left();
                }
                self.tallies.moved.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[cold]
    fn count_refused(&self) {
        self.tallies.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer")
            .field("policy", &self.policy)
            .field("none_up", &self.none_up)
            .field("endpoints", &self.endpoints.load().len())
            .finish_non_exhaustive()
    }
}

/// Makes a [`Balancer`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until built"]
pub struct Builder {
    policy: Policy,
    none_up: NoneUp,
    seed: Option<u64>,
}

impl Builder {
    /// How to choose. By default [`Policy::PowerOfTwoChoices`].
    pub fn policy(self, policy: Policy) -> Self {
        Builder { policy, ..self }
    }

    /// What to do while no endpoint is up. By default [`NoneUp::Refuse`].
    pub fn none_up(self, none_up: NoneUp) -> Self {
        Builder { none_up, ..self }
    }

    /// Where chance, or round robin's first turn, starts, so that a single-threaded run can be repeated. By
    /// default from the process's random state, so that many clients that start together do not all begin
    /// with the same endpoint.
    pub fn seed(self, seed: u64) -> Self {
        Builder {
            seed: Some(seed),
            ..self
        }
    }

    /// The balancer over these nodes, all up.
    ///
    /// # Errors
    ///
    /// [`EndpointsError`] for a node listed twice or too many of them.
    pub fn build(self, nodes: impl IntoIterator<Item = Node>) -> Result<Balancer, EndpointsError> {
        let seed = self.seed.unwrap_or_else(|| Rng::from_entropy().next_u64());
        let balancer = Balancer {
            policy: self.policy,
            none_up: self.none_up,
            endpoints: ArcSwap::from_pointee(Endpoints::build(Vec::new(), self.none_up)),
            turns: Turns::from_seed(seed),
            tallies: Tallies::default(),
            departed_picks: Mutex::new(0),
        };
        balancer.set_endpoints(nodes)?;
        Ok(balancer)
    }
}
