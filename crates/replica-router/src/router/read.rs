//! How a read finds its node.

use purlin_balancer::Pick;
use purlin_core::{Clock, NodeId, Tick, Token};

use super::Router;
use crate::consistency::{Consistency, Read};
use crate::error::ReadError;
use crate::lineage::Place;
use crate::member::{Lack, Need};
use crate::route::{ReadRoute, Reason, Shortfall};
use crate::view::View;

impl<C: Clock> Router<C> {
    pub(super) fn read_in(&self, view: &View, read: Read<'_>) -> Result<ReadRoute, ReadError> {
        // After the view was read: no observation in it can be later than this, unless the clock stepped back.
        let now = self.clock.now();
        let Some(need) = self.need_of(view, read.consistency, now)? else {
            return self.primary_in(view, read, Reason::PrimaryAsked, Shortfall::default());
        };
        let fits = |node: NodeId| {
            !read.tried.contains(&node) && view.serves(node, need, now, self.max_age)
        };
        if let Ok(pick) = self.balancer.pick_where(|endpoint| fits(endpoint.id())) {
            return Ok(self.read_route(view, pick, Reason::Replica));
        }
        let shortfall = self.shortfall(view, read, need, now);
        if !read.may_use_primary {
            return Err(ReadError::NoneFresh(shortfall));
        }
        self.primary_in(view, read, Reason::PrimaryFallback(shortfall), shortfall)
    }

    /// What a consistency asks of a replica; `None` if no replica will do.
    fn need_of(
        &self,
        view: &View,
        consistency: Consistency<'_>,
        now: Tick,
    ) -> Result<Option<Need>, ReadError> {
        Ok(Some(match consistency {
            Consistency::Primary => return Ok(None),
            Consistency::Eventual => Need::Anything,
            Consistency::AtLeast(token) => self.need_of_token(view, token)?,
            Consistency::ReadYourWrites(tokens) => match tokens.get(self.group) {
                Some(token) => self.need_of_token(view, token)?,
                None => Need::Anything,
            },
            // Whoever deposed the primary may have committed since what the old one last said.
            Consistency::BoundedStaleness(_) if view.is_fenced() => return Err(fenced(view)),
            Consistency::BoundedStaleness(bound) => Need::AsOf(now.before(bound)),
        }))
    }

    fn need_of_token(&self, view: &View, token: Token) -> Result<Need, ReadError> {
        if token.group != self.group {
            return Err(ReadError::WrongGroup {
                token,
                group: self.group,
            });
        }
        let epoch = view.epoch();
        match view.lineage.place(token.epoch, token.position) {
            Place::Here => Ok(Need::Position(token.position)),
            Place::Cut { kept } => Err(ReadError::WriteLost { token, kept, epoch }),
            Place::Unknown => Err(ReadError::EpochUnknown { token, epoch }),
            Place::Ahead => Err(ReadError::EpochAhead { token, epoch }),
        }
    }

    fn primary_in(
        &self,
        view: &View,
        read: Read<'_>,
        reason: Reason,
        replicas: Shortfall,
    ) -> Result<ReadRoute, ReadError> {
        if view.is_fenced() {
            return Err(fenced(view));
        }
        let node = view.primary;
        if read.tried.contains(&node) {
            return Err(ReadError::NoPrimary { node, replicas });
        }
        let picked = self.balancer.pick_node(node);
        let pick = picked.map_err(|_| ReadError::NoPrimary { node, replicas })?;
        Ok(self.read_route(view, pick, reason))
    }

    fn read_route(&self, view: &View, pick: Pick, reason: Reason) -> ReadRoute {
        ReadRoute {
            pick,
            group: self.group,
            epoch: view.epoch(),
            reason,
        }
    }

    /// What kept each replica from serving a read.
    #[cold]
    fn shortfall(&self, view: &View, read: Read<'_>, need: Need, now: Tick) -> Shortfall {
        let endpoints = self.balancer.endpoints();
        let mut shortfall = Shortfall::default();
        for replica in view.replicas() {
            let takes_reads = endpoints.get(replica.id).is_some_and(|endpoint| {
                endpoint.health().takes_new() && !endpoint.weight().is_zero()
            });
            let reason = if read.tried.contains(&replica.id) {
                &mut shortfall.excluded
            } else if !takes_reads {
                &mut shortfall.down
            } else {
                match replica.serves(need, now, self.max_age) {
                    Err(Lack::Diverged) => &mut shortfall.diverged,
                    Err(Lack::Unknown) => &mut shortfall.unknown,
                    Err(Lack::Recovering) => &mut shortfall.recovering,
                    // Fine by now: its health changed since the pick.
                    Err(Lack::Behind) | Ok(()) => &mut shortfall.behind,
                }
            };
            *reason += 1;
        }
        shortfall
    }

    pub(super) fn count_read(&self, route: &Result<ReadRoute, ReadError>) {
        match route.as_ref().map(|route| route.reason) {
            Ok(Reason::Replica) => self.tallies.reads_replica.count(),
            Ok(Reason::PrimaryAsked) => self.tallies.reads_primary.count(),
            Ok(Reason::PrimaryFallback(_)) => self.tallies.reads_fallback.count(),
            Err(error) => {
                self.tallies.reads_refused.count();
                if matches!(error, ReadError::WriteLost { .. }) {
                    self.tallies.reads_of_lost_writes.count();
                }
            }
        }
    }
}

fn fenced(view: &View) -> ReadError {
    ReadError::Fenced {
        epoch: view.epoch(),
        seen: view.seen_epoch,
    }
}
