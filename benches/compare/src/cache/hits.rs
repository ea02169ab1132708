//! Hit ratio: the requests of a trace in their order, on one thread, a value inserted after each miss.

use std::collections::HashSet;

use super::belady;
use super::contenders::{Contender, Lru, Moka, Purlin, Quick, for_each_contender};
use crate::table::Table;

/// Capacities as shares of the keys there are.
const SHARES: [f64; 5] = [0.001, 0.01, 0.05, 0.1, 0.2];

/// Smaller caches are left out: at a few dozen entries a single shard or buffer decides.
const SMALLEST: usize = 64;

/// Prints hit ratios for one sequence of requests.
pub(super) fn print(name: &str, requests: &[u64]) {
    let unique = requests.iter().collect::<HashSet<_>>().len();
    let capacities: Vec<usize> = SHARES
        .iter()
        .map(|share| (unique as f64 * share).round() as usize)
        .filter(|&capacity| capacity >= SMALLEST)
        .collect();
    let heads = std::iter::once("cache".to_owned())
        .chain(capacities.iter().map(|c| format!("{c} entries")));
    let mut table = Table::new(heads);
    let percent = |hits: usize| format!("{:.2}", 100.0 * hits as f64 / requests.len() as f64);
    macro_rules! row {
        ($name:literal, $cache:ident) => {
            let ratios = capacities
                .iter()
                .map(|&capacity| percent(replay::<$cache>(requests, capacity)));
            table.row(std::iter::once($name.to_owned()).chain(ratios));
        };
    }
    for_each_contender!(row);
    let best = capacities
        .iter()
        .map(|&capacity| percent(belady::hits(requests, capacity)));
    table.row(std::iter::once("(Belady: the limit)".to_owned()).chain(best));
    table.print(&format!(
        "Hit ratio in percent: {name}, {} requests, {unique} keys",
        requests.len()
    ));
}

fn replay<C: Contender>(requests: &[u64], capacity: usize) -> usize {
    let cache = C::with_capacity(capacity);
    let mut hits = 0;
    for &key in requests {
        match cache.get(key) {
            Some(value) => {
                assert_eq!(value, !key, "a cache gave another key's value");
                hits += 1;
            }
            None => cache.insert(key, !key),
        }
    }
    hits
}
