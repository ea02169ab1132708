//! Where on a circle to look for a position.

use alloc::vec;
use alloc::vec::Vec;

use super::{OWNER_BITS, POSITION_BITS};

/// From this many points on an index of [`Starts::Drift`] is tried: from here on the points outgrow the
/// second-level cache by far, and an index that stays in it is worth twenty instructions a lookup.
const DRIFT_FROM: usize = 1 << 18;

/// How many points a bucket has on average. Where their places fit 16 bits there is room for twice as many buckets
/// in the same memory.
const SMALL_BUCKET: usize = 1;
const EXACT_BUCKET: usize = 2;
const DRIFT_BUCKET: usize = 8;

/// Divides the circle into buckets, equal parts, and knows where in the sorted points each one starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    n_buckets: u64,
    /// One more than there are buckets, so that each bucket has an end.
    starts: Starts,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Starts {
    /// The place of the first point whose bucket is this or a later one, of up to 65 535 points.
    Small(Vec<u16>),
    /// The same of more of them.
    Exact(Vec<u32>),
    /// How far that place is from where it would be if points stood at equal distances. It fits whenever points
    /// are as good as random: the standard deviation is half the root of their number, 2 048 for the most there
    /// can be.
    Drift(Vec<i16>),
}

/// A part of the sorted points outside which there is no need to look.
#[derive(Clone, Copy, Debug)]
pub(super) enum Near {
    /// From the bucket's start. There are one or two points in it on average.
    Start(usize),
    /// Around this place, where the point is if the bucket's points stand at equal distances. There are about
    /// eight in it, and hashes are uniform, so the standard deviation is 1.4 points at worst.
    Guess(usize),
}

impl Index {
    /// Of points that are sorted.
    pub(super) fn new(sorted: &[u64]) -> Self {
        Index::drift(sorted).unwrap_or_else(|| {
            let n_buckets = n_buckets(sorted.len(), exact_bucket(sorted.len()));
            Index::exact(n_buckets, starts(sorted, n_buckets))
        })
    }

    /// Given the starts of all buckets and the number of points.
    fn exact(n_buckets: u64, first: Vec<u32>) -> Self {
        // The number of points is the last, and none is larger.
        let starts = match first.last() {
            Some(&last) if u16::try_from(last).is_ok() => {
                Starts::Small(first.into_iter().map(|start| start as u16).collect())
            }
            _ => Starts::Exact(first),
        };
        Index { n_buckets, starts }
    }

    /// Sorts points in linear time, with room for `spare` more, and indexes them: they are dealt into buckets of
    /// one or two, and each is sorted by itself.
    pub(super) fn sort(points: &[u64], spare: usize) -> (Vec<u64>, Self) {
        let n_buckets = n_buckets(points.len(), exact_bucket(points.len()));
        let mut first = starts(points, n_buckets);
        let mut sorted = vec![0; points.len() + spare];
        sorted.truncate(points.len());
        // `first[b]` moves to the end of bucket `b` while its points are dealt, which is the start of the next.
        for &point in points {
            let next = &mut first[bucket(point, n_buckets).0];
            sorted[*next as usize] = point;
            *next += 1;
        }
        let mut start = 0;
        for end in &mut first {
            let stop = *end as usize;
            sorted[start..stop].sort_unstable();
            *end = start as u32;
            start = stop;
        }
        let index = Index::drift(&sorted).unwrap_or_else(|| Index::exact(n_buckets, first));
        (sorted, index)
    }

    /// With buckets of eight points, if there are enough of them and they are spread evenly enough.
    fn drift(sorted: &[u64]) -> Option<Self> {
        if sorted.len() < DRIFT_FROM {
            return None;
        }
        let n_buckets = n_buckets(sorted.len(), DRIFT_BUCKET);
        let starts = starts(sorted, n_buckets);
        // Not collected through an `Option`, which does not know the length and takes twice the room.
        let mut drift = Vec::with_capacity(starts.len());
        for (b, start) in starts.into_iter().enumerate() {
            let evenly = (b * DRIFT_BUCKET) as i64;
            drift.push(i16::try_from(i64::from(start) - evenly).ok()?);
        }
        Some(Index {
            n_buckets,
            starts: Starts::Drift(drift),
        })
    }

    /// Where to look for the position of a hash.
    // Always, as what calls it.
    #[inline(always)]
    pub(super) fn near(&self, hash: u64) -> Near {
        let (bucket, part) = bucket(hash, self.n_buckets);
        match &self.starts {
            Starts::Small(first) => Near::Start(usize::from(first[bucket])),
            Starts::Exact(first) => Near::Start(first[bucket] as usize),
            Starts::Drift(drift) => {
                let start = drifted(drift, bucket);
                let len = drifted(drift, bucket + 1) - start;
                // 40 bits of a fraction by at most 2^24 points fit.
                Near::Guess(start + ((part * len as u64) >> POSITION_BITS) as usize)
            }
        }
    }

    /// The places of the points in the bucket of a hash.
    pub(super) fn bucket(&self, hash: u64) -> core::ops::Range<usize> {
        let (bucket, _) = bucket(hash, self.n_buckets);
        match &self.starts {
            Starts::Small(first) => usize::from(first[bucket])..usize::from(first[bucket + 1]),
            Starts::Exact(first) => first[bucket] as usize..first[bucket + 1] as usize,
            Starts::Drift(drift) => drifted(drift, bucket)..drifted(drift, bucket + 1),
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match &self.starts {
            Starts::Small(first) => first.capacity() * size_of::<u16>(),
            Starts::Exact(first) => first.capacity() * size_of::<u32>(),
            Starts::Drift(drift) => drift.capacity() * size_of::<i16>(),
        }
    }
}

/// The start of a bucket. Never below zero: the sum is the place it was made from.
#[inline]
fn drifted(drift: &[i16], bucket: usize) -> usize {
    (bucket * DRIFT_BUCKET).wrapping_add_signed(isize::from(drift[bucket]))
}

/// How many points a bucket has where its start is known exactly.
fn exact_bucket(n_points: usize) -> usize {
    if n_points <= usize::from(u16::MAX) {
        SMALL_BUCKET
    } else {
        EXACT_BUCKET
    }
}

fn n_buckets(n_points: usize, in_bucket: usize) -> u64 {
    (n_points / in_bucket).max(1) as u64
}

/// How many points lie before each bucket, and how many there are.
fn starts(points: &[u64], n_buckets: u64) -> Vec<u32> {
    let mut starts = vec![0; n_buckets as usize + 1];
    for &point in points {
        starts[bucket(point, n_buckets).0] += 1;
    }
    let mut before = 0;
    for start in &mut starts {
        let here = *start;
        *start = before;
        before += here;
    }
    starts
}

/// The bucket of a word or hash, and where in it that is, as 40 bits of a fraction. Positions have 40 bits and
/// buckets are fewer than 2^24, so the product fits.
#[inline]
const fn bucket(hash: u64, n_buckets: u64) -> (usize, u64) {
    let scaled = (hash >> OWNER_BITS) * n_buckets;
    (
        (scaled >> POSITION_BITS) as usize,
        scaled & ((1 << POSITION_BITS) - 1),
    )
}
