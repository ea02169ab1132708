use core::fmt;
use core::hash::{BuildHasher, Hasher};

use foldhash::SharedSeed;
use foldhash::fast::{FoldHasher, SeedableRandomState};

/// The seeded hasher of tables inside one process.
///
/// Which algorithm it is may change in any version, so nothing that leaves the process may depend on it;
/// keys that must have one home everywhere go through [`PlacementHash`](crate::PlacementHash). Today it is
/// foldhash, which was ahead of ahash in the bench `core/map_hasher` on keys of 8 to 64 bytes.
///
/// `MapHasher::default()` is seeded at random, so that nobody outside can aim many keys at one bucket.
///
/// ```
/// use std::collections::HashMap;
/// use purlin_core::MapHasher;
///
/// let mut stock: HashMap<&str, u32, MapHasher> = HashMap::default();
/// stock.insert("beam", 3);
/// assert_eq!(stock["beam"], 3);
/// ```
#[derive(Clone)]
pub struct MapHasher(SeedableRandomState);

impl MapHasher {
    /// A hasher with a random seed: from the operating system with feature `std`, and without it from
    /// addresses and counters, which an attacker may guess.
    pub fn new() -> Self {
        MapHasher(SeedableRandomState::random())
    }

    /// A hasher that gives the same hashes in every run of the same version, for tests that must repeat.
    pub fn with_seed(seed: u64) -> Self {
        MapHasher(SeedableRandomState::with_seed(
            seed,
            SharedSeed::global_fixed(),
        ))
    }
}

impl Default for MapHasher {
    fn default() -> Self {
        MapHasher::new()
    }
}

/// Shows nothing of the seed.
impl fmt::Debug for MapHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapHasher").finish_non_exhaustive()
    }
}

impl BuildHasher for MapHasher {
    type Hasher = MapHasherState;

    #[inline]
    fn build_hasher(&self) -> MapHasherState {
        MapHasherState(self.0.build_hasher())
    }
}

/// The state of one hash under way, made by [`MapHasher`].
#[derive(Clone)]
pub struct MapHasherState(FoldHasher<'static>);

impl fmt::Debug for MapHasherState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapHasherState").finish_non_exhaustive()
    }
}

macro_rules! forward_writes {
    ($($write:ident: $integer:ty;)*) => {$(
        #[inline]
        fn $write(&mut self, value: $integer) {
            self.0.$write(value);
        }
    )*};
}

impl Hasher for MapHasherState {
    #[inline]
    fn finish(&self) -> u64 {
        self.0.finish()
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    // Each width is forwarded: the default methods would take every integer through `write`.
    forward_writes! {
        write_u8: u8;
        write_u16: u16;
        write_u32: u32;
        write_u64: u64;
        write_u128: u128;
        write_usize: usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_function_and_random_seeds_differ() {
        let (a, b) = (MapHasher::with_seed(1), MapHasher::with_seed(1));
        assert_eq!(a.hash_one("key"), b.hash_one("key"));
        assert_ne!(a.hash_one("key"), MapHasher::with_seed(2).hash_one("key"));
        assert_ne!(
            MapHasher::new().hash_one("key"),
            MapHasher::new().hash_one("key")
        );
        let same = MapHasher::new();
        assert_eq!(same.hash_one(7), same.clone().hash_one(7));
    }
}
