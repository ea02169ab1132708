//! The program around the city: a command line in, figures and an exit code out.

use std::ffi::OsString;
use std::fmt;
use std::io::Write;

use crate::flags::{self, Command};
use crate::world;

/// Exit code of a run in which every promise was kept.
pub const CLEAN: u8 = 0;
/// Exit code of a run in which one was not.
pub const VIOLATED: u8 = 1;
/// Exit code where nothing was run.
pub const WRONG: u8 = 2;

/// Does what a command line says, without the program's own name. The table goes to `out`; the seconds of the run,
/// or the one line that says why there was none, go to `err`. Returns the exit code.
///
/// # Errors
///
/// If `out` or `err` cannot be written to.
pub fn main(
    args: impl IntoIterator<Item = impl Into<OsString>>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> std::io::Result<u8> {
    let settings = match flags::parse(args) {
        Ok(Command::Run(settings)) => settings,
        Ok(Command::Help) => {
            writeln!(out, "{}", flags::HELP)?;
            return Ok(CLEAN);
        }
        Err(error) => return wrong(err, &error),
    };
    // A line that cannot be written is no reason to stop in mid-run.
    let mut line = |line: &dyn fmt::Display| drop(writeln!(err, "{line}"));
    match world::run(&settings, &mut line) {
        Ok(report) => {
            write!(out, "{report}")?;
            Ok(if report.is_clean() { CLEAN } else { VIOLATED })
        }
        Err(error) => wrong(err, &error),
    }
}

fn wrong(err: &mut dyn Write, error: &dyn fmt::Display) -> std::io::Result<u8> {
    writeln!(err, "city: {error}")?;
    Ok(WRONG)
}
