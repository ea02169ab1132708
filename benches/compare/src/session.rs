//! Sessions: what a load, a slide and a commit cost beside the bare client, map or engine below; heap bytes a
//! session; the sweep; durable commits; and how many updates are lost.

mod document;
mod durable;
mod floors;
mod memory;
mod ours;
mod races;
mod redis;
mod rivals;
mod rounds;

use std::error::Error;

/// Prints every table. Needs `redis-server` on the machine.
pub(crate) fn run(rounds: usize, ops: usize) -> Result<(), Box<dyn Error>> {
    println!(
        "A session holds {} fields, {} bytes as JSON. Ratios are to the first row.\n",
        document::fields().len(),
        document::json_len()
    );
    races::print()?;
    redis::print(rounds, ops / 40)?;
    memory::print_speed(rounds, ops)?;
    memory::print_bytes()?;
    memory::print_sweep()?;
    durable::print(rounds, ops / 1000)
}
