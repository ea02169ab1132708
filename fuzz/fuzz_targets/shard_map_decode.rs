//! The decoder of shard maps: no bytes make it panic, and the bytes it takes are exactly those of the map it
//! gives.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purlin_shard_router::{PlacementHash, ShardMap};

fuzz_target!(|input: &[u8]| {
    check(input, input);
    // As the body of a map: no search guesses a checksum, and a hostile writer need not.
    let mut sealed = [&b"PLSM\x01"[..], input].concat();
    let checksum = PlacementHash::xxh3(0).of_bytes(&sealed);
    sealed.extend_from_slice(&checksum.to_le_bytes());
    check(&sealed, input);
});

fn check(bytes: &[u8], key: &[u8]) {
    let Ok(map) = ShardMap::decode(bytes) else {
        return;
    };
    assert_eq!(map.encode(), bytes, "two forms of one map");
    assert_eq!(ShardMap::decode(&map.encode()).as_ref(), Ok(&map));
    let route = map.route(key);
    assert!(map.shard(route.shard()).is_some(), "a route to nowhere");
    assert!(route.epoch() <= map.version());
    // What follows a decoded map must hold too.
    if let Ok(next) = map.with_move([route.slot()], map.shards()[0].id()) {
        assert_eq!(ShardMap::decode(&next.encode()).as_ref(), Ok(&next));
    }
}
