//! Each key's own order of the nodes: highest random weight.

use alloc::vec::Vec;

use purlin_core::PlacementHash;

use crate::mix::mix;
use crate::nodes::Nodes;

/// Everything needed to rank nodes for a hash, for the nodes that take keys.
///
/// A node's cost for a hash is `-ln(u) / weight`, with `u` in (0, 1) from the hash and the node: an
/// exponential variable whose rate is the weight, so that the node of least cost is each node with a chance
/// of exactly its share, and the order below it is the order without it. A cost depends on the hash, the
/// node and its weight alone; ties, should there be any, go to the lower index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ranking {
    candidates: Vec<Candidate>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Candidate {
    /// The placement hash of the node's id as a key.
    seed: u64,
    inverse_weight: f64,
    index: u32,
}

/// A node and its cost for some hash.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ranked {
    pub(crate) cost: f64,
    pub(crate) index: u32,
}

impl Ranked {
    /// The order of preference: cheaper first, then by index.
    #[inline]
    pub(crate) fn is_before(self, other: Ranked) -> bool {
        self.cost < other.cost || (self.cost == other.cost && self.index < other.index)
    }
}

/// How many nodes one pass over the candidates finds.
const BATCH: usize = 4;

impl Ranking {
    pub(crate) fn new(nodes: &Nodes, hash: PlacementHash) -> Self {
        let takers = (0..)
            .zip(nodes.as_slice())
            .filter(|(_, node)| !node.weight.is_zero());
        let candidates = takers
            .map(|(index, node)| Candidate {
                seed: hash.of(&node.id.0),
                inverse_weight: 1.0 / f64::from(node.weight.0),
                index,
            })
            .collect();
        Ranking { candidates }
    }

    /// The most preferred node, in one pass.
    #[inline]
    pub(crate) fn best(&self, hash: u64) -> Option<u32> {
        let mut best: Option<Ranked> = None;
        for candidate in &self.candidates {
            if let Some(ranked) =
                candidate.rank_if_below(hash, best.map_or(f64::INFINITY, |best| best.cost))
            {
                if best.is_none_or(|best| ranked.is_before(best)) {
                    best = Some(ranked);
                }
            }
        }
        best.map(|best| best.index)
    }

    /// The cost of the node at an index, if it takes keys.
    #[cfg(test)]
    pub(crate) fn cost(&self, hash: u64, index: u32) -> Option<Ranked> {
        let at = self
            .candidates
            .binary_search_by_key(&index, |candidate| candidate.index)
            .ok()?;
        self.candidates[at].rank_if_below(hash, f64::INFINITY)
    }

    /// All nodes, most preferred first. Nothing is allocated: each pass over the nodes finds the next few.
    #[inline]
    pub(crate) fn order(&self, hash: u64) -> Order<'_> {
        // Begins as after a full batch, all of it before every node.
        let nothing = Ranked {
            cost: f64::NEG_INFINITY,
            index: 0,
        };
        Order {
            ranking: self,
            hash,
            batch: [nothing; BATCH],
            at: BATCH,
            len: BATCH,
        }
    }

    /// Fills `batch` with the most preferred nodes after `last`, and returns how many there are.
    fn next_batch(&self, hash: u64, last: Ranked, batch: &mut [Ranked; BATCH]) -> usize {
        let mut len = 0;
        for candidate in &self.candidates {
            let limit = if len == BATCH {
                batch[BATCH - 1].cost
            } else {
                f64::INFINITY
            };
            let Some(ranked) = candidate.rank_if_below(hash, limit) else {
                continue;
            };
            if !last.is_before(ranked) {
                continue;
            }
            let at = batch[..len].partition_point(|&other| other.is_before(ranked));
            if at < BATCH {
                len = (len + 1).min(BATCH);
                batch[at..len].rotate_right(1);
                batch[at] = ranked;
            }
        }
        len
    }
}

impl Candidate {
    /// The node's cost, unless it is plainly above `limit`, which is found without the logarithm.
    #[inline]
    fn rank_if_below(&self, hash: u64, limit: f64) -> Option<Ranked> {
        // 52 bits and a half: exact, and neither 0 nor 1.
        let u = ((mix(hash ^ self.seed) >> 12) as f64 + 0.5) * (1.0 / (1u64 << 52) as f64);
        // -ln(u) >= 1 - u. The margin is far above the error of our logarithm, so no node is left out that
        // the full cost would have chosen.
        if (1.0 - u) * self.inverse_weight * (1.0 - 1e-9) > limit {
            return None;
        }
        Some(Ranked {
            cost: minus_ln(u) * self.inverse_weight,
            index: self.index,
        })
    }
}

/// Nodes in one hash's order of preference.
#[derive(Clone, Debug)]
pub(crate) struct Order<'a> {
    ranking: &'a Ranking,
    hash: u64,
    batch: [Ranked; BATCH],
    at: usize,
    len: usize,
}

impl Order<'_> {
    /// The next node with its cost.
    #[inline]
    pub(crate) fn next_ranked(&mut self) -> Option<Ranked> {
        // A batch that is not full was the last.
        if self.at == BATCH {
            self.len = self
                .ranking
                .next_batch(self.hash, self.batch[BATCH - 1], &mut self.batch);
            self.at = 0;
        }
        let next = self.batch[..self.len].get(self.at)?;
        self.at += 1;
        Some(*next)
    }
}

impl Iterator for Order<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        self.next_ranked().map(|ranked| ranked.index)
    }
}

/// The natural logarithm of a number in (0, 1), negated, to about 1e-12 of itself. Written here with nothing
/// but additions, multiplications and one division, which IEEE 754 fixes to the last bit, because the
/// logarithms of platforms' libraries differ in it, and a placement must not.
#[inline]
fn minus_ln(u: f64) -> f64 {
    let bits = u.to_bits();
    let exponent = (bits >> 52) as i32 - 1023;
    let mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    // Half the mantissas are doubled the other way, which centres them on 1, so that the series is short and
    // nothing cancels for u near 1.
    let (mantissa, exponent) = if mantissa > core::f64::consts::SQRT_2 {
        (mantissa * 0.5, exponent + 1)
    } else {
        (mantissa, exponent)
    };
    // ln(m) = 2 artanh((m - 1) / (m + 1)), with an argument of at most 0.172.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let s2 = s * s;
    let series = 1.0
        + s2 * (1.0 / 3.0
            + s2 * (1.0 / 5.0
                + s2 * (1.0 / 7.0
                    + s2 * (1.0 / 9.0
                        + s2 * (1.0 / 11.0 + s2 * (1.0 / 13.0 + s2 * (1.0 / 15.0)))))));
    -(f64::from(exponent) * core::f64::consts::LN_2 + 2.0 * s * series)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn the_logarithm_is_close_to_the_librarys() {
        let mut rng = purlin_core::Rng::from_seed(4);
        let edges = [0.5, 0.25, 0.75, 1.0 - 1e-15, 1e-15, 0.707, 0.708, 1.0 / 3.0];
        for u in edges
            .into_iter()
            .chain((0..10_000).map(|_| rng.unit().max(1e-16)))
        {
            let (ours, theirs) = (minus_ln(u), -std::primitive::f64::ln(u));
            assert!((ours / theirs - 1.0).abs() < 1e-11, "{u}: {ours} {theirs}");
            assert!(ours >= (1.0 - u) * (1.0 - 1e-9), "{u}");
        }
    }

    #[test]
    fn the_order_is_that_of_sorted_costs() {
        let nodes: Vec<_> = (0..23)
            .map(|id| {
                purlin_core::Node::new(purlin_core::NodeId(id), "")
                    .with_weight(purlin_core::Weight(id as u32 % 5))
            })
            .collect();
        let nodes = Nodes::new(nodes, 100).expect("ids differ");
        let ranking = Ranking::new(&nodes, PlacementHash::default());
        for hash in (0..500).map(mix) {
            let mut costs: Vec<Ranked> = (0..23)
                .filter_map(|index| ranking.cost(hash, index))
                .collect();
            costs.sort_by(|a, b| a.cost.total_cmp(&b.cost));
            let sorted: Vec<u32> = costs.iter().map(|ranked| ranked.index).collect();
            assert_eq!(ranking.order(hash).collect::<Vec<_>>(), sorted);
            assert_eq!(ranking.best(hash), sorted.first().copied());
        }
    }
}
