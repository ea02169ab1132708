use core::ops::AddAssign;

use purlin_core::{Meter, Reading};

/// What a cache has counted since it was made, and what it holds.
///
/// Each shard counts under the lock it holds anyway, so counting is always on. A snapshot adds the shards up one
/// after the other: each shard's numbers agree with each other, and the sum may mix moments.
///
/// [`Meter`] publishes it under the names `purlin_lru_cache_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Look-ups that found a value. `peek` and `contains` do not count.
    pub hits: u64,
    /// Look-ups that found none, or one whose time had come.
    pub misses: u64,
    /// Entries stored, new or in place of an older one.
    pub insertions: u64,
    /// Entries not stored and given back.
    pub rejections: u64,
    /// Entries that had to make room.
    pub evictions: u64,
    /// Entries whose time had come.
    pub expirations: u64,
    /// Entries removed by `remove`, `retain` and `clear`, or with a rejected insert of their key, and those met whose tag was
    /// invalidated.
    pub removals: u64,
    /// Loads that gave a value.
    pub loads: u64,
    /// Loads that failed, panicked or were dropped.
    pub load_failures: u64,
    /// Callers that found somebody else's load of their key under way and waited for it.
    pub load_waits: u64,
    /// Entries held, with those whose time has come unnoticed.
    pub entries: usize,
    /// Their weight.
    pub weight: usize,
}

impl Stats {
    /// Look-ups that found a value, as a part of all; 0 before the first.
    pub fn hit_ratio(&self) -> f64 {
        match self.hits.saturating_add(self.misses) {
            0 => 0.0,
            lookups => self.hits as f64 / lookups as f64,
        }
    }
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Stats) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.insertions += other.insertions;
        self.rejections += other.rejections;
        self.evictions += other.evictions;
        self.expirations += other.expirations;
        self.removals += other.removals;
        self.loads += other.loads;
        self.load_failures += other.load_failures;
        self.load_waits += other.load_waits;
        self.entries += other.entries;
        self.weight += other.weight;
    }
}

impl Meter for Stats {
    fn read(&self, each: &mut dyn FnMut(Reading)) {
        let counters = [
            ("purlin_lru_cache_hits_total", self.hits),
            ("purlin_lru_cache_misses_total", self.misses),
            ("purlin_lru_cache_insertions_total", self.insertions),
            ("purlin_lru_cache_rejections_total", self.rejections),
            ("purlin_lru_cache_evictions_total", self.evictions),
            ("purlin_lru_cache_expirations_total", self.expirations),
            ("purlin_lru_cache_removals_total", self.removals),
            ("purlin_lru_cache_loads_total", self.loads),
            ("purlin_lru_cache_load_failures_total", self.load_failures),
            ("purlin_lru_cache_load_waits_total", self.load_waits),
        ];
        for (name, count) in counters {
            each(Reading::counter(name, count));
        }
        let gauges = [
            ("purlin_lru_cache_entries", self.entries),
            ("purlin_lru_cache_weight", self.weight),
        ];
        for (name, level) in gauges {
            each(Reading::gauge(name, level as f64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number of its own for each field, so that one left out of a sum or a reading would show.
    fn numbered() -> Stats {
        Stats {
            hits: 1,
            misses: 2,
            insertions: 3,
            rejections: 4,
            evictions: 5,
            expirations: 6,
            removals: 7,
            loads: 8,
            load_failures: 9,
            load_waits: 10,
            entries: 11,
            weight: 12,
        }
    }

    #[test]
    fn a_sum_and_the_readings_leave_nothing_out() {
        let mut sum = numbered();
        sum += numbered();
        let mut readings = alloc::vec::Vec::new();
        sum.read(&mut |reading| readings.push(alloc::format!("{}", reading.value)));
        let doubled: alloc::vec::Vec<_> = (1..=12).map(|n| alloc::format!("{}", 2 * n)).collect();
        assert_eq!(readings, doubled);
    }

    #[test]
    fn the_hit_ratio_of_no_look_up_is_zero() {
        assert_eq!(Stats::default().hit_ratio(), 0.0);
        assert_eq!(numbered().hit_ratio(), 1.0 / 3.0);
    }
}
