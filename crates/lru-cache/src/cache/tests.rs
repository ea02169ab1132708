use super::*;

#[test]
fn small_caches_have_one_shard_and_none_has_a_shard_that_could_store_nothing() {
    for limit in [0, 1, 2, 2047] {
        assert_eq!(shard_count(None, Policy::Adaptive, limit, 1024, 512), 1);
    }
    assert_eq!(shard_count(Some(16), Policy::Lru, 10, 1024, 512), 8);
    assert_eq!(shard_count(Some(16), Policy::Lru, 0, 1024, 512), 1);
    assert_eq!(shard_count(Some(0), Policy::Lru, 10, 1024, 512), 1);
    assert_eq!(
        shard_count(Some(usize::MAX), Policy::Lru, usize::MAX, 1024, 512),
        512
    );
    assert!(shard_count(None, Policy::Adaptive, usize::MAX, 1024, 8) <= 8);
}

#[test]
fn the_parts_of_the_limit_add_up_to_it() {
    for limit in [8, 9, 15, 1_000, usize::MAX] {
        for policy in [Policy::Lru, Policy::Adaptive] {
            let cache = Cache::<u64, u64>::builder()
                .entry_limit(limit)
                .policy(policy);
            let cache = cache.shards(8).build();
            let limits = cache.shards.iter().map(|shard| shard.lock().engine.limit());
            assert_eq!(cache.n_shards(), 8);
            let floating = match policy {
                Policy::Lru => 0,
                // What each has for good leaves this for all.
                _ => limit - 8 * Pool::new(limit, 8).own(),
            };
            assert_eq!(limits.sum::<usize>() + floating, limit);
        }
    }
}

#[test]
fn a_large_cache_is_full_to_a_thousandth_before_it_evicts() {
    for limit in [4_096, 20_000, 100_000] {
        let cache: Cache<u64, u64> = Cache::new(limit);
        let mut stored = 0;
        while cache.insert(stored, stored).evicted.is_empty() {
            stored += 1;
        }
        assert!(
            stored as usize >= limit - limit / 1_000,
            "{stored} of {limit}"
        );
        (0..stored).for_each(|key| drop(cache.insert(1_000_000 + key, key)));
        assert!(cache.len() <= limit);
        // What is given back can be had again, by whichever shard needs it.
        cache.clear();
        stored = 0;
        while cache.insert(stored, stored).evicted.is_empty() {
            stored += 1;
        }
        assert!(
            stored as usize >= limit - limit / 1_000,
            "{stored} of {limit}"
        );
    }
}

/// A hasher that leaves the upper bits empty.
#[derive(Default)]
struct Plain(u64);

impl core::hash::Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("the keys are u64");
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[test]
fn a_hasher_with_empty_upper_bits_still_fills_all_shards() {
    let cache = Cache::builder()
        .entry_limit(80_000)
        .shards(8)
        .hasher(core::hash::BuildHasherDefault::<Plain>::default())
        .build();
    for key in 0..8_000u64 {
        cache.insert(key, ());
    }
    for shard in &cache.shards {
        let len = shard.lock().engine.len();
        assert!(
            (800..1_200).contains(&len),
            "a shard holds {len} of 8000 keys"
        );
    }
}
