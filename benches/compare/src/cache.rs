//! Caches: hit ratio against the best possible, time an operation, heap bytes an entry.

mod belady;
mod contenders;
mod hits;
mod memory;
mod speed;

use std::error::Error;
use std::path::PathBuf;

use workloads::{keys, trace};

/// Prints every table.
pub(crate) fn run(traces: &[PathBuf], rounds: usize, ops: usize) -> Result<(), Box<dyn Error>> {
    // Read before anything runs, so that a wrong path costs no minutes.
    let traces = traces
        .iter()
        .map(|path| {
            let name = path
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            let ids = trace::read(path)?.into_iter().map(u64::from).collect();
            Ok((name, ids))
        })
        .collect::<Result<Vec<(String, Vec<u64>)>, trace::TraceError>>()?;
    let mut results = hits::Results::default();
    results.measure(
        "zipf 0.9 over 100 000 keys, 1 000 000 requests",
        &keys::zipf(1_000_000, 100_000, 0.9, 1),
    );
    for (name, ids) in &traces {
        results.measure(name, ids);
    }
    results.print_regret();
    speed::print(rounds, ops);
    memory::print();
    Ok(())
}
