//! How much of the cache's hit ratio is fitted to the traces that its choices were made by.
//!
//! The adaptive policy has choices in it that replaying traces decided: which arms there are, their windows, how sure the selector
//! has to be, how long it looks. For each trace this leaves that trace out, makes the choice anew by the others from a small
//! grid around the one in use, and replays the one left out with what came of it: `ci/leave-one-out.sh`.
//!
//! Choosing needs no rivals: the best rival of a cell does not depend on our choice, so least regret is most hits. The regret of the
//! choice in use is read from the table of docs/BENCHMARKS.md, and that of another is this plus what it loses against it here.

fn main() -> std::process::ExitCode {
    #[cfg(purlin_tuning)]
    return crossing::main();
    #[cfg(not(purlin_tuning))]
    {
        eprintln!(
            "leave_one_out: this wants a build with --cfg purlin_tuning; ci/leave-one-out.sh makes one"
        );
        std::process::ExitCode::from(2)
    }
}

#[cfg(purlin_tuning)]
mod crossing {
    use std::collections::{HashMap, HashSet};
    use std::error::Error;
    use std::path::{Path, PathBuf};
    use std::process::ExitCode;

    use purlin_core::{MapHasher, Rng};
    use purlin_lru_cache::{Cache, Tuning};
    use workloads::trace;

    /// Capacities as shares of the keys there are, as in the comparison.
    const SHARES: [f64; 5] = [0.001, 0.01, 0.05, 0.1, 0.2];
    const SMALLEST: usize = 64;
    /// Caches below this many entries are judged apart.
    const SMALL: usize = 1_000;

    /// Of longer traces, a part of the keys stands for all when the choice is made; the cache is smaller by that part.
    const CHOOSING: usize = 1 << 20;

    pub(super) fn main() -> ExitCode {
        let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
        let [regrets, traces] = args.as_slice() else {
            eprintln!("usage: leave_one_out docs/BENCHMARKS.md FOLDER-OF-TRACES");
            return ExitCode::from(2);
        };
        match run(regrets, traces) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("leave_one_out: {error}");
                ExitCode::from(2)
            }
        }
    }

    fn run(regrets: &Path, folder: &Path) -> Result<(), Box<dyn Error>> {
        let regrets = read_regrets(&std::fs::read_to_string(regrets)?);
        let traces = read_traces(folder)?;
        let grid = grid();

        // The points that each choice is ahead of the one in use, of each trace, cell by cell.
        let mut ahead: Vec<Vec<Vec<f64>>> = Vec::new();
        println!(
            "Points ahead of the choice in use, mean of a trace's cells, two seeds (of a long trace, of a sample of its keys):\n"
        );
        print!("| choice |");
        traces.iter().for_each(|trace| print!(" {} |", trace.name));
        println!("\n| --- |{}", " ---: |".repeat(traces.len()));
        let mut base: Vec<Vec<f64>> = Vec::new();
        for (n, (name, tuning)) in grid.iter().enumerate() {
            let of_each = traces.iter().enumerate().map(|(t, trace)| {
                let ratios = trace.sample.ratios(*tuning, 2);
                if n == 0 {
                    base.push(ratios.clone());
                }
                let ahead = ratios.iter().zip(&base[t]).map(|(its, base)| its - base);
                ahead.collect::<Vec<f64>>()
            });
            let of_each: Vec<Vec<f64>> = of_each.collect();
            print!("| {name} |");
            of_each
                .iter()
                .for_each(|cells| print!(" {:.2} |", mean(cells)));
            println!();
            ahead.push(of_each);
        }

        println!(
            "\n| left out | chosen by the others | its regret, mean | worst | in use: mean | worst |"
        );
        println!("| --- | --- | ---: | ---: | ---: | ---: |");
        let mut classes = [Class::default(), Class::default()];
        for (out, trace) in traces.iter().enumerate() {
            // Cells count alike, as they do in the comparison.
            let score = |choice: &Vec<Vec<f64>>| {
                let others = choice.iter().enumerate().filter(|(t, _)| *t != out);
                mean(
                    &others
                        .flat_map(|(_, cells)| cells.clone())
                        .collect::<Vec<f64>>(),
                )
            };
            let scores: Vec<f64> = ahead.iter().map(score).collect();
            let best = (0..grid.len())
                .max_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(b.cmp(&a)))
                .expect("there is a choice");
            let in_use: Vec<f64> = trace
                .whole
                .cells
                .iter()
                .map(|cell| {
                    let regret = regrets.get(&(trace.name.clone(), cell.share)).copied();
                    regret.ok_or_else(|| format!("no regret of {} at {}", trace.name, cell.share))
                })
                .collect::<Result<_, _>>()?;
            let left_out: Vec<f64> = if best == 0 {
                in_use.clone()
            } else {
                let (its, base) = (
                    trace.whole.ratios(grid[best].1, 3),
                    trace.whole.ratios(grid[0].1, 3),
                );
                let lost = base.iter().zip(&its).map(|(base, its)| base - its);
                in_use
                    .iter()
                    .zip(lost)
                    .map(|(regret, lost)| regret + lost)
                    .collect()
            };
            println!(
                "| {} | {} | {:.2} | {:.2} | {:.2} | {:.2} |",
                trace.name,
                grid[best].0,
                mean(&left_out),
                most(&left_out),
                mean(&in_use),
                most(&in_use)
            );
            for (cell, (out, used)) in trace.whole.cells.iter().zip(left_out.iter().zip(&in_use)) {
                let class = &mut classes[usize::from(cell.capacity < SMALL)];
                class.left_out.push(*out);
                class.in_use.push(*used);
            }
        }
        println!("\n| | cells | left out: mean | worst | in use: mean | worst |");
        println!("| --- | ---: | ---: | ---: | ---: | ---: |");
        for (name, class) in ["1000 entries and more", "fewer"].iter().zip(&classes) {
            println!(
                "| {name} | {} | {:.2} | {:.2} | {:.2} | {:.2} |",
                class.in_use.len(),
                mean(&class.left_out),
                most(&class.left_out),
                mean(&class.in_use),
                most(&class.in_use)
            );
        }
        Ok(())
    }

    #[derive(Default)]
    struct Class {
        left_out: Vec<f64>,
        in_use: Vec<f64>,
    }

    /// What may be chosen: the choice in use first, and then each thing about it that could be otherwise.
    fn grid() -> Vec<(String, Tuning)> {
        let names = [
            "LRU",
            "S3-FIFO 10 %",
            "S3-FIFO strict",
            "S3-FIFO 2 %",
            "S3-FIFO 20 %",
            "TinyLFU",
            "LIRS",
        ];
        assert_eq!(names.len(), Tuning::ARMS);
        let base = Tuning::default();
        let mut grid = vec![("in use".to_owned(), base)];
        for (idx, name) in names.iter().enumerate() {
            grid.push((format!("without {name}"), base.without(idx)));
        }
        for times in [0.5, 2.0] {
            grid.push((format!("certainty x {times}"), base.deviations(times)));
            grid.push((format!("periods x {times}"), base.periods(times)));
        }
        for (idx, window, name) in [
            (4, 115, "S3-FIFO 45 % for 20 %"),
            (3, 13, "S3-FIFO 5 % for 2 %"),
            (1, 38, "S3-FIFO 15 % for 10 %"),
            (5, 102, "TinyLFU 40 % for 20 %"),
            (5, 5, "TinyLFU 2 % for 20 %"),
        ] {
            grid.push((name.to_owned(), base.window(idx, window)));
        }
        grid
    }

    struct Trace {
        name: String,
        whole: Load,
        /// What the choice is made by.
        sample: Load,
    }

    /// Requests and the caches they are for.
    struct Load {
        requests: Vec<u32>,
        cells: Vec<Cell>,
    }

    #[derive(Clone, Copy)]
    struct Cell {
        /// Which of the shares.
        share: usize,
        capacity: usize,
    }

    impl Load {
        /// Hits in percent at each capacity, mean of so many seeds.
        fn ratios(&self, tuning: Tuning, seeds: u64) -> Vec<f64> {
            let ratio = |cell: &Cell| {
                let hits: usize = (0..seeds)
                    .map(|seed| self.hits(tuning, cell.capacity, seed))
                    .sum();
                100.0 * hits as f64 / (seeds as usize * self.requests.len()) as f64
            };
            self.cells.iter().map(ratio).collect()
        }

        fn hits(&self, tuning: Tuning, capacity: usize, seed: u64) -> usize {
            let cache: Cache<u32, u32> = Cache::builder()
                .entry_limit(capacity)
                .hasher(MapHasher::with_seed(Rng::from_seed(seed).next_u64()))
                .build();
            cache.tune(tuning);
            let mut hits = 0;
            for &key in &self.requests {
                if cache.get(&key).is_some() {
                    hits += 1;
                } else {
                    cache.insert(key, key);
                }
            }
            hits
        }
    }

    fn read_traces(folder: &Path) -> Result<Vec<Trace>, Box<dyn Error>> {
        let mut paths = Vec::new();
        for file in folder.read_dir()? {
            let path = file?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if let Some(name) = name.strip_suffix(".u32.zst").or(name.strip_suffix(".u32")) {
                paths.push((name.to_owned(), path));
            }
        }
        paths.sort();
        let read = |(name, path): (String, PathBuf)| {
            let requests = trace::read(&path)?;
            let n_keys = requests.iter().collect::<HashSet<_>>().len();
            let cells_of = |part: usize| {
                let cells = SHARES.iter().enumerate().map(move |(share, of)| Cell {
                    share,
                    capacity: (n_keys as f64 * of).round() as usize,
                });
                let cells = cells.filter(|cell| cell.capacity >= SMALLEST);
                cells
                    .map(move |cell| Cell {
                        capacity: cell.capacity / part,
                        ..cell
                    })
                    .filter(|cell| cell.capacity >= SMALLEST)
            };
            let part = requests.len().div_ceil(CHOOSING);
            // By a hash that no cache uses.
            let is_in = |key: u32| (u64::from(key) + 1).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 40;
            let sample = requests
                .iter()
                .copied()
                .filter(|&key| is_in(key) % part as u64 == 0);
            Ok(Trace {
                name,
                sample: Load {
                    requests: sample.collect(),
                    cells: cells_of(part).collect(),
                },
                whole: Load {
                    cells: cells_of(1).collect(),
                    requests,
                },
            })
        };
        paths.into_iter().map(read).collect()
    }

    /// The table of regrets by trace and share: its rows begin with a trace's name and have a number or nothing in five cells.
    fn read_regrets(document: &str) -> HashMap<(String, usize), f64> {
        let rows = document
            .lines()
            .skip_while(|line| !line.starts_with("| trace | 0.1 % |"));
        let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
        let mut regrets = HashMap::new();
        for row in rows {
            let mut cells = row.split('|').skip(1).map(str::trim);
            let name = cells.next().unwrap_or_default();
            for (share, cell) in cells.take(SHARES.len()).enumerate() {
                if let Ok(regret) = cell.parse() {
                    regrets.insert((name.to_owned(), share), regret);
                }
            }
        }
        regrets
    }

    fn mean(of: &[f64]) -> f64 {
        of.iter().sum::<f64>() / of.len().max(1) as f64
    }

    fn most(of: &[f64]) -> f64 {
        of.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }
}
