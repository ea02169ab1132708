//! Maps come from files, stores and other machines. Whatever the bytes say, the answer is a map or an error,
//! and a map only for the exact bytes that some map has.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use proptest::prelude::*;
use purlin_shard_router::{
    DecodeError, MapError, MapVersion, PlacementHash, Shard, ShardId, ShardMap, Slot, SlotMove,
};

fn map() -> ShardMap {
    let shards = (1..=3).map(|n| Shard::new(ShardId(n * 100), format!("db-{n}")));
    let built = ShardMap::builder(shards)
        .slot_count(32)
        .even_split()
        .unwrap();
    let moved = built.with_move([Slot(9)], ShardId(100)).unwrap();
    let mut moving = SlotMove::plan(&moved, [Slot(20)], ShardId(300)).unwrap();
    moving.propose(&moved).unwrap().unwrap()
}

/// Puts the right checksum under a body, as a hostile writer would.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut bytes = body.to_vec();
    let checksum = PlacementHash::xxh3(0).of_bytes(body);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn body_of(map: &ShardMap) -> Vec<u8> {
    let mut bytes = map.encode();
    bytes.truncate(bytes.len() - 8);
    bytes
}

/// What decoding must be, whatever the bytes.
fn check(bytes: &[u8]) -> Result<ShardMap, DecodeError> {
    let decoded = ShardMap::decode(bytes);
    if let Ok(map) = &decoded {
        assert_eq!(map.encode(), bytes, "two forms of one map");
        let route = map.route("some key");
        assert!(map.shard(route.shard()).is_some());
    }
    decoded
}

#[test]
fn every_truncation_and_every_extension_is_an_error() {
    let bytes = map().encode();
    for len in 0..bytes.len() {
        let cut = check(&bytes[..len]);
        assert!(
            matches!(cut, Err(DecodeError::Truncated | DecodeError::Checksum)),
            "{len} bytes: {cut:?}"
        );
    }
    let body = body_of(&map());
    for len in 0..body.len() {
        assert!(check(&sealed(&body[..len])).is_err(), "{len} bytes, sealed");
    }
    for extra in [0, 1, 0xff] {
        let mut longer = bytes.clone();
        longer.push(extra);
        assert_eq!(check(&longer), Err(DecodeError::Checksum));
        let mut longer = body_of(&map());
        longer.push(extra);
        assert_eq!(check(&sealed(&longer)), Err(DecodeError::NotCanonical));
    }
}

#[test]
fn every_flipped_bit_is_an_error() {
    let good = map().encode();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = check(&bytes).unwrap_err();
        let expected = match bit / 8 {
            0..4 => DecodeError::NotAMap,
            4 => DecodeError::Format { found: bytes[4] },
            _ => DecodeError::Checksum,
        };
        assert_eq!(error, expected, "bit {bit}");
    }
}

/// With the checksum put right, a changed body is an error or another map, never a panic and never a second
/// form of the same map.
#[test]
fn every_changed_byte_under_a_right_checksum_is_an_error_or_another_map() {
    let (good, body) = (map(), body_of(&map()));
    let (mut maps, mut errors) = (0, 0);
    for at in 0..body.len() {
        for value in 0..=255 {
            let mut body = body.clone();
            body[at] = value;
            match check(&sealed(&body)) {
                Ok(other) => {
                    maps += 1;
                    assert_eq!(other == good, body == body_of(&good), "byte {at}");
                }
                Err(_) => errors += 1,
            }
        }
    }
    // Seeds, names, numbers of shards and versions may be anything; the structure may not.
    assert!(
        maps > body.len() && errors > maps / 4,
        "{maps} maps, {errors} errors"
    );
}

/// A header with `bits` slots under version 5, one shard "a" of number 1, and these runs.
fn with_runs(bits: u8, runs: &[u8]) -> Result<ShardMap, DecodeError> {
    let mut body = b"PLSM\x01\x00".to_vec();
    body.push(bits);
    body.extend_from_slice(&PlacementHash::default().to_bytes());
    body.extend_from_slice(&5u64.to_le_bytes());
    body.extend_from_slice(b"\x01\x01\0\0\0\x01a");
    body.extend_from_slice(runs);
    check(&sealed(&body))
}

#[test]
fn lies_about_the_structure_are_errors() {
    let good = with_runs(2, &[4, 0, 0, 0]).unwrap();
    assert_eq!((good.slot_count(), good.version()), (4, MapVersion(5)));

    let not_canonical = |runs: &[u8]| {
        let result = with_runs(2, runs);
        assert_eq!(result, Err(DecodeError::NotCanonical), "{runs:?}");
    };
    not_canonical(&[5, 0, 0, 0]); // More slots than there are.
    not_canonical(&[0, 0, 0, 0, 4, 0, 0, 0]); // An empty run.
    not_canonical(&[2, 0, 0, 0, 2, 0, 0, 0]); // Two runs where one would do.
    not_canonical(&[4, 1, 0, 0]); // No such owner.
    not_canonical(&[4, 0, 2, 0]); // No such target.
    not_canonical(&[4, 0, 0, 6]); // Older than the first version.
    not_canonical(&[0x84, 0, 0, 0, 0]); // A longer form of a number.
    not_canonical(&[
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0,
    ]);

    let slot = Slot(0);
    let to_itself = DecodeError::Invalid(MapError::MovesToItself { slot });
    assert_eq!(with_runs(2, &[4, 0, 1, 0]), Err(to_itself));
    assert_eq!(with_runs(2, &[3, 0, 0, 0]), Err(DecodeError::Truncated));

    // Numbers of slots beyond the limit, and beyond what a shift can take.
    for bits in [17, 31, 32, 64, 255] {
        let result = with_runs(bits, &[4, 0, 0, 0]);
        assert!(
            matches!(
                result,
                Err(DecodeError::Invalid(MapError::SlotCount { .. }))
            ),
            "{result:?}"
        );
    }
    let largest = with_runs(16, &[0x80, 0x80, 4, 0, 0, 0]).unwrap();
    assert_eq!(largest.slot_count(), ShardMap::MAX_SLOT_COUNT);
}

#[test]
fn lies_about_the_shards_are_errors() {
    let with_shards = |shards: &[u8]| {
        let mut body = b"PLSM\x01\x00\x00".to_vec();
        body.extend_from_slice(&PlacementHash::default().to_bytes());
        body.extend_from_slice(&5u64.to_le_bytes());
        body.extend_from_slice(shards);
        body.extend_from_slice(&[1, 0, 0, 0]);
        check(&sealed(&body))
    };
    assert!(with_shards(b"\x02\x01\0\0\0\x01a\x02\0\0\0\x01b").is_ok());
    let falling = with_shards(b"\x02\x02\0\0\0\x01a\x01\0\0\0\x01b");
    assert_eq!(falling, Err(DecodeError::NotCanonical));
    let twice = with_shards(b"\x02\x01\0\0\0\x01a\x01\0\0\0\x01b");
    assert_eq!(twice, Err(DecodeError::NotCanonical));
    let not_text = with_shards(b"\x01\x01\0\0\0\x01\xff");
    assert_eq!(not_text, Err(DecodeError::NotCanonical));
    let none = with_shards(b"\0");
    assert_eq!(none, Err(MapError::NoShards.into()));
    let id = ShardId(1);
    let nameless = with_shards(b"\x01\x01\0\0\0\0");
    assert_eq!(nameless, Err(MapError::ShardName { id }.into()));
    let (first, second) = (ShardId(1), ShardId(2));
    let same_name = with_shards(b"\x02\x01\0\0\0\x01a\x02\0\0\0\x01a");
    assert_eq!(
        same_name,
        Err(MapError::DuplicateName { first, second }.into())
    );
    // A count that promises more than all memory.
    let many = with_shards(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    assert_eq!(many, Err(DecodeError::Truncated));
}

#[test]
fn unknown_hashes_rules_and_formats_are_named() {
    let with = |at: usize, value: u8| {
        let mut body = body_of(&map());
        body[at] = value;
        check(&sealed(&body))
    };
    assert_eq!(with(4, 2), Err(DecodeError::Format { found: 2 }));
    assert_eq!(with(5, 9), Err(DecodeError::KeyRule { found: 9 }));
    assert!(matches!(with(7, 99), Err(DecodeError::Hash(_))));
}

/// The readable form is checked as well: people write it.
#[cfg(feature = "serde")]
#[test]
fn lies_in_the_readable_form_are_errors() {
    use serde_json::{Value, json};

    let good = serde_json::to_value(map()).unwrap();
    let read = |value: Value| serde_json::from_value::<ShardMap>(value);
    assert_eq!(read(good.clone()).unwrap(), map());
    for (pointer, lie) in [
        ("/format", json!(2)),
        ("/version", json!(1)), // Some slots were changed later.
        ("/hash", json!("xxh3-64:9:0")),
        ("/key_rule", json!("half-key")),
        ("/slot_count", json!(33)),
        ("/slot_count", json!(4_294_967_295_u32)),
        ("/slot_count", json!(64)),
        ("/shards", json!([])),
        ("/shards/1/id", json!(100)),
        ("/shards/1/name", json!("")),
        ("/runs/0/slots", json!(4_294_967_295_u32)),
        ("/runs/0/slots", json!(0)),
        ("/runs/0/owner", json!(7)),
        ("/runs/0/moving_to", json!(100)),
        ("/runs", json!([])),
    ] {
        let mut value = good.clone();
        *value.pointer_mut(pointer).unwrap() = lie.clone();
        assert!(read(value).is_err(), "{pointer} as {lie}");
    }
    let mut extra = good;
    extra["comment"] = json!("not part of the form");
    assert!(read(extra).is_err());
}

proptest! {
    #[test]
    fn any_bytes_have_an_answer(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        header in any::<bool>(),
    ) {
        drop(check(&bytes));
        let mut body = if header { b"PLSM\x01".to_vec() } else { Vec::new() };
        body.extend_from_slice(&bytes);
        drop(check(&sealed(&body)));
    }

    /// Bytes that are nearly right get further than random ones.
    #[test]
    fn any_splice_of_a_map_has_an_answer(
        at in 5usize..100,
        cut in 0usize..20,
        insert in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut body = body_of(&map());
        let at = at.min(body.len());
        let end = (at + cut).min(body.len());
        body.splice(at..end, insert);
        drop(check(&sealed(&body)));
    }
}
