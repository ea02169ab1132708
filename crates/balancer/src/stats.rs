use purlin_core::{Meter, Reading};

use crate::endpoint::Endpoint;

/// A balancer's counters at one moment. Those of one endpoint are on [`Endpoint`], which is a [`Meter`] too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Picks made, those of endpoints that have left included. A pick that raced its endpoint's removal may
    /// be missing.
    pub picks: u64,
    /// Requests with a preferred node that went to it.
    pub kept: u64,
    /// Requests with a preferred node that went to another.
    pub moved: u64,
    /// Calls that ended in a [`PickError`](crate::PickError).
    pub refused: u64,
    /// Picks alive now, on endpoints that are members.
    pub in_flight: u64,
    /// Endpoints, whatever their health.
    pub endpoints: usize,
    /// Endpoints that requests bound to nothing are spread over.
    pub candidates: usize,
}

impl Meter for Stats {
    fn read(&self, each: &mut dyn FnMut(Reading)) {
        each(Reading::counter("purlin_balancer_picks_total", self.picks));
        each(Reading::counter("purlin_balancer_kept_total", self.kept));
        each(Reading::counter("purlin_balancer_moved_total", self.moved));
        each(Reading::counter(
            "purlin_balancer_refused_total",
            self.refused,
        ));
        each(Reading::gauge(
            "purlin_balancer_in_flight_requests",
            self.in_flight as f64,
        ));
        each(Reading::gauge(
            "purlin_balancer_endpoints",
            self.endpoints as f64,
        ));
        each(Reading::gauge(
            "purlin_balancer_candidates",
            self.candidates as f64,
        ));
    }
}

/// Counters of one endpoint, under other names than the balancer's own, since these add up to those.
impl Meter for Endpoint {
    fn read(&self, each: &mut dyn FnMut(Reading)) {
        each(Reading::counter(
            "purlin_balancer_endpoint_picks_total",
            self.picks(),
        ));
        each(Reading::counter(
            "purlin_balancer_endpoint_kept_total",
            self.kept(),
        ));
        each(Reading::counter(
            "purlin_balancer_endpoint_left_total",
            self.left(),
        ));
        each(Reading::gauge(
            "purlin_balancer_endpoint_in_flight_requests",
            self.in_flight() as f64,
        ));
    }
}
