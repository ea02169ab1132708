//! Instructions a hit, which do not depend on what else the machine does.
//!
//! Callgrind counts those of a whole program, so this one runs itself below it, with one contender and two numbers of
//! hits: what the second run took more is theirs. The stub of a loop around them, a few instructions, is counted too.

use std::env;
use std::hint::black_box;
use std::io;
use std::process::{Command, ExitCode};

use workloads::keys;

use super::contenders::{
    Contender, FibreS3, FibreTinyLfu, FoyerLfu, FoyerLru, FoyerS3, Key, Lru, MiniMoka, Moka,
    Purlin, PurlinOpen, Quick, TinyUfo, for_each_contender,
};
use crate::table::Table;

const ENTRIES: u64 = 4_096;
/// Hits before those that are counted: what a cache learns of a hot key it has learnt then.
const WARM: usize = 65_536;
const COUNTED: usize = 65_536;

/// Prints the table, or that there is no valgrind to make it.
pub(super) fn print(only: &str) -> io::Result<()> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("\nNo table of instructions: valgrind is not installed.");
        return Ok(());
    }
    let mut table = Table::new(["cache", u64::NAME, String::NAME]);
    macro_rules! row {
        ($name:literal, $cache:ty) => {
            if $name.contains(only) {
                let a_hit = |kind| {
                    let more = count($name, kind, WARM + COUNTED)?;
                    let fewer = count($name, kind, WARM)?;
                    let a_hit = more.saturating_sub(fewer) as f64 / COUNTED as f64;
                    Ok::<_, io::Error>(format!("{a_hit:.0}"))
                };
                table.row([$name.to_owned(), a_hit(u64::NAME)?, a_hit(String::NAME)?]);
            }
        };
    }
    for_each_contender!(row, u64);
    table.print("Instructions a hit on a hot key, one thread, by callgrind");
    Ok(())
}

/// What the program below callgrind is told by: contender, kind of key and number of hits.
const ASKED: &str = "PURLIN_COMPARE_COUNT";

/// Instructions of a process that does so many hits.
fn count(name: &str, kind: &str, hits: usize) -> io::Result<u64> {
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .env(ASKED, format!("{name}/{kind}/{hits}"))
        .output()?;
    let said = String::from_utf8_lossy(&ran.stderr);
    let counted = said.lines().find_map(|line| {
        let (_, counted) = line.split_once("Collected : ")?;
        counted.trim().parse().ok()
    });
    match counted {
        Some(counted) if ran.status.success() => Ok(counted),
        _ => Err(io::Error::other(format!("callgrind did not count: {said}"))),
    }
}

/// The program as it runs below callgrind: if it was asked to, it does its hits, and nothing else is to be done.
pub(crate) fn count_as_asked() -> Option<ExitCode> {
    let asked = env::var(ASKED).ok()?;
    let mut asked = asked.split('/');
    let (name, kind) = (asked.next()?, asked.next()?);
    let hits = asked.next()?.parse().ok()?;
    macro_rules! work {
        ($name:literal, $cache:ty) => {
            if name == $name {
                work::<_, $cache>(hits);
            }
        };
    }
    if kind == u64::NAME {
        for_each_contender!(work, u64);
    } else {
        for_each_contender!(work, String);
    }
    Some(ExitCode::SUCCESS)
}

fn work<K: Key, C: Contender<K>>(hits: usize) {
    let cache = C::with_capacity(2 * ENTRIES as usize);
    let keys: Vec<K> = (0..ENTRIES).map(K::from_number).collect();
    for key in &keys {
        cache.insert(key.clone(), 1);
    }
    cache.settle();
    // The same for any number of hits, and long enough not to be foreseen.
    let order = keys::zipf(WARM, ENTRIES as usize, 0.99, 1);
    for &number in order.iter().cycle().take(hits) {
        assert!(black_box(cache.get(&keys[number as usize])).is_some());
    }
}
