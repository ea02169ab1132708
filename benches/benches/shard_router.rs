//! The shard router: a route, its admission on the other side, a map's bytes.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use purlin_shard_router::{Guard, Router, Shard, ShardId, ShardMap};
use workloads::keys;

fn map() -> ShardMap {
    ShardMap::even_split((0..16).map(|shard| Shard::new(ShardId(shard), format!("shard-{shard}"))))
        .expect("sixteen shards share the slots")
}

fn route(c: &mut Criterion) {
    let router = Router::new(map());
    let mut numbers = keys::uniform(65_536, usize::MAX, 1).into_iter().cycle();
    c.bench_function("shard_router/route a u64", |b| {
        b.iter(|| router.route(black_box(&numbers.next().unwrap_or_default())));
    });
    let texts: Vec<String> = (0..65_536).map(keys::text).collect();
    let mut texts = texts.iter().cycle();
    c.bench_function("shard_router/route 24 bytes", |b| {
        b.iter(|| {
            texts
                .next()
                .map(|text| router.route(black_box(text.as_str())))
        });
    });
}

fn admit(c: &mut Criterion) {
    let map = map();
    let guard = Guard::new(ShardId(0), map.clone());
    let own = (0u64..)
        .map(|key| map.route(&key))
        .find(|route| route.shard() == ShardId(0));
    let own = own.expect("some key lives on the first shard");
    c.bench_function("shard_router/admit", |b| {
        b.iter(|| guard.admit(black_box(own)).is_ok())
    });
}

fn bytes(c: &mut Criterion) {
    let bytes = map().encode();
    c.bench_function("shard_router/decode a map of 16 shards", |b| {
        b.iter(|| ShardMap::decode(black_box(&bytes)).expect("its own bytes"));
    });
}

criterion_group!(benches, route, admit, bytes);
criterion_main!(benches);
