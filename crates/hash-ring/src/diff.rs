//! What moves from one placement to another.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;

use purlin_core::{NodeId, Placement, Retry, Weight};

use crate::{AnyPlacement, Ranges};

/// A range of hashes whose nodes differ between two placements.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Move {
    /// The hashes, both ends included.
    pub hashes: RangeInclusive<u64>,
    /// The nodes that held them, the owner first. Empty if there were none.
    pub from: Vec<NodeId>,
    /// The nodes that hold them now, the owner first.
    pub to: Vec<NodeId>,
}

impl Move {
    /// How many hashes move.
    pub fn n_hashes(&self) -> u128 {
        u128::from(self.hashes.end() - self.hashes.start()) + 1
    }

    /// The nodes that must get the keys.
    pub fn gaining(&self) -> impl Iterator<Item = NodeId> {
        self.to.iter().copied().filter(|id| !self.from.contains(id))
    }

    /// The nodes that need the keys no more.
    pub fn losing(&self) -> impl Iterator<Item = NodeId> {
        self.from.iter().copied().filter(|id| !self.to.contains(id))
    }

    /// Whether the same nodes hold the keys, and only their order differs: nothing needs copying.
    pub fn is_reordering(&self) -> bool {
        self.gaining().next().is_none() && self.losing().next().is_none()
    }
}

/// Two placements cannot be compared hash by hash, because they do not hash keys alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashesDiffer(());

impl HashesDiffer {
    /// [`Retry::NEVER`]: the same placements differ again.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}

impl fmt::Display for HashesDiffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two placements hash keys differently, or have no ranges, so their moves cannot be listed")
    }
}

impl core::error::Error for HashesDiffer {}

/// Lists what moves between two placements of `n_replicas` copies, in ascending order of hashes: exactly the
/// hashes whose first `n_replicas` nodes differ, neighbours with the same change joined.
///
/// The two need not be of one algorithm, so this also plans a change of algorithm. They must hash keys
/// alike, which is the caller's to know here; [`diff_any`] checks it. If their hashes end at different
/// places, the comparison ends at the nearer one.
///
/// Each step allocates the two sets. Takes O(points or slots of both) in total.
///
/// ```
/// use purlin_core::{Node, NodeId};
/// use purlin_hash_ring::{Ring, diff};
///
/// let old = Ring::from_nodes((1..=4).map(|i| Node::new(NodeId(i), "")))?;
/// let new = old.without(NodeId(2));
/// for change in diff(&old, &new, 1) {
///     assert_eq!(change.from, [NodeId(2)]);
///     assert_ne!(change.to, [NodeId(2)]);
/// }
/// # Ok::<(), purlin_hash_ring::BuildError>(())
/// ```
pub fn diff<A: Ranges, B: Ranges>(old: A, new: B, n_replicas: usize) -> Diff<A, B> {
    Diff {
        next: Some(0),
        old,
        new,
        n_replicas,
        before: Vec::new(),
        after: Vec::new(),
    }
}

/// [`diff`] for placements chosen at run time.
///
/// # Errors
///
/// [`HashesDiffer`] if they place keys by different hashes, or one of them is of an algorithm without ranges;
/// for those, [`moves`] answers for each key.
pub fn diff_any<'a>(
    old: &'a AnyPlacement,
    new: &'a AnyPlacement,
    n_replicas: usize,
) -> Result<Diff<&'a dyn Ranges, &'a dyn Ranges>, HashesDiffer> {
    match (old.ranges(), new.ranges()) {
        (Some(a), Some(b)) if old.hash() == new.hash() => Ok(diff(a, b, n_replicas)),
        _ => Err(HashesDiffer(())),
    }
}

/// Whether the first `n_replicas` nodes of a hash differ between two placements: for algorithms without
/// ranges, and for one key at a time. Allocates two sets.
pub fn moves(
    old: &(impl Placement + ?Sized),
    new: &(impl Placement + ?Sized),
    hash: u64,
    n_replicas: usize,
) -> bool {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    fill(old, hash, n_replicas, &mut before);
    fill(new, hash, n_replicas, &mut after);
    before != after
}

/// The part of all keys that must change owners where shares go from `old` to `new`, each a list of nodes and
/// weights: the sum of what each node gains. No placement moves less; those with minimal disruption move
/// this much.
///
/// ```
/// use purlin_core::{NodeId, Weight};
/// use purlin_hash_ring::least_movement;
///
/// let nodes = |n| (0..n).map(|i| (NodeId(i), Weight::ONE)).collect::<Vec<_>>();
/// assert!((least_movement(&nodes(9), &nodes(10)) - 0.1).abs() < 1e-12);
/// ```
pub fn least_movement(old: &[(NodeId, Weight)], new: &[(NodeId, Weight)]) -> f64 {
    let total = |nodes: &[(NodeId, Weight)]| {
        nodes
            .iter()
            .map(|(_, weight)| f64::from(weight.0))
            .sum::<f64>()
    };
    let (before, after) = (total(old), total(new));
    if before == 0.0 || after == 0.0 {
        return 0.0;
    }
    let held: BTreeMap<NodeId, f64> = old
        .iter()
        .map(|&(id, weight)| (id, f64::from(weight.0) / before))
        .collect();
    new.iter()
        .map(|&(id, weight)| {
            (f64::from(weight.0) / after - held.get(&id).copied().unwrap_or(0.0)).max(0.0)
        })
        .sum()
}

/// The iterator of [`diff`].
#[derive(Clone)]
#[must_use]
pub struct Diff<A, B> {
    /// The first hash that was not compared yet.
    next: Option<u64>,
    old: A,
    new: B,
    n_replicas: usize,
    /// The nodes of the range that was compared last, before and after the change.
    before: Vec<NodeId>,
    after: Vec<NodeId>,
}

impl<A: Ranges, B: Ranges> Diff<A, B> {
    /// Goes on to the end of the range that holds in both placements, and says what changes in it.
    fn step(&mut self) -> Option<(u64, u64, bool)> {
        let start = self.next?;
        let last = self.old.last_hash().min(self.new.last_hash());
        let end = self
            .old
            .range_end(start)
            .min(self.new.range_end(start))
            .min(last);
        self.next = if end < last { Some(end + 1) } else { None };
        fill(&self.old, start, self.n_replicas, &mut self.before);
        fill(&self.new, start, self.n_replicas, &mut self.after);
        Some((start, end, self.before != self.after))
    }
}

/// Makes `nodes` the first `n_replicas` nodes of a hash.
fn fill(
    placement: &(impl Placement + ?Sized),
    hash: u64,
    n_replicas: usize,
    nodes: &mut Vec<NodeId>,
) {
    nodes.resize(n_replicas, NodeId(0));
    let n = placement.replicas_of_hash(hash, nodes);
    nodes.truncate(n);
}

impl<A: Ranges, B: Ranges> Iterator for Diff<A, B> {
    type Item = Move;

    fn next(&mut self) -> Option<Move> {
        let (start, mut end) = loop {
            if let (start, end, true) = self.step()? {
                break (start, end);
            }
        };
        let (from, to) = (self.before.clone(), self.after.clone());
        // Neighbours with the same change belong to this move.
        loop {
            let at = self.next;
            match self.step() {
                Some((_, further, _)) if self.before == from && self.after == to => end = further,
                Some(_) => {
                    self.next = at;
                    break;
                }
                None => break,
            }
        }
        Some(Move {
            hashes: start..=end,
            from,
            to,
        })
    }
}

impl<A, B> fmt::Debug for Diff<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diff")
            .field("next", &self.next)
            .field("n_replicas", &self.n_replicas)
            .finish_non_exhaustive()
    }
}
