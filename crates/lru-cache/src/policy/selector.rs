#[cfg(feature = "serde")]
mod state;
pub(crate) mod tuning;

use purlin_core::Rng;

#[cfg(feature = "serde")]
pub(crate) use self::state::State;
use self::tuning::Tuning;

use super::Policy;
use super::arm::Arm;
use super::shadow::Shadow;

/// Finds the arm that suits the load, by trying all of them on a sample of the keys.
///
/// Keys are sampled by hash, so a sampled key is seen at each of its requests, and a shadow with the same share of
/// the capacity as of the keys behaves like the whole. Each request gives a pair of results for the current arm
/// and another; only the pairs that differ tell anything (McNemar's test, 1947).
#[derive(Debug)]
pub(crate) struct Selector {
    trials: [Trial; Arm::CHOICES.len()],
    current: usize,
    tuning: Tuning,
    /// Keys are sampled whose mixed hash begins with so many zeros.
    sample_bits: u32,
    /// The capacity that the shadows were made for.
    capacity: usize,
    /// Sampled requests in a period, and since the last one.
    period: u32,
    requests: u32,
    /// Hits of the cache itself on sampled requests, decayed.
    real_hits: f32,
    /// Periods for which the cache is flushed still.
    flushing: u8,
    rng: Rng,
}

#[derive(Debug)]
struct Trial {
    shadow: Shadow,
    /// Hits, decayed.
    hits: f32,
    /// Hits less those of the current arm, decayed.
    gain: f32,
    /// Requests in which they differed, decayed.
    differed: f32,
}

/// The least capacity of a shadow, if the cache has it: fewer keys are too few to stand for the others.
const SHADOW_MIN: usize = 256;
/// At most one key in 256 is sampled while the shadows stay below [`SHADOW_MAX`]: rarer samples would make the
/// choice slow on a cache that is only a few times refilled.
const SAMPLE_BITS_MAX: u32 = 8;
const SHADOW_MAX: usize = 8192;

const PERIOD_MIN: u32 = 512;
/// What is left of the past after a period.
const DECAY: f32 = 0.9;
/// It must also be ahead by this part of the current arm's hits.
const LEAD: f32 = 0.005;
/// The most an arm can be behind, as a part of the requests of a period. The time to change over when the load
/// does would otherwise grow with the time it was steady.
const DEBT: f32 = 0.125;
/// A cache below this part of its shadow's hits is stuck in a state that its arm does not get out of, such as a
/// main full of what is never asked for again.
const STUCK: f32 = 0.7;
/// As least recently used for so many periods, it gets rid of that state.
const FLUSH_PERIODS: u8 = 2;

impl Selector {
    pub(crate) fn new(capacity: usize, seed: u64) -> Self {
        Selector::tuned(capacity, seed, Tuning::default())
    }

    pub(crate) fn tuned(capacity: usize, seed: u64, tuning: Tuning) -> Self {
        let mut rng = Rng::from_seed(seed);
        let sample_bits = sample_bits(capacity);
        let shadow_capacity = capacity >> sample_bits;
        let trials = tuning.arms.map(|arm| Trial {
            shadow: Shadow::new(arm, shadow_capacity, rng.fork()),
            hits: 0.0,
            gain: 0.0,
            differed: 0.0,
        });
        Selector {
            trials,
            current: tuning.first(),
            // Below 2 * SHADOW_MAX, or twice the shadows of the last capacity before they are halved.
            period: tuning.period(PERIOD_MIN.max((2 * shadow_capacity).min(1 << 20) as u32)),
            tuning,
            sample_bits,
            capacity,
            requests: 0,
            real_hits: 0.0,
            flushing: 0,
            rng,
        }
    }

    /// One, if the policy is the one that needs it. A cache bounded by weight is taken for small until it has shown
    /// how many entries fill it.
    pub(crate) fn for_policy(
        policy: Policy,
        limit: usize,
        is_weighed: bool,
        seed: u64,
    ) -> Option<Self> {
        let capacity = if is_weighed { 0 } else { limit };
        (policy == Policy::Adaptive).then(|| Selector::new(capacity, seed))
    }

    /// Whether requests for a key with this hash are to be told.
    #[inline]
    pub(crate) fn samples(&self, hash: u64) -> bool {
        is_sampled(hash, self.sample_bits)
    }

    #[cfg(feature = "std")]
    pub(crate) fn sample_bits(&self) -> u32 {
        self.sample_bits
    }

    /// Takes note of a request for a sampled key. True if the arm may have changed.
    pub(crate) fn note(&mut self, hash: u64, hit: bool) -> bool {
        // One request in hundreds comes here, so the shadows are far from the processor; it fetches them all at once.
        for trial in &self.trials {
            trial.shadow.prefetch(hash);
        }
        let hits = self
            .trials
            .each_mut()
            .map(|trial| trial.shadow.request(hash));
        let current = hits[self.current];
        for (trial, hit) in self.trials.iter_mut().zip(hits) {
            trial.hits += f32::from(u8::from(hit));
            if hit != current {
                trial.gain += if hit { 1.0 } else { -1.0 };
                trial.differed += 1.0;
            }
        }
        self.real_hits += f32::from(u8::from(hit));
        self.requests += 1;
        if self.requests < self.period {
            return false;
        }
        self.requests = 0;
        self.decide();
        true
    }

    /// The arm to go by.
    pub(crate) fn arm(&self) -> Arm {
        if self.flushing > 0 {
            Arm::LRU
        } else {
            self.tuning.arms[self.current]
        }
    }

    /// Begins the trials anew for another capacity, if this one is far from what they were for. The arm stays.
    pub(crate) fn resize(&mut self, capacity: usize) {
        if capacity / 2 <= self.capacity && self.capacity / 2 <= capacity {
            return;
        }
        let current = self.current;
        *self = Selector::tuned(capacity, self.rng.next_u64(), self.tuning);
        self.current = current;
    }

    fn decide(&mut self) {
        let best = (0..self.trials.len())
            .filter(|&idx| self.tuning.has(idx))
            .max_by(|&a, &b| self.trials[a].gain.total_cmp(&self.trials[b].gain))
            .expect("there are arms");
        let Trial { gain, differed, .. } = self.trials[best];
        // The one is against deciding by a single pair, and the squares for want of a square root without `std`.
        let beyond = gain - 1.0;
        let deviations = self.tuning.deviations;
        let is_sure = beyond > 0.0 && beyond * beyond > deviations * deviations * differed;
        if is_sure && gain > LEAD * self.trials[self.current].hits {
            for trial in &mut self.trials {
                trial.gain -= gain;
            }
            self.current = best;
            if self.flushing == 0 {
                self.start_afresh();
            }
        }
        if self.flushing > 0 {
            self.flushing -= 1;
            if self.flushing == 0 {
                self.start_afresh();
            }
        } else if self.real_hits < STUCK * self.trials[self.current].hits - 3.0 {
            self.flushing = FLUSH_PERIODS;
        }
        for trial in &mut self.trials {
            trial.hits *= DECAY;
            trial.gain = (trial.gain * DECAY).max(-DEBT * self.period as f32);
            trial.differed *= DECAY;
        }
        self.real_hits *= DECAY;
    }

    /// The cache's past was under another arm: it is credited with what the current one would have had.
    fn start_afresh(&mut self) {
        self.real_hits = self.trials[self.current].hits;
    }
}

/// Whether a key is of the sample of one in 2 to the power of `bits`.
#[inline]
pub(crate) fn is_sampled(hash: u64, bits: u32) -> bool {
    (hash.wrapping_mul(0x9fb2_1c65_1e98_df25) >> 32) as u32
        <= u32::MAX.checked_shr(bits).unwrap_or(0)
}

/// As many as leave a shadow [`SHADOW_MIN`] entries, up to [`SAMPLE_BITS_MAX`]; more if it had above
/// [`SHADOW_MAX`] then.
fn sample_bits(capacity: usize) -> u32 {
    let enough = |n: usize| n.checked_ilog2().unwrap_or(0);
    let most = enough(capacity / SHADOW_MIN);
    let least = enough(capacity / SHADOW_MAX) + u32::from(capacity > SHADOW_MAX);
    most.min(SAMPLE_BITS_MAX).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shadows_are_large_enough_and_not_larger_than_needed() {
        for capacity in [0, 1, 255, 256, 511] {
            assert_eq!(sample_bits(capacity), 0, "{capacity}");
        }
        for capacity in [512, 5_000, 131_072, 2_000_000, 1 << 40, usize::MAX] {
            let shadow = capacity >> sample_bits(capacity);
            assert!(
                (SHADOW_MIN..=SHADOW_MAX).contains(&shadow),
                "{capacity}: {shadow}"
            );
        }
    }

    #[test]
    fn a_sample_is_its_part_of_the_keys() {
        let selector = Selector::new(64 * SHADOW_MIN, 1);
        let mut rng = Rng::from_seed(3);
        let sampled = (0..64_000)
            .filter(|_| selector.samples(rng.next_u64()))
            .count();
        assert!((850..1_150).contains(&sampled), "{sampled}");
    }

    #[test]
    fn a_loop_that_is_too_long_for_recency_makes_it_change_from_least_recently_used() {
        let mut selector = Selector::new(500, 1);
        selector.current = Arm::LRU_IDX;
        for request in 0..8_000u64 {
            selector.note((request % 750).wrapping_mul(0x9e37_79b9_7f4a_7c15), false);
        }
        assert_ne!(selector.current, Arm::LRU_IDX);
    }

    #[test]
    fn chance_alone_moves_nothing() {
        let mut selector = Selector::new(500, 1);
        let mut rng = Rng::from_seed(9);
        for _ in 0..20_000 {
            // All keys are alike, so no arm is better than another.
            selector.note(rng.below(2_000).wrapping_mul(0x9e37_79b9_7f4a_7c15), true);
        }
        assert!(selector.trials.iter().all(|trial| trial.hits > 0.0));
        assert_eq!(selector.current, Arm::FIRST_IDX);
    }

    #[test]
    fn a_cache_that_is_far_behind_its_shadow_is_flushed_and_goes_on() {
        let mut selector = Selector::new(500, 1);
        let mut flushed = 0;
        for request in 0..20_000u64 {
            selector.note(
                (request % 300).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                request > 10_000,
            );
            flushed += u32::from(selector.flushing > 0);
        }
        assert!(flushed > 0);
        assert_eq!(selector.flushing, 0);
    }

    #[test]
    fn a_capacity_that_is_near_changes_nothing_and_a_far_one_begins_anew() {
        let mut selector = Selector::new(1_000, 1);
        selector.resize(1_900);
        assert_eq!(selector.capacity, 1_000);
        selector.current = 4;
        selector.resize(5_000);
        assert_eq!((selector.capacity, selector.current), (5_000, 4));
        selector.resize(0);
        assert!(!selector.note(1, false));
    }
}
