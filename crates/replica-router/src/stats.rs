use std::time::Duration;

use purlin_core::sync::atomic::{AtomicU64, Ordering};
use purlin_core::{Health, Meter, NodeId, Reading};

use crate::observation::Standing;

/// A router's counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Reads sent to a replica.
    pub reads_replica: u64,
    /// Reads sent to the primary because they asked for it.
    pub reads_primary: u64,
    /// Reads sent to the primary because no replica could serve them.
    pub reads_fallback: u64,
    /// Reads without a route, those with a lost write's token included.
    pub reads_refused: u64,
    /// Reads refused with [`WriteLost`](crate::ReadError::WriteLost).
    pub reads_of_lost_writes: u64,
    /// Writes sent to the primary.
    pub writes: u64,
    /// Writes without a route.
    pub writes_refused: u64,
    /// Observations taken in.
    pub observations: u64,
    /// Promotions believed.
    pub promotions: u64,
    /// Promotions not believed.
    pub promotions_refused: u64,
    /// The present epoch.
    pub epoch: u64,
    /// Whether a node was seen in a later epoch, so that nothing goes to the primary.
    pub is_fenced: bool,
    /// Replicas, whatever they are good for.
    pub replicas: usize,
    /// Replicas that serve at least some reads.
    pub replicas_following: usize,
    /// Reads and writes on their way.
    pub in_flight: u64,
}

impl Meter for Stats {
    fn read(&self, each: &mut dyn FnMut(Reading)) {
        let counter = Reading::counter;
        each(counter(
            "purlin_replica_router_reads_replica_total",
            self.reads_replica,
        ));
        each(counter(
            "purlin_replica_router_reads_primary_total",
            self.reads_primary,
        ));
        each(counter(
            "purlin_replica_router_reads_fallback_total",
            self.reads_fallback,
        ));
        each(counter(
            "purlin_replica_router_reads_refused_total",
            self.reads_refused,
        ));
        each(counter(
            "purlin_replica_router_reads_of_lost_writes_total",
            self.reads_of_lost_writes,
        ));
        each(counter("purlin_replica_router_writes_total", self.writes));
        each(counter(
            "purlin_replica_router_writes_refused_total",
            self.writes_refused,
        ));
        each(counter(
            "purlin_replica_router_observations_total",
            self.observations,
        ));
        each(counter(
            "purlin_replica_router_promotions_total",
            self.promotions,
        ));
        each(counter(
            "purlin_replica_router_promotions_refused_total",
            self.promotions_refused,
        ));
        let gauge = Reading::gauge;
        each(gauge("purlin_replica_router_epoch", self.epoch as f64));
        each(gauge(
            "purlin_replica_router_fenced",
            f64::from(u8::from(self.is_fenced)),
        ));
        each(gauge(
            "purlin_replica_router_replicas",
            self.replicas as f64,
        ));
        each(gauge(
            "purlin_replica_router_replicas_following",
            self.replicas_following as f64,
        ));
        each(gauge(
            "purlin_replica_router_in_flight_requests",
            self.in_flight as f64,
        ));
    }
}

/// What a router knows of one member.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct MemberStatus {
    /// The node.
    pub id: NodeId,
    /// What it is good for.
    pub standing: Standing,
    /// Whether it can be reached.
    pub health: Health,
    /// The epoch it was last seen in.
    pub epoch: Option<u64>,
    /// How far its log had come, in the present log. Nothing is noted here about the primary.
    pub position: Option<u64>,
    /// How old an answer of it can be at most. Nothing is noted here about the primary.
    pub staleness: Option<Duration>,
    /// Reads and writes on their way to it.
    pub in_flight: u64,
}

/// The counts behind [`Stats`].
#[derive(Default)]
pub(crate) struct Tallies {
    pub(crate) reads_replica: Tally,
    pub(crate) reads_primary: Tally,
    pub(crate) reads_fallback: Tally,
    pub(crate) reads_refused: Tally,
    pub(crate) reads_of_lost_writes: Tally,
    pub(crate) writes: Tally,
    pub(crate) writes_refused: Tally,
    pub(crate) observations: Tally,
    pub(crate) promotions: Tally,
    pub(crate) promotions_refused: Tally,
}

#[derive(Default)]
pub(crate) struct Tally(AtomicU64);

impl Tally {
    #[inline]
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
