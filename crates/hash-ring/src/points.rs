//! Points on a circle, sorted, with an index over their top bits.

use alloc::vec::Vec;

use self::index::{Index, Near};

mod index;

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
/// indexed by equal parts of the circle, which makes finding the successor of a hash two loads and a few
/// comparisons whatever the number of points, at 10 bytes a point and 8.25 where there are many.
///
/// Positions that are far from uniform make long buckets; a binary search inside the bucket then bounds
/// the scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Points {
    /// The sorted points, then `PADDING` copies of a word that is not below any position and has the first
    /// point's owner: the circle closes without a branch, and a fixed number of words can be compared from
    /// any start. Empty when there are no points.
    words: Vec<u64>,
    index: Index,
}

/// How many words [`Points::successor`] compares from the start of a bucket, without looking at where it ends: in a
/// small ring the answer of one lookup in forty-three is further on, and in a larger one of one in nine.
const PADDING: usize = 3;

/// How many it compares around a guess: one guess in nineteen is further off, and the bucket is searched.
const WINDOW: usize = 6;

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
    /// Sorts points into a circle in linear time.
    pub(crate) fn from_unsorted(points: &[u64]) -> Self {
        let (words, index) = Index::sort(points, PADDING);
        Points::close(words, index)
    }

    /// Makes a circle of points that are sorted already.
    pub(crate) fn from_sorted(points: Vec<u64>) -> Self {
        debug_assert!(points.is_sorted(), "points come in order");
        let index = Index::new(&points);
        Points::close(points, index)
    }

    /// Puts the padding behind the last point.
    fn close(mut words: Vec<u64>, index: Index) -> Self {
        if let Some(&first) = words.first() {
            words.reserve_exact(PADDING);
            words.extend([point(u64::MAX, owner(first)); PADDING]);
        }
        Points { words, index }
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
    /// nearly all lookups of three replicas take. `few` is whether there are so few owners that neighbours are
    /// often of one; the answer does not depend on it.
    #[inline]
    pub(crate) fn next_three(&self, hash: u64, few: bool) -> Option<[u32; 3]> {
        if self.words.is_empty() {
            return None;
        }
        // The padding stands for the first point again and again, which is one owner more and no mistake.
        let words = &self.words[self.successor(hash)..];
        if few {
            if let Some(owners) = words.first_chunk().and_then(three_of_six) {
                return Some(owners);
            }
        }
        let mut owners = words.iter().map(|&word| owner(word));
        let first = owners.next()?;
        let second = owners.find(|&owner| owner != first)?;
        let third = owners.find(|&owner| (owner != first) & (owner != second))?;
        Some([first, second, third])
    }

    /// The place of the first word at or after the position of `hash`; may be that of the padding. There
    /// must be a point.
    // Always: a call costs a small ring a third of the lookup, and both ways in one are too much for a compiler
    // that guesses.
    #[inline(always)]
    pub(crate) fn successor(&self, hash: u64) -> usize {
        let wanted = place(hash);
        match self.index.near(hash) {
            // Nearly always the answer is among the first three, and counting them has no branch to mispredict.
            Near::Start(start) => {
                let below = count_below(&self.words[start..start + PADDING], wanted);
                if below < PADDING {
                    return start + below;
                }
            }
            // The words may run over the bucket's ends, which is no mistake: all that lie before it are below, and
            // none that lie behind it is. An answer in the midst of them is the answer.
            Near::Guess(guess) => {
                let start = guess.saturating_sub(WINDOW / 2);
                let below = count_below(&self.words[start..start + WINDOW], wanted);
                if (1..WINDOW).contains(&below) {
                    return start + below;
                }
            }
        }
        self.successor_in_bucket(hash)
    }

    #[cold]
    fn successor_in_bucket(&self, hash: u64) -> usize {
        let bucket = self.index.bucket(hash);
        let wanted = place(hash);
        bucket.start + self.words[bucket].partition_point(|&word| word < wanted)
    }

    /// How many bytes the circle takes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.words.capacity() * 8 + self.index.heap_bytes()
    }
}

/// The owners of the first three words of different owners, if six words have three. Looks at all six without a
/// branch: with ten nodes, every fourth walk meets an owner again, and a processor cannot know when.
#[inline]
fn three_of_six(words: &[u64; 6]) -> Option<[u32; 3]> {
    let owners = words.map(owner);
    let first = owners[0];
    let (mut second, mut third) = (first, first);
    for &owner in owners[1..].iter().rev() {
        second = if owner == first { second } else { owner };
    }
    for &owner in owners[2..].iter().rev() {
        let known = (owner == first) | (owner == second);
        third = if known { third } else { owner };
    }
    (third != first).then_some([first, second, third])
}

/// How many words are below one, without a branch.
#[inline]
fn count_below(words: &[u64], wanted: u64) -> usize {
    words.iter().map(|&word| usize::from(word < wanted)).sum()
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

    /// As many points as it takes for the other index, which must say the same as a plain search: at every point,
    /// beside it, and anywhere.
    #[test]
    fn many_points_answer_as_a_search_does() {
        let mut rng = Rng::from_seed(3);
        let uniform: Vec<u64> = (0..270_000).map(|i| point(rng.next_u64(), i)).collect();
        // Evenly spread but for some heaps, which the guess misses, and an empty stretch; then far from evenly, for
        // which no such index is made.
        let heaped: Vec<u64> = (0..270_000u64)
            .map(|i| {
                let hash = match i % 50 {
                    0 => (rng.below(9) << 60) + (rng.below(300) << 24),
                    _ => rng.next_u64() % (u64::MAX - (1 << 58)),
                };
                point(hash, i as u32)
            })
            .collect();
        let crowded: Vec<u64> = (0..270_000)
            .map(|i| point(rng.next_u64() >> rng.below(40), i))
            .collect();
        for (points, even) in [(uniform, true), (heaped, true), (crowded, false)] {
            let circle = Points::from_unsorted(&points);
            let mut sorted = points.clone();
            sorted.sort_unstable();
            assert_eq!(circle.as_slice(), sorted);
            assert_eq!(circle, Points::from_sorted(sorted.clone()));
            let bytes = circle.heap_bytes() as f64 / points.len() as f64;
            assert_eq!(bytes < 8.3, even, "{bytes} bytes a point");
            let beside = |point: &u64| [point.wrapping_sub(1 << 24), *point, point.wrapping_add(1)];
            let hashes = points.iter().flat_map(beside);
            let anywhere: Vec<u64> = (0..50_000).map(|_| rng.next_u64()).collect();
            for hash in hashes.chain(anywhere).chain([0, u64::MAX]) {
                let plain = sorted.partition_point(|&point| place(point) < place(hash));
                assert_eq!(circle.successor(hash), plain, "{hash:x}");
            }
        }
    }

    #[test]
    fn three_owners_are_the_same_for_few_and_for_many() {
        let mut rng = Rng::from_seed(4);
        for n_owners in [1, 2, 3, 4, 9] {
            for n_points in [1, 3, 5, 6, 7, 40, 400] {
                let owned = |_| point(rng.next_u64(), rng.below(n_owners) as u32);
                let points: Vec<u64> = (0..n_points).map(owned).collect();
                let circle = Points::from_unsorted(&points);
                for &hash in &points {
                    let mut distinct: Vec<u32> = Vec::new();
                    for owner in circle.walk(hash).map(owner) {
                        if !distinct.contains(&owner) {
                            distinct.push(owner);
                        }
                    }
                    for few in [false, true] {
                        // Three owners behind the end of the circle are left to others to find.
                        if let Some(three) = circle.next_three(hash, few) {
                            assert_eq!(distinct[..3], three, "{n_owners} of {n_points}");
                        }
                    }
                }
            }
        }
    }
}
