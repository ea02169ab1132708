//! Draws how evenly each placement lays keys, and how much moves when a node comes or goes, against the number of
//! nodes: `docs/plots/hash-ring.svg`, and the figures as a table beside it.
//!
//! `cargo bench -p purlin-benches --bench ring_plot` writes both; with `-- --check` it says whether they are what
//! would be written. Nothing here depends on time or chance, so the files change only if a placement does.
//!
//! Held fixed: the keys, a million good hashes; every placement as its `from_nodes` makes it. A point's movement is
//! the mean of an addition and of the removal of a node in the middle, each as a multiple of what had to move.

#[path = "ring_plot/chart.rs"]
mod chart;

use std::path::Path;
use std::process::ExitCode;

use chart::{Chart, Line};
use purlin_core::{Node, NodeId, Placement, PlacementHash};
use purlin_hash_ring::{Algorithm, AnyPlacement, SlotTable};

const SIZES: [u64; 11] = [2, 3, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000];

/// Keys looked up for each point. Where a lookup takes as long as there are nodes, fewer: noise above is honest
/// about it, since the range-reduce shows what as many keys show by chance.
const KEYS: u64 = 1 << 20;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let check = args.iter().any(|arg| arg == "--check");
    // `cargo test --benches` runs this too, and is no order to write files.
    if !check && !args.iter().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let hash = PlacementHash::xxh3(7);
    let keys: Vec<u64> = (0..KEYS).map(|key| hash.of(&key)).collect();
    let mut lines = vec![of(chart::NOISE, &keys, |n| Some(Box::new(RangeReduce(n))))];
    for algorithm in Algorithm::ALL {
        lines.push(of(algorithm.name(), &keys, |n| placement(algorithm, n)));
        if algorithm == Algorithm::SlotTable {
            lines.push(of("slot-table, history-free", &keys, history_free));
        }
    }

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/plots");
    let chart = Chart {
        sizes: &SIZES,
        lines: &lines,
    };
    let mut stale = false;
    for (name, text) in [
        ("hash-ring.svg", chart.svg()),
        ("hash-ring.md", chart.markdown()),
    ] {
        let path = folder.join(name);
        let same = std::fs::read_to_string(&path).is_ok_and(|there| there == text);
        if check {
            println!(
                "{name} is {}",
                if same {
                    "as it should be"
                } else {
                    "out of date"
                }
            );
            stale |= !same;
        } else if let Err(error) = std::fs::write(&path, text) {
            eprintln!("{name} cannot be written: {error}");
            return ExitCode::FAILURE;
        } else {
            println!("{name} is written");
        }
    }
    ExitCode::from(u8::from(stale))
}

/// A placement and what it becomes.
trait Subject {
    fn owner(&self, hash: u64) -> u64;
    /// With one more node, of the next number.
    fn larger(&self) -> Option<Box<dyn Subject>>;
    /// Without the node of this number.
    fn smaller(&self, gone: u64) -> Option<Box<dyn Subject>>;
}

fn nodes(n: u64) -> impl Iterator<Item = Node> {
    (0..n).map(|id| Node::new(NodeId(id), format!("node-{id}")))
}

fn number(owner: Option<NodeId>) -> u64 {
    owner.map_or(u64::MAX, |id| id.0)
}

struct Any(AnyPlacement);

fn placement(algorithm: Algorithm, n: u64) -> Option<Box<dyn Subject>> {
    // Rendezvous scores every node for every key; beyond this it draws the same line for minutes.
    if algorithm == Algorithm::Rendezvous && n > 200 {
        return None;
    }
    let placement = AnyPlacement::from_nodes(algorithm, nodes(n)).expect("distinct nodes fit");
    Some(Box::new(Any(placement)))
}

impl Subject for Any {
    fn owner(&self, hash: u64) -> u64 {
        number(self.0.owner_of_hash(hash))
    }
    fn larger(&self) -> Option<Box<dyn Subject>> {
        let next = self.0.nodes().len() as u64;
        let larger = self
            .0
            .with(Node::new(NodeId(next), "new"))
            .expect("one more node fits");
        Some(Box::new(Any(larger)))
    }
    fn smaller(&self, gone: u64) -> Option<Box<dyn Subject>> {
        Some(Box::new(Any(self.0.without(NodeId(gone)))))
    }
}

/// Made from the nodes alone each time, as fleets without a shared map would.
struct HistoryFree(SlotTable);

fn history_free(n: u64) -> Option<Box<dyn Subject>> {
    // Building takes slots times nodes.
    (n <= 500).then(|| history_free_of(nodes(n).collect()))
}

fn history_free_of(nodes: Vec<Node>) -> Box<dyn Subject> {
    Box::new(HistoryFree(
        SlotTable::history_free(nodes).expect("distinct nodes fit"),
    ))
}

impl Subject for HistoryFree {
    fn owner(&self, hash: u64) -> u64 {
        number(self.0.owner_of_hash(hash))
    }
    fn larger(&self) -> Option<Box<dyn Subject>> {
        Some(history_free_of(
            nodes(self.0.nodes().len() as u64 + 1).collect(),
        ))
    }
    fn smaller(&self, gone: u64) -> Option<Box<dyn Subject>> {
        let n = self.0.nodes().len() as u64;
        Some(history_free_of(
            nodes(n).filter(|node| node.id.0 != gone).collect(),
        ))
    }
}

/// Equal parts of the hashes: perfectly even, so that its peak is that of the keys' own noise. Not consistent, so
/// its movement is not drawn.
struct RangeReduce(u64);

impl Subject for RangeReduce {
    fn owner(&self, hash: u64) -> u64 {
        ((u128::from(hash) * u128::from(self.0)) >> 64) as u64
    }
    fn larger(&self) -> Option<Box<dyn Subject>> {
        None
    }
    fn smaller(&self, _: u64) -> Option<Box<dyn Subject>> {
        None
    }
}

/// Measures one line of both charts.
fn of(name: &'static str, keys: &[u64], make: impl Fn(u64) -> Option<Box<dyn Subject>>) -> Line {
    let point = |&n: &u64| {
        let subject = make(n)?;
        let before: Vec<u64> = keys.iter().map(|&key| subject.owner(key)).collect();
        let mut loads = vec![0u64; n as usize];
        before.iter().for_each(|&owner| loads[owner as usize] += 1);
        let peak = loads.iter().max().copied().unwrap_or(0) as f64 * n as f64 / keys.len() as f64;

        let moved = |after: &dyn Subject| {
            let moved = keys
                .iter()
                .zip(&before)
                .filter(|&(&key, &owner)| after.owner(key) != owner);
            moved.count() as f64
        };
        let gone = n / 2;
        let movement = subject
            .larger()
            .zip(subject.smaller(gone))
            .map(|(larger, smaller)| {
                // What had to move: the newcomer's share; what the one that goes held.
                let added = moved(&*larger) / (keys.len() as f64 / (n + 1) as f64);
                let removed = moved(&*smaller) / loads[gone as usize] as f64;
                (added + removed) / 2.0
            });
        Some((peak, movement))
    };
    let points: Vec<_> = SIZES.iter().map(point).collect();
    Line {
        name,
        balance: points
            .iter()
            .map(|point| point.map(|point| point.0))
            .collect(),
        movement: points
            .iter()
            .map(|point| point.and_then(|point| point.1))
            .collect(),
    }
}
