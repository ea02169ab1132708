//! The command line.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use crate::sabotage::Sabotage;
use crate::settings::{APP_NODES, Kill, Settings};

/// What `--help` prints.
pub const HELP: &str = "\
city: the whole of Purlin at work in one process, over real loopback sockets

usage: cargo run --release --example city -- [flags]

  --seconds N       stop after N seconds (default 60; with --trace: at its end)
  --seed S          seed of the traffic and of every chance in it (default 1)
  --rate R          requests a second, on average (default 2000, at most 1000000)
  --trace FILE      replay an access trace: little-endian u32 ids, raw or zstd
  --lag-ms N        replicas follow their primary N ms late (default 20, at most 60000)
  --kill NODE@TIME  stop an app node for real: app-2@5s, app-1@800ms (repeatable)
  --sabotage NAME   break the city on purpose: drop-session-write, ignore-token,
                    double-effect, lose-job, wrong-shard or stale-read
  --port P          port of the front door on 127.0.0.1 (default: any free one)
  --headless        print the seconds and the table only, not the map of the city
  --help            print this

The seconds go to stderr, the table to stdout. Exit code 0: no invariant was broken;
1: one was, and its story is printed; 2: the city could not start.";

/// What the command line asks for.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: the program runs or explains itself"
)]
pub enum Command {
    /// Print [`HELP`].
    Help,
    /// Run the city.
    Run(Settings),
}

/// Reads a command line, without the program's own name.
///
/// # Errors
///
/// For an unknown flag, a missing, superfluous or impossible value. The error's text is one line.
pub fn parse(args: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Command, FlagError> {
    let mut settings = Settings::default();
    let mut seconds = None;
    let mut parser = Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Long("headless") => settings.headless = true,
            Arg::Long("seconds") => {
                let whole: NonZeroU32 = value(&mut parser, "seconds", "a whole number from 1")?;
                seconds = Some(Duration::from_secs(whole.get().into()));
            }
            Arg::Long("seed") => settings.seed = value(&mut parser, "seed", "a whole number")?,
            Arg::Long("rate") => {
                Rate(settings.rate) = value(&mut parser, "rate", "1 to 1000000")?;
            }
            Arg::Long("trace") => settings.trace = Some(PathBuf::from(parser.value()?)),
            Arg::Long("lag-ms") => {
                let LagMs(lag) = value(&mut parser, "lag-ms", "0 to 60000")?;
                settings.lag = lag;
            }
            Arg::Long("kill") => {
                let wanted = "a node and a time, as in app-2@5s";
                settings.kills.push(value(&mut parser, "kill", wanted)?);
            }
            Arg::Long("sabotage") => {
                settings.sabotage = Some(parser.value()?.parse::<Sabotage>()?);
            }
            Arg::Long("port") => settings.port = value(&mut parser, "port", "0 to 65535")?,
            Arg::Long(_) | Arg::Short(_) | Arg::Value(_) => return Err(arg.unexpected().into()),
        }
    }
    settings.run_time = match (seconds, &settings.trace) {
        (Some(seconds), _) => Some(seconds),
        (None, Some(_)) => None,
        (None, None) => Some(Settings::DEFAULT_RUN_TIME),
    };
    check_kills(&settings)?;
    Ok(Command::Run(settings))
}

fn value<T: FromStr>(
    parser: &mut Parser,
    flag: &'static str,
    wanted: &'static str,
) -> Result<T, FlagError> {
    let given = parser.value()?.string()?;
    given.parse().map_err(|_| FlagError::Value {
        flag,
        wanted,
        given,
    })
}

/// Each node can be stopped once, and while it is asked for something.
fn check_kills(settings: &Settings) -> Result<(), FlagError> {
    for (nth, kill) in settings.kills.iter().enumerate() {
        let node = kill.node + 1;
        if let Some(end) = settings.run_time.filter(|&end| kill.at >= end) {
            let at = kill.at;
            return Err(FlagError::LateKill { node, at, end });
        }
        if settings.kills[..nth].iter().any(|it| it.node == kill.node) {
            return Err(FlagError::SecondKill { node });
        }
    }
    Ok(())
}

/// Why a command line was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlagError {
    /// The line itself: an unknown flag, a flag without its value, text that is not UTF-8.
    #[error("{0} (--help lists the flags)")]
    Line(#[from] lexopt::Error),
    /// A value that the flag cannot have.
    #[error("--{flag} takes {wanted}, not '{given}'")]
    Value {
        /// The flag, without its dashes.
        flag: &'static str,
        /// What it takes.
        wanted: &'static str,
        /// What it was given.
        given: String,
    },
    /// A node that is to be stopped when the run is over.
    #[error("--kill app-{node} at {at:?} is too late, the run ends at {end:?}")]
    LateKill {
        /// The node's number: 1 is `app-1`.
        node: usize,
        /// When it was to be stopped.
        at: Duration,
        /// When the run is over.
        end: Duration,
    },
    /// A node that is to be stopped twice.
    #[error("--kill app-{node} is there twice")]
    SecondKill {
        /// The node's number: 1 is `app-1`.
        node: usize,
    },
}

/// A rate that a request can be told from the next at.
struct Rate(NonZeroU32);

impl FromStr for Rate {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let rate: NonZeroU32 = text.parse().map_err(|_| ())?;
        (rate <= Settings::MAX_RATE).then_some(Rate(rate)).ok_or(())
    }
}

/// A lag that the primaries' logs can bridge.
struct LagMs(Duration);

impl FromStr for LagMs {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let lag = Duration::from_millis(text.parse().map_err(|_| ())?);
        (lag <= Settings::MAX_LAG).then_some(LagMs(lag)).ok_or(())
    }
}

impl FromStr for Kill {
    type Err = ();

    /// `app-2@5s` or `app-2@5000ms`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (node, at) = text.split_once('@').ok_or(())?;
        let node: usize = node
            .strip_prefix("app-")
            .ok_or(())?
            .parse()
            .map_err(|_| ())?;
        if !(1..=APP_NODES).contains(&node) {
            return Err(());
        }
        let at = if let Some(millis) = at.strip_suffix("ms") {
            Duration::from_millis(millis.parse().map_err(|_| ())?)
        } else {
            let seconds = at.strip_suffix('s').ok_or(())?;
            Duration::from_secs(seconds.parse().map_err(|_| ())?)
        };
        Ok(Kill { node: node - 1, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Settings {
        match parse(line.split_whitespace()) {
            Ok(Command::Run(settings)) => settings,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn without_flags_the_city_runs_for_its_minute() {
        let settings = run("");
        assert_eq!(settings.run_time, Some(Duration::from_secs(60)));
        assert_eq!(settings.sabotage, None);
        assert!(settings.kills.is_empty());
    }

    #[test]
    fn a_trace_runs_to_its_end_unless_told_otherwise() {
        assert_eq!(run("--trace x.u32").run_time, None);
        let cut = run("--trace x.u32 --seconds 7");
        assert_eq!(cut.run_time, Some(Duration::from_secs(7)));
    }

    #[test]
    fn kills_add_up() {
        let settings = run("--kill app-2@5s --kill=app-4@800ms");
        let want = [(1, 5_000), (3, 800)].map(|(node, ms)| Kill {
            node,
            at: Duration::from_millis(ms),
        });
        assert_eq!(settings.kills, want);
    }

    #[test]
    fn every_sabotage_is_known_by_its_name() {
        for sabotage in Sabotage::ALL {
            let settings = run(&format!("--sabotage {sabotage}"));
            assert_eq!(settings.sabotage, Some(sabotage));
            assert!(
                HELP.contains(sabotage.name()),
                "{sabotage} is not in --help"
            );
        }
    }

    #[test]
    fn wrong_lines_are_refused_in_one_line() {
        for line in [
            "--rate 0",
            "--rate -1",
            "--rate 1000001",
            "--rate fast",
            "--rate",
            "--seconds 0",
            "--seconds 1.5",
            "--fast",
            "-x",
            "trace.u32",
            "--kill app-0@5s",
            "--kill app-5@5s",
            "--kill app-2",
            "--kill app-2@5",
            "--kill db-2@5s",
            "--kill app-2@-5s",
            "--kill app-2@60s",
            "--kill app-2@18446744073709551615s",
            "--kill app-2@5s --seconds 5",
            "--kill app-2@5s --kill app-2@6s",
            "--seconds -1",
            "--seconds 4294967296",
            "--seed 18446744073709551616",
            "--seed -1",
            "--lag-ms -1",
            "--port -1",
            "--sabotage everything",
            "--lag-ms 60001",
            "--port 65536",
            "--headless=yes",
        ] {
            let error = parse(line.split_whitespace()).expect_err(line).to_string();
            assert_eq!(error.lines().count(), 1, "{line}: {error}");
        }
    }
}
