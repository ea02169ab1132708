//! Encoded maps and routes are a promise to every program that keeps one: these bytes are read, and written,
//! by every later release.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use purlin_shard_router::{
    KeyRule, MapVersion, PlacementHash, Route, Shard, ShardId, ShardMap, Slot, SlotMove,
};

/// Sixteen slots over three shards, one of them moved and two on their way.
fn map() -> ShardMap {
    let shards = [(300, "orders-eu"), (7, "orders-us"), (8, "заказы")];
    let built = ShardMap::builder(shards.map(|(id, name)| Shard::new(ShardId(id), name)))
        .hash(PlacementHash::xxh3(0x0102_0304))
        .key_rule(KeyRule::HashTag)
        .slot_count(16)
        .version(MapVersion(200))
        .even_split()
        .unwrap();
    let moved = built.with_move([Slot(3)], ShardId(300)).unwrap();
    let mut moving = SlotMove::plan(&moved, [Slot(12), Slot(13)], ShardId(7)).unwrap();
    moving.propose(&moved).unwrap().unwrap()
}

#[rustfmt::skip]
const FORMAT_1: &[u8] = &[
    b'P', b'L', b'S', b'M',
    1, // Format.
    1, // Key rule: hash tags.
    4, // 2^4 slots.
    1, 1, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // XXH3-64, version 1, seed.
    202, 0, 0, 0, 0, 0, 0, 0, // Map version.
    3, // Shards.
    7, 0, 0, 0, 9, b'o', b'r', b'd', b'e', b'r', b's', b'-', b'u', b's',
    8, 0, 0, 0, 12, 0xd0, 0xb7, 0xd0, 0xb0, 0xd0, 0xba, 0xd0, 0xb0, 0xd0, 0xb7, 0xd1, 0x8b,
    44, 1, 0, 0, 9, b'o', b'r', b'd', b'e', b'r', b's', b'-', b'e', b'u',
    3, 0, 0, 2, // Slots 0 to 2: the first shard, not moving, changed two versions ago.
    1, 2, 0, 1, // Slot 3: the third shard since the version before.
    2, 0, 0, 2,
    5, 1, 0, 2,
    1, 2, 0, 2,
    2, 2, 1, 0, // Slots 12 and 13: the third shard, moving to the first since this version.
    2, 2, 0, 2,
    0x07, 0xaf, 0xb3, 0xec, 0x41, 0x4a, 0xb9, 0x5e, // XXH3-64 of the rest.
];

#[test]
fn maps_keep_their_bytes() {
    assert_eq!(map().encode(), FORMAT_1);
    assert_eq!(ShardMap::decode(FORMAT_1), Ok(map()));
}

#[test]
fn keys_keep_their_routes() {
    #[track_caller]
    fn check(route: Route, shard: u32, slot: u32) {
        assert_eq!((route.shard(), route.slot()), (ShardId(shard), Slot(slot)));
    }
    let shards = (1..=4).map(|n| Shard::new(ShardId(n), format!("db-{n}")));
    let map = ShardMap::even_split(shards).unwrap();
    // The highest 14 bits of the hashes that purlin-core holds to other implementations.
    check(map.route(""), 1, 0x2d06 >> 2);
    check(map.route("user:17"), 2, 0x70d4 >> 2);
    check(map.route(&42u64), 4, 0xd5a6 >> 2);
    check(map.route(&-1i64), 2, 0x5111 >> 2);
    check(map.route(&("eu", 17u64)), 4, 0xda6a >> 2);
}

#[cfg(feature = "serde")]
#[test]
fn maps_keep_their_readable_form() {
    let json = serde_json::json!({
        "format": 1,
        "version": 202,
        "hash": "xxh3-64:1:1020304",
        "key_rule": "hash-tag",
        "slot_count": 16,
        "shards": [
            { "id": 7, "name": "orders-us" },
            { "id": 8, "name": "заказы" },
            { "id": 300, "name": "orders-eu" },
        ],
        "runs": [
            { "slots": 3, "owner": 7, "epoch": 200, "moving_to": null },
            { "slots": 1, "owner": 300, "epoch": 201, "moving_to": null },
            { "slots": 2, "owner": 7, "epoch": 200, "moving_to": null },
            { "slots": 5, "owner": 8, "epoch": 200, "moving_to": null },
            { "slots": 1, "owner": 300, "epoch": 200, "moving_to": null },
            { "slots": 2, "owner": 300, "epoch": 202, "moving_to": 7 },
            { "slots": 2, "owner": 300, "epoch": 200, "moving_to": null },
        ],
    });
    assert_eq!(serde_json::to_value(map()).unwrap(), json);
    assert_eq!(serde_json::from_value::<ShardMap>(json).unwrap(), map());
}
