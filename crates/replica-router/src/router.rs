mod read;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use purlin_balancer::Balancer;
use purlin_core::sync::Mutex;
use purlin_core::{Clock, GroupId, Health, Node, NodeId, SystemClock, Tick, Token};

use crate::builder::Builder;
use crate::consistency::Read;
use crate::error::{MembersError, ObserveError, PromoteError, ReadError, WriteError};
use crate::history::History;
use crate::member::Member;
use crate::observation::{Observation, Standing};
use crate::route::{ReadRoute, WriteRoute};
use crate::stats::{MemberStatus, Stats, Tallies};
use crate::view::View;

/// Routes the reads and writes of one group: a primary and its replicas.
///
/// It does no I/O. A prober of the caller's tells it what nodes answered ([`observe`](Router::observe)) and
/// which are reachable ([`set_health`](Router::set_health)); whoever decides about failover tells it of
/// promotions ([`promote`](Router::promote)). Shared by reference; routes take no lock and never wait.
///
/// ```
/// use purlin_core::{Clock, GroupId, ManualClock};
/// use purlin_replica_router::{Consistency, Node, NodeId, Observation, Reason, Router};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clock = ManualClock::new();
/// let router = Router::builder(GroupId(7))
///     .clock(clock.clone())
///     .build(Node::new(NodeId(1), "db-1"), [Node::new(NodeId(2), "db-2")])?;
///
/// // A write, acknowledged at position 40. The client keeps the token.
/// let token = router.route_write()?.token(40);
///
/// // The replica has come to 39: the client's own read goes to the primary.
/// let at = clock.now();
/// router.observe(NodeId(2), Observation::Position { epoch: 1, position: 39, at })?;
/// assert_eq!(router.route_read(Consistency::AtLeast(token))?.id(), NodeId(1));
///
/// // To 40: it can serve it.
/// router.observe(NodeId(2), Observation::Position { epoch: 1, position: 40, at })?;
/// let route = router.route_read(Consistency::AtLeast(token))?;
/// assert_eq!((route.id(), route.reason()), (NodeId(2), Reason::Replica));
/// # Ok(())
/// # }
/// ```
pub struct Router<C = SystemClock> {
    group: GroupId,
    max_age: Duration,
    rise: u32,
    clock: C,
    view: ArcSwap<View>,
    /// Held by whoever makes the next view from the present one; readers do not know it.
    history: Mutex<History>,
    /// Every member, the primary too. Chooses among replicas and counts what is in flight.
    balancer: Balancer,
    tallies: Tallies,
}

impl Router {
    /// A router of a group in epoch 1, with the defaults. [`builder`](Router::builder) has the other choices.
    ///
    /// # Errors
    ///
    /// [`MembersError`] for a node listed twice or too many nodes.
    pub fn new(
        group: GroupId,
        primary: Node,
        replicas: impl IntoIterator<Item = Node>,
    ) -> Result<Self, MembersError> {
        Self::builder(group).build(primary, replicas)
    }

    /// A router with other choices than the defaults.
    pub fn builder(group: GroupId) -> Builder {
        Builder::new(group)
    }

    /// How many nodes a group holds at most.
    pub const MAX_MEMBERS: usize = 64;
}

impl<C: Clock> Router<C> {
    pub(crate) fn from_builder(
        builder: Builder<C>,
        primary: Node,
        mut nodes: Vec<Node>,
    ) -> Result<Self, MembersError> {
        let lineage = builder.lineage()?;
        let view = View {
            seen_epoch: lineage.epoch(),
            lineage,
            primary: primary.id,
            members: Vec::new(),
        };
        let balancing = Balancer::builder().policy(builder.policy);
        let balancing = match builder.seed {
            Some(seed) => balancing.seed(seed),
            None => balancing,
        };
        let router = Router {
            group: builder.group,
            max_age: builder.max_observation_age,
            rise: builder.rise,
            clock: builder.clock,
            view: ArcSwap::from_pointee(view),
            history: Mutex::default(),
            balancer: balancing
                .build([])
                .expect("no nodes are neither too many nor alike"),
            tallies: Tallies::default(),
        };
        nodes.push(primary);
        router.set_members(nodes)?;
        Ok(router)
    }

    /// Where a write goes: to the primary of the latest epoch this router has been told of, and to nobody
    /// once a node has been seen in a later one.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing was sent.
    pub fn route_write(&self) -> Result<WriteRoute, WriteError> {
        let view = self.view.load();
        let route = self.write_in(&view);
        match route {
            Ok(_) => self.tallies.writes.count(),
            Err(_) => self.tallies.writes_refused.count(),
        }
        route
    }

    /// Where a read goes: to a replica that is known to be fresh enough, chosen by load; to the primary if
    /// there is none, unless the read forbids it.
    ///
    /// No answer is older than asked, as long as observations are true and a log goes back only where a fork
    /// makes it (put a replica that is being rebuilt [`Down`](Health::Down) first). One thing no router can
    /// know is a promotion nobody has told it of: until it hears of one, or sees a node in the later epoch,
    /// the age of an answer is measured against the primary it knows.
    ///
    /// Cost: reading the clock, a pick, and a look at each candidate drawn.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; nothing was read.
    pub fn route_read<'a>(&self, read: impl Into<Read<'a>>) -> Result<ReadRoute, ReadError> {
        let view = self.view.load();
        let route = self.read_in(&view, read.into());
        self.count_read(&route);
        route
    }

    /// Takes in what a probe of a node found out, and says what the node is good for now.
    ///
    /// Observations that arrive out of order are sorted out by their ticks. An observation of the primary is
    /// what replicas' ages are measured by; probe it as often as them.
    ///
    /// # Errors
    ///
    /// [`ObserveError`] for a node of another group, or a tick that is still to come.
    pub fn observe(
        &self,
        node: NodeId,
        observation: Observation,
    ) -> Result<Standing, ObserveError> {
        let mut history = self.history.lock();
        // After the lock: no observation taken in before this one can be later than this.
        let now = self.clock.now();
        let mut view = View::clone(&self.view.load());
        if view.member(node).is_none() {
            return Err(ObserveError::UnknownNode(node));
        }
        if let Some(at) = observation.at().filter(|&at| at > now) {
            return Err(ObserveError::FromTheFuture { at, now });
        }
        if history.latest().is_some_and(|latest| latest > now) {
            // The clock stepped back. Ages measured across the step would be wrong, so they start anew.
            history.clear();
            view.members
                .iter_mut()
                .for_each(|member| member.forget_times(now));
        }
        view.seen_epoch = view.seen_epoch.max(observation.epoch().unwrap_or(0));
        if node == view.primary {
            view.observe_primary(observation, &mut history);
        } else {
            view.observe_replica(node, observation, &history, self.rise);
        }
        let standing = self.standing_in(&view, node, now);
        self.view.store(Arc::new(view));
        self.tallies.observations.count();
        Ok(standing)
    }

    /// Makes a node the primary of a later epoch.
    ///
    /// `position` is how far the new primary's log agrees with the log of the epoch this router is in: where
    /// the new epoch forked. What was acknowledged behind it is lost, and reads that carry a token of it are
    /// told so. If there were several promotions since, tell of each in turn, or of the last with the least
    /// position at which any of them forked.
    ///
    /// The old primary becomes a replica that nothing is known of.
    ///
    /// # Errors
    ///
    /// [`PromoteError`] for a node of another group, or an epoch that is not later than the present one: of
    /// two that claim to be the primary, the one of the later epoch gets the writes, whatever the order in
    /// which they are heard.
    pub fn promote(&self, node: NodeId, epoch: u64, position: u64) -> Result<(), PromoteError> {
        let mut history = self.history.lock();
        let mut view = View::clone(&self.view.load());
        if let Err(error) = view.promote(node, epoch, position, self.rise) {
            self.tallies.promotions_refused.count();
            return Err(error);
        }
        // What the old primary said may be from after its fall, when it knew nothing of what was committed any
        // more. Ages start anew with the new primary's first word.
        history.clear();
        self.view.store(Arc::new(view));
        self.tallies.promotions.count();
        Ok(())
    }

    /// Says whether a node can be reached at all. A node that is down gets nothing; a draining replica gets no
    /// reads, a draining primary still its writes. Returns what it was before, or `None`, and does nothing,
    /// for a node of another group.
    pub fn set_health(&self, node: NodeId, health: Health) -> Option<Health> {
        self.balancer.set_health(node, health)
    }

    /// Changes the group to these nodes, the primary among them. A node that stays keeps what is known of it;
    /// of a new one nothing is known. Weight is a replica's share of the reads; the primary's does not matter.
    ///
    /// # Errors
    ///
    /// [`MembersError`]; nothing has changed then.
    pub fn set_members(&self, nodes: impl IntoIterator<Item = Node>) -> Result<(), MembersError> {
        // The iterator is the caller's code, so it runs to its end before the lock is taken.
        let nodes: Vec<Node> = nodes.into_iter().collect();
        let _only_writer = self.history.lock();
        let mut view = View::clone(&self.view.load());
        check_members(&nodes, view.primary)?;
        view.members = nodes.iter().map(|node| view.continued(node.id)).collect();
        view.members.sort_unstable_by_key(|member| member.id);
        self.view.store(Arc::new(view));
        self.balancer
            .set_endpoints(nodes)
            .expect("the nodes were found to be few and distinct");
        Ok(())
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// The present epoch and its primary.
    pub fn primary(&self) -> (u64, NodeId) {
        let view = self.view.load();
        (view.epoch(), view.primary)
    }

    /// The token that asks for everything earlier epochs left behind. Recorded over the token of a lost write
    /// once its client has been told, it makes that client's reads work again.
    pub fn epoch_start(&self) -> Token {
        self.view.load().lineage.start_token(self.group)
    }

    /// The epochs this router knows and where each forked, oldest first; the oldest one's fork has no meaning.
    /// What [`Builder::epoch`] (the oldest) and [`Builder::history`] (the others) take.
    pub fn history(&self) -> Vec<(u64, u64)> {
        self.view.load().lineage.terms().collect()
    }

    /// What is known of each member, by node.
    pub fn members(&self) -> Vec<MemberStatus> {
        let view = self.view.load();
        let now = self.clock.now();
        let endpoints = self.balancer.endpoints();
        let status = |member: &Member| {
            let endpoint = endpoints.get(member.id);
            MemberStatus {
                id: member.id,
                standing: self.standing_in(&view, member.id, now),
                health: endpoint.map_or(Health::Down, |endpoint| endpoint.health()),
                epoch: member.epoch(),
                position: member.position(),
                staleness: member.as_of().map(|as_of| now.since(as_of)),
                in_flight: endpoint.map_or(0, |endpoint| endpoint.in_flight()),
            }
        };
        view.members.iter().map(status).collect()
    }

    /// The counters as they stand.
    pub fn stats(&self) -> Stats {
        let view = self.view.load();
        let now = self.clock.now();
        let follows = |member: &&Member| member.standing(now, self.max_age) == Standing::Following;
        Stats {
            reads_replica: self.tallies.reads_replica.total(),
            reads_primary: self.tallies.reads_primary.total(),
            reads_fallback: self.tallies.reads_fallback.total(),
            reads_refused: self.tallies.reads_refused.total(),
            reads_of_lost_writes: self.tallies.reads_of_lost_writes.total(),
            writes: self.tallies.writes.total(),
            writes_refused: self.tallies.writes_refused.total(),
            observations: self.tallies.observations.total(),
            promotions: self.tallies.promotions.total(),
            promotions_refused: self.tallies.promotions_refused.total(),
            epoch: view.epoch(),
            is_fenced: view.is_fenced(),
            replicas: view.replicas().count(),
            replicas_following: view.replicas().filter(follows).count(),
            in_flight: self.balancer.stats().in_flight,
        }
    }

    fn write_in(&self, view: &View) -> Result<WriteRoute, WriteError> {
        let (epoch, node) = (view.epoch(), view.primary);
        if view.is_fenced() {
            return Err(WriteError::Fenced {
                epoch,
                seen: view.seen_epoch,
            });
        }
        // Only the primary's health can refuse it, or a removal that raced us, which comes to the same.
        let pick = self
            .balancer
            .pick_node(node)
            .map_err(|_| WriteError::PrimaryDown { node })?;
        Ok(WriteRoute {
            pick,
            group: self.group,
            epoch,
        })
    }

    fn standing_in(&self, view: &View, node: NodeId, now: Tick) -> Standing {
        match view.member(node) {
            Some(_) if node == view.primary => Standing::Primary,
            Some(member) => member.standing(now, self.max_age),
            None => Standing::Unknown,
        }
    }
}

fn check_members(nodes: &[Node], primary: NodeId) -> Result<(), MembersError> {
    if nodes.len() > Router::MAX_MEMBERS {
        return Err(MembersError::TooMany(nodes.len()));
    }
    let is_repeated =
        |&(i, node): &(usize, &Node)| nodes[..i].iter().any(|other| other.id == node.id);
    if let Some((_, node)) = nodes.iter().enumerate().find(is_repeated) {
        return Err(MembersError::DuplicateNode(node.id));
    }
    if !nodes.iter().any(|node| node.id == primary) {
        return Err(MembersError::PrimaryMissing(primary));
    }
    Ok(())
}

impl<C> fmt::Debug for Router<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("group", &self.group)
            .field("view", &self.view.load())
            .field("balancer", &self.balancer)
            .finish_non_exhaustive()
    }
}
