//! The shared words: hashing a key for its place, hashing it for a table, drawing a random number.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use purlin_core::{Clock, MapHasher, PlacementHash, Rng, SystemClock};
use workloads::keys;

/// What a key's place costs, by algorithm and length.
fn placement_hash(c: &mut Criterion) {
    let mut group = c.benchmark_group("core/placement_hash");
    for len in [8usize, 24, 64, 256] {
        let key = vec![7u8; len];
        group.throughput(Throughput::Bytes(len as u64));
        for (name, hash) in [
            ("xxh3-64", PlacementHash::xxh3(1)),
            ("xxh64", PlacementHash::xxh64(1)),
            ("siphash-2-4", PlacementHash::siphash24([1; 16])),
        ] {
            group.bench_with_input(BenchmarkId::new(name, len), &key, |b, key| {
                b.iter(|| hash.of_bytes(black_box(key)));
            });
        }
    }
    group.finish();

    c.bench_function("core/placement_hash/tuple of tenant and order", |b| {
        let hash = PlacementHash::default();
        b.iter(|| hash.of(&(black_box(7u32), black_box(99u64))));
    });
}

/// The hasher behind `MapHasher` against the ones it might be. The choice rests on this.
fn map_hasher(c: &mut Criterion) {
    let mut group = c.benchmark_group("core/map_hasher");
    let texts: Vec<String> = (0..1_024).map(keys::text).collect();
    group.bench_function("u64/MapHasher", |b| hash_numbers(b, &MapHasher::new()));
    group.bench_function("u64/ahash", |b| hash_numbers(b, &ahash::RandomState::new()));
    group.bench_function("u64/std", |b| {
        hash_numbers(b, &std::hash::RandomState::new())
    });
    group.bench_function("24 bytes/MapHasher", |b| {
        hash_texts(b, &texts, &MapHasher::new())
    });
    group.bench_function("24 bytes/ahash", |b| {
        hash_texts(b, &texts, &ahash::RandomState::new())
    });
    group.bench_function("24 bytes/std", |b| {
        hash_texts(b, &texts, &std::hash::RandomState::new())
    });
    group.bench_function("map of 1024 texts, get/MapHasher", |b| {
        look_up(b, &texts, MapHasher::new())
    });
    group.bench_function("map of 1024 texts, get/ahash", |b| {
        look_up(b, &texts, ahash::RandomState::new())
    });
    group.finish();
}

fn hash_numbers(b: &mut criterion::Bencher<'_>, hasher: &impl BuildHasher) {
    let mut key = 0u64;
    b.iter(|| {
        key += 1;
        hasher.hash_one(black_box(key))
    });
}

fn hash_texts(b: &mut criterion::Bencher<'_>, texts: &[String], hasher: &impl BuildHasher) {
    let mut texts = texts.iter().cycle();
    b.iter(|| {
        texts
            .next()
            .map(|text| hasher.hash_one(black_box(text.as_str())))
    });
}

fn look_up(b: &mut criterion::Bencher<'_>, texts: &[String], hasher: impl BuildHasher) {
    let mut map = HashMap::with_hasher(hasher);
    map.extend(texts.iter().enumerate().map(|(i, text)| (text.as_str(), i)));
    let mut texts = texts.iter().cycle();
    b.iter(|| {
        let found = texts
            .next()
            .and_then(|text| map.get(black_box(text.as_str())));
        assert!(found.is_some());
    });
}

/// What time and chance cost on a hot path.
fn clock_and_rng(c: &mut Criterion) {
    let clock = SystemClock::new();
    c.bench_function("core/system_clock/now", |b| b.iter(|| clock.now()));
    let mut rng = Rng::from_seed(1);
    c.bench_function("core/rng/below 10", |b| b.iter(|| rng.below(black_box(10))));
}

criterion_group!(benches, placement_hash, map_hasher, clock_and_rng);
criterion_main!(benches);
