//! Our crates beside named rivals: the same work, in one run, with the rows we lose.
//!
//! `compare cache`, `compare ring` and `compare session` print Markdown tables. Times come from interleaved rounds, so that a
//! noisy moment of the machine falls on all alike; quote the ratios and not the nanoseconds.

mod allocations;
mod cache;
mod command_line;
mod ring;
mod rounds;
mod session;
mod table;

use std::error::Error;
use std::process::ExitCode;

use self::command_line::{Comparison, Task};

fn main() -> ExitCode {
    if let Some(code) = cache::count_as_asked() {
        return code;
    }
    let args = std::env::args_os().skip(1);
    match command_line::parse(args).and_then(|task| run(task.as_ref())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::from(2)
        }
    }
}

/// Does a task, or says how one is asked for.
fn run(task: Option<&Task>) -> Result<(), Box<dyn Error>> {
    let Some(task) = task else {
        println!("{}", command_line::USAGE);
        return Ok(());
    };
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
