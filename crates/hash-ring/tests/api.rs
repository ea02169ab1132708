//! The edges of the interface: nothing, one, too many, the wrong ones.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::num::NonZeroU32;

use common::{hashes, node, nodes};
use purlin_core::{NodeId, Placement, Retry};
use purlin_hash_ring::{BuildError, Ring};

#[test]
fn no_nodes_own_nothing() {
    let empty = Ring::from_nodes([]).unwrap();
    let mut into = [NodeId(9); 2];
    assert_eq!(empty.owner("key"), None);
    assert_eq!(empty.replicas("key", &mut into), 0);
    assert_eq!(into, [NodeId(9); 2]);
    let one = empty.with(node(1, 1)).unwrap();
    assert_eq!(one.owner("key"), Some(NodeId(1)));
    assert_eq!(one.without(NodeId(1)).owner("key"), None);
}

#[test]
fn weight_zero_owns_nothing() {
    let ring = Ring::from_nodes([node(1, 0), node(2, 1), node(3, 0)]).unwrap();
    let mut into = [NodeId(0); 3];
    for hash in hashes(1_000) {
        assert_eq!(ring.replicas_of_hash(hash, &mut into), 1);
        assert_eq!(into[0], NodeId(2));
    }
    let idle = ring.with(node(2, 0)).unwrap();
    assert_eq!(idle.owner("key"), None);
    assert_eq!(idle.nodes().len(), 3);
}

#[test]
fn order_of_insertion_does_not_matter() {
    let mut shuffled = nodes(50);
    purlin_core::Rng::from_seed(5).shuffle(&mut shuffled);
    assert_eq!(
        Ring::from_nodes(shuffled).unwrap(),
        Ring::from_nodes(nodes(50)).unwrap()
    );
}

#[test]
fn a_second_node_of_one_id_is_refused_and_given_back() {
    let error = Ring::from_nodes([node(1, 1), node(2, 1), node(1, 5)]).unwrap_err();
    assert_eq!(error, BuildError::DuplicateNode(node(1, 5)));
    assert_eq!(error.retry(), Retry::NEVER);
    assert_eq!(error.to_string(), "node 1 (node-1) is there already");
}

#[test]
fn too_many_points_are_refused_before_they_are_made() {
    let most = NonZeroU32::MAX;
    for (weight, points) in [
        (1, u64::from(u32::MAX)),
        (u32::MAX, u64::from(u32::MAX) * u64::from(u32::MAX)),
    ] {
        let error = Ring::builder()
            .points_per_weight(most)
            .node(node(1, weight))
            .build()
            .unwrap_err();
        assert_eq!(
            error,
            BuildError::TooManyPoints {
                points,
                limit: 1 << 24
            }
        );
    }
    let ring = Ring::from_nodes(nodes(2)).unwrap();
    assert!(matches!(
        ring.with(node(2, u32::MAX)),
        Err(BuildError::TooManyPoints { .. })
    ));
}

#[test]
fn removing_a_stranger_changes_nothing() {
    let ring = Ring::from_nodes(nodes(3)).unwrap();
    assert_eq!(ring.without(NodeId(77)), ring);
}

#[test]
fn the_version_stops_at_its_end() {
    let ring = Ring::builder().version(u64::MAX).build().unwrap();
    assert_eq!(ring.with(node(1, 1)).unwrap().version(), u64::MAX);
}

#[test]
fn owner_by_key_by_bytes_and_by_hash_agree() {
    let ring = Ring::from_nodes(nodes(7)).unwrap();
    let placement: &dyn Placement = &ring;
    for key in ["", "a", "user:17"] {
        let home = ring.owner(key);
        assert_eq!(placement.owner(key.as_bytes()), home);
        assert_eq!(placement.owner_of_hash(ring.hash().of(key)), home);
        assert_eq!(ring.owner_of(key), home);
    }
}

/// R2 asks for at most ten bytes a point. Large rings take fewer.
#[test]
fn ring_r2_a_point_takes_at_most_ten_bytes() {
    for n in [10, 100, 1000] {
        let ring = Ring::from_nodes(nodes(if cfg!(miri) { n / 10 } else { n })).unwrap();
        let n_points = ring.n_points();
        let limit = if n_points < 1 << 18 {
            10 * n_points + 64
        } else {
            n_points * 33 / 4 + 64
        };
        assert!(
            ring.point_bytes() <= limit,
            "{n} nodes: {} bytes",
            ring.point_bytes()
        );
    }
}

/// What `format!` shows of a ring names its nodes and not its points.
/// The compiler refuses unsafe code, and `std` where the feature is off; these lines are what makes it. `ci/nostd.sh`
/// builds for machines that have no `std`.
#[test]
fn ring_r11_no_unsafe_code_and_no_std() {
    let lib = include_str!("../src/lib.rs");
    assert!(lib.contains("\n#![no_std]\n#![forbid(unsafe_code)]\n"));
    let mut lines = lib.lines();
    lines
        .by_ref()
        .find(|line| *line == "#[cfg(feature = \"std\")]");
    assert_eq!(lines.next(), Some("extern crate std;"));
    assert_eq!(lib.matches("extern crate std").count(), 1);
}

#[test]
fn debug_output_stays_short() {
    let ring = Ring::from_nodes(nodes(1)).unwrap();
    let text = format!("{ring:?}");
    assert!(text.contains("node-1") && text.len() < 400, "{text}");
}
