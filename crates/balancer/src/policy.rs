/// How a balancer chooses among the endpoints that take a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// Each in its turn, in proportion to weight and as evenly spread as that allows: nginx's smooth weighted
    /// round robin. Exact shares, blind to load. For requests that all cost about the same.
    RoundRobin,
    /// Two endpoints by chance, in proportion to weight, and of the two the one with fewer requests in flight
    /// for its weight. The default: it notices slow and stuck endpoints by what piles up on them, and with
    /// many balancers they do not all send to the same idle one at once, as they would if each took the least
    /// loaded.
    ///
    /// Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
    #[default]
    PowerOfTwoChoices,
}

/// What a balancer does with a request that is bound to nothing while no endpoint is up.
///
/// An endpoint of weight 0 gets nothing either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: it is refused or it is tried"
)]
pub enum NoneUp {
    /// Refuses it with [`PickError::NoneUp`](crate::PickError::NoneUp). The default: the caller learns at
    /// once, and a fleet that is starting is not knocked over by requests it cannot serve.
    #[default]
    Refuse,
    /// Spreads it over the draining endpoints, or over those that are down if none is draining. For when the
    /// health check is more likely to be wrong than every endpoint is to be dead.
    Spread,
}
