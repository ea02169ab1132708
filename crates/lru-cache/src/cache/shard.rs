use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

use equivalent::Equivalent;

use super::turns::{CALLS, Turns};
use super::watch::{Watch, Watches};
use crate::engine::Engine;
use crate::flight::Flights;
use crate::raw::{Lock, LockGuard, lock};
use crate::reentry::Inside;

/// One part of a cache, with a lock of its own. Aligned so that no two locks share a line, nor the pair of lines
/// that some processors fetch together.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Shard<K, V> {
    contents: Lock<Contents<K, V>>,
    /// Those of the cache.
    turns: Arc<Turns>,
}

/// What a shard's lock protects. Values and flights are under the same one, so that a key is never seen with
/// neither while its value is on the way from one to the other.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Contents<K, V> {
    pub(super) engine: Engine<K, V>,
    pub(super) flights: Flights<K, V>,
    pub(super) watches: Watches<K>,
    /// How often it was locked by who stores.
    calls: u32,
}

impl<K, V> Contents<K, V> {
    /// To be called before a key is written to: nobody may store what he loaded, or remove what he judged, before.
    #[inline]
    pub(super) fn overtake<Q>(&mut self, hash: u64, key: &Q)
    where
        Q: Equivalent<K> + ?Sized,
    {
        self.flights.overtake(hash, key);
        self.watches.written(key);
    }

    /// Whether nobody loads or watches a key.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.flights.is_empty() && self.watches.is_empty()
    }

    /// The same as [`overtake`](Self::overtake) for all keys.
    pub(super) fn overtake_all(&mut self) {
        self.flights.overtake_all();
        self.watches.all_written();
    }
}

impl<K, V> Shard<K, V> {
    pub(super) fn new(engine: Engine<K, V>, turns: Arc<Turns>) -> Self {
        Shard {
            contents: Lock::new(Contents {
                engine,
                flights: Flights::new(),
                watches: Watches::new(),
                calls: 0,
            }),
            turns,
        }
    }

    /// Takes the lock. What leaves the shard under it must be dropped after it, so callers declare what holds that
    /// before the guard.
    ///
    /// # Panics
    ///
    /// If this thread holds the lock of a shard of any cache.
    #[inline]
    pub(super) fn lock(&self) -> Locked<'_, K, V> {
        let inside = Inside::enter();
        Locked {
            contents: lock(&self.contents, || self.turns.is_waited_for()),
            _inside: inside,
            turn: Turn::default(),
        }
    }

    /// The same for who stores, and may have to [give way](super::turns) afterwards.
    ///
    /// # Panics
    ///
    /// As [`lock`](Self::lock).
    #[inline]
    pub(super) fn lock_to_store(&self) -> Locked<'_, K, V> {
        let mut locked = self.lock();
        locked.turn.turns = Some(&self.turns);
        locked
    }

    /// Takes the lock for a look-up, which has nothing to show to those who look without the lock; if that needs no waiting.
    ///
    /// # Panics
    ///
    /// As [`lock`](Self::lock).
    #[inline]
    pub(super) fn look(&self) -> Option<Look<'_, K, V>> {
        let inside = Inside::enter();
        Some(Look {
            contents: self.contents.try_lock()?,
            inside,
        })
    }

    /// Takes the lock if that needs no waiting.
    ///
    /// # Panics
    ///
    /// As [`lock`](Self::lock).
    #[inline]
    pub(super) fn try_lock(&self) -> Option<Locked<'_, K, V>> {
        let inside = Inside::enter();
        Some(Locked {
            contents: self.contents.try_lock()?,
            _inside: inside,
            turn: Turn::default(),
        })
    }
}

impl<K, V> Shard<K, V> {
    /// Watches keys whose entries were just seen under the lock, until the answer is asked to end it or dropped.
    pub(super) fn watch(&self, mut contents: Locked<'_, K, V>, keys: Vec<K>) -> Watched<'_, K, V> {
        let id = contents.watches.begin(keys);
        Watched {
            shard: self,
            id: Some(id),
        }
    }
}

/// Keys of a shard that are watched.
#[derive(Debug)]
pub(super) struct Watched<'a, K, V> {
    shard: &'a Shard<K, V>,
    id: Option<u64>,
}

impl<K, V> Watched<'_, K, V> {
    /// Ends it, under the lock of the same shard. What this returns must be dropped after the lock.
    pub(super) fn end(&mut self, contents: &mut Locked<'_, K, V>) -> Option<Watch<K>> {
        contents.watches.end(self.id.take()?)
    }
}

impl<K, V> Drop for Watched<'_, K, V> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            // The judge has panicked, or says no. The keys are dropped after the lock.
            let _watch = self.shard.lock().watches.end(id);
        }
    }
}

/// A shard that this thread alone works on.
#[derive(Debug)]
pub(super) struct Locked<'a, K, V> {
    /// Before the mark, so that the lock is released before the mark is taken off.
    contents: LockGuard<'a, Contents<K, V>>,
    _inside: Inside,
    /// Last, for who gives way must hold nothing.
    turn: Turn<'a>,
}

/// Whether to let others run once the lock is released.
#[derive(Debug, Default)]
struct Turn<'a> {
    /// Of who stores.
    turns: Option<&'a Turns>,
    is_due: bool,
}

impl Drop for Turn<'_> {
    #[inline]
    fn drop(&mut self) {
        if let (Some(turns), true) = (self.turns, self.is_due) {
            turns.give_way();
        }
    }
}

/// The same for a look-up.
#[derive(Debug)]
pub(super) struct Look<'a, K, V> {
    /// As above.
    contents: LockGuard<'a, Contents<K, V>>,
    inside: Inside,
}

impl<'a, K, V> From<Look<'a, K, V>> for Locked<'a, K, V> {
    fn from(look: Look<'a, K, V>) -> Self {
        Locked {
            contents: look.contents,
            _inside: look.inside,
            turn: Turn::default(),
        }
    }
}

impl<K, V> Deref for Look<'_, K, V> {
    type Target = Contents<K, V>;

    #[inline]
    fn deref(&self) -> &Contents<K, V> {
        &self.contents
    }
}

impl<K, V> DerefMut for Look<'_, K, V> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Contents<K, V> {
        &mut self.contents
    }
}

impl<K, V> Drop for Locked<'_, K, V> {
    #[inline]
    fn drop(&mut self) {
        self.contents.engine.show();
        if self.turn.turns.is_some() {
            self.contents.calls = self.contents.calls.wrapping_add(1);
            self.turn.is_due = self.contents.calls % CALLS == 0;
        }
    }
}

impl<K, V> Deref for Locked<'_, K, V> {
    type Target = Contents<K, V>;

    #[inline]
    fn deref(&self) -> &Contents<K, V> {
        &self.contents
    }
}

impl<K, V> DerefMut for Locked<'_, K, V> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Contents<K, V> {
        &mut self.contents
    }
}

#[cfg(all(test, not(any(purlin_loom, purlin_shuttle, purlin_safe))))]
mod tests {
    use std::thread;

    use super::*;
    use crate::expiry::Lifetimes;
    use crate::policy::Policy;

    #[test]
    fn who_waits_for_long_has_those_who_write_give_way() {
        let engine = Engine::<u64, u64>::new(Policy::Lru, 10, false, Lifetimes::default(), 1, None);
        let turns = Arc::new(Turns::new());
        let shard = Shard::new(engine, Arc::clone(&turns));
        for _ in 0..2 * CALLS {
            drop(shard.lock_to_store());
        }
        assert!(!turns.give_way(), "nobody has waited");
        let is_waited_for = thread::scope(|scope| {
            let held = shard.lock();
            scope.spawn(|| drop(shard.lock()));
            // So many attempts take a minute, and it takes some milliseconds.
            let is_waited_for = (0..50_000_000).any(|_| {
                thread::yield_now();
                turns.give_way()
            });
            drop(held);
            is_waited_for
        });
        assert!(is_waited_for);
        let before = turns.left();
        for _ in 0..2 * CALLS {
            drop(shard.lock());
        }
        assert_eq!(turns.left(), before, "who looks has no time to give");
        for _ in 0..2 * CALLS {
            drop(shard.lock_to_store());
        }
        assert_eq!(turns.left(), before - 2);
    }
}
