//! Points on a circle, sorted, with an index over their top bits.

use alloc::vec;
use alloc::vec::Vec;

/// Positions have this many bits: the top ones of a hash.
pub(crate) const POSITION_BITS: u32 = 40;

/// What is left of a word beside the position holds the owner.
const OWNER_BITS: u32 = 64 - POSITION_BITS;

/// Owners are numbers below this.
pub(crate) const MAX_OWNERS: usize = 1 << OWNER_BITS;

/// More points than this are refused when a ring is built: 16 Mi points are 160 MB.
pub(crate) const MAX_POINTS: usize = 1 << 24;

/// The points of a circle, each a position with the small number of its owner.
///
/// A point is one word, `position << 24 | owner`, so that sorting words sorts by position and then by
/// owner: two points at one place have an order that depends on nothing but the owners. The words are
/// indexed by equal parts of the circle with two points each on average, which makes finding the successor of
/// a hash two loads and a short scan whatever the number of points, at 10 bytes a point.
///
/// Positions that are far from uniform make long buckets; a binary search inside the bucket then bounds
/// the scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Points {
    /// The sorted points, then `PADDING` copies of a word that is not below any position and has the first
    /// point's owner: the circle closes without a branch, and a fixed number of words can be compared from
    /// any start. Empty when there are no points.
    words: Vec<u64>,
    /// `first[b]` is the place of the first point whose bucket is `b` or later. One more than there are
    /// buckets, so that each bucket has an end.
    first: Vec<u32>,
    /// How many buckets there are. A position's bucket is the part of the circle it falls into.
    n_buckets: u64,
}

/// The bucket of a word or hash. Positions have 40 bits and buckets are fewer than 2^23, so the product fits.
#[inline]
const fn bucket(hash: u64, n_buckets: u64) -> usize {
    (((hash >> OWNER_BITS) * n_buckets) >> POSITION_BITS) as usize
}

/// How many words [`Points::successor`] compares without looking at where the bucket ends.
const PADDING: usize = 4;

/// The position of a hash, in the place it has in a word.
#[inline]
const fn place(hash: u64) -> u64 {
    hash >> OWNER_BITS << OWNER_BITS
}

/// The point of `owner` at the position of `hash`.
#[inline]
pub(crate) const fn point(hash: u64, owner: u32) -> u64 {
    place(hash) | owner as u64
}

/// The owner of a point.
#[inline]
pub(crate) const fn owner(point: u64) -> u32 {
    (point & (MAX_OWNERS as u64 - 1)) as u32
}

impl Points {
    /// Sorts points into a circle in linear time: they are dealt into their buckets, which the index needs
    /// anyway, and each bucket of a few points is sorted by itself.
    pub(crate) fn from_unsorted(points: &[u64]) -> Self {
        let (mut first, n_buckets) = count_buckets(points);
        let mut words = vec![0; points.len() + PADDING * usize::from(!points.is_empty())];
        // `first[b]` moves to the end of bucket `b` while its points are dealt, which is the start of the next.
        for &point in points {
            let next = &mut first[bucket(point, n_buckets)];
            words[*next as usize] = point;
            *next += 1;
        }
        let mut start = 0;
        for end in &mut first {
            let stop = *end as usize;
            words[start..stop].sort_unstable();
            *end = start as u32;
            start = stop;
        }
        Points::close(words, first, n_buckets, points.len())
    }

    /// Makes a circle of points that are sorted already.
    pub(crate) fn from_sorted(points: Vec<u64>) -> Self {
        debug_assert!(points.is_sorted(), "points come in order");
        let (first, n_buckets) = count_buckets(&points);
        let len = points.len();
        let mut words = points;
        if len > 0 {
            words.reserve_exact(PADDING);
            words.resize(len + PADDING, 0);
        }
        Points::close(words, first, n_buckets, len)
    }

    /// Fills the padding behind the last point.
    fn close(mut words: Vec<u64>, first: Vec<u32>, n_buckets: u64, len: usize) -> Self {
        if len > 0 {
            let wrapped = point(u64::MAX, owner(words[0]));
            words[len..].fill(wrapped);
        }
        Points {
            words,
            first,
            n_buckets,
        }
    }

    /// The points in order.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[u64] {
        &self.words[..self.len()]
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.words.len().saturating_sub(PADDING)
    }

    /// The owner of the first point at or after the position of `hash`, going round; `None` when there
    /// are no points.
    #[inline]
    pub(crate) fn owner_of(&self, hash: u64) -> Option<u32> {
        if self.words.is_empty() {
            return None;
        }
        Some(owner(self.words[self.successor(hash)]))
    }

    /// The last hash with the same successor, not going round.
    pub(crate) fn end(&self, hash: u64) -> u64 {
        let at = if self.words.is_empty() {
            0
        } else {
            self.successor(hash)
        };
        // Behind the last point lies the padding, and the range to the end.
        if at >= self.len() {
            u64::MAX
        } else {
            self.words[at] | (MAX_OWNERS as u64 - 1)
        }
    }

    /// How far it is from the position of `hash` to the first point at or after it, going round, and that
    /// point's owner. There must be a point.
    #[inline]
    pub(crate) fn next_after(&self, hash: u64) -> (u64, u32) {
        let at = self.successor(hash);
        // The padding has the first point's owner, but lies at the end.
        let point = if at == self.len() {
            self.words[0]
        } else {
            self.words[at]
        };
        (place(point).wrapping_sub(place(hash)), owner(point))
    }

    /// The points from the first at or after the position of `hash`, once round.
    #[inline]
    pub(crate) fn walk(&self, hash: u64) -> impl Iterator<Item = u64> + Clone {
        let points = self.as_slice();
        let start = if points.is_empty() {
            0
        } else {
            self.successor(hash).min(points.len())
        };
        let (before, after) = points.split_at(start);
        after.iter().chain(before).copied()
    }

    /// The owners of the next three points of different owners, if they come before the circle closes: what
    /// nearly all lookups of three replicas take.
    #[inline]
    pub(crate) fn next_three(&self, hash: u64) -> Option<[u32; 3]> {
        if self.words.is_empty() {
            return None;
        }
        // The padding stands for the first point again and again, which is one owner more and no mistake.
        let mut owners = self.words[self.successor(hash)..]
            .iter()
            .map(|&word| owner(word));
        let first = owners.next()?;
        let second = owners.find(|&owner| owner != first)?;
        let third = owners.find(|&owner| (owner != first) & (owner != second))?;
        Some([first, second, third])
    }

    /// The place of the first word at or after the position of `hash`; may be that of the padding. There
    /// must be a point.
    #[inline]
    pub(crate) fn successor(&self, hash: u64) -> usize {
        let wanted = place(hash);
        let bucket = bucket(hash, self.n_buckets);
        let start = self.first[bucket] as usize;
        // Nearly always the answer is among the first four, and counting them has no branch to mispredict.
        let near = &self.words[start..start + PADDING];
        let below = usize::from(near[0] < wanted)
            + usize::from(near[1] < wanted)
            + usize::from(near[2] < wanted)
            + usize::from(near[3] < wanted);
        if below < PADDING {
            start + below
        } else {
            self.successor_in_rest(wanted, bucket, start + below)
        }
    }

    #[cold]
    fn successor_in_rest(&self, wanted: u64, bucket: usize, start: usize) -> usize {
        let end = self.first[bucket + 1] as usize;
        start + self.words[start..end.max(start)].partition_point(|&word| word < wanted)
    }

    /// How many bytes the circle takes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.words.capacity() * 8 + self.first.capacity() * 4
    }
}

/// The start of each bucket, and how many there are.
fn count_buckets(points: &[u64]) -> (Vec<u32>, u64) {
    // One for every two points, which is what the four words that are compared at once have room for.
    let n_buckets = (points.len() as u64 / 2).max(1);
    let mut first = vec![0u32; n_buckets as usize + 1];
    for &point in points {
        first[bucket(point, n_buckets)] += 1;
    }
    let mut before = 0;
    for count in &mut first {
        let here = *count;
        *count = before;
        before += here;
    }
    (first, n_buckets)
}

#[cfg(test)]
mod tests {
    use purlin_core::Rng;

    use super::*;

    /// The owner by looking at every point.
    fn naive_owner(points: &[u64], hash: u64) -> Option<u32> {
        let after = points
            .iter()
            .filter(|&&point| point >> OWNER_BITS >= hash >> OWNER_BITS)
            .min();
        after.or(points.iter().min()).map(|&point| owner(point))
    }

    fn check(points: &[u64]) {
        let circle = Points::from_unsorted(points);
        let mut sorted = points.to_vec();
        sorted.sort_unstable();
        assert_eq!(circle.as_slice(), sorted);
        assert_eq!(circle, Points::from_sorted(sorted));
        let places = points.iter().flat_map(|&point| {
            [
                point,
                point.wrapping_sub(1 << 24),
                point.wrapping_add(1 << 24),
            ]
        });
        for hash in places.chain([0, 1, u64::MAX, u64::MAX - 1, 1 << 63]) {
            assert_eq!(
                circle.owner_of(hash),
                naive_owner(points, hash),
                "{} points, {hash:x}",
                points.len()
            );
            let walked: Vec<u64> = circle.walk(hash).collect();
            assert_eq!(walked.len(), points.len());
            assert_eq!(
                walked.first().map(|&point| owner(point)),
                circle.owner_of(hash)
            );
        }
    }

    #[test]
    fn uniform_points_answer_as_a_scan_does() {
        let mut rng = Rng::from_seed(1);
        for n in [0, 1, 2, 3, 4, 5, 7, 8, 63, 64, 300] {
            let points: Vec<u64> = (0..n).map(|i| point(rng.next_u64(), i)).collect();
            check(&points);
        }
    }

    /// Clustered points make buckets longer than the fixed comparisons, and equal places.
    #[test]
    fn clustered_points_answer_as_a_scan_does() {
        let mut rng = Rng::from_seed(2);
        for spread in [1, 3, 40] {
            for base in [0, 1 << 62, u64::MAX - (40 << 24)] {
                let points: Vec<u64> = (0..200)
                    .map(|i| point(base + (rng.below(spread) << 24), i))
                    .collect();
                check(&points);
            }
        }
    }
}
