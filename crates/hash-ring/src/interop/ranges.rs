//! Rings of other programs as lists of ranges.

use purlin_core::{NodeId, Placement};

use super::{Choice, ForeignHash, ForeignRing};
use crate::Ranges;
use crate::points::Points;

/// A [`ForeignRing`] of which [`diff`](crate::diff), [`Plan`](crate::Plan) and [`shares`](crate::shares) can
/// list the ranges. See [`ForeignRing::ranges`].
#[derive(Clone, Copy, Debug)]
pub struct ForeignRanges<'a> {
    ring: &'a ForeignRing,
    points: &'a Points,
    /// HAProxy's way: a key belongs to the nearer of two points.
    nearest: bool,
}

impl ForeignRing {
    /// The ring as one that can be listed range by range: what differences and plans are made of. `None`
    /// for modula, where neighbouring hashes have nothing in common; [`moves`](crate::moves) answers for
    /// each key there.
    ///
    /// ```
    /// use purlin_core::{Node, NodeId};
    /// use purlin_hash_ring::{diff, interop::ForeignRing};
    ///
    /// let names = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];
    /// let nodes = |n| names.into_iter().zip(1..).take(n).map(|(name, id)| Node::new(NodeId(id), name));
    /// let (old, new) = (ForeignRing::nginx(nodes(2))?, ForeignRing::nginx(nodes(3))?);
    /// let (old, new) = old.ranges().zip(new.ranges()).expect("nginx has a circle");
    /// assert!(diff(old, new, 1).all(|change| change.to == [NodeId(3)]));
    /// # Ok::<(), purlin_hash_ring::BuildError>(())
    /// ```
    pub fn ranges(&self) -> Option<ForeignRanges<'_>> {
        let (points, nearest) = match &self.choice {
            Choice::Next(points) => (points, false),
            Choice::Nearest(points) => (points, true),
            Choice::Remainder(_) => return None,
        };
        Some(ForeignRanges {
            ring: self,
            points,
            nearest,
        })
    }
}

impl Placement for ForeignRanges<'_> {
    fn hash_key(&self, key: &[u8]) -> u64 {
        self.ring.hash_key(key)
    }
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
        self.ring.owner_of_hash(hash)
    }
    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
        self.ring.replicas_of_hash(hash, into)
    }
}

impl Ranges for ForeignRanges<'_> {
    fn range_end(&self, hash: u64) -> u64 {
        let hash = hash.min(self.last_hash());
        // The next point, or the end of the circle.
        let next = self.points.end(hash << 32) >> 32;
        let end = match self.ring.place(hash) {
            Some(place) if self.nearest => self.nearest_end(hash, place, next),
            _ => next,
        };
        end.min(self.last_hash())
    }

    fn last_hash(&self) -> u64 {
        match self.ring.hash {
            ForeignHash::Crc32Short if !self.ring.avalanche => 0x7fff,
            _ => u64::from(u32::MAX),
        }
    }
}

impl ForeignRanges<'_> {
    /// The last hash up to `next`, the following point or the end, for which the point at `place` is the
    /// nearer one still.
    fn nearest_end(&self, hash: u64, place: usize, next: u64) -> u64 {
        // Between two points the answer changes once, behind the middle.
        let (mut same, mut other) = (hash, next + 1);
        while same + 1 < other {
            let middle = same + (other - same) / 2;
            if self.ring.place(middle) == Some(place) {
                same = middle;
            } else {
                other = middle;
            }
        }
        same
    }
}
