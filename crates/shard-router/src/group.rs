use std::collections::BTreeMap;

use purlin_core::PlacementKey;

use crate::{Route, ShardId, ShardMap};

/// The keys of one shard, out of many keys that were asked for together.
///
/// Groups come in the order in which their shards first appeared, keys within a group in the order in which
/// they were given, and each key knows its place among all, so that answers can be put back in order.
///
/// ```
/// use purlin_shard_router::{Shard, ShardId, ShardMap};
///
/// let map = ShardMap::even_split((1..=3).map(|n| Shard::new(ShardId(n), format!("db-{n}"))))?;
/// let asked = ["ann", "bob", "cid", "dee"];
///
/// let mut answers = vec![None; asked.len()];
/// for group in map.group_by_shard(asked) {
///     // Here: one query with `IN (...)` to the shard, with the routes so that it can refuse a stale one.
///     for routed in group.keys {
///         answers[routed.place] = Some(format!("{} from {}", routed.key, group.shard));
///     }
/// }
/// assert!(answers[2].as_deref().unwrap().starts_with("cid from shard"));
/// # Ok::<(), purlin_shard_router::MapError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardGroup<K> {
    /// The shard to ask.
    pub shard: ShardId,
    /// What to ask it for; at least one.
    pub keys: Vec<RoutedKey<K>>,
}

/// A key among many that were asked for together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutedKey<K> {
    /// How many keys were given before this one.
    pub place: usize,
    /// Where it lives.
    pub route: Route,
    /// The key.
    pub key: K,
}

pub(crate) fn group<K: PlacementKey>(
    map: &ShardMap,
    keys: impl IntoIterator<Item = K>,
) -> Vec<ShardGroup<K>> {
    let mut groups: Vec<ShardGroup<K>> = Vec::new();
    let mut group_of: BTreeMap<ShardId, usize> = BTreeMap::new();
    for (place, key) in keys.into_iter().enumerate() {
        let route = map.route(&key);
        let shard = route.shard();
        let at = *group_of.entry(shard).or_insert_with(|| {
            groups.push(ShardGroup {
                shard,
                keys: Vec::new(),
            });
            groups.len() - 1
        });
        groups[at].keys.push(RoutedKey { place, route, key });
    }
    groups
}
