//! Writes that are done later.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::mem;
use std::collections::HashMap;

use purlin_core::sync::Mutex;
use purlin_core::{Clock, MapHasher, Retry, SystemClock};

use super::Backing;
use crate::cache::Cache;

/// A cache whose writes reach what stands behind later, several of one key as one: for counters, positions, last-seen
/// times, and whatever else is written more often than it needs to be kept.
///
/// [`write`](WriteBehind::write) notes the value and returns; [`flush`](WriteBehind::flush), which somebody calls now and
/// then, stores what was noted, the oldest first. Reads see what was noted. At most so many keys are noted: at the limit a
/// write is refused and gives its value back, which is when to flush, or to write through.
///
/// # What is lost
///
/// What was noted and not flushed, when the process ends. There is no thread here that would flush by itself; flush
/// before going, and put what must not be lost into a durable queue in place of this (`purlin-work-queue`).
///
/// Two processes that write the same keys behind do not know of each other: the later flush stays.
pub struct WriteBehind<K, V, B, S = MapHasher, C = SystemClock> {
    cache: Cache<K, V, S, C>,
    backing: B,
    noted: Mutex<Noted<K, V>>,
    limit: usize,
}

struct Noted<K, V> {
    values: HashMap<K, Note<V>, MapHasher>,
    /// Each key once, in the order in which they were noted first.
    order: VecDeque<K>,
}

struct Note<V> {
    /// None for a removal.
    value: Option<V>,
    /// Grows with each write of the key, so that a flush knows whether it stored the latest.
    writes: u64,
}

/// A write was refused, because as many keys as may be are noted already. The value comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Full<V> {
    /// What was to be written.
    pub value: Option<V>,
}

impl<V> Full<V> {
    /// After a flush.
    pub const fn retry(&self) -> Retry {
        Retry::NOW
    }
}

/// Shows no value.
impl<V> fmt::Debug for Full<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Full")
    }
}

impl<V> fmt::Display for Full<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many keys wait to be written")
    }
}

impl<V> core::error::Error for Full<V> {}

/// A flush stopped, because a value could not be stored. It is still noted.
#[derive(Debug)]
#[non_exhaustive]
pub struct FlushError<E> {
    /// How many were stored before.
    pub stored: usize,
    /// What the next one failed with.
    pub source: E,
}

impl<E> FlushError<E> {
    /// To flush again is harmless.
    pub const fn retry(&self) -> Retry {
        Retry::if_idempotent_after(core::time::Duration::from_millis(100))
    }
}

impl<E> fmt::Display for FlushError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a value could not be stored, after {} that were",
            self.stored
        )
    }
}

impl<E: core::error::Error + 'static> core::error::Error for FlushError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl<K, V, B, S, C> WriteBehind<K, V, B, S, C>
where
    K: Hash + Eq + Clone,
    V: Clone,
    B: Backing<K, V>,
    S: BuildHasher,
    C: Clock,
{
    /// A cache in front of this, with at most `limit` keys whose values wait to be written.
    pub fn new(cache: Cache<K, V, S, C>, backing: B, limit: usize) -> Self {
        WriteBehind {
            cache,
            backing,
            noted: Mutex::new(Noted {
                values: HashMap::default(),
                order: VecDeque::new(),
            }),
            limit,
        }
    }

    /// What stands behind.
    pub fn backing(&self) -> &B {
        &self.backing
    }

    /// How many keys wait to be written.
    pub fn waiting(&self) -> usize {
        self.noted.lock().values.len()
    }

    /// Notes the value of a key, or that it is removed, for None.
    ///
    /// # Errors
    ///
    /// [`Full`], with the value.
    pub fn write(&self, key: K, value: Option<V>) -> Result<(), Full<V>> {
        let _replaced;
        {
            let mut noted = self.noted.lock();
            let Noted { values, order } = &mut *noted;
            if let Some(note) = values.get_mut(&key) {
                note.writes += 1;
                // Dropped after the lock is released.
                _replaced = mem::replace(&mut note.value, value.clone());
            } else if values.len() < self.limit {
                order.push_back(key.clone());
                let note = Note {
                    value: value.clone(),
                    writes: 0,
                };
                values.insert(key.clone(), note);
            } else {
                return Err(Full { value });
            }
        }
        // After the note, and removed, not replaced: of two writes at once, the older might be put here last. It also
        // overtakes the loads that are under way.
        drop(self.cache.remove(&key));
        Ok(())
    }

    /// The value of a key: as noted, or from the cache, or from behind.
    ///
    /// # Errors
    ///
    /// What a load failed with.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it loads, another caller who waits loads in its stead.
    pub async fn get(&self, key: &K) -> Result<Option<V>, Arc<B::Error>> {
        if let Some(value) = self.note(key) {
            return Ok(value);
        }
        let load = |key| async move {
            let loaded = self.backing.load(key).await;
            // What was noted while it was loaded, or before that and after the look above.
            match (self.note(key), loaded) {
                (Some(noted), _) => noted.ok_or(None),
                (None, Ok(value)) => value.ok_or(None),
                (None, Err(error)) => Err(Some(Arc::new(error))),
            }
        };
        match self.cache.try_get_or_load_async(key, load).await {
            Ok(value) => Ok(Some(value)),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }

    /// Stores up to `budget` of the values that were noted first, one after the other, and says how many. Those that are
    /// written meanwhile stay noted. Of several flushes at once each takes keys of its own.
    ///
    /// # Errors
    ///
    /// [`FlushError`] at the first that cannot be stored, which goes to the end of the line.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the value that was being stored stays noted, and is stored once more.
    pub async fn flush(&self, budget: usize) -> Result<usize, FlushError<B::Error>> {
        let mut stored = 0;
        while stored < budget {
            let Some(taken) = self.take() else { break };
            let answer = self.backing.store(&taken.key, taken.value.as_ref()).await;
            if let Err(source) = answer {
                return Err(FlushError { stored, source });
            }
            taken.done();
            stored += 1;
        }
        Ok(stored)
    }

    fn note(&self, key: &K) -> Option<Option<V>> {
        let noted = self.noted.lock();
        noted.values.get(key).map(|note| note.value.clone())
    }

    /// The next key in line, which nobody else takes until it is given back.
    fn take(&self) -> Option<Taken<'_, K, V>> {
        let mut noted = self.noted.lock();
        let key = noted.order.pop_front()?;
        let note = noted.values.get(&key)?;
        Some(Taken {
            noted: &self.noted,
            value: note.value.clone(),
            writes: note.writes,
            key,
        })
    }
}

/// A note that is being stored. Goes back to the end of the line when dropped.
struct Taken<'a, K: Hash + Eq + Clone, V> {
    noted: &'a Mutex<Noted<K, V>>,
    key: K,
    value: Option<V>,
    writes: u64,
}

impl<K: Hash + Eq + Clone, V> Taken<'_, K, V> {
    /// After it was stored: it is not noted any more, unless it was written meanwhile.
    fn done(self) {
        let _stored;
        let mut noted = self.noted.lock();
        let note = noted.values.get(&self.key);
        if note.is_some_and(|note| note.writes == self.writes) {
            _stored = noted.values.remove(&self.key);
        }
        drop(noted);
    }
}

impl<K: Hash + Eq + Clone, V> Drop for Taken<'_, K, V> {
    fn drop(&mut self) {
        let mut noted = self.noted.lock();
        if noted.values.contains_key(&self.key) {
            noted.order.push_back(self.key.clone());
        }
    }
}

impl<K, V, B: fmt::Debug, S, C> fmt::Debug for WriteBehind<K, V, B, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBehind")
            .field("cache", &self.cache)
            .field("backing", &self.backing)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
