//! Numbered buckets that nodes hold, as many as their weight: what algorithms use that place keys in buckets
//! of which any may be missing.

use alloc::vec::Vec;

use crate::nodes::Nodes;
use crate::{BuildError, DecodeError};

/// Nobody holds the bucket.
const FREE: u32 = u32::MAX;

/// The set of working buckets of an algorithm.
pub(crate) trait Working {
    /// Puts the next bucket to work and says which: the one that was removed last, or a new one.
    fn add(&mut self) -> Option<u32>;

    /// Takes a working bucket out.
    fn remove(&mut self, bucket: u32);
}

/// Which node holds each bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holders {
    /// The index of each bucket's node, or `FREE`.
    holders: Vec<u32>,
}

impl Holders {
    pub(crate) fn new() -> Self {
        Holders {
            holders: Vec::new(),
        }
    }

    #[inline]
    pub(crate) fn of(&self, bucket: u32) -> u32 {
        self.holders[bucket as usize]
    }

    pub(crate) fn as_slice(&self) -> &[u32] {
        &self.holders
    }

    /// Holders that have been checked by [`read`](Holders::read) in a longer form.
    pub(crate) fn unchecked(holders: Vec<u32>) -> Self {
        Holders { holders }
    }

    /// Forgets buckets that are no more.
    pub(crate) fn truncate(&mut self, n_buckets: usize) {
        self.holders.truncate(n_buckets);
    }

    fn set(&mut self, bucket: u32, holder: u32) {
        let bucket = bucket as usize;
        if bucket >= self.holders.len() {
            self.holders.resize(bucket + 1, FREE);
        }
        self.holders[bucket] = holder;
    }

    /// Renames the nodes and brings each to as many buckets as its weight. Buckets of nodes that lost weight
    /// go first, the highest of each first; then those that gained take theirs.
    pub(crate) fn follow(
        &mut self,
        working: &mut impl Working,
        old: &Nodes,
        new: &Nodes,
        capacity: u32,
    ) -> Result<(), BuildError> {
        if new.total_weight() > u64::from(capacity) {
            return Err(BuildError::Capacity {
                buckets: new.total_weight(),
                capacity,
            });
        }
        let renamed: Vec<Option<usize>> = old
            .as_slice()
            .iter()
            .map(|node| new.index(node.id).ok())
            .collect();
        let mut left: Vec<u32> = new.as_slice().iter().map(|node| node.weight.0).collect();
        let mut surplus = Vec::new();
        for (bucket, holder) in (0..).zip(&mut self.holders) {
            if *holder == FREE {
                continue;
            }
            match renamed[*holder as usize] {
                Some(index) if left[index] > 0 => {
                    left[index] -= 1;
                    *holder = index as u32;
                }
                _ => {
                    *holder = FREE;
                    surplus.push(bucket);
                }
            }
        }
        for bucket in surplus.into_iter().rev() {
            working.remove(bucket);
        }
        for (index, left) in (0..).zip(left) {
            for _ in 0..left {
                let bucket = working.add().expect("the weights fit into the capacity");
                self.set(bucket, index);
            }
        }
        Ok(())
    }

    /// Holders as read from bytes: each node must hold as many buckets as its weight, and those that are
    /// free must be the ones that do not work.
    pub(crate) fn read(
        holders: Vec<u32>,
        removed: &[u32],
        nodes: &Nodes,
    ) -> Result<Self, DecodeError> {
        let mut left: Vec<u32> = nodes.as_slice().iter().map(|node| node.weight.0).collect();
        let mut n_free = 0;
        for &holder in &holders {
            if holder == FREE {
                n_free += 1;
                continue;
            }
            match left.get_mut(holder as usize) {
                Some(left) if *left > 0 => *left -= 1,
                _ => return Err(DecodeError::Malformed),
            }
        }
        let removed_are_free = removed
            .iter()
            .all(|&bucket| holders.get(bucket as usize) == Some(&FREE));
        let whole =
            removed_are_free && n_free == removed.len() && left.iter().all(|&left| left == 0);
        if whole {
            Ok(Holders { holders })
        } else {
            Err(DecodeError::Malformed)
        }
    }
}

/// Whether numbers are distinct and below a limit.
pub(crate) fn are_distinct_below(numbers: &[u32], limit: u32) -> bool {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.last().is_none_or(|&last| last < limit)
        && sorted.windows(2).all(|pair| pair[0] != pair[1])
}
