//! R4 in full: a thousand random additions, removals and reweights of a slot table, with a million keys looked
//! up before and after each.
//!
//! A million keys take minutes without optimisation, so a plain run takes `PURLIN_RING_KEYS`, or 20 000, whose
//! number says less about a thousandth; `ci/ring-moves.sh` runs the million.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use common::{hashes, node, nodes};
use purlin_core::{NodeId, Placement, Rng, Weight};
use purlin_hash_ring::{SlotTable, diff, least_movement};

const CHANGES: u64 = if cfg!(miri) { 2 } else { 1_000 };

fn n_keys() -> u64 {
    match std::env::var("PURLIN_RING_KEYS") {
        Ok(text) => text.parse().expect("PURLIN_RING_KEYS is a number"),
        Err(_) if cfg!(miri) => 200,
        Err(_) => 20_000,
    }
}

fn weights(table: &SlotTable) -> Vec<(NodeId, Weight)> {
    let weight = |node: &purlin_core::Node| (node.id, node.weight);
    table.nodes().iter().map(weight).collect()
}

/// The moves of all changes together are within a thousandth of the least that the changed shares need; every
/// move is in the difference of its change, with the right nodes; and every key that a difference lists moved.
#[test]
fn ring_r4_a_thousand_changes_move_the_least_and_every_move_is_listed() {
    let mut keys: Vec<u64> = hashes(n_keys()).collect();
    keys.sort_unstable();
    let mut rng = Rng::from_seed(41);
    // Fewer keys need fewer slots to tell the same.
    let bits = if keys.len() >= 1_000_000 { 16 } else { 13 };
    let mut table = SlotTable::builder()
        .slot_bits(bits)
        .nodes(nodes(60))
        .build()
        .unwrap();
    let mut owners: Vec<NodeId> = keys
        .iter()
        .filter_map(|&key| table.owner_of_hash(key))
        .collect();
    let (mut moved, mut least) = (0u64, 0.0);

    for change in 0..CHANGES {
        let next = changed(&table, change, &mut rng);
        let mut listed = diff(&table, &next, 1).peekable();
        for (&key, owner) in keys.iter().zip(&mut owners) {
            while listed
                .next_if(|change| *change.hashes.end() < key)
                .is_some()
            {}
            let now = next.owner_of_hash(key).unwrap();
            let entry = listed.peek().filter(|change| change.hashes.contains(&key));
            match entry {
                Some(entry) => {
                    assert_eq!(
                        (&entry.from[..], &entry.to[..]),
                        (&[*owner][..], &[now][..])
                    );
                    assert_ne!(now, *owner, "change {change} lists {key:x}, which stays");
                    moved += 1;
                }
                None => assert_eq!(
                    now, *owner,
                    "change {change} moves {key:x} and does not list it"
                ),
            }
            *owner = now;
        }
        least += least_movement(&weights(&table), &weights(&next)) * keys.len() as f64;
        table = next;
    }

    let ratio = moved as f64 / least;
    println!(
        "{} keys: moved {moved}, {ratio:.5} times the least",
        keys.len()
    );
    // Which keys lie in a slot is chance: fewer keys than a million are allowed three deviations of that.
    let noise = if keys.len() >= 1_000_000 {
        0.0
    } else {
        3.0 / least.sqrt()
    };
    assert!(
        ratio <= 1.001 + noise,
        "moved {moved} keys, {ratio} times the least"
    );
    assert!(
        ratio > 0.99 - noise,
        "{ratio} is less than the shares can need"
    );
}

/// The table after one more addition, removal or new weight, each as likely.
fn changed(table: &SlotTable, change: u64, rng: &mut Rng) -> SlotTable {
    let ids: Vec<u64> = table.nodes().iter().map(|node| node.id.0).collect();
    let some = ids[rng.below(ids.len() as u64) as usize];
    let weight = rng.in_range(1..5) as u32;
    match rng.below(3) {
        0 if ids.len() < 120 => table.with(node(1_000 + change, weight)).unwrap(),
        1 if ids.len() > 20 => table.without(NodeId(some)),
        _ => table.with(node(some, weight)).unwrap(),
    }
}
