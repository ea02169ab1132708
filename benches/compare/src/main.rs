//! Our crates beside named rivals: the same work, in one run, with the rows we lose.
//!
//! `compare cache`, `compare ring` and `compare session` print Markdown tables. Times come from interleaved rounds, so that a
//! noisy moment of the machine falls on all alike; quote the ratios and not the nanoseconds.

mod allocations;
mod cache;
mod ring;
mod rounds;
mod session;
mod table;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::prelude::*;

const USAGE: &str = "\
usage: compare cache [--table NAME]... [--traces DIR] [--trace FILE]... [--only TEXT] [--rounds N] [--ops N]
       compare ring  [--nodes N]... [--only TEXT] [--rounds N] [--ops N]
       compare session [--only TEXT] [--rounds N] [--ops N]

  --table NAME  only this table of cache: hits, speed, instructions, tail or memory; may be repeated
  --trace FILE  also replay this access trace (u32 ids, little-endian, zstd or raw); may be repeated
  --traces DIR  also replay every file of this folder whose name ends in .u32 or .u32.zst
  --nodes N     compare among N nodes (default 10, 100, 1000 and 10000); may be repeated
  --only TEXT   only contenders (of session: tables) whose name contains this; not for hits and memory
  --rounds N    interleaved rounds of each timing (default 5)
  --ops N       operations a round and thread (default 2000000)";

/// What to run.
struct Task {
    comparison: Comparison,
    tables: Vec<cache::Which>,
    traces: Vec<PathBuf>,
    nodes: Vec<u32>,
    only: String,
    rounds: usize,
    ops: usize,
}

enum Comparison {
    Cache,
    Ring,
    Session,
}

fn main() -> ExitCode {
    if let Some(code) = cache::count_as_asked() {
        return code;
    }
    match parse().and_then(|task| task.map_or(Ok(()), |task| run(&task))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(task: &Task) -> Result<(), Box<dyn Error>> {
    match task.comparison {
        Comparison::Cache => cache::run(
            &task.tables,
            &task.traces,
            &task.only,
            task.rounds,
            task.ops,
        ),
        Comparison::Ring => {
            ring::run(&task.nodes, &task.only, task.rounds, task.ops);
            Ok(())
        }
        Comparison::Session => session::run(&task.only, task.rounds, task.ops),
    }
}

/// The task of the command line, or `None` if it only asked for help.
fn parse() -> Result<Option<Task>, Box<dyn Error>> {
    let mut comparison = None;
    let (mut tables, mut traces) = (Vec::new(), Vec::new());
    let (mut nodes, mut only) = (Vec::new(), String::new());
    let (mut rounds, mut ops) = (5, 2_000_000);
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("table") => tables.push(args.value()?.parse()?),
            Long("trace") => traces.push(PathBuf::from(args.value()?)),
            Long("traces") => traces.append(&mut traces_in(Path::new(&args.value()?))?),
            Long("nodes") => nodes.push(args.value()?.parse()?),
            Long("only") => only = args.value()?.parse()?,
            Long("rounds") => rounds = positive(args.value()?.parse()?, "--rounds")?,
            Long("ops") => ops = positive(args.value()?.parse()?, "--ops")?,
            Short('h') | Long("help") => {
                println!("{USAGE}");
                return Ok(None);
            }
            Value(name) if comparison.is_none() => {
                comparison = Some(match name.to_str() {
                    Some("cache") => Comparison::Cache,
                    Some("ring") => Comparison::Ring,
                    Some("session") => Comparison::Session,
                    _ => {
                        return Err(format!(
                            "{name:?} is not compared yet; cache, ring and session are"
                        )
                        .into());
                    }
                });
            }
            _ => return Err(arg.unexpected().into()),
        }
    }
    let comparison =
        comparison.ok_or("what shall be compared? cache, ring or session; --help tells more")?;
    Ok(Some(Task {
        comparison,
        tables,
        traces,
        nodes,
        only,
        rounds,
        ops,
    }))
}

/// The traces of a folder, by name.
fn traces_in(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut paths = Vec::new();
    let unreadable = |error| format!("{}: {error}", folder.display());
    for file in folder.read_dir().map_err(unreadable)? {
        let path = file?.path();
        let name = path.to_string_lossy();
        if name.ends_with(".u32") || name.ends_with(".u32.zst") {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(format!("{}: no trace in it", folder.display()).into());
    }
    Ok(paths)
}

fn positive(n: usize, flag: &str) -> Result<usize, Box<dyn Error>> {
    if n == 0 {
        Err(format!("{flag} must be at least 1").into())
    } else {
        Ok(n)
    }
}
