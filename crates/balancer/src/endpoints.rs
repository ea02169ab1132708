use std::sync::Arc;

use purlin_core::{Health, Node, NodeId};

use crate::chance::{Turns, scale};
use crate::endpoint::Endpoint;
use crate::error::{EndpointsError, PickError};
use crate::policy::NoneUp;
use crate::schedule::smooth_round;

/// What a balancer picks from: a snapshot that never changes, but for the counters its endpoints share with
/// the snapshots before and after it.
///
/// A change of membership, weight or health makes a new snapshot, in `O(n log n)` and, under unequal weights,
/// one round's schedule; readers see the one or the other, never half of each.
#[derive(Debug)]
pub struct Endpoints {
    /// Sorted by node, no node twice.
    all: Box<[Arc<Endpoint>]>,
    /// Those a request that is bound to nothing may go to: all of positive weight and of one [`Health`],
    /// `Up` but where [`NoneUp::Spread`] found nobody up.
    candidates: Box<[Arc<Endpoint>]>,
    /// One round of weighted round robin, as indices into `candidates`; empty only if they are. A random
    /// slot is also a random candidate in proportion to weight.
    round: Box<[u32]>,
}

impl Endpoints {
    /// How many endpoints a balancer holds at most.
    pub const MAX: usize = 1 << 16;

    /// The endpoint of a node. Cost: a binary search.
    pub fn get(&self, node: NodeId) -> Option<&Endpoint> {
        self.find(node).map(|endpoint| &**endpoint)
    }

    /// All endpoints, by node.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Endpoint> + '_ {
        self.all.iter().map(|endpoint| &**endpoint)
    }

    /// How many endpoints there are, whatever their health.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many endpoints requests that are bound to nothing are spread over now.
    pub fn candidates(&self) -> usize {
        self.candidates.len()
    }

    pub(crate) fn find(&self, node: NodeId) -> Option<&Arc<Endpoint>> {
        let at = self
            .all
            .binary_search_by_key(&node, |endpoint| endpoint.id())
            .ok()?;
        Some(&self.all[at])
    }

    pub(crate) fn build(mut all: Vec<Arc<Endpoint>>, none_up: NoneUp) -> Self {
        all.sort_unstable_by_key(|endpoint| endpoint.id());
        let candidates = candidates(&all, none_up);
        let weights: Vec<u32> = candidates
            .iter()
            .map(|endpoint| endpoint.weight().0)
            .collect();
        Endpoints {
            all: all.into(),
            candidates,
            round: smooth_round(&weights),
        }
    }

    /// The endpoints of `nodes`. Those that are here already keep their counters and health; new ones are up.
    pub(crate) fn changed_to(
        &self,
        nodes: Vec<Node>,
        none_up: NoneUp,
    ) -> Result<Self, EndpointsError> {
        if nodes.len() > Self::MAX {
            return Err(EndpointsError::TooMany(nodes.len()));
        }
        let all: Vec<Arc<Endpoint>> = nodes.into_iter().map(|node| self.continued(node)).collect();
        let next = Self::build(all, none_up);
        match next
            .all
            .windows(2)
            .find(|pair| pair[0].id() == pair[1].id())
        {
            Some(pair) => Err(EndpointsError::DuplicateNode(pair[0].id())),
            None => Ok(next),
        }
    }

    fn continued(&self, node: Node) -> Arc<Endpoint> {
        match self.find(node.id) {
            Some(known) if *known.node() == node => Arc::clone(known),
            Some(known) => Arc::new(known.described_as(node)),
            None => Arc::new(Endpoint::new(node)),
        }
    }

    /// The same endpoints with the health of one changed.
    pub(crate) fn with_health(&self, node: NodeId, health: Health, none_up: NoneUp) -> Self {
        let change = |endpoint: &Arc<Endpoint>| match endpoint.id() == node {
            true => Arc::new(endpoint.with_health(health)),
            false => Arc::clone(endpoint),
        };
        Self::build(self.all.iter().map(change).collect(), none_up)
    }

    /// Round robin: the next turn whose slot is allowed. Turns of endpoints that the caller rules out are passed
    /// over for everybody, so the others keep their order and their shares; handing such a turn to the next in
    /// line instead would double the share of whoever stands behind.
    pub(crate) fn of_turn(
        &self,
        turns: &Turns,
        allowed: &mut impl FnMut(&Endpoint) -> bool,
    ) -> Result<&Arc<Endpoint>, PickError> {
        if self.round.is_empty() {
            return Err(self.nobody());
        }
        for _ in 1..MAX_TURNS {
            let endpoint = self.at_turn(turns.next());
            if allowed(endpoint) {
                return Ok(endpoint);
            }
        }
        let start = turns.next() % self.candidates.len() as u64;
        self.lightest(start as usize, allowed)
    }

    #[inline]
    fn at_turn(&self, turn: u64) -> &Arc<Endpoint> {
        let slot = self.round[(turn % self.round.len() as u64) as usize];
        &self.candidates[slot as usize]
    }

    /// Power of two choices: two different candidates drawn in proportion to weight, the lighter of them; the
    /// lightest of all allowed ones where the caller rules out one of the two.
    ///
    /// Drawing by weight and comparing by weight is Wieder's rule for unequal bins ("Balanced allocations
    /// with heterogenous bins", 2007). Drawing evenly instead would cap a node at `2/n` of the traffic
    /// whatever its weight.
    pub(crate) fn of_two_choices(
        &self,
        random: u64,
        allowed: &mut impl FnMut(&Endpoint) -> bool,
    ) -> Result<&Arc<Endpoint>, PickError> {
        if self.round.is_empty() {
            return Err(self.nobody());
        }
        let (low, high) = (random as u32, (random >> 32) as u32);
        let first = self.round[scale(low, self.round.len())] as usize;
        let second = self.other_than(first, high);
        let (one, other) = (&self.candidates[first], &self.candidates[second]);
        if allowed(one) && (first == second || allowed(other)) {
            return Ok(if other.is_lighter_than(one) {
                other
            } else {
                one
            });
        }
        // With `k` of `n` ruled out this happens in about `2k/n` of the picks, so the scan costs `O(k)` a pick.
        // Taking the one that is allowed as it is would cost less and be no choice of two any more: where half
        // of the candidates are ruled out, half of the picks would not look at load.
        self.lightest(second, allowed)
    }

    /// A candidate drawn by weight; an even choice of the rest if that is `first` again. `first` itself if
    /// it is alone.
    #[inline]
    fn other_than(&self, first: usize, bits: u32) -> usize {
        let drawn = self.round[scale(bits, self.round.len())] as usize;
        let n = self.candidates.len();
        if drawn != first || n == 1 {
            return drawn;
        }
        // The low half of the bits decided little of the draw, so turned round they are as good as new.
        let step = 1 + scale(bits.reverse_bits(), n - 1);
        (first + step) % n
    }

    /// The lightest allowed candidate, the first from `start` on of those equally light. `O(n)`: for when
    /// luck has not found an allowed one.
    fn lightest(
        &self,
        start: usize,
        allowed: &mut impl FnMut(&Endpoint) -> bool,
    ) -> Result<&Arc<Endpoint>, PickError> {
        let from_start = self.candidates[start..]
            .iter()
            .chain(&self.candidates[..start]);
        from_start
            .filter(|endpoint| allowed(endpoint))
            .reduce(|best, endpoint| {
                if endpoint.is_lighter_than(best) {
                    endpoint
                } else {
                    best
                }
            })
            .ok_or(PickError::AllExcluded {
                candidates: self.candidates.len(),
            })
    }

    /// Why there is no candidate.
    #[cold]
    fn nobody(&self) -> PickError {
        if self.all.is_empty() {
            return PickError::NoEndpoints;
        }
        let with_weight = |health| {
            count(&self.all, |it| {
                !it.weight().is_zero() && it.health() == health
            })
        };
        PickError::NoneUp {
            draining: with_weight(Health::Draining),
            down: with_weight(Health::Down),
            weightless: count(&self.all, |it| it.weight().is_zero()),
        }
    }
}

/// How many turns one pick of round robin takes at most. One heavy endpoint may hold thousands of slots but for a
/// few, so where it is ruled out the search has to end somewhere.
const MAX_TURNS: usize = 8;

fn candidates(all: &[Arc<Endpoint>], none_up: NoneUp) -> Box<[Arc<Endpoint>]> {
    let levels = match none_up {
        NoneUp::Refuse => &[Health::Up][..],
        NoneUp::Spread => &[Health::Up, Health::Draining, Health::Down],
    };
    let at = |health| {
        let takes = move |it: &&Arc<Endpoint>| it.health() == health && !it.weight().is_zero();
        all.iter().filter(takes).cloned().collect::<Box<[_]>>()
    };
    levels
        .iter()
        .map(|&health| at(health))
        .find(|found| !found.is_empty())
        .unwrap_or_default()
}

fn count(all: &[Arc<Endpoint>], which: impl Fn(&Endpoint) -> bool) -> usize {
    all.iter().filter(|endpoint| which(endpoint)).count()
}
