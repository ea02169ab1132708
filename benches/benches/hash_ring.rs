//! The ring: a lookup, three copies, and a change of the fleet, for 10 to 10 000 nodes.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use purlin_core::{Node, NodeId, Placement};
use purlin_hash_ring::Ring;
use workloads::keys;

fn ring(nodes: u64) -> Ring {
    Ring::from_nodes((0..nodes).map(|node| Node::new(NodeId(node), format!("node-{node}"))))
        .expect("distinct nodes make a ring")
}

fn lookup(c: &mut Criterion) {
    let texts: Vec<String> = (0..65_536).map(keys::text).collect();
    let mut group = c.benchmark_group("hash_ring");
    for nodes in [10, 100, 1_000, 10_000] {
        let ring = ring(nodes);
        let mut hashes = keys::uniform(65_536, usize::MAX, 1).into_iter().cycle();
        group.bench_function(BenchmarkId::new("owner of a ready hash", nodes), |b| {
            b.iter(|| ring.owner_of_hash(black_box(hashes.next().unwrap_or_default())));
        });
        let mut names = texts.iter().cycle();
        group.bench_function(BenchmarkId::new("owner of 24 bytes", nodes), |b| {
            b.iter(|| {
                names
                    .next()
                    .and_then(|name| Placement::owner(&ring, black_box(name.as_bytes())))
            });
        });
        let mut copies = [NodeId(0); 3];
        group.bench_function(BenchmarkId::new("three copies", nodes), |b| {
            b.iter(|| {
                let n = ring
                    .replicas_of_hash(black_box(hashes.next().unwrap_or_default()), &mut copies);
                assert_eq!(n, 3);
            });
        });
    }
    group.finish();
}

fn change(c: &mut Criterion) {
    let mut group = c.benchmark_group("hash_ring");
    group.sample_size(20);
    let thousand = ring(1_000);
    group.bench_function("build 1000 nodes", |b| b.iter(|| ring(1_000)));
    group.bench_function("add one to 1000 nodes", |b| {
        b.iter(|| thousand.with(Node::new(NodeId(5_000), "new")));
    });
    group.bench_function("remove one of 1000 nodes", |b| {
        b.iter(|| thousand.without(NodeId(500)))
    });
    group.finish();
}

criterion_group!(benches, lookup, change);
criterion_main!(benches);
