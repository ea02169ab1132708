//! Time an operation, in one run with the rivals and as a ratio to quick_cache.
//!
//! Held fixed: u64 keys and values, the requests, one fresh cache a round. Varied: the workload and the
//! number of threads. Each workload stands for a real load: a hot set that fits (sessions), a large table
//! read evenly (feature look-ups), reads with some writes (objects of a shop), and a scan that evicts all
//! the time (a batch job beside the service).

use std::hint::black_box;

use workloads::keys;

use super::contenders::{Contender, Lru, Moka, Purlin, Quick, for_each_contender};
use crate::rounds::{Timed, medians, together};
use crate::table::Table;

struct Workload {
    name: &'static str,
    capacity: usize,
    /// Inserted before the clock starts.
    fill: usize,
    /// One in this many operations is an insert, the others are reads; 0 for reads only.
    insert_every: usize,
    requests: Vec<u64>,
}

fn workloads(ops: usize) -> Vec<Workload> {
    vec![
        Workload {
            name: "hot hits",
            capacity: 131_072,
            fill: 65_536,
            insert_every: 0,
            requests: keys::zipf(ops, 65_536, 0.99, 1),
        },
        Workload {
            name: "1M uniform hits",
            capacity: 1_300_000,
            fill: 1_000_000,
            insert_every: 0,
            requests: keys::uniform(ops, 1_000_000, 2),
        },
        Workload {
            name: "95/5",
            capacity: 100_000,
            fill: 100_000,
            insert_every: 20,
            requests: keys::zipf(ops, 1_000_000, 0.99, 3),
        },
        Workload {
            name: "75/25",
            capacity: 100_000,
            fill: 100_000,
            insert_every: 4,
            requests: keys::zipf(ops, 1_000_000, 0.99, 4),
        },
        Workload {
            name: "insert, evict",
            capacity: 100_000,
            fill: 100_000,
            insert_every: 1,
            requests: (1_000_000..).take(ops).collect(),
        },
    ]
}

/// Prints nanoseconds an operation and thread, and the ratio to quick_cache.
pub(super) fn print(rounds: usize, ops: usize) {
    let workloads = workloads(ops);
    for threads in [1, 2] {
        let mut table = Table::new(["workload", "cache", "ns/op", "to quick_cache"]);
        for workload in &workloads {
            let mut contenders: Vec<Timed<'_>> = Vec::new();
            macro_rules! add {
                ($name:literal, $cache:ident) => {
                    contenders.push(Timed {
                        name: $name,
                        once: Box::new(move || {
                            let cache = $cache::with_capacity(workload.capacity);
                            (0..workload.fill as u64).for_each(|key| cache.insert(key, !key));
                            cache.settle();
                            together(threads, |thread| work(&cache, workload, thread, threads))
                        }),
                    });
                };
            }
            for_each_contender!(add);
            let medians = medians(&mut contenders, rounds, ops);
            let anchor = medians
                .iter()
                .find(|(name, _)| *name == "quick_cache")
                .map_or(1.0, |(_, ns)| *ns);
            for (name, ns) in medians {
                table.row([
                    workload.name.to_owned(),
                    name.to_owned(),
                    format!("{ns:.1}"),
                    format!("{:.2}", ns / anchor),
                ]);
            }
        }
        table.print(&format!(
            "Time an operation, {threads} thread(s), median of {rounds} interleaved rounds"
        ));
    }
}

/// One thread's part: all requests, begun at another place by each thread, so that two do not run in step.
fn work<C: Contender>(cache: &C, workload: &Workload, thread: usize, threads: usize) {
    let start = workload.requests.len() / threads * thread;
    let (end, begin) = workload.requests.split_at(start);
    for (i, &key) in begin.iter().chain(end).enumerate() {
        if workload.insert_every > 0 && i % workload.insert_every == 0 {
            cache.insert(key, !key);
        } else if let Some(value) = black_box(cache.get(key)) {
            assert_eq!(value, !key, "a cache gave another key's value");
        }
    }
}
