//! What decoding must be, whatever the bytes: the check of the fuzz target `shard_map_decode`, and of the test
//! that replays its inputs.

use purlin_shard_router::{DecodeError, PlacementHash, ShardMap};

/// The bytes as they are, and as the body of a map whose magic number and checksum are right: no search
/// guesses a checksum, and a hostile writer need not.
pub(crate) fn check(input: &[u8]) -> [Result<ShardMap, DecodeError>; 2] {
    let mut sealed = [&b"PLSM\x01"[..], input].concat();
    let checksum = PlacementHash::xxh3(0).of_bytes(&sealed);
    sealed.extend_from_slice(&checksum.to_le_bytes());
    [input, &sealed].map(|bytes| {
        let decoded = ShardMap::decode(bytes);
        if let Ok(map) = &decoded {
            check_map(map, bytes, input);
        }
        decoded
    })
}

fn check_map(map: &ShardMap, bytes: &[u8], key: &[u8]) {
    assert_eq!(map.encode(), bytes, "two forms of one map");
    let route = map.route(key);
    assert!(map.shard(route.shard()).is_some(), "a route to nowhere");
    assert!(route.epoch() <= map.version(), "an epoch to come");
    // What follows from a decoded map is a map too.
    if let Ok(next) = map.with_move([route.slot()], map.shards()[0].id()) {
        assert_eq!(ShardMap::decode(&next.encode()), Ok(next));
    }
}
