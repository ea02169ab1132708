//! The command line.

use std::error::Error;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use lexopt::prelude::*;

use crate::cache;

pub(crate) const USAGE: &str = "\
usage: compare cache [--table NAME]... [--traces DIR] [--trace FILE]... [--only TEXT] [--rounds N] [--ops N]
       compare ring  [--nodes N]... [--only TEXT] [--rounds N] [--ops N]
       compare session [--only TEXT] [--rounds N] [--ops N]

  --table NAME  only this table of cache: hits, speed, instructions, tail or memory; may be repeated
  --trace FILE  also replay this access trace (u32 ids, little-endian, zstd or raw); may be repeated
  --traces DIR  also replay every file of this folder whose name ends in .u32 or .u32.zst
  --nodes N     compare among N nodes, 4 to 30000 (default 10, 100, 1000 and 10000); may be repeated
  --only TEXT   only contenders (of session: tables) whose name contains this; not for hits and memory
  --rounds N    interleaved rounds of each timing, 1 to 1000 (default 5)
  --ops N       operations a round and thread, 20000 to 20000000 (default 2000000)";

/// What to run.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) comparison: Comparison,
    pub(crate) tables: Vec<cache::Which>,
    pub(crate) traces: Vec<PathBuf>,
    pub(crate) nodes: Vec<u32>,
    pub(crate) only: String,
    pub(crate) rounds: usize,
    pub(crate) ops: usize,
}

#[derive(Debug)]
pub(crate) enum Comparison {
    Cache,
    Ring,
    Session,
}

/// Fewer nodes cannot lose one and hold three copies; above, a rival's numbers end.
const NODES: RangeInclusive<u32> = 4..=30_000;
/// More would be days.
const ROUNDS: RangeInclusive<usize> = 1..=1_000;
/// A part of the operations goes to each task of a thread, the smallest a 10 240th: there has to be one. The most is what
/// memory holds: the keys of a round are made before it, and as text take 56 bytes each.
const OPS: RangeInclusive<usize> = 20_000..=20_000_000;

/// Reads a command line without the program's own name: the task, or `None` if it only asks for help.
pub(crate) fn parse(
    args: impl IntoIterator<Item = impl Into<OsString>>,
) -> Result<Option<Task>, Box<dyn Error>> {
    let mut comparison = None;
    let (mut tables, mut traces) = (Vec::new(), Vec::new());
    let (mut nodes, mut only) = (Vec::new(), String::new());
    let (mut rounds, mut ops) = (5, 2_000_000);
    let mut args = lexopt::Parser::from_args(args);
    while let Some(arg) = args.next()? {
        match arg {
            Long("table") => tables.push(args.value()?.parse()?),
            Long("trace") => traces.push(PathBuf::from(args.value()?)),
            Long("traces") => traces.append(&mut traces_in(Path::new(&args.value()?))?),
            Long("nodes") => nodes.push(number(args.value()?, "--nodes", NODES)?),
            Long("only") => only = args.value()?.parse()?,
            Long("rounds") => rounds = number(args.value()?, "--rounds", ROUNDS)?,
            Long("ops") => ops = number(args.value()?, "--ops", OPS)?,
            Short('h') | Long("help") => return Ok(None),
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

/// A number that the flag can have. Another is refused and not brought nearer, or a table would be of something that nobody
/// asked for.
fn number<T>(given: OsString, flag: &str, range: RangeInclusive<T>) -> Result<T, Box<dyn Error>>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let number = given.to_str().and_then(|text| text.parse().ok());
    number
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            format!("{flag} must be from {least} to {most}, not {given:?}").into()
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn task(line: &str) -> Task {
        match parse(line.split_whitespace()) {
            Ok(Some(task)) => task,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn numbers_are_taken_as_they_are_to_their_ends() {
        let least = task("ring --nodes 4 --nodes=30000 --rounds 1 --ops 20000");
        assert_eq!((least.rounds, least.ops), (1, 20_000));
        assert_eq!(least.nodes, [4, 30_000]);
        let most = task("session --rounds 1000 --ops 20000000");
        assert_eq!((most.rounds, most.ops), (1_000, 20_000_000));
        let usual = task("cache");
        assert_eq!((usual.rounds, usual.ops), (5, 2_000_000));
    }

    #[test]
    fn numbers_that_cannot_be_are_refused_in_one_line_that_says_which_can() {
        let flags = [
            ("--nodes", "from 4 to 30000", ["3", "30001"]),
            ("--rounds", "from 1 to 1000", ["0", "1001"]),
            ("--ops", "from 20000 to 20000000", ["19999", "20000001"]),
        ];
        for (flag, range, beyond) in flags {
            let never = ["0", "-1", "1e5", "many", "", "99999999999999999999999"];
            for given in never.into_iter().chain(beyond) {
                let error = parse(["ring", flag, given]).expect_err(given).to_string();
                let wanted = format!("{flag} must be {range}, not {given:?}");
                assert_eq!(error, wanted);
            }
        }
    }

    #[test]
    fn other_lines_that_make_no_sense_are_refused_in_one_line() {
        for line in [
            "",
            "queue",
            "ring cache",
            "ring --nodes",
            "ring --fast",
            "cache --table everything",
            "cache --traces no/such/folder",
        ] {
            let error = parse(line.split_whitespace()).expect_err(line).to_string();
            assert_eq!(error.lines().count(), 1, "{line}: {error}");
        }
    }

    #[test]
    fn help_is_asked_for() {
        assert!(matches!(parse(["--help"]), Ok(None)));
        assert!(matches!(parse(["ring", "-h"]), Ok(None)));
    }
}
