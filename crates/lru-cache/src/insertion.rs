use alloc::vec::{self, Vec};
use core::iter::FusedIterator;

/// What an insert did: what became of the entry, and which others left for it.
///
/// It owns all it names, so entries that leave the cache are dropped by whoever drops this, after every lock is
/// released. Ignoring it is fine.
#[derive(Debug)]
pub struct Inserted<K, V> {
    /// What became of the entry.
    pub outcome: Outcome<K, V>,
    /// The entries that left: some to make room, and any whose time the call noticed to have come.
    pub evicted: Evicted<K, V>,
}

impl<K, V> Inserted<K, V> {
    /// Whether the entry was stored.
    pub fn is_stored(&self) -> bool {
        !matches!(self.outcome, Outcome::Rejected { .. })
    }

    /// The value that was there before, whether or not the new one was stored.
    pub fn into_previous(self) -> Option<V> {
        match self.outcome {
            Outcome::New => None,
            Outcome::Replaced { value, .. } => Some(value),
            Outcome::Rejected { previous, .. } => previous.map(|(_, value)| value),
        }
    }

    /// The entry itself, if it was not stored.
    pub fn into_rejected(self) -> Option<(K, V)> {
        match self.outcome {
            Outcome::Rejected { key, value, .. } => Some((key, value)),
            Outcome::New | Outcome::Replaced { .. } => None,
        }
    }
}

/// What became of an entry given to an insert.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome<K, V> {
    /// Stored under a key that had no value.
    New,
    /// Stored in place of this older entry of the same key.
    Replaced {
        /// The key as it was stored. It equals the new one, and need not be identical to it.
        key: K,
        /// The older value.
        value: V,
    },
    /// Not stored, and given back. An older value of the key is removed all the same: it was to be replaced, so it is out of date.
    Rejected {
        /// The key that was to be stored.
        key: K,
        /// The value that was to be stored.
        value: V,
        /// The older entry of the same key, removed.
        previous: Option<(K, V)>,
        /// What was in the way.
        why: Refusal,
    },
}

/// Why an entry was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// It is heavier than what may be stored, which is nothing where the capacity is zero.
    TooHeavy,
    /// Its time to live is over as it begins.
    NoTime,
    /// Pinned entries take the room that it would need.
    Pinned,
    /// One of its tags was invalidated since the moment of which it is.
    Invalidated,
}

/// Entries that left the cache during a call, in the order in which they left. Most calls evict none or one, and
/// then this allocates nothing.
#[derive(Debug)]
pub struct Evicted<K, V> {
    first: Option<Eviction<K, V>>,
    rest: Vec<Eviction<K, V>>,
}

/// One entry that left the cache, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction<K, V> {
    /// Its key.
    pub key: K,
    /// Its value.
    pub value: V,
    /// Why it left.
    pub cause: Cause,
}

/// Why an entry left the cache. An [`Evicted`] holds those that left without being asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// It had to make room.
    Capacity,
    /// Its time to live or to idle was over.
    Expired,
    /// Another value was stored under its key.
    Replaced,
    /// It was taken out: by key, by `retain`, or because the value that was to replace it was refused.
    Removed,
    /// The cache was cleared.
    Cleared,
    /// One of its tags was invalidated, and somebody met it.
    Invalidated,
}

impl<K, V> Evicted<K, V> {
    /// An empty one whose entries nobody will be told of. A cache that may have a listener makes it in a
    /// [`Gone`](crate::listener::Gone).
    pub(crate) const fn none() -> Self {
        Evicted {
            first: None,
            rest: Vec::new(),
        }
    }

    /// One entry, of which nobody will be told either.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) const fn one(key: K, value: V, cause: Cause) -> Self {
        Evicted {
            first: Some(Eviction { key, value, cause }),
            rest: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, eviction: Eviction<K, V>) {
        if self.first.is_none() {
            self.first = Some(eviction);
        } else {
            self.rest.push(eviction);
        }
    }

    /// How many entries left.
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    /// Whether none left.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The entries, in the order in which they left.
    pub fn iter(&self) -> impl Iterator<Item = &Eviction<K, V>> {
        self.first.iter().chain(&self.rest)
    }
}

impl<K, V> IntoIterator for Evicted<K, V> {
    type Item = Eviction<K, V>;
    type IntoIter = IntoEvicted<K, V>;

    fn into_iter(self) -> IntoEvicted<K, V> {
        IntoEvicted {
            first: self.first,
            rest: self.rest.into_iter(),
        }
    }
}

/// The entries of an [`Evicted`], by value.
#[derive(Debug)]
pub struct IntoEvicted<K, V> {
    first: Option<Eviction<K, V>>,
    rest: vec::IntoIter<Eviction<K, V>>,
}

impl<K, V> Iterator for IntoEvicted<K, V> {
    type Item = Eviction<K, V>;

    fn next(&mut self) -> Option<Eviction<K, V>> {
        self.first.take().or_else(|| self.rest.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::from(self.first.is_some()) + self.rest.len();
        (left, Some(left))
    }
}

impl<K, V> ExactSizeIterator for IntoEvicted<K, V> {}
impl<K, V> FusedIterator for IntoEvicted<K, V> {}
