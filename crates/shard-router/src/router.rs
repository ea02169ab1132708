use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arc_swap::ArcSwap;
use purlin_core::sync::Mutex;
use purlin_core::sync::atomic::AtomicU64;
use purlin_core::{Meter, PlacementKey, Reading};

use crate::{InstallError, InstallErrorKind, Installed, MapVersion, Route, ShardGroup, ShardMap};

/// The client's side: the map in use, exchanged as a whole while any number of threads read it.
///
/// The version only ever goes up. A map that arrives late, twice, or from another history is refused, so
/// maps may come by any way and in any order. Readers never wait and never see half a map; a route taken just
/// before a change is caught by the shard's [`Guard`](crate::Guard).
///
/// ```
/// use purlin_shard_router::{Installed, Router, Shard, ShardId, ShardMap};
///
/// let first = ShardMap::even_split([Shard::new(ShardId(1), "db-1")])?;
/// let second = first.with_shard(Shard::new(ShardId(2), "db-2"))?;
/// let router = Router::new(first.clone());
/// assert_eq!(router.route("user:17").shard(), ShardId(1));
///
/// assert_eq!(router.install(second), Ok(Installed::Replaced));
/// assert!(router.install(first).is_err(), "an older map does not come back");
/// # Ok::<(), purlin_shard_router::MapError>(())
/// ```
#[derive(Debug)]
pub struct Router {
    map: ArcSwap<ShardMap>,
    /// Held from reading the current map to storing its successor: without it, two installs could both find
    /// theirs newer, and the older one be stored last.
    installing: Mutex<()>,
    installed: AtomicU64,
    older: AtomicU64,
    refused: AtomicU64,
}

impl Router {
    /// A router that begins with this map.
    pub fn new(map: impl Into<Arc<ShardMap>>) -> Self {
        Router {
            map: ArcSwap::new(map.into()),
            installing: Mutex::new(()),
            installed: AtomicU64::new(0),
            older: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Where a key lives by the map in use. Wait-free, without allocation: the load of the map, one hash, one
    /// load from its table.
    #[inline]
    pub fn route<K: PlacementKey + ?Sized>(&self, key: &K) -> Route {
        self.map.load().route(key)
    }

    /// The map in use. It stays as it is, whatever is installed meanwhile; take it once for many keys that
    /// belong together.
    pub fn map(&self) -> Arc<ShardMap> {
        self.map.load_full()
    }

    /// The version of the map in use. A client that was refused installs newer maps until this is at least
    /// what the refusal asks for.
    pub fn version(&self) -> MapVersion {
        self.map.load().version()
    }

    /// Groups keys by their shard, all by the map in use now: [`ShardMap::group_by_shard`].
    pub fn group_by_shard<K: PlacementKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Vec<ShardGroup<K>> {
        // Not under `load()`: taking the keys runs the caller's iterator, for as long as it likes.
        self.map().group_by_shard(keys)
    }

    /// Puts a newer map in the place of the one in use. Installing the map in use again changes nothing. The
    /// two maps are compared slot by slot: O(slots), tens of microseconds by default.
    ///
    /// # Errors
    ///
    /// [`InstallError`], with the map in it, if the map is older, or not a later version of the one in use.
    pub fn install(&self, map: impl Into<Arc<ShardMap>>) -> Result<Installed, InstallError> {
        let map = map.into();
        let replaced = {
            let _installing = self.installing.lock();
            let current = self.map.load();
            match current.succession(&map) {
                Ok(Installed::Replaced) => self.map.swap(map),
                Ok(Installed::Unchanged) => return Ok(Installed::Unchanged),
                Err(kind) => {
                    let counter = match kind {
                        InstallErrorKind::Older { .. } => &self.older,
                        _ => &self.refused,
                    };
                    counter.fetch_add(1, Relaxed);
                    return Err(InstallError::new(map, kind));
                }
            }
        };
        self.installed.fetch_add(1, Relaxed);
        drop(replaced); // After the lock: freeing a table takes a while.
        Ok(Installed::Replaced)
    }

    /// The counters as they stand.
    pub fn stats(&self) -> RouterStats {
        RouterStats {
            version: self.version(),
            installed: self.installed.load(Relaxed),
            older: self.older.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }
}

/// What a [`Router`] has counted. Routes are not among it: a counter would cost more than the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RouterStats {
    /// The version of the map in use.
    pub version: MapVersion,
    /// Maps that replaced an older one.
    pub installed: u64,
    /// Maps that arrived after a newer one. Ordinary.
    pub older: u64,
    /// Maps that were no later version of the one in use. Each is a mistake somewhere.
    pub refused: u64,
}

impl Meter for RouterStats {
    fn read(&self, each: &mut dyn FnMut(Reading)) {
        let counter = Reading::counter;
        each(Reading::gauge(
            "purlin_shard_router_map_version",
            self.version.0 as f64,
        ));
        each(counter(
            "purlin_shard_router_maps_installed_total",
            self.installed,
        ));
        each(counter("purlin_shard_router_maps_older_total", self.older));
        each(counter(
            "purlin_shard_router_maps_refused_total",
            self.refused,
        ));
    }
}
