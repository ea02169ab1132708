//! Hit ratio: the requests of a trace in their order, on one thread, a value inserted after each miss.

use std::collections::HashSet;

use super::belady;
use super::contenders::{Contender, Lru, Moka, Purlin, Quick, for_each_contender};
use crate::table::Table;

/// Capacities as shares of the keys there are.
const SHARES: [f64; 5] = [0.001, 0.01, 0.05, 0.1, 0.2];

/// Smaller caches are left out: at a few dozen entries a single shard or buffer decides.
const SMALLEST: usize = 64;

/// What each cache reached at each capacity of each trace.
#[derive(Default)]
pub(super) struct Results {
    cells: Vec<Cell>,
}

struct Cell {
    capacity: usize,
    /// In percent, by cache.
    ratios: Vec<(&'static str, f64)>,
}

/// Up to so many entries a cache is small, and judged apart.
const SMALL: usize = 1_000;

impl Results {
    /// Prints hit ratios for one sequence of requests, and keeps them.
    pub(super) fn measure(&mut self, name: &str, requests: &[u64]) {
        let unique = requests.iter().collect::<HashSet<_>>().len();
        let capacities: Vec<usize> = SHARES
            .iter()
            .map(|share| (unique as f64 * share).round() as usize)
            .filter(|&capacity| capacity >= SMALLEST)
            .collect();
        let first = self.cells.len();
        self.cells.extend(capacities.iter().map(|&capacity| Cell {
            capacity,
            ratios: Vec::new(),
        }));
        let heads = std::iter::once("cache".to_owned())
            .chain(capacities.iter().map(|c| format!("{c} entries")));
        let mut table = Table::new(heads);
        let percent = |hits: usize| 100.0 * hits as f64 / requests.len() as f64;
        macro_rules! row {
            ($name:literal, $cache:ident) => {
                let mut row = vec![$name.to_owned()];
                for (n, &capacity) in capacities.iter().enumerate() {
                    let runs = (0..RUNS).map(|_| percent(replay::<$cache>(requests, capacity)));
                    let mean = runs.sum::<f64>() / RUNS as f64;
                    self.cells[first + n].ratios.push(($name, mean));
                    row.push(format!("{mean:.2}"));
                }
                table.row(row);
            };
        }
        for_each_contender!(row);
        let best = capacities
            .iter()
            .map(|&capacity| format!("{:.2}", percent(belady::hits(requests, capacity))));
        table.row(std::iter::once("(Belady: the limit)".to_owned()).chain(best));
        table.print(&format!(
            "Hit ratio in percent: {name}, {} requests, {unique} keys, mean of {RUNS} seeds",
            requests.len()
        ));
    }

    /// Prints how far each cache is behind the best of the others that are not ours, over all cells.
    pub(super) fn print_regret(&self) {
        for (title, is_of_it) in [
            (
                "caches of 1000 entries and more",
                (|c| c >= SMALL) as fn(usize) -> bool,
            ),
            ("smaller caches", |c| c < SMALL),
        ] {
            let cells: Vec<&Cell> = self.cells.iter().filter(|c| is_of_it(c.capacity)).collect();
            let Some(first) = cells.first() else {
                continue;
            };
            let mut table =
                Table::new(["cache", "mean regret", "worst", "behind exact LRU at most"]);
            for &(name, _) in &first.ratios {
                let regrets: Vec<f64> = cells.iter().map(|cell| cell.regret(name)).collect();
                let mean = regrets.iter().sum::<f64>() / regrets.len() as f64;
                let worst = regrets.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let behind = cells
                    .iter()
                    .map(|cell| cell.ratio("lru, one lock") - cell.ratio(name))
                    .fold(f64::NEG_INFINITY, f64::max);
                table.row([
                    name.to_owned(),
                    format!("{mean:.2}"),
                    format!("{worst:.2}"),
                    format!("{behind:.2}"),
                ]);
            }
            table.print(&format!(
                "Regret: points behind the best rival of each of {} cells, {title}",
                cells.len()
            ));
        }
    }
}

impl Cell {
    fn ratio(&self, name: &str) -> f64 {
        let found = self.ratios.iter().find(|(other, _)| *other == name);
        found.map_or(f64::NAN, |(_, ratio)| *ratio)
    }

    fn regret(&self, name: &str) -> f64 {
        let rivals = self
            .ratios
            .iter()
            .filter(|(other, _)| *other != name && !other.starts_with("purlin"));
        let best = rivals
            .map(|(_, ratio)| *ratio)
            .fold(f64::NEG_INFINITY, f64::max);
        best - self.ratio(name)
    }
}

/// Caches take their seeds at random, so each is run again.
const RUNS: usize = 3;

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
