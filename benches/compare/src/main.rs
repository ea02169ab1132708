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
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::*;

const USAGE: &str = "\
usage: compare cache [--trace FILE]... [--rounds N] [--ops N]
       compare ring  [--nodes N]... [--only TEXT] [--rounds N] [--ops N]
       compare session [--only TEXT] [--rounds N] [--ops N]

  --trace FILE  also replay this access trace (u32 ids, little-endian, zstd or raw); may be repeated
  --nodes N     compare among N nodes (default 10, 100, 1000 and 10000); may be repeated
  --only TEXT   only contenders (of session: tables) whose name contains this
  --rounds N    interleaved rounds of each timing (default 5)
  --ops N       operations a round and thread (default 2000000)";

/// What to run.
struct Task {
    comparison: Comparison,
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
        Comparison::Cache => cache::run(&task.traces, task.rounds, task.ops),
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
    let (mut traces, mut nodes, mut only) = (Vec::new(), Vec::new(), String::new());
    let (mut rounds, mut ops) = (5, 2_000_000);
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("trace") => traces.push(PathBuf::from(args.value()?)),
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
        traces,
        nodes,
        only,
        rounds,
        ops,
    }))
}

fn positive(n: usize, flag: &str) -> Result<usize, Box<dyn Error>> {
    if n == 0 {
        Err(format!("{flag} must be at least 1").into())
    } else {
        Ok(n)
    }
}
