//! The ring and the slot table: a lookup, three copies, and a change of the fleet, for 10 to 10 000 nodes; and
//! choosing under a bound, by one thread and by two. Each group is named for the promise it measures: R2 is the
//! speed of lookups, R3 of replica sets, R6 of building and changing, R10 of bounded load.

use std::hint::black_box;
use std::thread;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use purlin_core::{Node, NodeId, Placement};
use purlin_hash_ring::{BoundedLoad, Ring, SlotTable};
use workloads::keys;

fn ring(nodes: u64) -> Ring {
    Ring::from_nodes((0..nodes).map(|node| Node::new(NodeId(node), format!("node-{node}"))))
        .expect("distinct nodes make a ring")
}

fn table(nodes: u64) -> SlotTable {
    SlotTable::from_nodes((0..nodes).map(|node| Node::new(NodeId(node), format!("node-{node}"))))
        .expect("distinct nodes make a table")
}

fn lookup(c: &mut Criterion) {
    let texts: Vec<String> = (0..65_536).map(keys::text).collect();
    let mut group = c.benchmark_group("ring_r2_r3");
    for nodes in [10, 100, 1_000, 10_000] {
        let (ring, table) = (ring(nodes), table(nodes));
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
        group.bench_function(
            BenchmarkId::new("slot table: owner of a ready hash", nodes),
            |b| {
                b.iter(|| table.owner_of_hash(black_box(hashes.next().unwrap_or_default())));
            },
        );
        let mut copies = [NodeId(0); 3];
        group.bench_function(BenchmarkId::new("slot table: three copies", nodes), |b| {
            b.iter(|| {
                let hash = black_box(hashes.next().unwrap_or_default());
                assert_eq!(table.replicas_of_hash(hash, &mut copies), 3);
            });
        });
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
    let mut group = c.benchmark_group("ring_r6");
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

/// Requests that begin and end under a bound, for many keys. Threads at work on different keys share the nodes'
/// counters and little else.
fn bounded(c: &mut Criterion) {
    let mut group = c.benchmark_group("ring_r10");
    let nodes = || (0..100).map(|node| Node::new(NodeId(node), ""));
    let bounded = BoundedLoad::new(table(100), nodes(), 1.25).expect("the bound is above 1");
    for threads in [1u64, 2] {
        group.bench_function(
            BenchmarkId::new("acquire and release, by threads", threads),
            |b| {
                b.iter_custom(|iterations| {
                    let start = Instant::now();
                    thread::scope(|scope| {
                        for thread in 0..threads {
                            let bounded = &bounded;
                            scope.spawn(move || {
                                for i in 0..iterations / threads {
                                    black_box(bounded.acquire(&(thread << 32 | i)));
                                }
                            });
                        }
                    });
                    start.elapsed()
                });
            },
        );
    }
    group.finish();
}

criterion_group!(benches, lookup, change, bounded);
criterion_main!(benches);
