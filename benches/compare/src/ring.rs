//! Placements: time and allocations of a lookup, of three copies, of building and changing; how evenly keys
//! lie; and what moves when nodes come and go. For 10 to 10 000 nodes.
//!
//! Held fixed: 160 points a node in every ring, tables of about a hundred entries a node in every Maglev, the
//! keys. `ready` is a lookup by a key that is 64 good bits already, which our placements take as the hash
//! that it is and most rivals hash again; `24 B` is a lookup by 24 bytes of text, which everyone hashes. The
//! floor hashes and reduces to a range: what no placement can be faster than, and not consistent. `dependent` is as
//! `ready`, but each key is known only when the lookup before is done.
//!
//! What a lookup of three copies is compared to is one lookup of the same kind, ready or dependent, and both ratios are
//! in the list of targets. The must is for `ready`, where an owner is two loads and the ratio is the highest.

use workloads::keys;

use crate::table::Table;

use self::build::{Changes, changes};
use self::contender::{Built, Contender, Keys, Passes, fleet};
use self::movement::{Movement, movement};
use self::speed::{Speed, speeds};

mod build;
mod contender;
mod movement;
mod ours;
mod rivals;
mod speed;
mod targets;

/// The numbers of nodes.
const SIZES: [u32; 4] = [10, 100, 1_000, 10_000];

/// What was found out about one contender among so many nodes.
struct Row {
    name: &'static str,
    speed: Speed,
    allocations: usize,
    changes: Changes,
    even: Movement,
    weighted: Option<Movement>,
}

/// Prints a table for each number of nodes, and what became of the targets. Leaves out contenders whose names
/// do not contain `only`.
pub(crate) fn run(nodes: &[u32], only: &str, rounds: usize, ops: usize) {
    let keys = Keys {
        numbers: numbers(1 << 20),
        texts: (0..1 << 18).map(|i| &*keys::text(i).leak()).collect(),
    };
    ours::check_jump(&keys.numbers);
    let mut results = Vec::new();
    let nodes = if nodes.is_empty() { &SIZES } else { nodes };
    for &n in nodes {
        let rows = compare(n, &keys, only, rounds, ops);
        print(n, rounds, &rows);
        results.push((n, rows));
    }
    targets::print(&results);
}

/// Numbers that are as good as hashes.
fn numbers(n: u64) -> Vec<u64> {
    let hash = purlin_core::PlacementHash::xxh3(7);
    (0..n).map(|i| hash.of(&i)).collect()
}

/// All contenders, in the order of the tables.
macro_rules! with_all {
    ($each:ident!($($arguments:tt)*)) => {
        $each!($($arguments)*
            ours::Floor
            ours::OurTable ours::OurListedTable ours::OurRing ours::OurRendezvous ours::OurAnchor
            ours::OurMemento ours::OurJump ours::OurLampingVeach ours::OurMaglev ours::OurMultiProbe ours::OurNginx
            rivals::Pingora rivals::Hashring
            rivals::JumpBackHash rivals::JumpConsistentHash rivals::Jumpch rivals::Jumphash
            rivals::Maglev rivals::MaglevHash
            rivals::AnchorHash
            rivals::RendezvousHash rivals::HrwHash
        )
    };
}

fn compare(n: u32, keys: &Keys, only: &str, rounds: usize, ops: usize) -> Vec<Row> {
    let mut built: Vec<Box<dyn Passes>> = Vec::new();
    let mut rest = Vec::new();
    macro_rules! measure {
        ($($contender:ty)*) => {$(
            if n <= <$contender as Contender>::MOST_NODES && <$contender as Contender>::NAME.contains(only) {
                let contender = <$contender>::build(&fleet(n, false));
                let weighted = <$contender as Contender>::WEIGHTS
                    .then(|| movement::<$contender>(n, true, &keys.numbers));
                let even = movement::<$contender>(n, false, &keys.numbers);
                rest.push((changes::<$contender>(n), even, weighted));
                built.push(Box::new(Built(contender)));
            }
        )*};
    }
    with_all!(measure!());
    let allocations: Vec<usize> = built.iter().map(|built| built.allocations(keys)).collect();
    let speeds = speeds(&built, keys, rounds, ops);
    let rows = built.iter().zip(speeds).zip(allocations).zip(rest);
    rows.map(
        |(((built, speed), allocations), (changes, even, weighted))| Row {
            name: built.name(),
            speed,
            allocations,
            changes,
            even,
            weighted,
        },
    )
    .collect()
}

fn print(n: u32, rounds: usize, rows: &[Row]) {
    let mut table = Table::new([
        "placement",
        "ready ns",
        "dependent ns",
        "24 B ns",
        "3 copies ns",
        "dependent ns",
        "allocations",
        "heap",
        "build",
        "add one",
        "remove one",
    ]);
    for row in rows {
        let (speed, changes) = (&row.speed, &row.changes);
        table.row([
            row.name.to_owned(),
            format!("{:.1}", speed.ready),
            format!("{:.1}", speed.dependent),
            format!("{:.1}", speed.text),
            nanoseconds(speed.copies),
            nanoseconds(speed.dependent_copies),
            row.allocations.to_string(),
            bytes(changes.heap),
            time(changes.build),
            time(changes.add) + if changes.rebuilds { " R" } else { "" },
            time(changes.remove) + if changes.rebuilds { " R" } else { "" },
        ]);
    }
    table.print(&format!(
        "{n} nodes, cost: best of {rounds} interleaved rounds; allocations in 3000 lookups; R: only a rebuild is offered"
    ));

    let mut table = Table::new([
        "placement",
        "keys",
        "peak",
        "add",
        "stray %",
        "remove",
        "stray %",
        "weighted: peak",
        "add",
        "stray %",
        "remove",
        "stray %",
    ]);
    for row in rows {
        let mut cells = vec![row.name.to_owned(), row.even.keys.to_string()];
        cells.extend(row.even.cells());
        cells.extend(
            row.weighted
                .as_ref()
                .map_or_else(|| ["-"; 5].map(str::to_owned), Movement::cells),
        );
        table.row(cells);
    }
    table.print(&format!(
        "{n} nodes, balance and movement: keys on the fullest node to its share; keys that moved to those that had to; weights 1, 2, 3, 4, …"
    ));
}

fn nanoseconds(ns: Option<f64>) -> String {
    ns.map_or("-".to_owned(), |ns| format!("{ns:.1}"))
}

fn bytes(n: usize) -> String {
    match n {
        0..10_240 => format!("{n} B"),
        10_240..10_485_760 => format!("{} K", n >> 10),
        _ => format!("{} M", n >> 20),
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        t if t < 1e-3 => format!("{:.1} us", t * 1e6),
        t if t < 1.0 => format!("{:.2} ms", t * 1e3),
        t => format!("{t:.1} s"),
    }
}
