//! Snapshots: there and back, and every way of being wrong.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::num::NonZeroU32;

use common::{node, nodes};
use proptest::prelude::*;
use purlin_core::{NodeId, Placement, PlacementHash, Rack, Zone};
use purlin_hash_ring::{Algorithm, AnyPlacement, BuildError, DecodeError, Ring, SlotTable, Spread};

fn ring() -> Ring {
    Ring::builder()
        .hash(PlacementHash::siphash24([3; 16]))
        .points_per_weight(NonZeroU32::new(7).unwrap())
        .version(40)
        .nodes([node(9, 2).with_zone(Zone::new("b")), node(1, 0), node(4, 1)])
        .build()
        .unwrap()
}

/// Ends content with the checksum it ought to have.
fn sealed(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.extend_from_slice(&PlacementHash::xxh3(0).of_bytes(content).to_le_bytes());
    bytes
}

#[test]
fn a_ring_comes_back_whole() {
    for ring in [
        ring(),
        Ring::from_nodes([]).unwrap(),
        Ring::from_nodes(nodes(20)).unwrap(),
    ] {
        assert_eq!(
            Ring::from_bytes(&ring.to_bytes(), &ring.hash()).unwrap(),
            ring
        );
    }
}

/// The layout in the crate's documentation, byte by byte.
#[test]
fn ring_r8_the_layout_is_frozen() {
    let ring = Ring::builder()
        .version(2)
        .spread(Spread::Zones)
        .node(node(258, 3).with_zone(Zone::new("z")))
        .build()
        .unwrap();
    let mut content = b"PLpl\x01\x01".to_vec();
    content.extend_from_slice(&[1, 1]);
    content.extend_from_slice(&[0; 16]);
    content.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0]);
    content.extend_from_slice(&[1]);
    content.extend_from_slice(&[1, 0, 0, 0]);
    content.extend_from_slice(&[2, 1, 0, 0, 0, 0, 0, 0]);
    content.extend_from_slice(&[3, 0, 0, 0]);
    content.extend_from_slice(b"\x08\0\0\0node-258\x01\x01\0\0\0z");
    content.extend_from_slice(&[160, 0, 0, 0]);
    assert_eq!(ring.to_bytes(), sealed(&content));
}

/// Where there are racks the format is the second, and only there: what has none is read by every reader.
#[test]
fn ring_r8_the_layout_with_racks_is_frozen() {
    let racked = |spread| {
        Ring::builder()
            .version(2)
            .spread(spread)
            .node(
                node(1, 1)
                    .with_zone(Zone::new("z"))
                    .with_rack(Rack::new("r")),
            )
            .node(node(2, 1).with_rack(Rack::new("s")))
            .node(node(3, 1).with_zone(Zone::new("z")))
            .build()
            .unwrap()
    };
    for (code, spread) in [
        (0, Spread::Anywhere),
        (1, Spread::Zones),
        (2, Spread::ZonesAndRacks),
    ] {
        let ring = racked(spread);
        let mut content = b"PLpl\x02\x01".to_vec();
        content.extend_from_slice(&[1, 1]);
        content.extend_from_slice(&[0; 16]);
        content.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0]);
        content.extend_from_slice(&[code, 3, 0, 0, 0]);
        content.extend_from_slice(
            b"\x01\0\0\0\0\0\0\0\x01\0\0\0\x06\0\0\0node-1\x03\x01\0\0\0z\x01\0\0\0r",
        );
        content.extend_from_slice(b"\x02\0\0\0\0\0\0\0\x01\0\0\0\x06\0\0\0node-2\x02\x01\0\0\0s");
        content.extend_from_slice(b"\x03\0\0\0\0\0\0\0\x01\0\0\0\x06\0\0\0node-3\x01\x01\0\0\0z");
        content.extend_from_slice(&[160, 0, 0, 0]);
        assert_eq!(ring.to_bytes(), sealed(&content));
        assert_eq!(
            Ring::from_bytes(&sealed(&content), &ring.hash()).unwrap(),
            ring
        );
        // The same under the first format, which knows no racks.
        content[4] = 1;
        let error = Ring::from_bytes(&sealed(&content), &ring.hash()).unwrap_err();
        assert_eq!(error, DecodeError::Malformed);
    }
    // Spread over racks that nobody has.
    let bare = Ring::builder()
        .spread(Spread::ZonesAndRacks)
        .node(node(1, 1))
        .build()
        .unwrap();
    assert_eq!(bare.to_bytes()[4], 2);
    assert_eq!(
        Ring::from_bytes(&bare.to_bytes(), &bare.hash()).unwrap(),
        bare
    );
    // A second form of what the first format says.
    let mut plain = Ring::from_nodes(nodes(2)).unwrap().to_bytes();
    plain.truncate(plain.len() - 8);
    plain[4] = 2;
    let error = Ring::from_bytes(&sealed(&plain), &PlacementHash::default()).unwrap_err();
    assert_eq!(error, DecodeError::Malformed);
}

#[test]
fn another_hash_is_refused() {
    let bytes = ring().to_bytes();
    for other in [PlacementHash::default(), PlacementHash::siphash24([4; 16])] {
        let error = Ring::from_bytes(&bytes, &other).unwrap_err();
        assert!(matches!(error, DecodeError::HashMismatch(_)), "{error:?}");
    }
}

#[test]
fn every_lost_or_changed_byte_is_noticed() {
    let bytes = ring().to_bytes();
    for len in 0..bytes.len() {
        assert!(
            Ring::from_bytes(&bytes[..len], &ring().hash()).is_err(),
            "cut to {len}"
        );
    }
    for at in 0..bytes.len() {
        for flip in [1, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            assert!(
                Ring::from_bytes(&changed, &ring().hash()).is_err(),
                "byte {at}"
            );
        }
    }
}

#[test]
fn content_that_makes_no_sense_is_told_apart() {
    let bytes = ring().to_bytes();
    let content = &bytes[..bytes.len() - 8];
    let decode = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut content = content.to_vec();
        change(&mut content);
        Ring::from_bytes(&sealed(&content), &ring().hash()).unwrap_err()
    };
    assert_eq!(
        decode(&|content| content[0] = b'x'),
        DecodeError::NotASnapshot
    );
    assert_eq!(
        decode(&|content| content[4] = 9),
        DecodeError::UnknownFormat(9)
    );
    assert_eq!(
        decode(&|content| content[5] = 200),
        DecodeError::OtherAlgorithm(200)
    );
    assert_eq!(
        decode(&|content| content[6] = 200),
        DecodeError::UnknownHash
    );
    // A count of nodes that the bytes cannot hold must not be believed.
    assert_eq!(
        decode(&|content| content[33..37].fill(0xff)),
        DecodeError::Malformed
    );
    assert_eq!(decode(&|content| content.push(0)), DecodeError::Malformed);
    assert_eq!(
        decode(&|content| content.truncate(content.len() - 1)),
        DecodeError::Malformed
    );
    // No points per weight unit.
    assert_eq!(
        decode(&|content| content.iter_mut().rev().take(4).for_each(|byte| *byte = 0)),
        DecodeError::Malformed
    );
    // The second node's id made that of the first.
    let first = node(1, 0).name.len();
    let second = 37 + 8 + 4 + 4 + first + 1;
    let error = decode(&|content| content[second] = 1);
    assert!(
        matches!(error, DecodeError::Invalid(BuildError::DuplicateNode(_))),
        "{error:?}"
    );
    assert!(std::error::Error::source(&error).is_some());
}

proptest! {
    #![proptest_config(common::cases(400, 8))]

    /// Hostile bytes of any algorithm, even under a checksum that fits, are answered and never panic; what is
    /// accepted can be used, and is written as it was read.
    #[test]
    fn ring_r8_hostile_bytes_never_panic(
        algorithm in prop::sample::select(Algorithm::ALL.to_vec()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..12u8), 0..6),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let placement: AnyPlacement = match algorithm {
            Algorithm::SlotTable => {
                SlotTable::builder().slot_bits(4).replica_lists(2).nodes(nodes(3)).build().unwrap().into()
            }
            _ => AnyPlacement::from_nodes(algorithm, nodes(5)).unwrap(),
        };
        let placement = placement.without(NodeId(2)).with(node(8, 1)).unwrap();
        let bytes = placement.to_bytes();
        let mut content = bytes[..bytes.len() - 8].to_vec();
        for (at, byte) in edits {
            // What the algorithm adds is at the end and changed half of the time.
            let at = at.index(content.len() * 2);
            let at = if at < content.len() { at } else { content.len() - 1 - at % content.len().min(40) };
            content[at] = byte;
        }
        if !whole {
            content.truncate(cut.index(content.len()));
        }
        if let Ok(decoded) = AnyPlacement::from_bytes(&sealed(&content), &placement.hash()) {
            prop_assert_eq!(decoded.to_bytes(), sealed(&content));
            let mut into = [NodeId(0); 4];
            for hash in [0, 1 << 63, u64::MAX] {
                decoded.replicas_of_hash(hash, &mut into);
            }
            let changed = decoded.without(NodeId(8));
            changed.owner_of_hash(7);
        }
    }
}
