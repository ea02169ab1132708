//! Telling somebody of each entry that leaves.

use alloc::boxed::Box;
use core::ops::{Deref, DerefMut};
#[cfg(feature = "std")]
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::insertion::{Cause, Evicted, Outcome};

/// Who wants to know of each entry that leaves. See [`Builder::listener`](crate::Builder::listener).
pub(crate) type Listener<K, V> = Box<dyn Fn(&K, &V, Cause) + Send + Sync>;

/// What leaves during a call. It is told of when this is dropped, so also if the call panics; callers declare it
/// before the lock, for then it is dropped after it.
#[derive(Debug)]
pub(crate) struct Gone<'a, K, V> {
    evicted: Evicted<K, V>,
    told: Told<'a, K, V>,
}

/// Tells of entries, all of them, though the listener panics at some; goes on with its first panic in the end.
pub(crate) struct Told<'a, K, V> {
    listener: Option<&'a Listener<K, V>>,
    #[cfg(feature = "std")]
    panic: Option<Box<dyn core::any::Any + Send>>,
}

impl<'a, K, V> Gone<'a, K, V> {
    #[inline]
    pub(crate) fn new(listener: Option<&'a Listener<K, V>>) -> Self {
        Gone {
            evicted: Evicted::none(),
            told: Told::new(listener),
        }
    }

    /// Tells of it now, and of what was given to the caller of an insertion. To be called without a lock.
    #[inline]
    pub(crate) fn tell(mut self, outcome: &Outcome<K, V>) -> Evicted<K, V> {
        let evicted = core::mem::replace(&mut self.evicted, Evicted::none());
        if self.told.is_wanted() {
            self.told.each(&evicted);
            match outcome {
                Outcome::New => {}
                Outcome::Replaced { key, value } => self.told.one(key, value, Cause::Replaced),
                Outcome::Rejected { previous, .. } => {
                    if let Some((key, value)) = previous {
                        self.told.one(key, value, Cause::Removed);
                    }
                }
            }
            self.told.end();
        }
        evicted
    }

    /// Tells of it now, and of the entry that somebody asked for and gets. To be called without a lock.
    pub(crate) fn tell_removed(mut self, removed: Option<&(K, V)>) {
        if self.told.is_wanted() {
            let evicted = core::mem::replace(&mut self.evicted, Evicted::none());
            self.told.each(&evicted);
            if let Some((key, value)) = removed {
                self.told.one(key, value, Cause::Removed);
            }
            self.told.end();
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_late(&mut self) {
        let evicted = core::mem::replace(&mut self.evicted, Evicted::none());
        self.told.each(&evicted);
        self.told.end();
    }
}

impl<K, V> Deref for Gone<'_, K, V> {
    type Target = Evicted<K, V>;

    #[inline]
    fn deref(&self) -> &Evicted<K, V> {
        &self.evicted
    }
}

impl<K, V> DerefMut for Gone<'_, K, V> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Evicted<K, V> {
        &mut self.evicted
    }
}

impl<K, V> Drop for Gone<'_, K, V> {
    #[inline]
    fn drop(&mut self) {
        if self.told.is_wanted() && !self.evicted.is_empty() {
            self.tell_late();
        }
    }
}

impl<'a, K, V> Told<'a, K, V> {
    #[inline]
    pub(crate) fn new(listener: Option<&'a Listener<K, V>>) -> Self {
        Told {
            listener,
            #[cfg(feature = "std")]
            panic: None,
        }
    }

    /// Whether there is a listener.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        self.listener.is_some()
    }

    /// Tells of one entry.
    pub(crate) fn one(&mut self, key: &K, value: &V, cause: Cause) {
        let Some(listener) = self.listener else {
            return;
        };
        // Without `std` nobody can catch a panic; who builds so seldom unwinds.
        #[cfg(not(feature = "std"))]
        listener(key, value, cause);
        // Unwind safe: what the listener left half-done is its own, and its panic goes on in the end.
        #[cfg(feature = "std")]
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| listener(key, value, cause))) {
            self.panic.get_or_insert(panic);
        }
    }

    fn each(&mut self, evicted: &Evicted<K, V>) {
        for eviction in evicted.iter() {
            self.one(&eviction.key, &eviction.value, eviction.cause);
        }
    }

    /// Goes on with the listener's first panic, unless this thread is unwinding for another reason already.
    pub(crate) fn end(&mut self) {
        #[cfg(feature = "std")]
        if let Some(panic) = self.panic.take() {
            if !std::thread::panicking() {
                resume_unwind(panic);
            }
        }
    }
}

impl<K, V> core::fmt::Debug for Told<'_, K, V> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Told").finish_non_exhaustive()
    }
}
