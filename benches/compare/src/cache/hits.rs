//! Hit ratio: the requests of a trace in their order, on one thread, a value inserted after each miss.

use std::collections::HashSet;

use super::belady;
use super::contenders::{
    Contender, EXACT_LRU, FibreS3, FibreTinyLfu, FoyerLfu, FoyerLru, FoyerS3, Lru, MiniMoka, Moka,
    Purlin, PurlinOpen, Quick, Settled, TinyUfo, for_each_contender,
};
use crate::table::Table;

/// Capacities as shares of the keys there are.
const SHARES: [f64; 5] = [0.001, 0.01, 0.05, 0.1, 0.2];

/// Smaller caches are left out: at a few dozen entries a single shard or buffer decides.
pub(super) const SMALLEST: usize = 64;

/// Below so many entries a cache is small, and judged apart.
const SMALL: usize = 1_000;

/// Caches take their seeds at random, so those who do are run again.
const RUNS: usize = 3;

/// A cache that ends with so much more than its capacity is no rival there.
const OVERFULL: f64 = 1.01;

/// What each cache reached at each capacity of each trace.
#[derive(Default)]
pub(super) struct Results {
    cells: Vec<Cell>,
}

struct Cell {
    trace: String,
    capacity: usize,
    runs: Vec<Run>,
    /// In percent.
    belady: f64,
}

/// One cache at one capacity of one trace.
struct Run {
    name: &'static str,
    /// In percent, mean of the seeds.
    ratio: f64,
    /// Entries at the end, as a part of the capacity; the most of the seeds.
    held: f64,
}

/// The capacities at which caches are compared, of so many keys.
pub(super) fn capacities(unique: usize) -> Vec<usize> {
    SHARES
        .iter()
        .map(|share| (unique as f64 * share).round() as usize)
        .filter(|&capacity| capacity >= SMALLEST)
        .collect()
}

impl Results {
    /// Replays one sequence of requests, prints its hit ratios, and keeps them.
    pub(super) fn measure(&mut self, trace: &str, requests: &[u64]) {
        let keys: HashSet<u64> = requests.iter().copied().collect();
        let percent = |hits: usize| 100.0 * hits as f64 / requests.len() as f64;
        let mut cells: Vec<Cell> = capacities(keys.len())
            .into_iter()
            .map(|capacity| Cell {
                trace: trace.to_owned(),
                capacity,
                runs: Vec::new(),
                belady: percent(belady::hits(requests, capacity)),
            })
            .collect();
        macro_rules! run {
            ($name:literal, $cache:ty) => {
                for cell in &mut cells {
                    cell.run::<$cache>($name, requests, &keys);
                }
            };
        }
        for_each_contender!(run, u64);
        run!("moka, settled", Settled<Moka<u64>>);
        run!("mini-moka, settled", Settled<MiniMoka<u64>>);

        let heads = cells.iter().map(|c| format!("{} entries", c.capacity));
        let mut table = Table::new(std::iter::once("cache".to_owned()).chain(heads));
        let n_caches = cells.first().map_or(0, |cell| cell.runs.len());
        for n in 0..n_caches {
            let name = cells[0].runs[n].name.to_owned();
            let ratios = cells.iter().map(|cell| cell.runs[n].shown());
            table.row(std::iter::once(name).chain(ratios));
        }
        let best = cells.iter().map(|cell| format!("{:.2}", cell.belady));
        table.row(std::iter::once("(Belady: the limit)".to_owned()).chain(best));
        table.print(&format!(
            "Hit ratio in percent: {trace}, {} requests, {} keys, mean of {RUNS} seeds",
            requests.len(),
            keys.len(),
        ));
        self.cells.append(&mut cells);
    }

    /// Prints how far each cache is behind the best of the others that are not ours.
    pub(super) fn print_regret(&self) {
        self.print_cells();
        for (title, are_small) in [("1000 entries and more", false), ("fewer entries", true)] {
            let cells = self.cells.iter();
            let cells: Vec<&Cell> = cells
                .filter(|cell| (cell.capacity < SMALL) == are_small)
                .collect();
            let Some(first) = cells.first() else {
                continue;
            };
            let mut table =
                Table::new(["cache", "mean regret", "worst", "behind exact LRU at most"]);
            for name in first.runs.iter().map(|run| run.name) {
                let worst_of = |points: &dyn Fn(&Cell) -> f64| {
                    let points = cells.iter().map(|cell| points(cell));
                    points.fold(f64::NEG_INFINITY, f64::max)
                };
                let sum: f64 = cells.iter().map(|cell| cell.regret(name)).sum();
                table.row([
                    name.to_owned(),
                    format!("{:.2}", sum / cells.len() as f64),
                    format!("{:.2}", worst_of(&|cell| cell.regret(name))),
                    format!("{:.2}", worst_of(&|cell| cell.behind_lru(name))),
                ]);
            }
            table.print(&format!(
                "Regret: points behind the best rival of each of {} cells of {title}",
                cells.len()
            ));
        }
    }

    fn print_cells(&self) {
        let mut table = Table::new([
            "trace",
            "entries",
            "best rival",
            "its %",
            "ours %",
            "regret",
            "behind exact LRU",
            "Belady %",
        ]);
        for cell in &self.cells {
            let (best, its) = cell.best_rival(OURS);
            table.row([
                cell.trace.clone(),
                cell.capacity.to_string(),
                best.to_owned(),
                format!("{its:.2}"),
                format!("{:.2}", cell.ratio(OURS)),
                format!("{:.2}", cell.regret(OURS)),
                format!("{:.2}", cell.behind_lru(OURS)),
                format!("{:.2}", cell.belady),
            ]);
        }
        table.print(
            "Ours, cell by cell (a cache marked * ended above its capacity by more than a hundredth and is no rival there)",
        );
    }
}

const OURS: &str = "purlin";

impl Cell {
    fn run<C: Contender<u64>>(
        &mut self,
        name: &'static str,
        requests: &[u64],
        keys: &HashSet<u64>,
    ) {
        let runs = if C::IS_SEEDED { RUNS } else { 1 };
        let (mut ratios, mut most) = (0.0, 0);
        for _ in 0..runs {
            let (hits, held) = replay::<C>(requests, keys, self.capacity);
            ratios += 100.0 * hits as f64 / requests.len() as f64;
            most = held.max(most);
        }
        self.runs.push(Run {
            name,
            ratio: ratios / runs as f64,
            held: most as f64 / self.capacity as f64,
        });
    }

    fn ratio(&self, name: &str) -> f64 {
        let found = self.runs.iter().find(|run| run.name == name);
        found.map_or(f64::NAN, |run| run.ratio)
    }

    fn regret(&self, name: &str) -> f64 {
        self.best_rival(name).1 - self.ratio(name)
    }

    fn behind_lru(&self, name: &str) -> f64 {
        self.ratio(EXACT_LRU) - self.ratio(name)
    }

    /// The best of those that are not ours, nor this one, nor above their capacity.
    fn best_rival(&self, name: &str) -> (&'static str, f64) {
        let rivals = self
            .runs
            .iter()
            .filter(|run| run.name != name && run.name != OURS && !run.is_overfull());
        let best = rivals.max_by(|a, b| a.ratio.total_cmp(&b.ratio));
        best.map_or(("", f64::NAN), |run| (run.name, run.ratio))
    }
}

impl Run {
    fn is_overfull(&self) -> bool {
        self.held > OVERFULL
    }

    fn shown(&self) -> String {
        let mark = if self.is_overfull() { "*" } else { "" };
        format!("{:.2}{mark}", self.ratio)
    }
}

/// Hits, and how many keys it answers for afterwards.
fn replay<C: Contender<u64>>(
    requests: &[u64],
    keys: &HashSet<u64>,
    capacity: usize,
) -> (usize, usize) {
    let cache = C::with_capacity(capacity);
    let mut hits = 0;
    for &key in requests {
        match cache.get(&key) {
            Some(value) => {
                assert_eq!(value, !key, "a cache gave another key's value");
                hits += 1;
            }
            None => cache.insert(key, !key),
        }
    }
    (hits, cache.held(keys.iter().copied()))
}
