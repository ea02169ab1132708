//! Caches: hit ratio against the best possible, time and instructions an operation, the slowest look-ups, heap bytes
//! an entry.

mod belady;
mod contenders;
mod hits;
mod instructions;
mod memory;
mod speed;
mod tail;

use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;

use workloads::{keys, trace};

pub(crate) use self::instructions::count_as_asked;

/// A table that can be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Hits,
    Speed,
    Instructions,
    Tail,
    Memory,
}

impl FromStr for Which {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name {
            "hits" => Which::Hits,
            "speed" => Which::Speed,
            "instructions" => Which::Instructions,
            "tail" => Which::Tail,
            "memory" => Which::Memory,
            _ => return Err(format!("no table {name:?}; --help has the names")),
        })
    }
}

/// Prints the tables asked for; all of them if none is.
pub(crate) fn run(
    tables: &[Which],
    traces: &[PathBuf],
    only: &str,
    rounds: usize,
    ops: usize,
) -> Result<(), Box<dyn Error>> {
    let is_asked = |table| tables.is_empty() || tables.contains(&table);
    if is_asked(Which::Hits) {
        print_hits(traces)?;
    }
    if is_asked(Which::Speed) {
        speed::print(only, rounds, ops);
    }
    if is_asked(Which::Instructions) {
        instructions::print(only)?;
    }
    if is_asked(Which::Tail) {
        tail::print(only, rounds);
    }
    if is_asked(Which::Memory) {
        memory::print();
    }
    Ok(())
}

fn print_hits(traces: &[PathBuf]) -> Result<(), trace::TraceError> {
    // Read before anything runs, so that a wrong path costs no minutes.
    let traces = traces
        .iter()
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = name.split('.').next().unwrap_or_default().to_owned();
            let ids = trace::read(path)?.into_iter().map(u64::from).collect();
            Ok((name, ids))
        })
        .collect::<Result<Vec<(String, Vec<u64>)>, trace::TraceError>>()?;
    let mut results = hits::Results::default();
    results.measure("zipf 0.9", &keys::zipf(1_000_000, 100_000, 0.9, 1));
    for (name, ids) in &traces {
        results.measure(name, ids);
    }
    results.print_regret();
    Ok(())
}
