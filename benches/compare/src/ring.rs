//! Rings: time a lookup, and how evenly keys lie, for 10 to 10 000 nodes.
//!
//! Held fixed: 160 points a node, the keys. The keys are 24 bytes long, as names of users are, and every
//! contender hashes them itself, since that is part of a lookup. The floor hashes and reduces to a range: what
//! no placement can be faster than, and not consistent.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use purlin_core::{Node, NodeId, Placement, PlacementHash};
use workloads::keys;

use crate::rounds::{Timed, medians};
use crate::table::Table;

const POINTS: u32 = 160;

/// Prints a table for each number of nodes.
pub(crate) fn run(rounds: usize, ops: usize) {
    let keys: Vec<String> = (0..262_144).map(keys::text).collect();
    for nodes in [10, 100, 1_000, 10_000] {
        compare(nodes, &keys, rounds, ops);
    }
}

/// A contender: its name, and a lookup that gives the owner as an index.
type Lookup<'a> = (&'static str, Box<dyn Fn(&str) -> usize + 'a>);

fn compare(nodes: usize, keys: &[String], rounds: usize, ops: usize) {
    let contenders = contenders(nodes);
    let loads: Vec<f64> = contenders
        .iter()
        .map(|(_, lookup)| peak_load(nodes, keys, lookup))
        .collect();
    let mut timed: Vec<Timed<'_>> = contenders
        .iter()
        .map(|(name, lookup)| Timed {
            name,
            once: Box::new(move || {
                let start = Instant::now();
                let sum: usize = keys.iter().cycle().take(ops).map(|key| lookup(key)).sum();
                black_box(sum);
                start.elapsed()
            }),
        })
        .collect();
    let medians = medians(&mut timed, rounds, ops);
    let anchor = medians
        .iter()
        .find(|(name, _)| *name == "pingora-ketama")
        .map_or(1.0, |(_, ns)| *ns);
    let mut table = Table::new(["ring", "ns/lookup", "to pingora-ketama", "peak / average"]);
    for ((name, ns), load) in medians.into_iter().zip(loads) {
        table.row([
            name.to_owned(),
            format!("{ns:.1}"),
            format!("{:.2}", ns / anchor),
            format!("{load:.3}"),
        ]);
    }
    table.print(&format!(
        "{nodes} nodes of {POINTS} points, 24-byte keys, median of {rounds} interleaved rounds"
    ));
}

fn contenders<'a>(nodes: usize) -> Vec<Lookup<'a>> {
    let address =
        |node: usize| SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + node as u32), 11_211));

    let ours = purlin_hash_ring::Ring::from_nodes(
        (0..nodes).map(|node| Node::new(NodeId(node as u64), address(node).to_string())),
    )
    .expect("distinct nodes make a ring");

    let buckets: Vec<_> = (0..nodes)
        .map(|node| pingora_ketama::Bucket::new(address(node), 1))
        .collect();
    let ketama = pingora_ketama::Continuum::new(&buckets);

    let mut hashring = hashring::HashRing::new();
    // One call, since every single `add` sorts the ring again.
    hashring.batch_add(
        (0..nodes)
            .flat_map(|node| (0..POINTS).map(move |point| (node, point)))
            .collect(),
    );

    let hash = PlacementHash::default();
    vec![
        (
            "(floor: hash and range-reduce)",
            Box::new(move |key| ((u128::from(hash.of(key)) * nodes as u128) >> 64) as usize),
        ),
        (
            "purlin ring",
            Box::new(move |key| {
                Placement::owner(&ours, key.as_bytes()).map_or(0, |node| node.0 as usize)
            }),
        ),
        (
            "pingora-ketama",
            Box::new(move |key| match ketama.node(key.as_bytes()) {
                Some(SocketAddr::V4(node)) => (u32::from(*node.ip()) - 0x0a00_0000) as usize,
                _ => 0,
            }),
        ),
        (
            "hashring",
            Box::new(move |key| hashring.get(&key).map_or(0, |(node, _)| *node)),
        ),
    ]
}

/// The fullest node's keys, as a multiple of the average.
fn peak_load(nodes: usize, keys: &[String], lookup: &dyn Fn(&str) -> usize) -> f64 {
    let mut loads = vec![0usize; nodes];
    keys.iter().for_each(|key| loads[lookup(key)] += 1);
    let peak = loads.iter().max().copied().unwrap_or(0);
    peak as f64 * nodes as f64 / keys.len() as f64
}
