//! The whole workspace at work in one process: see `--help`, or the library of this package.

use std::io;
use std::process::ExitCode;

fn main() -> io::Result<ExitCode> {
    let args = std::env::args_os().skip(1);
    let code = city::cli::main(args, &mut io::stdout().lock(), &mut io::stderr().lock())?;
    Ok(ExitCode::from(code))
}
