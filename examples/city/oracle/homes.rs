//! Invariant 4: a key is answered, and stored, by its own shard and no other.

use xxhash_rust::xxh3::xxh3_64;

use super::ages::Ages;
use super::{Invariant, Verdict};
use crate::page::RowView;
use crate::row::{Key, Record};
use crate::settings::SHARDS;

/// A key's shard, computed from nothing but the key: XXH3-64 of its bytes, and the equal part of the range of
/// hashes that it falls into.
pub(super) fn home(key: Key) -> u32 {
    let hash = xxh3_64(key.as_bytes());
    ((u128::from(hash) * SHARDS as u128) >> 64) as u32
}

pub(super) fn shown(key: Key, shown: &RowView, ages: &Ages, verdict: &mut Verdict) {
    check("was answered", key, shown.shard, ages, verdict);
}

pub(super) fn committed(shard: u32, record: &Record, ages: &Ages, verdict: &mut Verdict) {
    check("was changed", record.change.key, shard, ages, verdict);
}

pub(super) fn stored(shard: u32, key: Key, ages: &Ages, verdict: &mut Verdict) {
    check("is stored", key, shard, ages, verdict);
}

fn check(how: &str, key: Key, shard: u32, ages: &Ages, verdict: &mut Verdict) {
    verdict.check(Invariant::Homes);
    let home = home(key);
    if shard != home {
        let what = format!("{key} {how} by shard {shard}, and its home is shard {home}");
        verdict.break_promise(Invariant::Homes, what, ages.story(key));
    }
}
