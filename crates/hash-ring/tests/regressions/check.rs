//! What decoding must be, whatever the bytes: the check of the fuzz target `placement_decode`, and of the test
//! that replays its inputs.

use purlin_core::{NodeId, Placement, PlacementHash};
use purlin_hash_ring::interop::ForeignRing;
use purlin_hash_ring::{AnyPlacement, diff};

/// What became of an input.
#[derive(Debug)]
pub(crate) struct Taken {
    /// As a placement, as it is or as the body of a frame.
    pub(crate) placement: bool,
    /// As another program's ring, likewise.
    pub(crate) foreign: bool,
}

/// The bytes as they are, and as what follows a right beginning and is followed by a right checksum: no search
/// guesses a checksum, and a hostile writer need not.
pub(crate) fn check(input: &[u8]) -> Taken {
    let hash = PlacementHash::default();
    let mut taken = Taken {
        placement: check_placement(input, &hash),
        foreign: check_foreign(input),
    };
    // A content has one format.
    for format in 1..=2 {
        if let Some((algorithm, rest)) = input.split_first() {
            let head = [&b"PLpl"[..], &[format, *algorithm], &hash.to_bytes()].concat();
            taken.placement |= check_placement(&framed(&head, rest), &hash);
        }
        taken.foreign |= check_foreign(&framed(&[b'P', b'L', b'f', b'r', format], input));
    }
    taken
}

fn framed(head: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = [head, body].concat();
    let checksum = PlacementHash::xxh3(0).of_bytes(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn check_placement(bytes: &[u8], hash: &PlacementHash) -> bool {
    let Ok(placement) = AnyPlacement::from_bytes(bytes, hash) else {
        return false;
    };
    assert_eq!(placement.to_bytes(), bytes, "two forms of one placement");
    check_lookups(
        &placement,
        placement.nodes().iter().map(|node| node.id).collect(),
    );
    // Very uneven weights make huge rings, and tables in which a second replica is far away. Those are decoded and
    // looked up in; what follows from them takes up to minutes, which a search spends better elsewhere.
    let weights: u64 = placement
        .nodes()
        .iter()
        .map(|node| u64::from(node.weight.0))
        .sum();
    if weights > 1_000 {
        return true;
    }
    // What follows from a decoded placement is a placement too.
    if let Some(first) = placement.nodes().first() {
        let smaller = placement.without(first.id);
        let again = AnyPlacement::from_bytes(&smaller.to_bytes(), hash);
        assert_eq!(again.as_ref(), Ok(&smaller));
        if let (Some(old), Some(new)) = (placement.ranges(), smaller.ranges()) {
            assert!(
                diff(old, new, 2)
                    .take(50)
                    .all(|change| change.from != change.to)
            );
        }
    }
    true
}

fn check_foreign(bytes: &[u8]) -> bool {
    let Ok(ring) = ForeignRing::from_bytes(bytes) else {
        return false;
    };
    assert_eq!(ring.to_bytes(), bytes, "two forms of one ring");
    check_lookups(&ring, ring.nodes().iter().map(|node| node.id).collect());
    true
}

fn check_lookups(placement: &impl Placement, ids: Vec<NodeId>) {
    for hash in [0, 1 << 31, u64::from(u32::MAX), 1 << 63, u64::MAX] {
        for n in [2, 3, 4] {
            let mut copies = vec![NodeId(0); n];
            let found = placement.replicas_of_hash(hash, &mut copies);
            let copies = &copies[..found];
            assert_eq!(copies.first().copied(), placement.owner_of_hash(hash));
            assert!(
                copies.iter().all(|id| ids.contains(id)),
                "a node from nowhere"
            );
            assert!(
                (1..found).all(|i| !copies[..i].contains(&copies[i])),
                "a node twice"
            );
        }
    }
}
