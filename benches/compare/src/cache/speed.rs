//! Time an operation, in one run with the rivals and as a ratio to quick_cache.
//!
//! Held fixed: the requests, one fresh cache a round. Varied: the workload, the kind of key and the number of
//! threads. Each workload stands for a real load: a hot set that fits (sessions), a large table read evenly (feature
//! look-ups), reads with some writes (objects of a shop), and a scan that evicts all the time (a batch job beside the
//! service).

use std::hint::black_box;

use workloads::keys;

use super::contenders::{
    Contender, FibreS3, FibreTinyLfu, FoyerLfu, FoyerLru, FoyerS3, Key, Lru, MiniMoka, Moka,
    Purlin, PurlinOpen, Quick, TinyUfo, for_each_contender,
};
use crate::rounds::{Timed, medians, together};
use crate::table::Table;

struct Workload<K> {
    name: &'static str,
    capacity: usize,
    /// Inserted before the clock starts.
    fill: usize,
    /// One in this many operations is an insert, the others are reads; 0 for reads only.
    insert_every: usize,
    requests: Vec<K>,
}

impl<K: Key> Workload<K> {
    /// All of them, in their order. Made when it is their turn, for a million strings take a while and some room.
    fn all(ops: usize) -> impl Iterator<Item = Self> {
        (0..5).map(move |n| {
            let (name, capacity, fill, insert_every, numbers) = match n {
                0 => (
                    "hot hits",
                    131_072,
                    65_536,
                    0,
                    keys::zipf(ops, 65_536, 0.99, 1),
                ),
                1 => (
                    "1M uniform hits",
                    1_300_000,
                    1_000_000,
                    0,
                    keys::uniform(ops, 1_000_000, 2),
                ),
                2 => (
                    "95/5",
                    100_000,
                    100_000,
                    20,
                    keys::zipf(ops, 1_000_000, 0.99, 3),
                ),
                3 => (
                    "75/25",
                    100_000,
                    100_000,
                    4,
                    keys::zipf(ops, 1_000_000, 0.99, 4),
                ),
                _ => (
                    "insert, evict",
                    100_000,
                    100_000,
                    1,
                    (1_000_000..).take(ops).collect(),
                ),
            };
            Workload {
                name,
                capacity,
                fill,
                insert_every,
                requests: numbers.into_iter().map(K::from_number).collect(),
            }
        })
    }
}

/// Prints nanoseconds an operation and thread, and the ratio to quick_cache.
pub(super) fn print(only: &str, rounds: usize, ops: usize) {
    print_for::<u64>(only, rounds, ops);
    print_for::<String>(only, rounds, ops);
}

fn print_for<K: Key>(only: &str, rounds: usize, ops: usize) {
    const THREADS: [usize; 2] = [1, 2];
    let heads = ["workload", "cache", "ns/op", "to quick_cache"];
    let mut tables = THREADS.map(|_| Table::new(heads));
    for workload in Workload::<K>::all(ops) {
        for (threads, table) in THREADS.into_iter().zip(&mut tables) {
            measure(&workload, threads, only, rounds, ops, table);
        }
    }
    for (threads, table) in THREADS.into_iter().zip(tables) {
        table.print(&format!(
            "Time an operation, {}, {threads} thread(s), median of {rounds} interleaved rounds",
            K::NAME
        ));
    }
}

fn measure<K: Key>(
    workload: &Workload<K>,
    threads: usize,
    only: &str,
    rounds: usize,
    ops: usize,
    table: &mut Table,
) {
    let filling: Vec<K> = (0..workload.fill as u64).map(K::from_number).collect();
    let mut contenders: Vec<Timed<'_>> = Vec::new();
    macro_rules! add {
        ($name:literal, $cache:ty) => {
            // The rival that is the measure of all runs whoever else does.
            if $name.contains(only) || $name == ANCHOR {
                contenders.push(Timed {
                    name: $name,
                    once: Box::new(|| {
                        let cache = <$cache>::with_capacity(workload.capacity);
                        for (key, number) in filling.iter().zip(0..) {
                            cache.insert(key.clone(), number);
                        }
                        cache.settle();
                        together(threads, |thread| work(&cache, workload, thread, threads))
                    }),
                });
            }
        };
    }
    for_each_contender!(add, K);
    let medians = medians(&mut contenders, rounds, ops);
    let anchor = medians.iter().find(|(name, _)| *name == ANCHOR);
    let anchor = anchor.map_or(f64::NAN, |(_, ns)| *ns);
    for (name, ns) in medians {
        table.row([
            workload.name.to_owned(),
            name.to_owned(),
            format!("{ns:.1}"),
            format!("{:.2}", ns / anchor),
        ]);
    }
}

const ANCHOR: &str = "quick_cache";

/// One thread's part: all requests, begun at another place by each thread, so that two do not run in step.
fn work<K: Key, C: Contender<K>>(cache: &C, workload: &Workload<K>, thread: usize, threads: usize) {
    let start = workload.requests.len() / threads * thread;
    let (end, begin) = workload.requests.split_at(start);
    for (i, key) in begin.iter().chain(end).enumerate() {
        if workload.insert_every > 0 && i % workload.insert_every == 0 {
            cache.insert(key.clone(), i as u64);
        } else {
            black_box(cache.get(key));
        }
    }
}
