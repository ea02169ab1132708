use std::time::Duration;

use purlin_balancer::Policy;
use purlin_core::{Clock, GroupId, Node, SystemClock};

use crate::error::MembersError;
use crate::lineage::Lineage;
use crate::router::Router;

/// Makes a [`Router`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until built"]
pub struct Builder<C = SystemClock> {
    pub(crate) group: GroupId,
    pub(crate) epoch: u64,
    pub(crate) promotions: Vec<(u64, u64)>,
    pub(crate) max_observation_age: Duration,
    pub(crate) rise: u32,
    pub(crate) policy: Policy,
    pub(crate) seed: Option<u64>,
    pub(crate) clock: C,
}

impl Builder {
    pub(crate) fn new(group: GroupId) -> Self {
        Builder {
            group,
            epoch: 1,
            promotions: Vec::new(),
            max_observation_age: Self::DEFAULT_MAX_OBSERVATION_AGE,
            rise: Self::DEFAULT_RISE,
            policy: Policy::default(),
            seed: None,
            clock: SystemClock::new(),
        }
    }

    /// How old an observation may be unless told otherwise: five intervals of the once-a-second probing that
    /// is usual, so that one lost probe changes nothing.
    pub const DEFAULT_MAX_OBSERVATION_AGE: Duration = Duration::from_secs(5);

    /// How many good observations in a row a replica that failed owes unless told otherwise. With three, a
    /// replica that fails every second or every third probe serves nothing rather than coming and going.
    pub const DEFAULT_RISE: u32 = 3;
}

impl<C> Builder<C> {
    /// The epoch the group is in, or was in before the promotions of [`history`](Builder::history). By
    /// default 1.
    pub fn epoch(self, epoch: u64) -> Self {
        Builder { epoch, ..self }
    }

    /// The promotions there have been since [`epoch`](Builder::epoch), oldest first: each later epoch and the
    /// position at which it forked. A router that knows them understands tokens from before it was made; they
    /// are what [`Router::history`] gave another instance. Of more than 63 the latest are kept.
    pub fn history(self, promotions: impl IntoIterator<Item = (u64, u64)>) -> Self {
        Builder {
            promotions: promotions.into_iter().collect(),
            ..self
        }
    }

    /// How old an observation may be before its node counts as unknown. By default
    /// [`DEFAULT_MAX_OBSERVATION_AGE`](Builder::DEFAULT_MAX_OBSERVATION_AGE).
    pub fn max_observation_age(self, age: Duration) -> Self {
        Builder {
            max_observation_age: age,
            ..self
        }
    }

    /// How many good observations in a row a replica owes after a bad one before it serves again. By default
    /// [`DEFAULT_RISE`](Builder::DEFAULT_RISE); 0 and 1 are the same. A replica that has not failed yet serves
    /// from its first good one on.
    pub fn rise(self, rise: u32) -> Self {
        Builder { rise, ..self }
    }

    /// How to choose among replicas that are fresh enough. By default [`Policy::PowerOfTwoChoices`].
    pub fn policy(self, policy: Policy) -> Self {
        Builder { policy, ..self }
    }

    /// Where the choice's chance starts, so that a single-threaded run can be repeated.
    pub fn seed(self, seed: u64) -> Self {
        Builder {
            seed: Some(seed),
            ..self
        }
    }

    /// The same builder under another clock. Observations carry its ticks.
    pub fn clock<D>(self, clock: D) -> Builder<D> {
        let Builder {
            group,
            epoch,
            promotions,
            max_observation_age,
            rise,
            policy,
            seed,
            clock: _,
        } = self;
        Builder {
            group,
            epoch,
            promotions,
            max_observation_age,
            rise,
            policy,
            seed,
            clock,
        }
    }

    pub(crate) fn lineage(&self) -> Result<Lineage, MembersError> {
        let mut lineage = Lineage::from_epoch(self.epoch);
        for &(epoch, start) in &self.promotions {
            if !lineage.begin(epoch, start) {
                return Err(MembersError::HistoryOutOfOrder(epoch));
            }
        }
        Ok(lineage)
    }
}

impl<C: Clock> Builder<C> {
    /// The router of a group of this primary and these replicas. All are up, and nothing is known of the
    /// replicas yet, so reads go to the primary until they have been observed.
    ///
    /// # Errors
    ///
    /// [`MembersError`] for a node listed twice, too many nodes, or a history out of order.
    pub fn build(
        self,
        primary: Node,
        replicas: impl IntoIterator<Item = Node>,
    ) -> Result<Router<C>, MembersError> {
        Router::from_builder(self, primary, replicas.into_iter().collect())
    }
}
