//! Sessions: what a load, a slide and a commit cost beside the bare client, map or engine below; heap bytes a
//! session; the sweep; durable commits; and how many updates are lost.

mod document;
mod durable;
mod floors;
mod memory;
mod near;
mod ours;
mod races;
mod redis;
mod rivals;
mod rounds;
mod targets;

use std::error::Error;

use self::targets::Targets;

/// Prints the tables whose name contains `only`. Needs `redis-server` on the machine.
pub(crate) fn run(only: &str, rounds: usize, ops: usize) -> Result<(), Box<dyn Error>> {
    println!(
        "A session holds {} fields, {} bytes as JSON. Ratios are to the first row.\n",
        document::fields().len(),
        document::json_len()
    );
    let is_asked_for = |table: &str| table.contains(only);
    let mut targets = Targets::default();
    if is_asked_for("races") {
        races::print(&mut targets)?;
    }
    if is_asked_for("redis") {
        redis::print(rounds, ops / 40, &mut targets)?;
    }
    if is_asked_for("memory") {
        memory::print_speed(rounds, ops, &mut targets)?;
    }
    if is_asked_for("bytes") {
        memory::print_bytes(&mut targets)?;
    }
    if is_asked_for("sweep") {
        memory::print_sweep(&mut targets)?;
    }
    if is_asked_for("durable") {
        durable::print(rounds, ops / 1000, &mut targets)?;
    }
    targets.print();
    Ok(())
}
