//! The cache: a hit, a miss that evicts, a coalesced load's fast path, with and without expiry.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use purlin_lru_cache::Cache;
use workloads::keys;

const ENTRIES: usize = 100_000;

fn filled(cache: Cache<u64, u64>) -> Cache<u64, u64> {
    (0..ENTRIES as u64).for_each(|key| drop(cache.insert(key, !key)));
    cache
}

fn reads(c: &mut Criterion) {
    let mut group = c.benchmark_group("lru_cache");
    let plain = filled(Cache::new(2 * ENTRIES));
    let expiring = filled(
        Cache::builder()
            .entry_limit(2 * ENTRIES)
            .time_to_live(Duration::from_secs(3_600))
            .build(),
    );
    for (name, cache) in [("hit", &plain), ("hit, with a time to live", &expiring)] {
        let mut hot = keys::zipf(65_536, ENTRIES, 0.99, 1).into_iter().cycle();
        group.bench_function(name, |b| {
            b.iter(|| {
                let key = hot.next().unwrap_or_default();
                assert_eq!(cache.get(black_box(&key)), Some(!key));
            });
        });
    }
    let mut hot = keys::zipf(65_536, ENTRIES, 0.99, 2).into_iter().cycle();
    group.bench_function("get or load, present", |b| {
        b.iter(|| {
            let key = hot.next().unwrap_or_default();
            assert_eq!(plain.get_or_load(&key, |_| 0), !key);
        });
    });
    group.finish();
}

fn writes(c: &mut Criterion) {
    let cache = filled(Cache::new(ENTRIES));
    let mut key = ENTRIES as u64;
    c.bench_function("lru_cache/insert that evicts", |b| {
        b.iter(|| {
            key += 1;
            cache.insert(black_box(key), !key)
        });
    });
    assert_eq!(cache.len(), ENTRIES);
}

criterion_group!(benches, reads, writes);
criterion_main!(benches);
