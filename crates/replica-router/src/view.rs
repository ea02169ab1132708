use std::time::Duration;

use purlin_core::{NodeId, Tick};

use crate::error::PromoteError;
use crate::history::History;
use crate::lineage::Lineage;
use crate::member::{Member, Need};
use crate::observation::Observation;

/// What a router believes about its group: a snapshot that never changes.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) lineage: Lineage,
    pub(crate) primary: NodeId,
    /// The latest epoch any node was seen in. Later than the lineage's: there was a promotion we know nothing
    /// about, and the primary we know is none.
    pub(crate) seen_epoch: u64,
    /// Sorted by node; the primary is among them, and what is noted about it is not used.
    pub(crate) members: Vec<Member>,
}

impl View {
    pub(crate) fn epoch(&self) -> u64 {
        self.lineage.epoch()
    }

    /// Whether the primary has been deposed by a promotion that nobody has told us of.
    pub(crate) fn is_fenced(&self) -> bool {
        self.seen_epoch > self.epoch()
    }

    pub(crate) fn member(&self, node: NodeId) -> Option<&Member> {
        let at = self
            .members
            .binary_search_by_key(&node, |member| member.id)
            .ok()?;
        Some(&self.members[at])
    }

    /// Whether a node may serve a read as a replica.
    #[inline]
    pub(crate) fn serves(&self, node: NodeId, need: Need, now: Tick, max_age: Duration) -> bool {
        node != self.primary
            && self
                .member(node)
                .is_some_and(|member| member.serves(need, now, max_age).is_ok())
    }

    pub(crate) fn replicas(&self) -> impl Iterator<Item = &Member> + '_ {
        self.members
            .iter()
            .filter(|member| member.id != self.primary)
    }

    /// What is known of a node, or the beginning of it.
    pub(crate) fn continued(&self, node: NodeId) -> Member {
        self.member(node)
            .cloned()
            .unwrap_or_else(|| Member::new(node))
    }

    /// The primary's position dates the replicas'. A primary that reports another epoch than the one it was
    /// promoted to has not caught up with its own promotion, or is not the primary any more: it dates nothing.
    pub(crate) fn observe_primary(&mut self, observation: Observation, history: &mut History) {
        if let Observation::Position {
            epoch,
            position,
            at,
        } = observation
        {
            if epoch == self.epoch() {
                history.record(at, position);
                self.members
                    .iter_mut()
                    .for_each(|member| member.date(history));
            }
        }
    }

    pub(crate) fn observe_replica(
        &mut self,
        node: NodeId,
        observation: Observation,
        history: &History,
        rise: u32,
    ) {
        if let Ok(at) = self.members.binary_search_by_key(&node, |member| member.id) {
            self.members[at].observe(observation, &self.lineage, history, rise);
        }
    }

    pub(crate) fn promote(
        &mut self,
        node: NodeId,
        epoch: u64,
        position: u64,
        rise: u32,
    ) -> Result<(), PromoteError> {
        if self.member(node).is_none() {
            return Err(PromoteError::UnknownNode(node));
        }
        let present = self.epoch();
        if !self.lineage.begin(epoch, position) {
            return Err(PromoteError::NotLater {
                claimed: epoch,
                epoch: present,
                primary: self.primary,
            });
        }
        for member in &mut self.members {
            // What was noted of either is from another life: before it was the primary, or before it is.
            if member.id == self.primary || member.id == node {
                member.forget(rise);
            }
        }
        self.primary = node;
        self.seen_epoch = self.seen_epoch.max(epoch);
        let lineage = &self.lineage;
        self.members
            .iter_mut()
            .for_each(|member| member.replace(lineage));
        Ok(())
    }
}
