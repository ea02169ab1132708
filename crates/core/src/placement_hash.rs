//! The hash that decides where a key lives.

use core::fmt;
use core::str::FromStr;

use siphasher::sip::SipHasher24;
use xxhash_rust::xxh3::xxh3_64_with_seed;
use xxhash_rust::xxh64::xxh64;

use crate::PlacementKey;

/// A named, versioned and seeded hash: the function from a key's bytes to the 64 bits that decide its home.
///
/// Its outputs are a compatibility promise: they are the same on every platform, in every process and in
/// every version of this crate, because each algorithm is fixed by a specification outside it. Golden
/// vectors hold them, also on 32-bit and big-endian machines. Every serialised map stores the hash it was
/// made with, and [`ensure_same`](PlacementHash::ensure_same) refuses another.
///
/// The hash of tables inside one process is [`MapHasher`](crate::MapHasher), a different type on purpose.
///
/// ```
/// use purlin_core::PlacementHash;
///
/// let hash = PlacementHash::default();
/// assert_eq!(hash.to_string(), "xxh3-64:1:0");
/// assert_eq!(hash.of("user:17"), hash.of_bytes(b"user:17"));
/// assert_ne!(hash.of(&1u32), hash.of(&1u64));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlacementHash {
    algorithm: HashAlgorithm,
    /// XXH3 and XXH64 use the low half; the constructors keep the high half zero for them, so equality of
    /// values is equality of functions.
    seed: u128,
}

/// The algorithms a [`PlacementHash`] can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// XXH3, 64 bits, of xxHash 0.8. The default: fast on every key length.
    Xxh3_64,
    /// SipHash-2-4 (Aumasson and Bernstein, 2012) with a secret 128-bit key, for keys that an attacker
    /// chooses: without the key nobody can aim many keys at one shard.
    SipHash24,
    /// XXH64 of xxHash, for interoperation with systems that settled on it.
    Xxh64,
}

impl HashAlgorithm {
    /// The algorithm's name in every serialised form.
    pub const fn name(self) -> &'static str {
        match self {
            HashAlgorithm::Xxh3_64 => "xxh3-64",
            HashAlgorithm::SipHash24 => "siphash-2-4",
            HashAlgorithm::Xxh64 => "xxh64",
        }
    }

    /// The version of what we do with the algorithm. It would change only if a mistake had to be mended.
    pub const fn version(self) -> u8 {
        1
    }

    const fn code(self) -> u8 {
        match self {
            HashAlgorithm::Xxh3_64 => 1,
            HashAlgorithm::SipHash24 => 2,
            HashAlgorithm::Xxh64 => 3,
        }
    }

    const ALL: [HashAlgorithm; 3] = [
        HashAlgorithm::Xxh3_64,
        HashAlgorithm::SipHash24,
        HashAlgorithm::Xxh64,
    ];
}

impl PlacementHash {
    /// How many bytes [`to_bytes`](PlacementHash::to_bytes) gives.
    pub const ENCODED_LEN: usize = 18;

    /// XXH3-64 with a seed. `PlacementHash::default()` is this with seed 0.
    pub const fn xxh3(seed: u64) -> Self {
        PlacementHash {
            algorithm: HashAlgorithm::Xxh3_64,
            seed: seed as u128,
        }
    }

    /// SipHash-2-4 under a key. Keep the key secret, or it is only a slower hash. The key's bytes are those
    /// of the SipHash paper: its first eight, little-endian, are `k0`.
    pub const fn siphash24(key: [u8; 16]) -> Self {
        PlacementHash {
            algorithm: HashAlgorithm::SipHash24,
            seed: u128::from_le_bytes(key),
        }
    }

    /// XXH64 with a seed.
    pub const fn xxh64(seed: u64) -> Self {
        PlacementHash {
            algorithm: HashAlgorithm::Xxh64,
            seed: seed as u128,
        }
    }

    /// The hash of a key.
    #[inline]
    pub fn of<K: PlacementKey + ?Sized>(&self, key: &K) -> u64 {
        key.with_key_bytes(|bytes| self.of_bytes(bytes))
    }

    /// The hash of a key that is already bytes.
    #[inline]
    pub fn of_bytes(&self, bytes: &[u8]) -> u64 {
        match self.algorithm {
            HashAlgorithm::Xxh3_64 => xxh3_64_with_seed(bytes, self.seed as u64),
            HashAlgorithm::SipHash24 => siphash24(bytes, self.seed),
            HashAlgorithm::Xxh64 => xxh64_with_seed(bytes, self.seed as u64),
        }
    }

    /// Which algorithm this is.
    pub const fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The seed; for SipHash its key as a little-endian number.
    pub const fn seed(&self) -> u128 {
        self.seed
    }

    /// Refuses a map that was made with another hash.
    ///
    /// # Errors
    ///
    /// [`HashMismatch`] if the two differ in algorithm or seed: every key would be looked for in the wrong
    /// place.
    pub fn ensure_same(&self, found: &PlacementHash) -> Result<(), HashMismatch> {
        if self == found {
            Ok(())
        } else {
            Err(HashMismatch {
                expected: *self,
                found: *found,
            })
        }
    }

    /// The compact form: a byte for the algorithm, a byte for its version, the seed in 16 little-endian bytes.
    pub const fn to_bytes(&self) -> [u8; PlacementHash::ENCODED_LEN] {
        let seed = self.seed.to_le_bytes();
        let mut bytes = [0; PlacementHash::ENCODED_LEN];
        bytes[0] = self.algorithm.code();
        bytes[1] = self.algorithm.version();
        let mut i = 0;
        while i < seed.len() {
            bytes[2 + i] = seed[i];
            i += 1;
        }
        bytes
    }

    /// Reads the compact form.
    ///
    /// # Errors
    ///
    /// [`ParseHashError`] for an algorithm or version this crate does not know, or a seed too wide for it.
    pub fn from_bytes(bytes: &[u8; PlacementHash::ENCODED_LEN]) -> Result<Self, ParseHashError> {
        let algorithm = HashAlgorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.code() == bytes[0] && algorithm.version() == bytes[1])
            .ok_or(ParseHashError(()))?;
        let seed = u128::from_le_bytes(core::array::from_fn(|i| bytes[2 + i]));
        PlacementHash::new(algorithm, seed)
    }

    fn new(algorithm: HashAlgorithm, seed: u128) -> Result<Self, ParseHashError> {
        let wide = matches!(algorithm, HashAlgorithm::SipHash24);
        if wide || seed <= u128::from(u64::MAX) {
            Ok(PlacementHash { algorithm, seed })
        } else {
            Err(ParseHashError(()))
        }
    }
}

// The two that are not the default stay out of line. The default is then small enough for a compiler to put it
// into its callers, where a call would cost a short key as much as its hash.

#[inline(never)]
fn siphash24(bytes: &[u8], key: u128) -> u64 {
    SipHasher24::new_with_keys(key as u64, (key >> 64) as u64).hash(bytes)
}

#[inline(never)]
fn xxh64_with_seed(bytes: &[u8], seed: u64) -> u64 {
    xxh64(bytes, seed)
}

impl Default for PlacementHash {
    /// XXH3-64 with seed 0.
    fn default() -> Self {
        PlacementHash::xxh3(0)
    }
}

/// Shows a seed, but not SipHash's key.
impl fmt::Debug for PlacementHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.algorithm {
            HashAlgorithm::SipHash24 => write!(f, "PlacementHash({}, ..)", self.algorithm.name()),
            HashAlgorithm::Xxh3_64 | HashAlgorithm::Xxh64 => {
                write!(
                    f,
                    "PlacementHash({}, {:#x})",
                    self.algorithm.name(),
                    self.seed
                )
            }
        }
    }
}

/// `name:version:seed`, the seed in hexadecimal. For SipHash this shows the key: do not log it where that
/// matters.
impl fmt::Display for PlacementHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{:x}",
            self.algorithm.name(),
            self.algorithm.version(),
            self.seed
        )
    }
}

impl FromStr for PlacementHash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let mut parts = text.splitn(3, ':');
        let (Some(name), Some(version), Some(seed)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(ParseHashError(()));
        };
        let algorithm = HashAlgorithm::ALL
            .into_iter()
            .find(|algorithm| {
                algorithm.name() == name && version.parse() == Ok(algorithm.version())
            })
            .ok_or(ParseHashError(()))?;
        let seed = u128::from_str_radix(seed, 16).map_err(|_| ParseHashError(()))?;
        let hash = PlacementHash::new(algorithm, seed)?;
        Ok(hash)
    }
}

/// A map or ring was made with a different placement hash than the one in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashMismatch {
    /// The hash in use here.
    pub expected: PlacementHash,
    /// The hash the data was made with.
    pub found: PlacementHash,
}

impl fmt::Display for HashMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, found) = (self.expected.algorithm, self.found.algorithm);
        if expected == found {
            // The seeds may be keys, so they are not shown.
            write!(
                f,
                "placed by {} with another seed than ours",
                expected.name()
            )
        } else {
            write!(
                f,
                "placed by {}, but {} is in use",
                found.name(),
                expected.name()
            )
        }
    }
}

impl core::error::Error for HashMismatch {}

/// Text or bytes that do not name a placement hash this crate knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseHashError(());

impl fmt::Display for ParseHashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a known placement hash (expected name:version:hex-seed, such as xxh3-64:1:0)",
        )
    }
}

impl core::error::Error for ParseHashError {}

#[cfg(feature = "serde")]
mod with_serde {
    use alloc::string::ToString;

    use serde::de::Error as _;

    use super::PlacementHash;

    /// As its text, so that configuration files can be read.
    impl serde::Serialize for PlacementHash {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(&self.to_string())
        }
    }

    impl<'de> serde::Deserialize<'de> for PlacementHash {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = alloc::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            text.parse().map_err(D::Error::custom)
        }
    }
}
