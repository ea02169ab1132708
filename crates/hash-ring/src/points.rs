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
/// Few owners leave bits of the word free, and the sorted words keep there whom a walk meets next:
///
/// ```text
/// bits   63 ............. 24 23 .... 16 15 ..... 8 7 ...... 0
/// few    position            third      second     owner
/// many   position            owner
/// ```
///
/// Positions that are far from uniform make long buckets; a binary search inside the bucket then bounds
/// the scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Points {
    /// The sorted points, then `PADDING` copies of a word that is not below any position and has the first
    /// point's owner: the circle closes without a branch, and a fixed number of words can be compared from
    /// any start. Empty when there are no points.
    words: Vec<u64>,
    /// The bits of a word that are its owner: `OF_FEW` where the next two other owners are beside it, which is
    /// wherever there are at least three and all fit; else all that are not its position.
    owner_bits: u64,
    index: Index,
}

/// The bits of an owner that leave room for two more.
const OF_FEW: u64 = (1 << (OWNER_BITS / 3)) - 1;

/// The bits of any owner.
const OF_MANY: u64 = MAX_OWNERS as u64 - 1;

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
    (point & OF_MANY) as u32
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

    /// Puts the padding behind the last point, and into each word whom a walk meets next.
    fn close(mut words: Vec<u64>, index: Index) -> Self {
        let mut owner_bits = OF_MANY;
        if let Some(&first) = words.first() {
            words.reserve_exact(PADDING);
            words.extend([point(u64::MAX, owner(first)); PADDING]);
            if words.iter().all(|&word| word & OF_MANY <= OF_FEW) {
                if let Some(three) = three_owners(words.iter().map(|&word| owner(word))) {
                    owner_bits = OF_FEW;
                    write_followers(&mut words, three);
                }
            }
        }
        Points {
            words,
            owner_bits,
            index,
        }
    }

    /// The points in order.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + Clone {
        let bits = !OF_MANY | self.owner_bits;
        self.words[..self.len()].iter().map(move |word| word & bits)
    }

    /// The point at a place in their order.
    #[cfg(feature = "interop")]
    #[inline]
    pub(crate) fn at(&self, place: usize) -> u64 {
        self.words[place] & (!OF_MANY | self.owner_bits)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.words.len().saturating_sub(PADDING)
    }

    #[inline]
    fn owner(&self, word: u64) -> u32 {
        (word & self.owner_bits) as u32
    }

    /// The owner of the first point at or after the position of `hash`, going round; `None` when there
    /// are no points.
    // Always: a call costs a lookup of text 0.3 ns of 6.1.
    #[inline(always)]
    pub(crate) fn owner_of(&self, hash: u64) -> Option<u32> {
        if self.words.is_empty() {
            return None;
        }
        Some(self.owner(self.words[self.successor(hash)]))
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
            self.words[at] | OF_MANY
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
        (place(point).wrapping_sub(place(hash)), self.owner(point))
    }

    /// The owners of the points from the first at or after the position of `hash`, once round.
    #[inline]
    pub(crate) fn walk(&self, hash: u64) -> impl Iterator<Item = u32> + Clone {
        let start = if self.words.is_empty() {
            0
        } else {
            self.successor(hash).min(self.len())
        };
        self.walk_from(start)
    }

    /// The owners of the points from a place on, once round.
    #[inline]
    pub(crate) fn walk_from(&self, start: usize) -> impl Iterator<Item = u32> + Clone {
        let (before, after) = self.words[..self.len()].split_at(start);
        let bits = self.owner_bits;
        let words = after.iter().chain(before);
        words.map(move |word| (word & bits) as u32)
    }

    /// The owners of the next three points of different owners, if they come before the circle closes: what
    /// nearly all lookups of three replicas take. Few owners are there to be read.
    #[inline]
    pub(crate) fn next_three(&self, hash: u64) -> Option<[u32; 3]> {
        if self.words.is_empty() {
            return None;
        }
        let at = self.successor(hash);
        if self.owner_bits == OF_FEW {
            let word = self.words[at];
            let part = |i: u32| (word >> (i * OWNER_BITS / 3) & OF_FEW) as u32;
            return Some([part(0), part(1), part(2)]);
        }
        // The padding stands for the first point again and again, which is one owner more and no mistake.
        three_owners(self.words[at..].iter().map(|&word| owner(word)))
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

/// The first three different owners, if there are three.
#[inline]
fn three_owners(mut owners: impl Iterator<Item = u32>) -> Option<[u32; 3]> {
    let first = owners.next()?;
    let second = owners.find(|&owner| owner != first)?;
    let third = owners.find(|&owner| (owner != first) & (owner != second))?;
    Some([first, second, third])
}

/// Puts beside each owner the next two others on the circle. `next` are the first three from its beginning, which
/// is where it goes on behind its end.
fn write_followers(words: &mut [u64], mut next: [u32; 3]) {
    for word in words.iter_mut().rev() {
        let own = owner(*word);
        let [first, second, third] = next;
        if own != first {
            next = [own, first, if own == second { third } else { second }];
        }
        *word |=
            u64::from(next[1]) << (OWNER_BITS / 3) | u64::from(next[2]) << (OWNER_BITS / 3 * 2);
    }
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
        assert!(circle.iter().eq(sorted.iter().copied()));
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
            let walked: Vec<u32> = circle.walk(hash).collect();
            assert_eq!(walked.len(), points.len());
            assert_eq!(walked.first().copied(), circle.owner_of(hash));
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
            assert!(circle.iter().eq(sorted.iter().copied()));
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

    /// Up to 256 owners are read from the word, more are met one by one; and three there must be.
    #[test]
    fn three_owners_are_those_that_a_walk_meets() {
        let mut rng = Rng::from_seed(4);
        for n_owners in [1, 2, 3, 4, 9, 256, 257] {
            for n_points in [1, 3, 5, 6, 7, 40, 400] {
                let mut owned: Vec<u32> =
                    (0..n_points).map(|_| rng.below(n_owners) as u32).collect();
                owned[0] = n_owners as u32 - 1;
                let points: Vec<u64> = owned
                    .iter()
                    .map(|&owner| point(rng.next_u64(), owner))
                    .collect();
                let circle = Points::from_unsorted(&points);
                owned.sort_unstable();
                owned.dedup();
                let few = n_owners <= 256 && owned.len() >= 3;
                assert_eq!(circle.owner_bits == OF_FEW, few);
                for &hash in points.iter().chain(&[0, u64::MAX]) {
                    let mut distinct: Vec<u32> = Vec::new();
                    for owner in circle.walk(hash) {
                        if distinct.len() < 3 && !distinct.contains(&owner) {
                            distinct.push(owner);
                        }
                    }
                    match circle.next_three(hash) {
                        Some(three) => assert_eq!(distinct, three, "{n_owners} of {n_points}"),
                        // Three owners behind the end of the circle are left to others to find.
                        None => assert!(!few),
                    }
                }
            }
        }
    }
}
